"""Every fault the sandbox can make, what the sender sees of it, and whether the batch was taken."""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp
import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan, SandboxOptions, serve_forever
from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.faults import POST_FAULTS, STATUS_FAULTS
from tests.contract.talk import FORM, V2, Answer, Talk, counts, rows, talking

LONG_ROWS = [f"u{n},{'x' * 1000}" for n in range(2_000)]


def taken(talk: Talk) -> bool:
    talk.sandbox.apply_all()
    return "u1" in talk.sandbox.profiles()


# --- POSTs that are answered ------------------------------------------------------------------------

ANSWERED: list[tuple[Fault, Callable[[Answer], bool], bool]] = [
    (Fault.REFUSE, lambda a: a.status == 200 and bool(a.refusal) and a.tag("batchStatus") is None, False),
    (Fault.HTTP_500, lambda a: a.status == 500, False),
    (Fault.HTTP_500_TAKEN, lambda a: a.status == 500, True),
    (Fault.HTTP_502, lambda a: a.status == 502, False),
    (Fault.THROTTLE_503, lambda a: a.status == 503 and "Retry-After" not in a.headers, False),
    (Fault.THROTTLE_429, lambda a: a.status == 429 and a.headers["Retry-After"] == "7", False),
    (Fault.GARBAGE_LOST, lambda a: a.status == 200 and a.tag("success") is None, False),
    (Fault.GARBAGE_TAKEN, lambda a: a.status == 200 and a.tag("success") is None, True),
    (Fault.SLOW, lambda a: a.is_accepted, True),
    (Fault.FAIL_ROWS, lambda a: a.is_accepted, True),
    (Fault.STATUS_LOST, lambda a: a.is_accepted, True),
    (Fault.STUCK, lambda a: a.is_accepted, True),
]


@pytest.mark.parametrize(("fault", "is_seen", "is_taken"), ANSWERED, ids=[str(case[0]) for case in ANSWERED])
async def test_a_fault_of_a_post_is_seen_and_the_next_post_is_fine(
    fault: Fault,
    is_seen: Callable[[Answer], bool],
    is_taken: bool,
) -> None:
    async with talking(FaultPlan(posts={1: fault}, retry_after_s=7, stuck_applied_chance=1.0)) as talk:
        assert is_seen(await talk.post(rows("first,gold", "u1,gold"))), fault
        assert taken(talk) is is_taken
        assert (await talk.post(rows("u2,gold"))).is_accepted
        assert talk.sandbox.state()["faults_met"] == [{"call": "post", "number": 1, "fault": fault}]


BROKEN = [
    (Fault.RESET_BEFORE_BODY, False),
    (Fault.RESET_DURING_BODY, False),
    (Fault.RESET_AFTER_BODY_LOST, False),
    (Fault.RESET_AFTER_BODY_TAKEN, True),
]


@pytest.mark.parametrize(("fault", "is_taken"), BROKEN)
@pytest.mark.parametrize("lines", [[], LONG_ROWS], ids=["small", "large"])
async def test_a_connection_ends_without_an_answer(
    fault: Fault,
    is_taken: bool,
    lines: list[str],
) -> None:
    async with talking(FaultPlan(posts={1: fault})) as talk:
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
            await talk.post(rows("u1,gold", *lines))
        assert taken(talk) is is_taken
        assert (await talk.post(rows("u2,gold"))).is_accepted


