"""One job: an export on its way through, and what its steps share."""

import re
import secrets
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from pipeline.core.batches.in_flight import InFlight
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.retry_policy import RetryPolicy
from pipeline.core.errors import ExitCode, InputError, PipelineError
from pipeline.core.plural import counted
from pipeline.edges.clock import Clock
from pipeline.edges.exports import Export, Parts
from pipeline.edges.host import Host, OpenExport
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import JobRecord, SetAside
from pipeline.edges.store.spool import Spool
from pipeline.edges.store.state import State
from pipeline.jobs.ending import Ending
from pipeline.settings.export_section import OF_A_JOB, ExportSettings
from pipeline.settings.sections import UploadSettings
from pipeline.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the steps of one job share.

    `settings` are the current ones. `export` is the [export] section with which the job began, the only one it obeys.
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
    def earlier_settings(self) -> list[str]:
        """The keys of [export] in which the configuration differs now from that with which the job began."""
        if self.record.retry_of is not None:
            # The export of a retry is written by this program.
            return []
        now, then = self.settings.export, self.export
        return [key for key in ExportSettings.model_fields if getattr(now, key) != getattr(then, key)]

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


def export_settings(record: JobRecord) -> ExportSettings:
    """The [export] section with which a job began; keys of later versions have their defaults."""
    return ExportSettings.model_validate(record.settings, context=OF_A_JOB)


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
