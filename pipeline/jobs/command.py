"""Finds the jobs for the exports of one `load` command, and enters those that are missing.

A command is a unit, as a drop is. One transaction enters all of its exports that have no job yet, in the order of the
command line, before any of them is read. The ledger marks the jobs of a command until the command ends. So the same
command, run again after it was cut off, goes on with those jobs and enters none.

An export that was loaded already gets no job, and neither does one that cannot be read: a report says so.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from errno import EACCES
from os import R_OK, access, strerror
from os.path import isdir
from pathlib import Path
from typing import Any

import structlog

from pipeline.core.batches.report import Report
from pipeline.core.drop.signals import GROUP_SIGNAL, shown
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.printable import printable
from pipeline.edges.exports import (
    Export,
    FoundParts,
    Identity,
    Parts,
    digest,
    find_parts,
    identify,
    identity_of,
    path_of,
)
from pipeline.edges.host import Host, OpenExport
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import JobRecord, Loaded
from pipeline.edges.store.state import State
from pipeline.jobs.job import digest_of_salt, new_job_ids, settings_of_a_job, told_of, told_of_job
from pipeline.jobs.report import report_without_job, target_of
from pipeline.jobs.row_source import measure
from pipeline.jobs.row_source.manifest_checks import check_measures
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sending import sending_digest
from pipeline.settings.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Command:
    """A `load` command: its exports in order, and their route; `again` loads those that were loaded before too.

    `only_retries`: no unfinished job is gone on with but retries that come first, as a `retry` asks for.
    """

    exports: tuple[Path, ...]
    route: str
    again: bool
    only_retries: bool = False


#: For each export of a command its job; or where none is run for it, the report that says why.
Entered = list[JobRecord | Report]


@dataclass(frozen=True, slots=True)
class Named:
    """An export of the command line with its absolute path. With an `error` it cannot be read, and has no identity.

    `found`: what was found in it, if it is a directory; `path` lies beside its files then.
    """

    place: int
    path: Path
    identity: Identity
    error: InputError | None = None
    found: FoundParts = field(default_factory=FoundParts)

    @property
    def parts(self) -> Parts:
        """Its files, if it is a directory."""
        return self.found.parts

    def is_that_of(self, job: JobRecord) -> bool:
        """True if the job was entered for this file, and the file has not changed since; it may have vanished."""
        return self.is_named_by(job) and (self.error is not None or self._is_as_in(job))

    def is_named_by(self, job: JobRecord) -> bool:
        """True if the job goes by this path; by that of a directory too that has vanished, or cannot be read now."""
        return job.export == self.path or (self.error is not None and job.export == path_of(self.path))

    def _is_as_in(self, job: JobRecord) -> bool:
        if [part.name for part in job.parts] != [part.name for part in self.parts]:
            return False
        each = zip(job.parts, self.parts, strict=True)
        return job.identity.agrees_with(self.identity) and all(
            then.identity.agrees_with(now.identity) for then, now in each
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """Jobs that may stand for an export, in their order.

    `own`: jobs of `load` commands that are unfinished, or whose command has not ended.
    `marks`: id of each job whose command has not ended -> True if that command said `--again`.
    """

    own: tuple[JobRecord, ...]
    marks: dict[str, bool]


async def enter_command(command: Command, state: State, settings: Settings, now: datetime) -> Entered:
    """The jobs of a command, in the order of its exports; an export that no job stands for gets a new one.

    A job stands for an export if it came by the same route, was not abandoned, and

    - is unfinished, or of a command that was cut off, and was entered for this file as it is now. If it has read the
      file to its end, a file of that name with the same content will do. A job that has not begun begins with the
      settings of now; one that has ended stands only if it ended with these; or
    - is done, with the same content from any file and the same settings (`sending_digest`), and no job has sent
      anything after it but those that stand for the exports named behind. Not so with `again`, nor with [memory] send =
      "changes", where each row is judged by itself.

    Later exports win, so order matters: a job that comes before the job of an export named earlier does not stand. So
    all exports named after a new one are new too. Of neighbours with the same content one is loaded, unless `again`.
    An export that cannot be read gets no job, unless it had one before.
    """
    named = [await name_export(place, path, state.host, is_told=True) for place, path in enumerate(command.exports)]
    named = [await _as_said(each, settings.export, state.host) for each in named]
    contents = _Contents(state.host.open_export)
    known = await state.in_turn(_known, state.ledger, command)
    twins = {} if command.again else await _twins(named, contents)
    salt = await digest_of_salt(settings.mapping, state.host.run_blocking)
    search = _Search(command, state, settings, known, contents, salt)
    stands = await search.stands([each for each in named if each.place not in twins])
    new = [each for each in named if not (each.place in stands or each.place in twins or each.error)]
    job_ids = await state.in_turn(new_job_ids, [each.path for each in new], now, state.ledger)
    records = [
        JobRecord.new(job_id, each.path, each.identity, search.values, now, route=command.route, parts=each.found.parts)
        for job_id, each in zip(job_ids, new, strict=True)
    ]
    kept = [job for job in stands.values() if isinstance(job, JobRecord)]
    marks = {job.job_id: command.again or known.marks.get(job.job_id, False) for job in (*kept, *records)}
    anew = {job.job_id: search.values for job in kept if search.is_to_begin_anew(job)}
    entered = await state.in_turn(state.ledger.begin_command, records, marks, _outdated(known.own, named), anew)
    jobs = stands | {each.place: job for each, job in zip(new, entered, strict=True)}
    loaded = [job.job_id for job in stands.values() if isinstance(job, Loaded)]
    targets = await state.in_turn(_targets, state.ledger, loaded)
    about = _About(settings, target_of(settings, state.host), targets, now, twins)
    return [about.told_of(each, jobs.get(twins.get(each.place, each.place))) for each in named]


@dataclass(frozen=True, slots=True)
class _About:
    """The facts from which exports without a job get their reports.

    `target`: where they would be sent. `targets`: by the id of a job that has loaded the same, where it sent it.
    """

    settings: Settings
    target: str
    targets: dict[str, str]
    now: datetime
    twins: dict[int, int]

    def told_of(self, export: Named, job: JobRecord | Loaded | None) -> JobRecord | Report:
        """The job of an export, or the report that it gets instead of one."""
        if isinstance(job, JobRecord) and export.place not in self.twins:
            if job.report is not None:
                log.warning("export_not_sent", export=shown(export.path.name), same_as=job.job_id, to_send_it="--again")
            return job
        name = export.path.name
        if job is None:
            return report_without_job(name, 0, self.settings, self.now, target=self.target, error=export.error)
        log.warning("export_not_sent", export=shown(name), same_as=job.job_id, to_send_it="--again")
        target = self.targets.get(job.job_id) or self.target
        size_bytes = export.identity.size_bytes
        return report_without_job(name, size_bytes, self.settings, self.now, target=target, same_as=job.job_id)


class _Contents:
    """The digests of files, each file read once only."""

    def __init__(self, open_export: OpenExport) -> None:
        self._open_export = open_export
        self._digests: dict[tuple[Path, Identity], str | None] = {}

    async def are_the_same(self, one: Named, other: Named) -> bool:
        """True if two exports have the same content."""
        if one.path == other.path:
            return True
        if one.identity.size_bytes != other.identity.size_bytes:
            return False
        digests = await self.digest(one), await self.digest(other)
        return None not in digests and digests[0] == digests[1]

    async def are_those_of(self, export: Named, job: JobRecord) -> bool:
        """True if the job has read its export to the end, and read the same content."""
        if export.identity.size_bytes != job.size_bytes or not (job.report or job.checkpoint.has_ended):
            return False
        return await self.digest(export) == (job.sha256 or job.checkpoint.digest)

    async def digest(self, export: Named) -> str | None:
        """The SHA-256 of an export; None if it cannot be read."""
        file = export.path, export.identity
        if file not in self._digests:
            try:
                self._digests[file] = await digest(export.path, self._open_export, export.parts)
            except InputError:
                # The load itself will meet the same error, and report it.
                self._digests[file] = None
        return self._digests[file]


class _Search:
    """Looks for the jobs that stand for the exports of a command.

    `values`: the sections of now that a job would obey, as JSON. `salt`: the digest of the salt of now.
    """

    def __init__(
        self, command: Command, state: State, settings: Settings, known: _Known, contents: _Contents, salt: str
    ) -> None:
        self.values: dict[str, Any] = settings_of_a_job(settings.export, settings.mapping)
        self._command = command
        self._state = state
        self._known = known
        self._contents = contents
        self._settings = settings
        self._salt = salt

    def is_to_begin_anew(self, job: JobRecord) -> bool:
        """True if the job has not begun, and was entered with other settings than those of now."""
        return job.state is None and not job.has_begun and job.settings != self.values

    async def stands(self, exports: Sequence[Named]) -> dict[int, JobRecord | Loaded]:
        """The jobs that stand for the first of the exports that can be read, by place; all behind those are new."""
        stands: dict[int, JobRecord | Loaded] = {}
        behind = 0
        for export in exports:
            job = await self._own(export, behind) or await self._loaded(export, behind)
            if job is not None:
                stands[export.place], behind = job, job.seq
            elif export.error is None:
                break
        return await self._covered(stands, {each.place: each for each in exports})

    async def _own(self, export: Named, behind: int) -> JobRecord | None:
        """The first job of this command, or of one that was cut off, that stands for an export."""
        for job in self._known.own:
            is_of_that_name = job.seq > behind and export.is_named_by(job)
            if not is_of_that_name or not (job.state is None or self._is_by_settings_of_now(job)):
                continue
            if export.is_that_of(job) or await self._contents.are_those_of(export, job):
                return job
        return None

    def _is_by_settings_of_now(self, job: JobRecord) -> bool:
        # An earlier version did not say where it sent to.
        sending = sending_digest(self._settings, salt=self._salt, told=told_of_job(job))
        return job.settings == self.values and job.checkpoint.sending in ("", sending)

    async def _loaded(self, export: Named, behind: int) -> Loaded | None:
        """The latest job that has loaded the content of an export by the settings of now."""
        if self._command.again or export.error is not None:
            return None
        if self._settings.memory.send == "changes":
            # What was sent too long ago is due again though nothing was changed: that is judged row by row.
            return None
        of_that_size = await self._state.in_turn(self._state.ledger.loaded, export.identity.size_bytes)
        content = await self._contents.digest(export) if of_that_size else None
        same = [job for job in of_that_size if job.sha256 == content and job.route == self._command.route]
        told = told_of(export.path.name, export.identity)
        sending = sending_digest(self._settings, salt=self._salt, told=told)
        for job in same:
            if job.seq > behind and job.sending == sending:
                return job
        if by_these := [job for job in same if job.sending == sending]:
            _say_why_sent(export, by_these[0], "what is named before it was loaded after it")
        elif same:
            known = "with other settings" if same[0].sending else "by an earlier version, with settings it did not note"
            _say_why_sent(export, same[0], f"it was loaded {known}")
        return None

    async def _covered(
        self, stands: dict[int, JobRecord | Loaded], exports: dict[int, Named]
    ) -> dict[int, JobRecord | Loaded]:
        """The first of these, up to one whose values others have overtaken since: it is to be loaded again."""
        kept: dict[int, JobRecord | Loaded] = {}
        for place, job in stands.items():
            if isinstance(job, Loaded):
                later = {other.seq for other in stands.values() if other.seq > job.seq}
                if not await self._state.in_turn(self._state.ledger.may_send_after, job.seq) <= later:
                    _say_why_sent(exports[place], job, "others were loaded after it")
                    break
            kept[place] = job
        return kept


def _say_why_sent(export: Named, job: Loaded, why: str) -> None:
    log.info("export_sent_again", export=shown(export.path.name), loaded_by=job.job_id, why=why)


async def name_export(place: int, path: Path, host: Host, *, is_told: bool = False) -> Named:
    """An export as the command line names it, and the error if it cannot be read.

    `is_told`: the log says which files of a directory are no parts.
    """
    error: InputError | None = None
    identity, found = Identity(0, 0), FoundParts()
    try:
        if await host.run_blocking(isdir, path):
            found = await host.run_blocking(find_parts, path)
            if is_told:
                _say_left_out(path, found)
        identity = identity_of(found.parts) if found.parts else await identify(path)
    except InputError as unreadable:
        error = unreadable
    return await host.run_blocking(_named, place, path, identity, found, error)


def _say_left_out(directory: Path, listed: FoundParts) -> None:
    if listed.unlisted:
        log.warning(
            "unlisted_files_left_out",
            export=shown(directory.name),
            files=len(listed.unlisted),
            first=shown(listed.unlisted[0]),
            lists=[*map(shown, listed.beside)],
        )


async def _as_said(export: Named, settings: ExportSettings, host: Host) -> Named:
    """The same export; of a directory that is not as the manifest in it says, with an error instead of its files."""
    manifest = export.found.manifest
    if export.error is not None or not manifest.describes:
        return export

    def opened(path: Path, encoding: str | None = None, _: Parts = ()) -> AbstractAsyncContextManager[Export]:
        return host.open_export(path, encoding, export.parts)

    try:
        measured = await measure(export.path, opened, settings, host.run_blocking)
    except InputError:
        # The load itself will meet the same error, and report it.
        return export
    try:
        signal = f"{export.path.name}/{GROUP_SIGNAL}"
        check_measures(signal, manifest, measured, has_header=settings.header)
    except InputError as differing:
        return Named(export.place, export.path, Identity(0, 0), differing)
    return export


def _named(place: int, path: Path, identity: Identity, found: FoundParts, error: InputError | None) -> Named:
    named = Named(place, path_of(path) if found.parts else path.absolute(), identity, error, found)
    files = [named.path.parent / part.name for part in named.parts] or [named.path]
    forbidden = [path for path in files if named.error is None and not access(path, R_OK)]
    if not forbidden:
        return named
    text = f"cannot read the export {printable(str(forbidden[0]))}: {strerror(EACCES)}."
    error = InputError(text, exit_code=ExitCode.EXPORT_MISSING)
    return Named(named.place, named.path, Identity(0, 0), error)


async def _twins(named: Sequence[Named], contents: _Contents) -> dict[int, int]:
    """The places of exports with the content of the one before -> the place of the first of them."""
    twins: dict[int, int] = {}
    before: Named | None = None
    for export in named:
        if export.error is not None:
            continue
        if before is not None and await contents.are_the_same(before, export):
            twins[export.place] = before.place
        else:
            before = export
    return twins


def _targets(ledger: LedgerReader, job_ids: Iterable[str]) -> dict[str, str]:
    """The targets in the reports of these jobs, by job. Blocks."""
    records = map(ledger.job, job_ids)
    return {job.job_id: job.report.target for job in records if job is not None and job.report is not None}


def _known(ledger: LedgerReader, command: Command) -> _Known:
    """The jobs of the ledger that may stand for the exports of a command. Blocks."""
    marks = ledger.marks_of_commands()
    unfinished = {job.job_id: job for job in ledger.jobs(unfinished_only=True)}
    ended = (ledger.job(job_id) for job_id, again in marks.items() if again or not command.again)
    marked = {job.job_id: job for job in ended if job is not None}
    own = [
        job
        for job in {**marked, **unfinished}.values()
        # Retries and drops do not stand, unless an earlier version marked them.
        if _may_stand(job, command) and (job.job_id in marks or (job.claim is None and job.retry_of is None))
    ]
    return _Known(tuple(sorted(own, key=lambda job: job.seq)), marks)


def _may_stand(job: JobRecord, command: Command) -> bool:
    return job.route == command.route and not job.is_abandoned


def _outdated(jobs: Iterable[JobRecord], named: Iterable[Named]) -> list[str]:
    """The ids of jobs whose file, named by this command, has changed since: they stand for no export any more."""
    paths = {export.path: export for export in named}
    return [job.job_id for job in jobs if job.export in paths and not paths[job.export].is_that_of(job)]
