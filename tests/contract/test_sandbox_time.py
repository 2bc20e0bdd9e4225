"""The contract's limits in time: when batches are applied, how long statuses last, the call budget, the token."""

import pytest

from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox import Sandbox, SandboxOptions
from pipeline.sandbox.options import CALLS_PER_MINUTE, MAX_BODY_BYTES, MAX_ROWS, STATUSES_KEPT
from tests.contract.talk import V1, V2, Answer, Clock, Talk, counts, rows, talking

# --- status -----------------------------------------------------------------------------------------


async def test_the_defaults_are_the_documented_limits() -> None:
    options = SandboxOptions()
    assert (options.max_bytes, options.max_rows) == (MAX_BODY_BYTES, MAX_ROWS) == (50_000_000, 500_000)
    assert options.calls_per_minute == CALLS_PER_MINUTE == 50
    assert options.statuses_kept == STATUSES_KEPT == 10
    assert (options.statuses_kept_s, options.minute_s) == (86_400.0, 60.0)


async def test_a_status_has_the_documented_form() -> None:
    async with talking() as talk:
        answer = await talk.accept(rows("u1,gold", "a/b,gold"))
        batch_id = "demo-1700000000000-10000001"
        head = f"<response><batchId>{batch_id}</batchId><status>"
        assert (
            await talk.get(answer.status_url)
        ).text == f"{head}incomplete</status><batchSize>2</batchSize></response>"
        talk.sandbox.apply_all()
        assert (await talk.get(answer.status_url)).text == f"{head}complete</status><batchSize>2</batchSize></response>"
        detailed = await talk.get(answer.status_url + "&showDetails=true")
        assert detailed.text == (
            f"{head}complete</status><batchSize>2</batchSize><consumedCount>2</consumedCount>"
            "<successfulUpdates>1</successfulUpdates><profilesNotFound>0</profilesNotFound>"
            "<failedUpdates>1</failedUpdates>"
            "<profile><id>a/b</id><status>failed</status></profile></response>"
        )


async def test_complete_is_shown_only_after_the_batch_was_applied() -> None:
    async with talking() as talk:
        answer = await talk.accept(rows("u1,gold", "a/b,gold"))
        talk.clock.now_s += 9.99
        status = await talk.status(answer)
        assert status.findtext("status") == "incomplete"
        assert counts(status) == (2, 0, 0, 0, 0)
        assert status.find("profile") is None
        assert talk.sandbox.profiles() == {}
        talk.clock.now_s += 0.01
        status = await talk.status(answer)
        assert status.findtext("status") == "complete"
        assert talk.sandbox.profiles() == {"u1": {"tier": "gold"}}


