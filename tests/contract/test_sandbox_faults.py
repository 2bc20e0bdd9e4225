"""Every fault the sandbox can make, what the sender sees of it, and whether the batch was taken."""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp
import pytest

from pipeline.sandbox import Fault, FaultPlan
from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.faults import POST_FAULTS, STATUS_FAULTS
from tests.contract.talk import FORM, V2, Answer, Talk, counts, faults_met, raw_get, rows, talking, until

LONG_ROWS = [f"u{n},{'x' * 1000}" for n in range(2_000)]


def taken(talk: Talk) -> bool:
    talk.sandbox.apply_all()
    return "u1" in talk.sandbox.profiles()


# --- POSTs that are answered ------------------------------------------------------------------------

ANSWERED: list[tuple[Fault, Callable[[Answer], bool], bool]] = [
    (Fault.REFUSE_EMPTY, lambda a: a.refusal == "Batch is empty", False),
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
            reader, writer = await asyncio.open_connection("127.0.0.1", talk.port)
            writer.write(head.encode() + body[:sent])
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    async with talking(FaultPlan(posts={1: Fault.RESET_DURING_BODY})) as talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", talk.port)
        writer.write(head.encode() + body[: len(body) // 4])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("fault", "is_taken"), [(Fault.HANG_LOST, False), (Fault.HANG_TAKEN, True)])
async def test_a_hanging_post_gets_no_answer_until_its_client_leaves(
    fault: Fault,
    is_taken: bool,
) -> None:
    async with talking(FaultPlan(posts={1: fault})) as talk:
        tasks_before = len(asyncio.all_tasks())
        hanging = asyncio.create_task(talk.post(rows("u1,gold")))
        await until(lambda: talk.sandbox.state()["batches" if is_taken else "faults_met"])
        assert not (await asyncio.wait({hanging}, timeout=0.1))[0]
        hanging.cancel()
        await until(lambda: len(asyncio.all_tasks()) == tasks_before)
        assert taken(talk) is is_taken
        assert (await talk.post(rows("u2,gold"))).is_accepted


async def test_a_hanging_answer_does_not_keep_the_server_from_ending() -> None:
    async with talking(FaultPlan(posts={1: Fault.HANG_LOST})) as talk:
        hanging = asyncio.create_task(talk.post(rows("u1,gold")))
        await until(lambda: talk.sandbox.state()["faults_met"])
        begun_s = asyncio.get_running_loop().time()
        await talk.stop()
        assert asyncio.get_running_loop().time() - begun_s < 0.9
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
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
    """Over a bare socket, since a client may repeat a GET on its own."""
    async with talking(FaultPlan(statuses={1: Fault.RESET_BEFORE_BODY, 2: Fault.HANG_LOST})) as talk:
        answer = await talk.accept(rows("u1,a"))
        ended, hanging = await raw_get(talk, answer.status_url), asyncio.ensure_future(raw_get(talk, answer.status_url))
        assert ended == b""
        await until(lambda: len(faults_met(talk)) == 2)
        assert not (await asyncio.wait({hanging}, timeout=0.1))[0]
        hanging.cancel()
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
