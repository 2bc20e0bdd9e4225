"""Which of Target's calls let others go first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from pipeline.core.model import Batch
from pipeline.core.target.pacing import CallBudget
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.client import connect
from pipeline.edges.target.endpoint import Endpoint
from tests.tools.support import answering, loop_clock


class Noting(CallQueue):
    """A queue that notes which calls can wait."""

    def __init__(self) -> None:
        super().__init__(CallBudget(100), loop_clock())
        self.can_wait: list[bool] = []

    @asynccontextmanager
    async def call(self, *, can_wait: bool = False) -> AsyncIterator[None]:
        self.can_wait.append(can_wait)
        async with super().call(can_wait=can_wait):
            yield


async def test_statuses_can_wait_and_posts_cannot(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="<response><status>complete</status></response>")

    body = b"batch=thirdPartyId,tier\na,1\n"
    (tmp_path / "body").write_bytes(body)
    calls = Noting()
    async with answering(answer) as url:
        endpoint = Endpoint(
            url=url, client_code="demo", api_version="v2", status_hosts=(), token_file=None, min_rate_bytes_s=100_000
        )
        async with connect(endpoint, calls, loop_clock()) as target:
            await target.status(f"{url}/m2/demo/profile/batchStatus?batchId=1")
            async with target.turn_to_post(
                Batch(1, 1, 1, len(body), sha256(body).hexdigest()), tmp_path / "body"
            ) as send:
                await send()
    assert calls.can_wait == [True, False]
