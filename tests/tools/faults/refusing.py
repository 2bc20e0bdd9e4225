"""A Target that refuses every batch in which it finds a text, and completes all others at once.

The sandbox cannot be made to: what it refuses for what is in it, the pipeline never sends.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from tests.tools.support import listening

#: A row that holds it is poisonous.
POISON = "POISON"
MESSAGE = "This batch does not agree with me"


@dataclass(slots=True)
class RefusingTarget:
    """`profiles` are as the accepted batches set them; with `refuses_all` there is nothing that is accepted.

    With `refuses_all_after` nothing is after so many batches, with `refuses_first` the first so many are not.
    `refused_rows` are the rows of each refused one. With `quotes_rows` the message quotes the last row, as it was sent
    and what it means.
    """

    base_url: str = ""
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

    async def batch_update(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        if self._refuses(body):
            self.refused_rows.append(body.count("\n") - 1)
            row = body.splitlines()[-1]
            quoted = escape(f": {row} ({unquote(row)}).") if self.quotes_rows else ""
            return _xml(f"<success>false</success><message>{MESSAGE}{quoted}</message>")
        header, *rows = body.removeprefix("batch=").splitlines()
        names = header.split(",")[1:]
        for row in rows:
            profile_id, *cells = row.split(",")
            values = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
            self.profiles.setdefault(profile_id, {}).update(values)
        self.accepted.append(len(rows))
        url = f"{self.base_url}/m2/demo/profile/batchStatus?batchId={len(self.accepted)}"
        return _xml(f"<success>true</success><batchStatus>{url}</batchStatus>")

    async def batch_status(self, request: web.Request) -> web.Response:
        rows = self.accepted[int(request.query["batchId"]) - 1]
        counts = {"batchSize": rows, "consumedCount": rows, "successfulUpdates": rows}
        counted = "".join(f"<{name}>{count}</{name}>" for name, count in counts.items())
        return _xml(f"<status>complete</status>{counted}<profilesNotFound>0</profilesNotFound>")


@asynccontextmanager
async def refusing() -> AsyncIterator[RefusingTarget]:
    """Such a Target that listens."""
    target = RefusingTarget()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/m2/demo/v2/profile/batchUpdate", target.batch_update)
    app.router.add_get("/m2/demo/profile/batchStatus", target.batch_status)
    async with listening(app) as base_url:
        target.base_url = base_url
        yield target


def _xml(inside: str) -> web.Response:
    return web.Response(text=f"<response>{inside}</response>", content_type="application/xml")