FORGED = {
    "rebuilt with /v2": lambda url: url.replace("/m2/demo/profile", "/m2/demo/v2/profile"),
    "extra parameter dropped": lambda url: url.partition("&m2Node")[0],
    "escaped ampersand taken literally": lambda url: url.replace("&m2Node", "&amp;m2Node"),
    "another client code": lambda url: url.replace("/m2/demo/", "/m2/acme/"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_status_is_known_only_at_the_url_that_was_given(forge) -> None:  # type: ignore[no-untyped-def]
    async with talking() as talk:
        answer = await talk.accept(rows("u1,gold"))
        assert (await talk.get(forge(answer.status_url))).refusal == "Batch not found"
        assert talk.mistakes() == [M.STATUS_URL]


async def test_an_unknown_batch_is_answered_with_200_and_not_found() -> None:
    async with talking() as talk:
        answer = await talk.get("/m2/demo/profile/batchStatus?batchId=demo-1-1&showDetails=true")
        assert answer.status == 200
        assert answer.text == ("<response><success>false</success><message>Batch not found</message></response>")
        assert talk.mistakes() == []


@pytest.mark.parametrize("kept", [1, 3, 10])
async def test_only_the_last_statuses_submitted_are_kept(kept: int) -> None:
    async with talking(statuses_kept=kept) as talk:
        first = await talk.accept(rows("u0,gold"))
        for n in range(1, kept):
            await talk.accept(rows(f"u{n},gold"))
        assert await talk.state_of(first) == "incomplete"
        await talk.post(rows("refused", header="nothing"))
        assert await talk.state_of(first) == "incomplete"
        last = await talk.accept(rows("last,gold"))
        assert (await talk.get(first.status_url)).refusal == "Batch not found"
        assert await talk.state_of(last) == "incomplete"
        talk.sandbox.apply_all()
        assert "u0" in talk.sandbox.profiles()


async def test_statuses_may_be_kept_for_good_or_for_a_day() -> None:
    async with talking(statuses_kept=None, statuses_kept_s=100.0) as talk:
        first = await talk.accept(rows("u0,gold"))
        for n in range(12):
            await talk.accept(rows(f"v{n},gold"))
        talk.clock.now_s += 100.0
        assert await talk.state_of(first) == "complete"
        talk.clock.now_s += 0.1
        assert (await talk.get(first.status_url)).refusal == "Batch not found"


# --- order of application ---------------------------------------------------------------------------


async def completed_in(talk: Talk, number: int) -> list[int]:
    """Accept `number` batches at once and note the order in which they become complete."""
    answers = [await talk.accept(rows(f"u{n},gold")) for n in range(number)]
    seen: list[int] = []
    for _ in range(100):
        talk.clock.now_s += 0.1
        for n, answer in enumerate(answers):
            if n not in seen and await talk.state_of(answer) == "complete":
                seen.append(n)
    return seen


async def test_batches_are_applied_in_another_order_than_accepted_and_the_seed_repeats_it() -> None:
    orders = []
    for seed in (1, 1, 2):
        options: dict[str, object] = {"seed": seed, "apply_min_s": 1.0, "apply_max_s": 9.0, "calls_per_minute": None}
        async with talking(None, **options) as talk:
            orders.append(await completed_in(talk, 6))
    assert sorted(orders[0]) == list(range(6)) != orders[0]
    assert orders[0] == orders[1] != orders[2]


async def test_batches_are_applied_in_due_order_however_late_one_looks() -> None:
    """The last batch due wins, not the last one accepted."""
    finals = set()
    for seed in range(20):
        async with talking(seed=seed, apply_min_s=1.0, apply_max_s=9.0) as talk:
            await talk.accept(rows("u1,first"))
            await talk.accept(rows("u1,second"))
            due = [batch["due_s"] for batch in (await talk.get_json("/sandbox/state"))["batches"]]
            assert all(1.0 <= at <= 9.0 for at in due)
            talk.clock.now_s += 9.0
            final = talk.sandbox.profiles()["u1"]["tier"]
            assert final == ("first" if due[0] > due[1] else "second")
            finals.add(final)
    assert finals == {"first", "second"}


async def test_apply_all_keeps_the_due_order() -> None:
    for seed in range(10):
        async with talking(seed=seed, apply_min_s=1.0, apply_max_s=9.0) as talk:
            await talk.accept(rows("u1,first"))
            await talk.accept(rows("u1,second"))
            first, second = (batch["due_s"] for batch in (await talk.get_json("/sandbox/state"))["batches"])
            talk.sandbox.apply_all()
            assert talk.sandbox.profiles()["u1"]["tier"] == ("first" if first > second else "second")


# --- the two readings of "override" -----------------------------------------------------------------

OVERRIDES = [
    ("merge", {"tier": "gold", "ltv": "7"}),
    ("replace", {"ltv": "7"}),
]


@pytest.mark.parametrize(("override", "expected"), OVERRIDES)
async def test_a_later_batch_merges_or_replaces(override: str, expected: dict[str, str]) -> None:
    async with talking(override=override) as talk:
        await talk.apply(rows("u1,gold,5", "u2,gold,5"))
        await talk.apply(rows("u1,,7"))
        assert talk.sandbox.profiles() == {"u1": expected, "u2": {"tier": "gold", "ltv": "5"}}
        await talk.apply(rows("u1,", "u2"))
        assert talk.sandbox.profiles()["u1"] == expected


async def test_later_is_by_application_not_by_acceptance() -> None:
    for seed in range(10):
        async with talking(override="replace", seed=seed, apply_min_s=1.0, apply_max_s=9.0) as talk:
            await talk.accept(rows("u1,gold", header="thirdPartyId,tier"))
            await talk.accept(rows("u1,5", header="thirdPartyId,ltv"))
            due = [batch["due_s"] for batch in (await talk.get_json("/sandbox/state"))["batches"]]
            talk.clock.now_s += 9.0
            expected = {"tier": "gold"} if due[0] > due[1] else {"ltv": "5"}
            assert talk.sandbox.profiles() == {"u1": expected}


# --- calls a minute ---------------------------------------------------------------------------------


async def test_above_the_call_budget_every_call_is_answered_503() -> None:
    async with talking(calls_per_minute=4) as talk:
        answer = await talk.accept(rows("u1,gold"))
        talk.clock.now_s += 30.0
        for _ in range(3):
            assert await talk.state_of(answer) == "incomplete" or talk.clock.now_s
        assert (await talk.post(rows("u2,gold"))).status == 503
        assert (await talk.get(answer.status_url)).status == 503
        assert talk.mistakes() == [M.THROTTLED] * 2
        talk.sandbox.apply_all()
        assert talk.sandbox.profiles().keys() == {"u1"}


async def test_the_budget_is_a_sliding_window_and_503s_cost_nothing() -> None:
    async with talking(calls_per_minute=2) as talk:
        statuses = []
        for at_s in (0.0, 40.0, 50.0, 59.9, 60.0, 60.1, 99.9, 100.0):
            talk.clock.now_s = 1000.0 + at_s
            statuses.append((await talk.get("/m2/demo/profile/batchStatus?batchId=x")).status)
        assert statuses == [200, 200, 503, 503, 200, 503, 503, 200]


async def test_refused_posts_cost_a_call_and_reading_back_does_not() -> None:
    async with talking(calls_per_minute=2) as talk:
        for _ in range(5):
            await talk.get("/rest/v1/profiles/thirdPartyId/u1?client=demo")
            await talk.get("/sandbox/state")
        assert (await talk.post("nothing")).refusal
        assert (await talk.post("nothing")).refusal
        assert (await talk.post(rows("u1,gold"))).status == 503


async def test_the_minute_is_a_setting_and_the_budget_can_be_off() -> None:
    async with talking(calls_per_minute=1, minute_s=2.0) as talk:
        await talk.accept(rows("u1,gold"))
        assert (await talk.post(rows("u2,gold"))).status == 503
        talk.clock.now_s += 2.0
        await talk.accept(rows("u2,gold"))
    async with talking(calls_per_minute=None) as talk:
        for n in range(60):
            await talk.accept(rows(f"u{n},gold"))


# --- the token --------------------------------------------------------------------------------------


async def ask_all(talk: Talk, status_url: str, **headers: str) -> list[int]:
    answers: list[Answer] = [
        await talk.post(rows("u1,gold"), path=V2, **headers),
        await talk.post(rows("u1,gold"), path=V1, **headers),
        await talk.get(status_url, **headers),
        await talk.get("/rest/v1/profiles/thirdPartyId/u1?client=demo", **headers),
    ]
    return [answer.status for answer in answers]


async def test_a_wanted_token_must_be_there_and_right() -> None:
    async with talking(token="secret") as talk:
        answer = await talk.post(rows("u1,gold"), Authorization="Bearer secret")
        talk.sandbox.apply_all()
        url = answer.status_url
        assert await ask_all(talk, url) == [401] * 4
        for wrong in ("Bearer other", "secret", "Bearer secret2", "bearer", "Bearer é"):
            assert await ask_all(talk, url, Authorization=wrong) == [401] * 4
        assert set(talk.mistakes()) == {M.WRONG_TOKEN}
        assert len((await talk.get_json("/sandbox/state"))["batches"]) == 1
        assert await ask_all(talk, url, Authorization="Bearer secret") == [200] * 4


async def test_the_token_can_be_changed_while_running() -> None:
    async with talking(token="old") as talk:
        talk.sandbox.token = "new"
        assert (await talk.post(rows("u1,gold"), Authorization="Bearer old")).status == 401
        assert (await talk.post(rows("u1,gold"), Authorization="Bearer new")).is_accepted
        assert (await talk.post_json("/sandbox/token", {"token": "newer"})).status == 200
        assert (await talk.post(rows("u1,gold"), Authorization="Bearer new")).status == 401
        await talk.post_json("/sandbox/token", {"token": None})
        assert (await talk.post(rows("u1,gold"))).is_accepted
        wrong_ones: list[object] = [[], {}, {"token": 5}]
        for wrong in wrong_ones:
            assert (await talk.post_json("/sandbox/token", wrong)).status == 400
        assert (await talk.post(rows("u1,gold"))).is_accepted


# --- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"apply_min_s": 2.0, "apply_max_s": 1.0}, {"apply_min_s": -1.0}, {"override": "other"}]
)
def test_impossible_options_are_told_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"apply_min_s|override"):
        SandboxOptions(**wrong)  # type: ignore[arg-type]


def test_a_sandbox_needs_no_event_loop_and_no_settings() -> None:
    clock = Clock()
    sandbox = Sandbox(monotonic=clock)
    assert sandbox.profiles() == {}
    assert sandbox.mistakes == []
