"""The profile that Target has of an id now, beside what was last sent of it as far as that is known."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pipeline.core.errors import FatalError
from pipeline.core.explain.story import JobStory
from pipeline.core.plain import plain, written
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.profile_replies import CellState, NotRead, Profile, compared
from pipeline.edges.clock import Clock
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.spool import Spool
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.profiles import profile_reader
from pipeline.jobs.status.explain.explanation import last_sent
from pipeline.jobs.status.explain.forms import Form, form_in
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Cell:
    """A parameter: what became of the value that was sent, and if asked for both values. `has`: Target's, or None."""

    name: str
    state: CellState | None
    sent: str | None = written(default=None, if_default=False)
    has: str | None = written(default=None, if_default=False)


@dataclass(frozen=True, slots=True)
class Live:
    """The profile that Target has of an id. `is_there`: None if it could not be read, `why` then.

    `known_by`: where the values that were sent are from: `memory`, `spool`, or `names` if only those are known.
    """

    id_kind: str
    is_there: bool | None
    known_by: str
    cells: tuple[Cell, ...] = ()
    why: str = field(default="")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values: dict[str, Any] = plain(self)
        return values


@dataclass(frozen=True, slots=True)
class Sent:
    """The row that was last sent of an id: the values by parameter, None if not known; and where they are from."""

    values: Mapping[str, str | None]
    known_by: str


async def live(tenant: Tenant, story: JobStory, given: str, *, is_as_sent: bool, with_values: bool) -> Live:
    """The profile of an id, compared with what was last sent of it. `story`: that of the last job that has the id.

    It is one call, beside those that a service counts. Raises `FatalError` (74, 78).
    """
    form, sent = _last_sent(tenant, story, given, is_as_sent=is_as_sent)
    calls = CallQueue(CallBudget(1), Clock())
    async with profile_reader(endpoint_of(tenant.settings), calls) as reader:
        outcome = await reader.read(form.id_kind, form.encoded)
    if isinstance(outcome, NotRead):
        return Live(form.id_kind, None, sent.known_by, why=outcome.why)
    has = outcome.attributes if isinstance(outcome, Profile) else {}
    states = compared({name: value or "" for name, value in sent.values.items()}, outcome)
    cells = []
    for name in dict.fromkeys([*sent.values, *has]):
        state = states.get(name)
        if sent.values.get(name) is None and name in sent.values and name not in has:
            state = "missing"
        shown = (sent.values.get(name), has.get(name)) if with_values else (None, None)
        cells.append(Cell(name, state, *shown))
    return Live(form.id_kind, isinstance(outcome, Profile), sent.known_by, tuple(cells))


def endpoint_of(settings: Settings) -> Endpoint:
    """The endpoint of a client code."""
    to = settings.target
    return Endpoint(
        url=to.url,
        client_code=to.client_code,
        api_version=to.api_version,
        status_hosts=to.status_hosts,
        token_file=to.token_file,
        min_rate_bytes_s=settings.upload.min_rate_bytes_s,
        ca_file=to.ca_file,
        is_named=bool(to.base_url),
    )


def _last_sent(tenant: Tenant, story: JobStory, given: str, *, is_as_sent: bool) -> tuple[Form, Sent]:
    """The form of the id in a job, and what was last sent of it."""
    ledger = read_ledger(tenant.directory / "ledger.db")
    record = None if ledger is None else ledger.job(story.job)
    if ledger is None or record is None:
        raise FatalError(f"job {story.job} is not in the ledger any more: ask again.")
    with closing(ledger):
        form = form_in(ledger, record, given, is_as_sent=is_as_sent)
        spool = Spool(tenant.directory / "spool", min_free_bytes=0)
        numbers = {row.batch for row in story.rows[-1:] if row.batch is not None}
        for batch in (each.batch for each in ledger.batches(job=record) if each.batch.number in numbers):
            try:
                spool.expect(batch)
                rows = spool.find_rows(batch.batch_id, {form.encoded}, ledger.salt)
                names = spool.parameters(batch.batch_id)
            except FatalError:
                # Its body went, as it does when all is known of it.
                continue
            if form.encoded in rows:
                cells = rows[form.encoded][:-1].decode().split(",")[1:]
                return form, Sent(_decoded(dict(zip(names, cells, strict=False))), "spool")
    remembered = last_sent(tenant, form)
    if remembered is not None and remembered[1] is not None:
        return form, Sent(_decoded(remembered[1]), "memory")
    return form, Sent(dict.fromkeys(record.checkpoint.columns_sent), "names")


def _decoded(cells: Mapping[str, str]) -> dict[str, str | None]:
    return {name: unquote(cell) for name, cell in cells.items() if cell}