async def test_how_much_was_read_before_a_reset() -> None:
    """Before the body: not a byte is asked for. During it: no more than half."""
    body = rows(*LONG_ROWS).encode()
    head = f"POST {V2} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    for fault, sent in ((Fault.RESET_BEFORE_BODY, 0), (Fault.RESET_DURING_BODY, len(body) // 2 + 1)):
        async with talking(FaultPlan(posts={1: fault})) as talk:
            port = int(talk.base_url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + body[:sent])
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    async with talking(FaultPlan(posts={1: Fault.RESET_DURING_BODY})) as talk:
        port = int(talk.base_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body[: len(body) // 4])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("fault", "is_taken"), [(Fault.HANG_LOST, False), (Fault.HANG_TAKEN, True)])
async def test_a_hanging_post_gets_no_answer(fault: Fault, is_taken: bool) -> None:
    async with talking(FaultPlan(posts={1: fault})) as talk:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await talk.post(rows("u1,gold"))
        assert taken(talk) is is_taken
        assert (await talk.post(rows("u2,gold"))).is_accepted


async def test_a_hanging_answer_does_not_keep_the_server_from_ending() -> None:
    async with talking(FaultPlan(posts={1: Fault.HANG_LOST})) as talk:
        hanging = asyncio.create_task(talk.post(rows("u1,gold")))
        async with asyncio.timeout(2.0):
            while not talk.sandbox.state()["faults_met"]:  # noqa: ASYNC110 - another task's doing
                await asyncio.sleep(0)
    async with asyncio.timeout(2.0):
        with pytest.raises(aiohttp.ClientError):
            await hanging


async def test_a_slow_server_reads_at_the_planned_pace() -> None:
    async with talking(FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=50_000)) as talk:
        body = rows(*LONG_ROWS)
        assert (await talk.post(body)).is_accepted
        assert sum(talk.clock.slept_s) == pytest.approx(len(body) / 50_000)
        assert len(talk.clock.slept_s) > 10


# --- accepted batches that go wrong -----------------------------------------------------------------


@pytest.mark.parametrize(("chance", "applied"), [(0.0, False), (1.0, True)])
async def test_a_stuck_batch_is_applied_or_not(chance: float, applied: bool) -> None:
    plan = FaultPlan(posts={1: Fault.STUCK}, stuck_applied_chance=chance)
    async with talking(plan) as talk:
        answer = await talk.accept(rows("u1,gold"))
        assert await talk.state_of(answer) == "incomplete"
        talk.clock.now_s += 10.0
        status = await talk.status(answer)
        assert status.findtext("status") == "stuck"
        assert counts(status) == (1, 0, 0, 0, 0)
        assert ("u1" in talk.sandbox.profiles()) is applied


async def test_whether_a_stuck_batch_is_applied_is_drawn_from_the_seed() -> None:
    outcomes = {seed: FaultPlan(seed=seed).applies_stuck(1) for seed in range(50)}
    assert set(outcomes.values()) == {True, False}
    assert outcomes == {seed: FaultPlan(seed=seed).applies_stuck(1) for seed in range(50)}


FAILING = [
    (FaultPlan(posts={1: Fault.FAIL_ROWS}), ["u1"]),
    (FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=2), ["u1", "u2"]),
    (FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset({"u3", "u9"})), ["u3"]),
]


@pytest.mark.parametrize(("plan", "failed"), FAILING)
async def test_rows_fail_on_demand(plan: FaultPlan, failed: list[str]) -> None:
    async with talking(plan) as talk:
        status = await talk.apply(rows("u1,a", "u2,b", "u3,c"))
        assert counts(status) == (3, 3, 3 - len(failed), 0, len(failed))
        assert [profile.findtext("id") for profile in status.iter("profile")] == failed
        assert talk.sandbox.profiles().keys() == {"u1", "u2", "u3"} - set(failed)


# --- status GETs ------------------------------------------------------------------------------------


async def test_a_status_can_be_lost_with_the_post_or_later() -> None:
    async with talking(FaultPlan(posts={1: Fault.STATUS_LOST}, statuses={3: Fault.STATUS_LOST})) as talk:
        lost, other = await talk.accept(rows("u1,a")), await talk.accept(rows("u2,b"))
        assert (await talk.get(lost.status_url)).refusal == "Batch not found"
        assert await talk.state_of(other) == "incomplete"
        for _ in range(2):
            assert (await talk.get(other.status_url)).refusal == "Batch not found"
        assert taken(talk)


