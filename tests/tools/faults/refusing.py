"""A Target that refuses every batch in which it finds a text, and completes all others at once.

The sandbox cannot be made to: what it refuses for what is in it, the pipeline never sends.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from pipeline.core.model import Batch
from pipeline.core.target.replies import PostOutcome, StatusOutcome, parse_status, parse_submitted
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint, Target
from pipeline.sandbox import Sandbox
from tests.simulation.host import host_on
from tests.simulation.wire import Wire
from tests.tools.support import CLOSED, listening

#: A row that holds it is poisonous.
POISON = "POISON"
MESSAGE = "This batch does not agree with me"
_STATUS = "/m2/demo/profile/batchStatus"


@dataclass(slots=True)
class RefusingTarget:
    """`profiles` are as the accepted batches set them; with `refuses_all` there is nothing that is accepted.

    With `refuses_all_after` nothing is after so many batches, with `refuses_first` the first so many are not.
    `refused_rows` are the rows of each refused one. With `quotes_rows` the message quotes the last row, as it was sent
    and what it means.
    """

    base_url: str = CLOSED
    refuses_all: bool = False
    refuses_all_after: int | None = None
    refuses_first: int = 0
    quotes_rows: bool = False
    refused_rows: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)

    def _refuses(self, body: str) -> bool:
        is_late = self.refuses_all_after is not None and len(self.accepted) >= self.refuses_all_after
        return self.refuses_all or is_late or len(self.refused_rows) < self.refuses_first or POISON in body

    @property
    def refused(self) -> int:
        """Batches refused."""
        return len(self.refused_rows)

    def submitted(self, body: str) -> str:
        """What it says to a batch."""
        if self._refuses(body):
            self.refused_rows.append(body.count("\n") - 1)
            row = body.splitlines()[-1]
            quoted = escape(f": {row} ({unquote(row)}).") if self.quotes_rows else ""
            return f"<response><success>false</success><message>{MESSAGE}{quoted}</message></response>"
        header, *rows = body.removeprefix("batch=").splitlines()
        names = header.split(",")[1:]
        for row in rows:
            profile_id, *cells = row.split(",")
            values = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
            self.profiles.setdefault(profile_id, {}).update(values)
        self.accepted.append(len(rows))
        url = f"{self.base_url}{_STATUS}?batchId={len(self.accepted)}"
        return f"<response><success>true</success><batchStatus>{url}</batchStatus></response>"

    def status(self, batch_id: str) -> str:
        """What it says of an accepted batch."""
        rows = self.accepted[int(batch_id) - 1]
        counts = {"batchSize": rows, "consumedCount": rows, "successfulUpdates": rows}
        counted = "".join(f"<{name}>{count}</{name}>" for name, count in counts.items())
        return f"<response><status>complete</status>{counted}<profilesNotFound>0</profilesNotFound></response>"


class _InProcess:
    """Its answers without HTTP."""

    def __init__(self, target: RefusingTarget) -> None:
        self._target = target

    async def post(self, batch: Batch, body: Path) -> PostOutcome:
        await asyncio.sleep(0)
        return self._submitted(body)

    def _submitted(self, body: Path) -> PostOutcome:
        outcome = parse_submitted(self._target.submitted(body.read_text()).encode())
        assert outcome is not None
        return outcome

    async def status(self, url: str) -> StatusOutcome:
        await asyncio.sleep(0)
        outcome = parse_status(self._target.status(url.rpartition("=")[2]).encode())
        assert outcome is not None
        return outcome


def host_at(target: RefusingTarget) -> Host:
    """A machine in virtual time whose jobs send to this Target, without HTTP."""

    @asynccontextmanager
    async def connect(_: Endpoint, calls: CallQueue, clock: Clock) -> AsyncIterator[Target]:
        yield Wire(_InProcess(target), calls, clock)

    return replace(host_on(Sandbox()), connect=connect)


@asynccontextmanager
async def refusing() -> AsyncIterator[RefusingTarget]:
    """Such a Target that listens."""
    target = RefusingTarget()

    async def update(request: web.Request) -> web.Response:
        return _xml(target.submitted((await request.read()).decode()))

    async def status(request: web.Request) -> web.Response:
        return _xml(target.status(request.query["batchId"]))

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/m2/demo/v2/profile/batchUpdate", update)
    app.router.add_get(_STATUS, status)
    async with listening(app) as base_url:
        target.base_url = base_url
        yield target


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/xml")
