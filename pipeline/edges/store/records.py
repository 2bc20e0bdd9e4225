"""The ledger's records of jobs and batches."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import Fact, Released, Taken
from pipeline.core.batches.report import SANDBOX, LastRun, Report
from pipeline.core.drop.claim import Claim
from pipeline.core.model import Batch
from pipeline.core.plain import of_plain
from pipeline.edges.exports import Identity, PartFile

#: The name of the export of a job that loads mended rows.
MENDED = "mended.csv"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the ledger knows it.

    `seq`: the place of the job among all jobs of the ledger.
    `export`: its file; with parts, `DIRECTORY/NAME`: they lie in DIRECTORY, and NAME is what the job goes by.
    `size_bytes`, `mtime_ns`, `inode`: the identity of its export; `inode` is None if an earlier version entered it. Of
    parts, the sum of their sizes, the latest time, and None.
    `settings`: those of the export with which the job began.
    `state`: None while the job is unfinished.
    `claim`: None if the export was not dropped.
    `route`: the name of the route by which the export came.
    `last_run`: the end of its latest run, if that left it unfinished and could be noted.
    `parts`: the files of an export that came as several, in the order in which they are read; else empty.
    """

    seq: int
    job_id: str
    export: Path
    size_bytes: int
    mtime_ns: int
    settings: dict[str, Any]
    started_at: str
    retry_of: str | None
    checkpoint: Checkpoint
    is_abandoned: bool = False
    state: str | None = None
    exit_code: int | None = None
    sha256: str | None = None
    report: Report | None = None
    claim: Claim | None = None
    route: str = "default"
    last_run: LastRun | None = None
    inode: int | None = None
    parts: tuple[PartFile, ...] = ()

    @classmethod
    def new(
        cls,
        job_id: str,
        export: Path,
        identity: Identity,
        settings: dict[str, Any],
        at: datetime,
        *,
        route: str = "default",
        retry_of: str | None = None,
        claim: Claim | None = None,
        parts: tuple[PartFile, ...] = (),
    ) -> "JobRecord":
        """A job that was asked for at the time `at` (UTC); it has not begun, and has no place among the others yet."""
        return cls(
            seq=0,
            job_id=job_id,
            export=export,
            size_bytes=identity.size_bytes,
            mtime_ns=identity.mtime_ns,
            inode=identity.inode,
            settings=settings,
            started_at=at.isoformat(timespec="seconds"),
            retry_of=retry_of,
            checkpoint=Checkpoint(),
            claim=claim,
            route=route,
            parts=parts,
        )

    @property
    def identity(self) -> Identity:
        """The export's size, time of last change and inode when the job was asked for."""
        return Identity(self.size_bytes, self.mtime_ns, self.inode)

    @property
    def sequence(self) -> int | None:
        """The sequence number of the drop that it came with, or None."""
        return self.claim.manifest.sequence if self.claim else None

    @property
    def seconds(self) -> float:
        """The duration of its runs so far, as far as it is durable."""
        return max(self.checkpoint.seconds, self.last_run.seconds if self.last_run else 0.0)

    @property
    def calls(self) -> int:
        """The calls to Target in its runs so far, as far as they are durable."""
        return max(self.checkpoint.calls, self.last_run.calls if self.last_run else 0)

    @property
    def was_in_sandbox(self) -> bool:
        """True if a sandbox stood in Target's place in the runs so far, as far as that is durable."""
        return self.last_run is not None and self.last_run.target == SANDBOX

    @property
    def refused_below_share(self) -> int:
        """The calls in its runs so far that Target refused though we had made few, as far as that is durable."""
        return self.last_run.refused_below_share if self.last_run else 0

    @property
    def is_of_mended(self) -> bool:
        """True if it loads rows that another job rejected, and somebody mended."""
        return self.retry_of is not None and self.export.name == MENDED

    @property
    def has_begun(self) -> bool:
        """True if part of the job is durable, besides the job itself."""
        return self.checkpoint.digest_bytes > 0


@dataclass(frozen=True, slots=True)
class SetAside:
    """A job that a bug has ended: nothing more of it is sent, and its next runs only end it.

    `why`: in our words.
    `is_followed`: what it had sent is followed to its end. If even that meets a bug, it ends without.
    """

    why: str
    is_followed: bool = True


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval of a job in quarantine. `by`: who asked for it, as that could be told; `at`: UTC in ISO 8601."""

    by: str
    at: str


#: The columns of `jobs` that are not worked out of others.
_COLUMNS = tuple(each.name for each in fields(JobRecord))
#: What makes of a value in a column of `jobs` that of the record, where they differ.
_READERS: dict[str, Callable[[Any], Any]] = {
    "export": Path,
    "is_abandoned": bool,
    "settings": orjson.loads,
    "checkpoint": lambda text: Checkpoint.from_dict(orjson.loads(text)),
    "report": lambda text: Report.from_json(orjson.loads(text)),
    "last_run": lambda text: of_plain(LastRun, orjson.loads(text)),
    "claim": lambda text: Claim.from_dict(orjson.loads(text)),
    "parts": lambda text: tuple(of_plain(PartFile, each) for each in orjson.loads(text)),
}


def job_of_row(row: sqlite3.Row) -> JobRecord:
    """The job in a row of the table `jobs`. Raises ValueError, KeyError or TypeError if it is damaged."""
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    for column, read in _READERS.items():
        if values[column] is not None:
            values[column] = read(values[column])
    return JobRecord(**values)


class RouteEnd(NamedTuple):
    """The end of a job that brought an export: its route, its state, the path of the export. Times are UTC, ISO 8601.

    `started_at`: when its export was taken.
    """

    job_id: str
    route: str
    export: str
    started_at: str
    finished_at: str
    state: str


class EndedJob(NamedTuple):
    """A job that has ended: its place among all jobs, its id, its route, and the time of its end (UTC in ISO 8601)."""

    seq: int
    job_id: str
    route: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job that is done: its place, its route, the digest of its content, and that of the settings it was sent by."""

    seq: int
    job_id: str
    route: str
    sha256: str
    sending: str


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as the ledger knows it, with its facts in order."""

    batch: Batch
    job: int
    facts: tuple[Fact, ...]
    #: The time at which each fact was recorded, UTC in ISO 8601.
    times: tuple[str, ...] = ()
    #: True while its ids are in flight, or its body may still be needed.
    is_open: bool = True

    @property
    def latest(self) -> Fact | None:
        """The latest fact that says how the batch stands; a release does not."""
        return next((fact for fact in reversed(self.facts) if not isinstance(fact, Released)), None)

    @property
    def accepted_at(self) -> datetime | None:
        """The time at which Target accepted it, the latest if there are several; None if it never did."""
        taken = [at for fact, at in zip(self.facts, self.times, strict=True) if isinstance(fact, Taken)]
        return datetime.fromisoformat(taken[-1]) if taken else None