STATUS_ANSWERS: list[tuple[Fault, Callable[[Answer], bool]]] = [
    (Fault.STATUS_500, lambda a: a.status == 500),
    (Fault.STATUS_GARBAGE, lambda a: a.status == 200 and a.tag("status") is None and a.refusal is None),
    (Fault.STATUS_REDIRECT, lambda a: a.status == 302 and a.headers["Location"] == "/sandbox/redirected"),
    (Fault.STATUS_OVERSIZED, lambda a: a.status == 200 and len(a.text) >= 300_000 and "complete<" in a.text),
    (Fault.THROTTLE_503, lambda a: a.status == 503),
    (Fault.THROTTLE_429, lambda a: a.status == 429 and a.headers["Retry-After"] == "1"),
]


@pytest.mark.parametrize(("fault", "is_seen"), STATUS_ANSWERS)
async def test_a_fault_of_a_status_is_seen_and_the_next_status_is_fine(
    fault: Fault, is_seen: Callable[[Answer], bool]
) -> None:
    async with talking(FaultPlan(statuses={1: fault}, oversized_bytes=300_000)) as talk:
        answer = await talk.accept(rows("u1,a"))
        assert is_seen(await talk.get(answer.status_url))
        assert await talk.state_of(answer) == "incomplete"


async def test_a_status_can_be_reset_or_hang() -> None:
    async with talking(FaultPlan(statuses={1: Fault.RESET_BEFORE_BODY, 3: Fault.HANG_LOST})) as talk:
        answer = await talk.accept(rows("u1,a"))
        # A client may repeat a GET on its own when a kept connection ends under it.
        async with aiohttp.ClientSession() as fresh:
            with pytest.raises(aiohttp.ClientConnectionError):
                await fresh.get(answer.status_url)
        while talk.sandbox.state()["faults_met"][-1]["number"] != 3:  # type: ignore[index]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await talk.get(answer.status_url)
        assert await talk.state_of(answer) == "incomplete"


async def test_following_a_redirect_is_noticed() -> None:
    async with talking(FaultPlan(statuses={1: Fault.STATUS_REDIRECT})) as talk:
        answer = await talk.accept(rows("u1,a"))
        async with talk.session.get(answer.status_url, allow_redirects=True) as response:
            assert "incomplete" not in await response.text()
        assert talk.mistakes() == [M.REDIRECT_FOLLOWED]


def test_every_fault_has_a_test() -> None:
    of_posts = {case[0] for case in ANSWERED} | {case[0] for case in BROKEN} | {Fault.HANG_LOST, Fault.HANG_TAKEN}
    assert of_posts == POST_FAULTS
    elsewhere = {Fault.STATUS_LOST, Fault.RESET_BEFORE_BODY, Fault.HANG_LOST}
    assert {case[0] for case in STATUS_ANSWERS} | elsewhere == STATUS_FAULTS
    assert set(Fault) == POST_FAULTS | STATUS_FAULTS


# --- plans ------------------------------------------------------------------------------------------


async def test_throttling_faults_and_throttled_calls_keep_the_budget_and_the_numbers() -> None:
    async with talking(FaultPlan(posts={1: Fault.THROTTLE_503, 3: Fault.HTTP_500}), calls_per_minute=1) as talk:
        assert (await talk.post(rows("u1,a"))).status == 503
        assert (await talk.post(rows("u1,a"))).is_accepted
        assert (await talk.post(rows("u2,a"))).status == 503
        talk.clock.now_s += 60.0
        assert (await talk.post(rows("u2,a"))).status == 500
        assert talk.mistakes() == [M.THROTTLED]


async def test_a_new_plan_counts_from_one_again() -> None:
    async with talking() as talk:
        await talk.accept(rows("u1,a"))
        talk.sandbox.faults = FaultPlan(posts={1: Fault.HTTP_500})
        assert (await talk.post(rows("u2,a"))).status == 500
        assert (await talk.post(rows("u2,a"))).is_accepted


