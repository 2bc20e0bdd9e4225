"""One job: an export on its way through, and what its steps share."""

import re
import secrets
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.retry_policy import RetryPolicy
from pipeline.core.display.counts import Counts
from pipeline.core.errors import ExitCode, InputError, PipelineError
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.core.values.row_steps import RowSteps
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Export, Identity, Parts
from pipeline.edges.host import Host, OpenExport, RunBlocking
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import JobRecord, SetAside
from pipeline.edges.store.salt_file import read_salt, salt_digest
from pipeline.edges.store.spool import Spool
from pipeline.edges.store.state import State
from pipeline.jobs.ending import Ending
from pipeline.settings.sections.engine import UploadSettings
from pipeline.settings.sections.export import OF_A_JOB, ExportSettings
from pipeline.settings.sections.mapping import NO_MAPPING, MappingSettings
from pipeline.settings.settings import Settings

#: The key of a job's settings that holds its [mapping] section; all others are those of [export].
_MAPPING = "mapping"


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the steps of one job share.

    `settings` are the current ones. `export` and `mapping` are the sections with which the job began, the only ones it
    obeys.
    `ending` is the end of this job; `ending.changed` wakes its tasks. `in_flight` is shared by all running jobs.
    `aside`: why it was set aside, if it was: then it is only brought to its end.
    """

    record: JobRecord
    export: ExportSettings
    settings: Settings
    state: State
    folder: JobFolder
    progress: Progress
    ending: Ending
    in_flight: InFlight
    mapping: MappingSettings = NO_MAPPING
    aside: SetAside | None = None

    @property
    def host(self) -> Host:
        """The machine the job runs on."""
        return self.state.host

    @property
    def clock(self) -> Clock:
        """The clock of that machine."""
        return self.host.clock

    @property
    def counts(self) -> Counts:
        """The counts of its client code."""
        return self.host.counts[self.settings.target.client_code]

    @property
    def earlier_settings(self) -> list[str]:
        """The keys of [export] in which the configuration is not that of the beginning; and `mapping` if it is not."""
        if self.record.retry_of is not None:
            # The export of a retry is written by this program.
            return []
        now, then = self.settings.export, self.export
        keys = [key for key in ExportSettings.model_fields if getattr(now, key) != getattr(then, key)]
        return keys if self.settings.mapping.of_a_job == self.mapping.of_a_job else [*keys, _MAPPING]

    @property
    def digested(self) -> Digested:
        """The parameters and the salt by which its rows are digested."""
        return Digested(self.progress.checkpoint.parameters, self.state.ledger.salt)

    @property
    def spool(self) -> Spool:
        """The spool of the state directory."""
        return self.state.spool


def opens_export(record: JobRecord, host: Host) -> OpenExport:
    """The way to open the export of a job: one that was dropped lies in a directory that others might replace."""
    opened = host.open_export if record.claim is None else host.drops.open_export
    if not record.parts:
        return opened

    def open_parts(path: Path, encoding: str | None = None, _: Parts = (), /) -> AbstractAsyncContextManager[Export]:
        return opened(path, encoding, record.parts)

    return open_parts


def settings_of_a_job(export: ExportSettings, mapping: MappingSettings) -> dict[str, Any]:
    """The sections that a job obeys from its beginning to its end, as plain values for the ledger."""
    values = export.model_dump(mode="json")
    return {**values, _MAPPING: mapping.of_a_job} if mapping.does_anything else values


def export_settings(record: JobRecord) -> ExportSettings:
    """The [export] section with which a job began; keys of later versions have their defaults."""
    values = {key: value for key, value in record.settings.items() if key != _MAPPING}
    return ExportSettings.model_validate(values, context=OF_A_JOB)


def mapping_settings(record: JobRecord) -> MappingSettings:
    """The [mapping] section with which a job began; without steps, if an earlier version entered it."""
    return MappingSettings.model_validate(record.settings.get(_MAPPING, {}))


def source_name(record: JobRecord, export: ExportSettings) -> str:
    """The name by which the memory knows where an id came from: the route, and the kind of its ids."""
    return f"{record.route} {export.id_kind}"


def is_mapped(record: JobRecord) -> bool:
    """True if a job began with a [mapping] that does anything."""
    return _MAPPING in record.settings


async def digest_of_salt(mapping: MappingSettings, run_blocking: RunBlocking) -> str:
    """The digest of the salt that a mapping uses, empty if none. Raises `FatalError` (78) if it cannot be read."""
    salt = await salt_of(mapping, run_blocking)
    return salt_digest(salt) if salt else ""


async def steps_of(job: Job) -> RowSteps:
    """The steps for the rows of a job.

    Raises `FatalError` (78) for a salt that cannot be read, and `InputError` (65) for another than the job began with.
    """
    begun_with = job.progress.checkpoint.salt
    return await steps_as_begun(job.state, job.record, job.mapping, begun_with)


async def steps_as_begun(state: State, record: JobRecord, mapping: MappingSettings, begun_with: str) -> RowSteps:
    """The steps of a mapping for the rows of a job. `begun_with`: the digest of the salt; else as `steps_of`."""
    salt = await salt_of(mapping, state.host.run_blocking)
    if mapping.is_salted and salt_digest(salt) != begun_with:
        raise InputError(
            f"the salt in [mapping] salt_file {printable(str(mapping.salt_file))} is not the one that this job "
            "began with, so the rest of its rows would get other hashes: nothing more is sent. Load the export again, "
            "and keep the salt for ever."
        )
    origin = await state.in_turn(root_of, state, record)
    return mapping.steps(salt, told_of_job(origin or record))


async def steps_of_now(mapping: MappingSettings, name: str, identity: Identity, run_blocking: RunBlocking) -> RowSteps:
    """The steps for the rows of a file that no job loads yet. Raises `FatalError` (78) as `steps_of` does."""
    return mapping.steps(await salt_of(mapping, run_blocking), told_of(name, identity))


def root_of(state: State, job: JobRecord | None) -> JobRecord | None:
    """The job whose rows a job sends: of a retry that of the first one; else itself. Blocks."""
    while job is not None and job.retry_of is not None:
        job = state.ledger.job(job.retry_of)
    return job


def told_of_job(record: JobRecord) -> dict[str, str]:
    """The facts of a job's export for [mapping] from_export: the same however often the job is run.

    Of a retry they are those of the job whose rows it sends, which `root_of` finds.
    """
    dated = record.claim.as_of if record.claim else None
    return told_of(record.export.name, record.identity, dated)


def told_of(name: str, identity: Identity, dated: str | None = None) -> dict[str, str]:
    """The same of a file. `dated`: the date that [drop] as_of found in its name."""
    changed = datetime.fromtimestamp(identity.mtime_ns // 10**9, UTC).date().isoformat()
    return {"name": printable(name), "date": dated or changed}


async def salt_of(mapping: MappingSettings, run_blocking: RunBlocking) -> bytes:
    """The salt that a mapping uses; empty if none. Raises `FatalError` (78) if it cannot be read."""
    if not mapping.is_salted or mapping.salt_file is None:
        return b""
    return await run_blocking(read_salt, mapping.salt_file)


def retry_policy_of(upload: UploadSettings) -> RetryPolicy:
    """The retry policy that the [upload] section asks for."""
    return RetryPolicy(
        attempts=upload.attempts,
        backoff_s=upload.backoff_s,
        backoff_max_s=upload.backoff_max_s,
        give_up_after_s=upload.give_up_after_s,
    )


def new_job_ids(exports: Iterable[Path], now: datetime, ledger: LedgerReader) -> list[str]:
    """New ids, one for each export, such as `20261123T021400Z-customers-3f2a`: each sorts by time and names its export.

    It ends in 16 random bits, or in more where another job has it already: exports of one second may be alike.
    """
    job_ids: dict[str, None] = {}
    for export in exports:
        stem = re.sub(r"[^A-Za-z0-9]+", "-", export.stem).strip("-").lower()[:40] or "export"
        tries = (f"{now:%Y%m%dT%H%M%SZ}-{stem}-{secrets.token_hex(octets)}" for octets in count(2))
        job_ids[next(each for each in tries if each not in job_ids and ledger.job(each) is None)] = None
    return list(job_ids)


def check_rejects(job: Job, *, is_final: bool) -> None:
    """Raise `InputError` if more rows were rejected so far than [export] max_rejects allows."""
    checkpoint = job.progress.checkpoint
    if job.export.max_rejects.is_exceeded(checkpoint.faulty, checkpoint.read, final=is_final):
        raise too_many_rejects(job, checkpoint.faulty, checkpoint.read)


def too_many_rejects(job: Job, rejected: int, read: int, *, by_target: int = 0) -> InputError:
    """The error for a job with more rejected rows than [export] max_rejects allows.

    `by_target` of them were refused by Target: then the export was read to its end, and all its other rows were sent.
    """
    are = "is" if rejected == 1 else "are"
    allowed = f"more than [export] max_rejects = {job.export.max_rejects} allows"
    if by_target:
        return InputError(
            f"{rejected:,} of the {counted(read, 'row')} {are} rejected, {by_target:,} of them by Target, {allowed}; "
            f"all others were sent. See {job.folder.rejects}."
        )
    checkpoint = job.progress.checkpoint
    places = checkpoint.places(job.record.export.name)
    first = "; ".join(f"{places.told(line)}: {reason}" for line, reason in checkpoint.first_rejects)
    return InputError(
        f"{rejected:,} of the {counted(read, 'row')} read {are} rejected, {allowed}. First: {first}. All are in "
        f"{job.folder.rejects}."
    )


def unknown_job(job_id: str) -> PipelineError:
    """The error for a job that the ledger does not know."""
    return PipelineError(f"there is no job {job_id!r}; `status` lists them.", exit_code=ExitCode.USAGE)
