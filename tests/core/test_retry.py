"""Only ambiguous attempts are counted, and every outcome has one answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.reply import Accepted, Ambiguous, PostOutcome, Refused, Throttled, Unauthorized, Unreachable
from pipeline.core.retry import Again, RetryPolicy, Stop, Upload

POLICY = RetryPolicy(attempts=3, backoff_s=1.0, backoff_max_s=8.0, give_up_after_s=100.0)
NOTHING_TAKEN: list[PostOutcome] = [Throttled(), Throttled(7.0), Unreachable("no address")]


def after(upload: Upload, outcome: PostOutcome, *, now: float = 0.0, silent_s: float = 0.0) -> Again | Stop:
    return upload.after(outcome, now=now, silent_s=silent_s, jitter=0.5)


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (100, 8.0), (10**6, 8.0)]
)
def test_waits_double_up_to_the_longest(failures: int, wait_s: float) -> None:
    assert POLICY.wait_s(failures, 1.0) == wait_s
    assert POLICY.wait_s(failures, 0.25) == wait_s / 4
    assert POLICY.wait_s(failures, 0.0) == 0.0


def test_the_longest_wait_holds_for_the_first_too() -> None:
    assert RetryPolicy(attempts=1, backoff_s=9.0, backoff_max_s=5.0, give_up_after_s=1.0).wait_s(1, 1.0) == 5.0


def test_accepted() -> None:
    upload = Upload(POLICY)
    assert after(upload, Accepted("url")) is Stop.ACCEPTED
    assert (upload.attempts, upload.open_since) == (1, [])


def test_refused_is_final() -> None:
    upload = Upload(POLICY)
    assert after(upload, Refused("why")) is Stop.REFUSED
    assert (upload.attempts, upload.open_since) == (1, [])


def test_ambiguous_attempts_are_used_up_and_stay_open() -> None:
    upload = Upload(POLICY)
    assert after(upload, Ambiguous("cut"), now=10.0) == Again(0.5)
    assert after(upload, Ambiguous("cut"), now=20.0) == Again(1.0)
    assert after(upload, Ambiguous("cut"), now=30.0) is Stop.ATTEMPTS_USED
    assert (upload.attempts, upload.open_since) == (3, [10.0, 20.0, 30.0])


def test_a_copy_left_open_by_its_status_counts_as_ambiguous() -> None:
    upload = Upload(POLICY)
    after(upload, Ambiguous("cut"), now=1.0)
    after(upload, Accepted("url"), now=2.0)
    upload.open_since.append(2.0)
    assert after(upload, Ambiguous("cut"), now=3.0) is Stop.ATTEMPTS_USED


@pytest.mark.parametrize("outcome", NOTHING_TAKEN)
def test_what_took_nothing_costs_no_attempt(outcome: PostOutcome) -> None:
    upload = Upload(POLICY)
    waits = [after(upload, outcome, silent_s=99.9) for _ in range(50)]
    assert waits[:5] == [Again(0.5), Again(1.0), Again(2.0), Again(4.0), Again(4.0)]
    assert waits[-1] == Again(4.0)
    assert (upload.attempts, upload.open_since) == (0, [])


@pytest.mark.parametrize("outcome", NOTHING_TAKEN)
def test_silence_ends_it(outcome: PostOutcome) -> None:
    assert after(Upload(POLICY), outcome, silent_s=99.9) == Again(0.5)
    assert after(Upload(POLICY), outcome, silent_s=100.0) is Stop.UNAVAILABLE


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Accepted("url"), Stop.ACCEPTED),
        (Refused("why"), Stop.REFUSED),
        (Ambiguous("cut"), Again(0.5)),
        (Unauthorized(401), Again(0.0)),
    ],
)
def test_silence_ends_nothing_else(outcome: PostOutcome, decision: Again | Stop) -> None:
    assert after(Upload(POLICY), outcome, silent_s=10**6) == decision


@pytest.mark.parametrize("http_status", [401, 403])
def test_the_token_is_read_again_once(http_status: int) -> None:
    upload = Upload(POLICY)
    assert after(upload, Unauthorized(http_status)) == Again(0.0)
    assert after(upload, Unauthorized(http_status)) is Stop.UNAUTHORIZED
    assert (upload.attempts, upload.open_since) == (0, [])


def test_waits_begin_anew_once_accepted() -> None:
    upload = Upload(POLICY)
    for _ in range(4):
        after(upload, Throttled())
    after(upload, Accepted("url"))
    assert after(upload, Throttled()) == Again(0.5)


OUTCOMES = st.sampled_from(
    [Throttled(), Unreachable("no address"), Ambiguous("cut"), Unauthorized(401), Accepted("url"), Refused("why")]
)


@given(st.lists(OUTCOMES, max_size=30), st.integers(1, 5))
def test_only_ambiguous_attempts_are_counted_in_any_order(outcomes: list[PostOutcome], attempts: int) -> None:
    upload = Upload(RetryPolicy(attempts=attempts, backoff_s=1.0, backoff_max_s=8.0, give_up_after_s=100.0))
    ambiguous: list[float] = []
    for now, outcome in enumerate(outcomes):
        decision = after(upload, outcome, now=float(now))
        if isinstance(outcome, Ambiguous):
            ambiguous.append(float(now))
        assert upload.open_since == ambiguous
        assert (decision is Stop.ATTEMPTS_USED) == (isinstance(outcome, Ambiguous) and len(ambiguous) >= attempts)
        if isinstance(decision, Again):
            assert 0 <= decision.after_s <= 4.0
        elif decision is not Stop.ACCEPTED:
            break
