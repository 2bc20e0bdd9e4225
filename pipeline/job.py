"""One job: an export on its way through, and where everything about it lies."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.core.progress import Progress
from pipeline.edges.clock import Clock
from pipeline.edges.reports import JobFolder
from pipeline.edges.spool import Spool
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one job share. `salt` is that of its id hashes."""

    job_id: str
    export: Path
    settings: Settings
    folder: JobFolder
    spool: Spool
    progress: Progress
    clock: Clock
    salt: int


def new_job_id(export: Path, now: datetime) -> str:
    """Such as `20261123T021400Z-customers-3f2a`: sorts by time, says what it is about, and is not taken yet."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", export.stem).strip("-").lower()[:40] or "export"
    return f"{now:%Y%m%dT%H%M%SZ}-{stem}-{secrets.token_hex(2)}"


def open_job(export: Path, settings: Settings, clock: Clock) -> Job:
    """Begin a job in the state directory. Blocks; raises `FatalError` (74) where the directory cannot be written."""
    job_id = new_job_id(export, clock.utc_now())
    state = settings.state.directory
    folder = JobFolder(state / "jobs" / job_id)
    spool = Spool(state / "spool" / job_id, min_free_bytes=settings.state.min_free_bytes)
    return Job(job_id, export, settings, folder, spool, Progress(), clock, secrets.randbits(64))
