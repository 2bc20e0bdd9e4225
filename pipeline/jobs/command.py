"""Finds the jobs for the exports of one `load` command, and enters those that are missing.

A command is a unit, as a drop is. One transaction enters all of its exports that have no job yet, in the order of the
command line, before any of them is read. The ledger marks the jobs of a command until the command ends. So the same
command, run again after it was cut off, goes on with those jobs and enters none.
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
    """A `load` command: its exports in order, and their route; `again` loads those that were loaded before too."""

    exports: tuple[Path, ...]
    route: str
    again: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """An export of the command line, with its absolute path; if it cannot be read, its size and time are 0."""

    path: Path
    identity: Identity

    def is_that_of(self, job: JobRecord) -> bool:
        """True if the job was entered for this file, and the file has not changed since."""
        return job.export == self.path and job.identity.agrees_with(self.identity)


@dataclass(frozen=True, slots=True)
class _Known:
    """Jobs that may stand for an export, in their order.

    `own`: jobs of `load` commands that are unfinished, or whose command has not ended.
    `latest`: the last job of the ledger, whichever way it came.
    `marks`: id of each job whose command has not ended -> True if that command said `--again`.
    """

    own: tuple[JobRecord, ...]
    latest: JobRecord | None
    marks: dict[str, bool]


async def enter_command(command: Command, state: State, settings: ExportSettings, now: datetime) -> list[JobRecord]:
    """The jobs of a command, in the order of its exports; an export that no job stands for gets a new one.

    A job stands for an export if it came by the same route, was not abandoned, and

    - is unfinished, or of a command that was cut off, and was entered for this file as it is now. If it has read the
      file to its end, a file of that name with the same content will do; or
    - is the latest of all, and has read the same content from any file. Not so with `again`.

    Later exports win, so order matters: a job that comes before the job of an export named earlier does not stand. So
    all exports named after a new one are new too. Of neighbours with the same content one is loaded, unless `again`.
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
    """The digests of files, each file read once only."""

    def __init__(self, open_export: OpenExport) -> None:
        self._open_export = open_export
        self._digests: dict[_Named, str | None] = {}

    async def are_the_same(self, one: _Named, other: _Named) -> bool:
        """True if two exports have the same content."""
        if one == other:
            return True
        if one.identity.size_bytes != other.identity.size_bytes:
            return False
        digests = await self._digest(one), await self._digest(other)
        return None not in digests and digests[0] == digests[1]

    async def are_those_of(self, export: _Named, job: JobRecord) -> bool:
        """True if the job has read its export to the end, and read the same content."""
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
    """The jobs of the ledger that may stand for the exports of a command. Blocks."""
    marks = ledger.marks_of_commands()
    unfinished = {job.job_id: job for job in ledger.jobs(unfinished_only=True)}
    ended = (ledger.job(job_id) for job_id, again in marks.items() if again or not command.again)
    marked = {job.job_id: job for job in ended if job is not None}
    own = [
        job
        for job in {**marked, **unfinished}.values()
        # Retries and drops do not stand, unless marked: a command may have found one as the latest job.
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
    """The first job that stands for an export, among those that come after the jobs in `found`."""
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
    """The ids of jobs whose file, named by this command, has changed since: they stand for no export any more."""
    paths = {export.path: export for export in named}
    return [job.job_id for job in jobs if job.export in paths and not paths[job.export].is_that_of(job)]
