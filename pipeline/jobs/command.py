"""The exports of one `load` command: which of them have a job already, and which are entered anew.

A command is a unit, as a drop is. All of its exports that have no job yet are entered in one transaction, in the order
of the command line, before anything of them is read. The ledger keeps which jobs are of a command that has not come to
its end: so the same command, run again after whatever cut it off, goes on with those jobs, and enters none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from pipeline.core.errors import InputError
from pipeline.edges.exports import Identity, digest, identify
from pipeline.edges.host import Host, OpenExport
from pipeline.edges.store.ledger import Ledger
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.job import new_job_id
from pipeline.settings.sections import ExportSettings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for: these exports, by that route, with `again` also such as were loaded before."""

    exports: tuple[Path, ...]
    route: str
    again: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """An export as it was named, with its absolute path; one that cannot be read has no size and no time."""

    path: Path
    identity: Identity

    def is_that_of(self, job: JobRecord) -> bool:
        """Whether this file is the one for which the job was entered, and was not changed since."""
        return job.export == self.path and Identity(job.size_bytes, job.mtime_ns) == self.identity


@dataclass(frozen=True, slots=True)
class _Known:
    """Jobs that may stand for an export, in their order.

    `own` are those of `load` commands, unfinished or of a command that has not come to its end; `latest` is the last
    job of the ledger, whichever way it came. `marks` says of which jobs the ledger keeps that they are of such
    a command, and whether it said `--again`.
    """

    own: tuple[JobRecord, ...]
    latest: JobRecord | None
    marks: dict[str, bool]


async def enter_command(command: Command, state: State, settings: ExportSettings, now: datetime) -> list[JobRecord]:
    """The jobs of a command in the order of its exports; where none stands for an export yet, one is entered.

    A job stands for an export if it came by the same route, was not abandoned, and

    - is unfinished, or of a command that was cut off, and was entered for this file as it is now. If it has read the
      file to its end, the same content will do; or
    - is the latest of all, and has read the same content from whichever file. Not so with `again`.

    The order of the command is kept, for later exports win: a job does not stand for an export if it comes before that
    of an export named earlier. So what is named behind an export that is entered is entered too.
    """
    named = [await _name(path, state.host) for path in command.exports]
    contents = _Contents(state.host.open_export)
    known = await state.in_turn(_known, state.ledger, command)
    found: list[JobRecord] = []
    new: list[_Named] = []
    before: _Named | None = None
    for export in named:
        if before is not None and not command.again and await contents.are_the_same(before, export):
            continue
        before = export
        job = None if new else await _job_for(export, known, found, contents)
        if job is None:
            new.append(export)
            continue
        found.append(job)
        if job.report is not None:
            log.warning("export_not_sent", export=export.path.name, same_as=job.job_id, to_send_it="--again")
    records = _records(new, command.route, settings, now)
    marks = {job.job_id: command.again or known.marks.get(job.job_id, False) for job in (*found, *records)}
    return [*found, *await state.in_turn(state.ledger.begin_command, records, marks, _outdated(known.own, named))]


class _Contents:
    """What is in files, each read once only."""

    def __init__(self, open_export: OpenExport) -> None:
        self._open_export = open_export
        self._digests: dict[_Named, str | None] = {}

    async def are_the_same(self, one: _Named, other: _Named) -> bool:
        """Whether two exports have the same content."""
        if one == other:
            return True
        if one.identity.size_bytes != other.identity.size_bytes:
            return False
        digests = await self._digest(one), await self._digest(other)
        return None not in digests and digests[0] == digests[1]

    async def are_those_of(self, export: _Named, job: JobRecord) -> bool:
        """Whether a job that has read its export to the end has read the same."""
        if export.identity.size_bytes != job.size_bytes or not (job.report or job.checkpoint.has_ended):
            return False
        return await self._digest(export) == (job.sha256 or job.checkpoint.digest)

    async def _digest(self, export: _Named) -> str | None:
        if export not in self._digests:
            try:
                self._digests[export] = await digest(export.path, self._open_export)
            except InputError:
                # The load itself will meet the same error, and report it.
                self._digests[export] = None
        return self._digests[export]


async def _name(path: Path, host: Host) -> _Named:
    try:
        identity = await identify(path)
    except InputError:
        # Its job will say so when it runs.
        identity = Identity(0, 0)
    return _Named(await host.run_blocking(path.absolute), identity)


def _known(ledger: Ledger, command: Command) -> _Known:
    """What of the ledger may stand for the exports of a command. Blocks."""
    marks = ledger.marks_of_commands()
    unfinished = {job.job_id: job for job in ledger.jobs(unfinished_only=True)}
    ended = (ledger.job(job_id) for job_id, again in marks.items() if again or not command.again)
    marked = {job.job_id: job for job in ended if job is not None}
    own = [
        job
        for job in {**marked, **unfinished}.values()
        # Retries and drops are others, whatever they contain; but those may be marked as the latest job of a command.
        if _may_stand(job, command) and (job.job_id in marks or (job.claim is None and job.retry_of is None))
    ]
    latest = None if command.again else ledger.latest_job()
    return _Known(
        tuple(sorted(own, key=lambda job: job.seq)),
        latest if latest is not None and _may_stand(latest, command) else None,
        marks,
    )


def _may_stand(job: JobRecord, command: Command) -> bool:
    return job.route == command.route and not job.is_abandoned


async def _job_for(export: _Named, known: _Known, found: Sequence[JobRecord], contents: _Contents) -> JobRecord | None:
    """The first job that stands for an export, behind those that were found for the exports before it."""
    behind = found[-1].seq if found else 0
    for job in known.own:
        is_behind_of_that_name = job.seq > behind and job.export == export.path
        if is_behind_of_that_name and (export.is_that_of(job) or await contents.are_those_of(export, job)):
            return job
    latest = known.latest
    if latest is not None and latest.seq > behind and await contents.are_those_of(export, latest):
        return latest
    return None


def _records(exports: Iterable[_Named], route: str, settings: ExportSettings, now: datetime) -> list[JobRecord]:
    records: dict[str, JobRecord] = {}
    for export in exports:
        while (job_id := new_job_id(export.path, now)) in records:
            pass
        values = settings.model_dump(mode="json")
        records[job_id] = JobRecord.new(job_id, export.path, export.identity, values, now, route=route)
    return list(records.values())


def _outdated(jobs: Iterable[JobRecord], named: Iterable[_Named]) -> list[str]:
    """Jobs whose files are others by now, as this command shows: they will stand for nothing any more."""
    paths = {export.path: export for export in named}
    return [job.job_id for job in jobs if job.export in paths and not paths[job.export].is_that_of(job)]
