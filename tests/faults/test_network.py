"""A few loads through a network that breaks, each time others; `python -m tests.tools.faults.network` does hundreds."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest
from yarl import URL

from pipeline.core.model import Batch
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.replies import Accepted, Ambiguous, PostOutcome, Unreachable
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.client import connect
from pipeline.edges.target.endpoint import Endpoint
from pipeline.sandbox import SandboxOptions, running
from tests.tools.drawn import seeds
from tests.tools.faults.network import load_through_trouble
from tests.tools.faults.proxy import NetworkPlan, Port, Trouble, through
from tests.tools.support import loop_clock, run_fast

BODY = b"batch=thirdPartyId,tier\nu1,gold\n"


@pytest.mark.parametrize("seed", seeds(4)[::2])
def test_a_network_that_breaks_in_every_way_loses_nothing(seed: int) -> None:
    assert load_through_trouble(seed, "broken").met.total() > 0


@pytest.mark.parametrize("seed", seeds(1))
def test_one_that_breaks_in_the_middle_of_large_bodies_loses_nothing(seed: int) -> None:
    assert load_through_trouble(seed, "wide").met.total() > 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The body of a batch."""
    file = tmp_path / "body"
    file.write_bytes(BODY)
    return file


async def _post(file: Path, port: int) -> PostOutcome:
    """The outcome of a POST of a batch through that port."""
    endpoint = Endpoint(
        url=f"http://127.0.0.1:{port}",
        client_code="demo",
        api_version="v2",
        status_hosts=(),
        token_file=None,
        min_rate_bytes_s=100_000,
    )
    clock = loop_clock()
    async with (
        connect(endpoint, CallQueue(CallBudget(100_000), clock), clock) as client,
        client.turn_to_post(Batch(1, 1, 1, len(BODY), sha256(BODY).hexdigest(), None), file) as send,
    ):
        return await send()


def _through(file: Path, plan: NetworkPlan) -> tuple[PostOutcome, int]:
    """The outcome of a POST through a proxy, and how many batches arrived."""

    async def post() -> tuple[PostOutcome, int]:
        async with running(SandboxOptions(calls_per_minute=None)) as run:
            async with through(URL(run.base_url).port or 0, plan) as proxy:
                outcome = await _post(file, proxy.port)
            return outcome, run.sandbox.counts()["batches"]

    return run_fast(post())


def test_an_answer_that_is_cut_at_any_byte_is_no_answer(file: Path) -> None:
    cuts: list[PostOutcome] = []

    async def posts() -> None:
        async with running(SandboxOptions(calls_per_minute=None)) as run:
            answer = await _whole_answer(URL(run.base_url).port or 0)
            for cut in range(len(answer)):
                server = await asyncio.start_server(_answering(answer[:cut]), "127.0.0.1", 0)
                async with server:
                    cuts.append(await _post(file, server.sockets[0].getsockname()[1]))

    run_fast(posts())
    assert len(cuts) > 300
    assert [outcome for outcome in cuts if not isinstance(outcome, Ambiguous)] == []


async def _whole_answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /m2/demo/v2/profile/batchUpdate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded"
    writer.write(f"{head}{kind}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    answer = await reader.read()
    writer.close()
    assert b"<success>true</success>" in answer
    return answer


def _answering(answer: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(BODY))
        writer.write(answer)
        writer.close()

    return answers


@pytest.mark.parametrize(
    ("trouble", "known", "arrives"),
    [
        (Trouble.RESET_BEFORE_BODY, Ambiguous, False),
        (Trouble.RESET_IN_BODY, Ambiguous, False),
        (Trouble.RESET_AFTER_BODY_LOST, Ambiguous, False),
        (Trouble.RESET_AFTER_BODY_TAKEN, Ambiguous, True),
        (Trouble.RESET_IN_ANSWER, Ambiguous, True),
        (Trouble.HALF_CLOSED_LOST, Ambiguous, False),
        (Trouble.HALF_CLOSED_TAKEN, Ambiguous, True),
        (Trouble.NOT_READ, Ambiguous, False),
        (Trouble.SILENT_LOST, Ambiguous, False),
        (Trouble.SILENT_TAKEN, Ambiguous, True),
        (Trouble.DRIPPED_BODY_LOST, Ambiguous, False),
        (Trouble.DRIPPED_ANSWER, Ambiguous, True),
        (Trouble.NARROW, Accepted, True),
        (Trouble.LATENCY, Accepted, True),
        (Trouble.CONTINUED, Accepted, True),
        (Trouble.ANSWERED_TWICE, Ambiguous, True),
    ],
)
def test_what_a_sender_knows_after_each_trouble(
    file: Path, trouble: Trouble, known: type[PostOutcome], *, arrives: bool
) -> None:
    outcome, arrived = _through(file, NetworkPlan(5, {trouble: 1.0}))
    assert type(outcome) is known, outcome
    assert bool(arrived) is arrives


@pytest.mark.parametrize("trouble", [Port.REFUSED, Port.FULL])
def test_nothing_was_sent_where_no_connection_was_made(file: Path, trouble: Port) -> None:
    outcome, arrived = _through(file, NetworkPlan(3, {}, {trouble: 1.0}))
    assert (type(outcome), arrived) == (Unreachable, 0)
