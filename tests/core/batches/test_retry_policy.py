"""The next step of a batch; only ambiguous attempts are counted, and a batch is given up at its limits."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.lifecycle import Begun, Fact, GivenUp, InDoubt, Life, NotTaken, Phase, RefusedAs, Taken, fold
from pipeline.core.batches.retry_policy import (
    MAX_STUCK,
    NOT_REPEATED,
    Attempt,
    Done,
    EndStage,
    Follow,
    Leave,
    Narrow,
    Next,
    Record,
    RetryPolicy,
    attempt_fact,
    next_step,
)
from pipeline.core.target.replies import (
    Accepted,
    Ambiguous,
    PostOutcome,
    Refused,
    Throttled,
    Unauthorized,
    Unreachable,
    WrongAddress,
)

POLICY = RetryPolicy(attempts=3, backoff_s=1.0, backoff_max_s=8.0, give_up_after_s=100.0)


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (100, 8.0), (10**6, 8.0)]
)
def test_waits_double_up_to_the_longest(failures: int, wait_s: float) -> None:
    assert POLICY.wait_s(failures, 1.0) == wait_s
    assert POLICY.wait_s(failures, 0.25) == wait_s / 4
    assert POLICY.wait_s(failures, 0.0) == 0.0


def test_the_longest_wait_holds_for_the_first_too() -> None:
    assert RetryPolicy(attempts=1, backoff_s=9.0, backoff_max_s=5.0, give_up_after_s=1.0).wait_s(1, 1.0) == 5.0


OUTCOMES: list[tuple[PostOutcome, Fact]] = [
    (Accepted("url"), Taken("url")),
    (Refused("why"), RefusedAs("why")),
    (Ambiguous("cut"), InDoubt("cut")),
    (Throttled(), NotTaken("too many calls")),
    (Throttled(7.0), NotTaken("too many calls")),
    (Unreachable("no address"), NotTaken("no address")),
    (WrongAddress(404), NotTaken("HTTP 404: nobody there takes batches of this client code")),
    (Unauthorized(401), NotTaken("HTTP 401: the token was refused")),
    (Unauthorized(403), NotTaken("HTTP 403: the token was refused")),
    (Unauthorized(403, had_token=False), NotTaken("HTTP 403: authentication is required, and no token is set")),
]


@pytest.mark.parametrize(("outcome", "fact"), OUTCOMES)
def test_every_outcome_is_a_fact(outcome: PostOutcome, fact: Fact) -> None:
    assert attempt_fact(outcome) == fact


def test_no_outcome_is_forgotten() -> None:
    assert {type(outcome) for outcome, _ in OUTCOMES} == set(get_args(PostOutcome))


@pytest.mark.parametrize(
    ("life", "why"),
    [
        (Life(), None),
        (Life(ambiguous=2), None),
        (Life(ambiguous=3), "all 3 attempts used"),
        (Life(ambiguous=4), "all 3 attempts used"),
        (Life(attempts=100), None),
        (Life(ambiguous=2, stuck=1), None),
        (Life(stuck=MAX_STUCK - 1), None),
        (Life(stuck=MAX_STUCK), "stuck twice"),
        (Life(ambiguous=3, stuck=MAX_STUCK), "all 3 attempts used"),
        (Life(ambiguous=3, last=InDoubt("HTTP 500")), "usable answer, the last: HTTP 500"),
        (Life(ambiguous=3, last=NotTaken("HTTP 503")), "none with a usable answer"),
    ],
)
def test_giving_up(life: Life, why: str | None) -> None:
    given_up = POLICY.giving_up(life)
    assert (given_up is None) == (why is None)
    if given_up and why:
        assert why in given_up.why


def test_stuck_is_sent_once_more() -> None:
    assert MAX_STUCK == 2


@given(st.lists(st.sampled_from([outcome for outcome, _ in OUTCOMES]), max_size=30), st.integers(1, 5))
def test_only_ambiguous_attempts_are_counted_in_any_order(outcomes: list[PostOutcome], attempts: int) -> None:
    policy = RetryPolicy(attempts=attempts, backoff_s=1.0, backoff_max_s=8.0, give_up_after_s=100.0)
    life = Life()
    ambiguous: list[float] = []
    for now, outcome in enumerate(outcomes):
        assert (policy.giving_up(life) is not None) == (len(ambiguous) >= attempts)
        life = fold(fold(life, Begun(now), float(now)), attempt_fact(outcome), float(now))
        if isinstance(outcome, Ambiguous):
            ambiguous.append(float(now))
        assert life.open_since == tuple(ambiguous)
        is_over = isinstance(outcome, Accepted | Refused)
        assert (life.phase is Phase.READY) == (not is_over)
        if is_over:
            break


def test_what_is_given_up_is_never_lost_silently() -> None:
    """A batch is given up only after an attempt that Target may have, so its rows are unconfirmed and not failed."""
    life = Life()
    while (given_up := POLICY.giving_up(life)) is None:
        life = fold(fold(life, Begun(0), 0.0), InDoubt("cut"), 0.0)
    assert fold(life, given_up, 0.0).may_be_applied
    assert isinstance(given_up, GivenUp)


# The next step.

NEVER_SENT = Life()
MAY_HAVE_IT = Life(ambiguous=1, open_since=(5.0,))
#: A part of a batch that was split: Target may have it, and none of the attempts was its own.
PART = Life(open_since=(5.0,))
USED_UP = Life(ambiguous=3, open_since=(5.0, 6.0, 7.0))
STUCK_TWICE = Life(stuck=MAX_STUCK, open_since=(5.0, 6.0))
ATTEMPT, FOLLOW, NARROW, LEAVE, DONE = Attempt(), Follow(), Narrow(), Leave(), Done()
NOT_AGAIN = Record(NOT_REPEATED)
ALL_USED = Record(GivenUp("all 3 attempts used, none with a usable answer"))
TWICE = Record(GivenUp("Target called the batch stuck twice"))

#: For a batch in this phase, of which this is known: what is next where the job goes on, where it begins nothing for
#: the first time, where it was abandoned, where it lets POSTs end, and where it ends now.
STEPS: list[tuple[Phase, Life, tuple[Next, Next, Next, Next, Next]]] = [
    (Phase.READY, NEVER_SENT, (ATTEMPT, LEAVE, LEAVE, LEAVE, LEAVE)),
    (Phase.READY, MAY_HAVE_IT, (ATTEMPT, ATTEMPT, NOT_AGAIN, LEAVE, LEAVE)),
    (Phase.READY, PART, (ATTEMPT, ATTEMPT, NOT_AGAIN, LEAVE, LEAVE)),
    (Phase.READY, USED_UP, (ALL_USED, ALL_USED, ALL_USED, LEAVE, LEAVE)),
    (Phase.READY, STUCK_TWICE, (TWICE, TWICE, TWICE, LEAVE, LEAVE)),
    *[
        (phase, life, steps)
        for life in (NEVER_SENT, MAY_HAVE_IT, PART, USED_UP, STUCK_TWICE)
        for phase, steps in (
            # Whoever posts it is at it.
            (Phase.POSTING, (LEAVE, LEAVE, LEAVE, LEAVE, LEAVE)),
            (Phase.FOLLOWING, (FOLLOW, FOLLOW, FOLLOW, FOLLOW, FOLLOW)),
            # The rows of one that is left are found by the next run; those of one that is judged now would fail.
            (Phase.REFUSED, (NARROW, NARROW, NARROW, LEAVE, LEAVE)),
            (Phase.SETTLED, (DONE, DONE, DONE, DONE, DONE)),
        )
    ],
]


@pytest.mark.parametrize("stage", EndStage)
@pytest.mark.parametrize(("phase", "life", "steps"), STEPS)
def test_the_next_step(phase: Phase, life: Life, steps: tuple[Next, ...], stage: EndStage) -> None:
    assert next_step(replace(life, phase=phase), POLICY, stage) == steps[stage]


def test_the_table_has_all_phases_and_steps() -> None:
    assert {phase for phase, _, _ in STEPS} == set(Phase)
    assert {type(step) for _, _, steps in STEPS for step in steps} == set(get_args(Next))
    assert [len(steps) for _, _, steps in STEPS] == [len(EndStage)] * len(STEPS)


@pytest.mark.parametrize("stage", EndStage)
@pytest.mark.parametrize(("phase", "life", "steps"), STEPS)
def test_a_fact_that_is_to_be_recorded_may_happen(
    phase: Phase, life: Life, steps: tuple[Next, ...], stage: EndStage
) -> None:
    step = next_step(replace(life, phase=phase), POLICY, stage)
    if isinstance(step, Record):
        assert fold(life, step.fact, 9.0).phase is Phase.SETTLED