async def test_faults_can_be_planned_over_http() -> None:
    async with talking() as talk:
        plan = {"posts": {"2": "http_502"}, "status_chances": {"status_500": 1.0}, "failing_ids": ["u1"]}
        answer = await talk.post_json("/sandbox/faults", plan)
        assert answer.status == 200
        in_force = FaultPlan.from_json(orjson.loads(answer.text))
        assert in_force == talk.sandbox.faults == FaultPlan.from_json(await talk.get_json("/sandbox/faults"))
        assert in_force == FaultPlan(
            posts={2: Fault.HTTP_502}, status_chances={Fault.STATUS_500: 1.0}, failing_ids=frozenset({"u1"})
        )
        accepted = await talk.accept(rows("u1,a"))
        assert (await talk.post(rows("u2,a"))).status == 502
        assert (await talk.get(accepted.status_url)).status == 500


WRONG_PLANS = [
    [],
    {"post": {}},
    {"posts": {"1": "no_such_fault"}},
    {"posts": {"1": "status_500"}},
    {"posts": {"0": "http_500"}},
    {"posts": ["http_500"]},
    {"posts": {"first": "http_500"}},
    {"statuses": {"1": "http_502"}},
    {"status_chances": {"garbage_taken": 0.1}},
    {"post_chances": {"http_500": 0.6, "http_502": 0.6}},
    {"post_chances": {"http_500": -0.1}},
]


@pytest.mark.parametrize("wrong", WRONG_PLANS, ids=str)
async def test_an_impossible_plan_is_refused_and_the_old_one_stays(wrong: object) -> None:
    old = FaultPlan(posts={1: Fault.HTTP_502})
    async with talking(old) as talk:
        answer = await talk.post_json("/sandbox/faults", wrong)
        assert answer.status == 400
        assert answer.text.strip()
        assert talk.sandbox.faults == old


def test_chances_are_kept_and_repeat_with_the_seed() -> None:
    chances = {Fault.HTTP_500: 0.25, Fault.HANG_TAKEN: 0.25}
    plan = FaultPlan(post_chances=chances, status_chances={Fault.STATUS_500: 0.5}, seed=3)
    drawn = [plan.for_post(n) for n in range(1, 2_001)]
    assert drawn == [FaultPlan(post_chances=chances, seed=3).for_post(n) for n in range(1, 2_001)]
    assert drawn != [FaultPlan(post_chances=chances, seed=4).for_post(n) for n in range(1, 2_001)]
    for fault, share in ((Fault.HTTP_500, 0.25), (Fault.HANG_TAKEN, 0.25), (None, 0.5)):
        assert drawn.count(fault) / 2_000 == pytest.approx(share, abs=0.05)
    statuses = [plan.for_status(n) for n in range(1, 2_001)]
    assert statuses.count(Fault.STATUS_500) / 2_000 == pytest.approx(0.5, abs=0.05)
    assert FaultPlan(posts={5: Fault.SLOW}, post_chances=chances, seed=3).for_post(5) is Fault.SLOW


async def test_serving_for_good_announces_its_url_and_ends_when_cancelled() -> None:
    announced: asyncio.Queue[str] = asyncio.Queue()
    plan = FaultPlan(posts={1: Fault.HTTP_502})
    options = SandboxOptions(client_code="acme")
    serving = asyncio.create_task(
        serve_forever(options, host="127.0.0.1", port=0, faults=plan, announce=announced.put_nowait)
    )
    base_url = await announced.get()
    async with aiohttp.ClientSession() as session:
        url = f"{base_url}/m2/acme/v2/profile/batchUpdate"
        async with session.post(url, data=b"batch=", headers={"Content-Type": FORM}) as response:
            assert response.status == 502
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert announced.empty()
