"""The ledger as it is read: questions about jobs and batches, beside the process that writes it or in it.

All methods block: call them from a worker thread, one at a time.
"""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pipeline.core.batches.fact_codec import fact_kind, make_fact
from pipeline.core.batches.lifecycle import NeverSent
from pipeline.core.batches.report import Report
from pipeline.core.drop.ordering import first_by_sequence
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.core.plain import of_plain
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.held_log import Held, replay
from pipeline.edges.store.ledger_file import SCHEMA_VERSION, check_mark, connect_to_read, damaged, is_there, using
from pipeline.edges.store.mark import mark_of, read_mark
from pipeline.edges.store.memory.catalog import MemoryCatalog, MemoryFile, Partition
from pipeline.edges.store.records import (
    Approval,
    BatchRecord,
    EndedJob,
    JobRecord,
    Loaded,
    RouteEnd,
    SetAside,
    job_of_row,
)
from pipeline.edges.store.row_sums import is_as_written

#: The key in `meta` for the marks of `load` commands.
COMMANDS = "commands"
#: The key in `meta` for what was learned of statuses.
LEARNED = "learned_statuses"
#: The key in `meta` for the unfinished jobs that were set aside.
SET_ASIDE = "set_aside"
#: The key in `meta` for the unfinished jobs that were in quarantine and may go on.
APPROVED = "approved"
#: The key in `meta` for what the memory remembers, and whether it lacks anything.
MEMORY = "memory"
#: Selects the dropped exports that are neither done nor incomplete, and of which rows were sent, or wait to be.
_SENT_IN_PART = (
    "FROM jobs INDEXED BY begun_drops WHERE drop_id IS NOT NULL AND NOT is_waiting"
    " AND (state IS NULL OR state NOT IN ('done', 'incomplete'))"
    " AND (EXISTS (SELECT 1 FROM batches WHERE batches.job = jobs.seq)"
    # All of its rows may wait for earlier jobs.
    " OR EXISTS (SELECT 1 FROM held WHERE held.job = jobs.seq))"
)
_LATEST_SEQUENCE = (
    "SELECT max(latest) FROM (SELECT max(sequence) AS latest FROM jobs INDEXED BY loaded_numbers"  # noqa: S608 - constants
    f" WHERE state IN ('done', 'incomplete') AND sequence IS NOT NULL UNION ALL SELECT max(sequence) {_SENT_IN_PART})"
)
_LATEST_AS_OF = (
    "SELECT max(latest) FROM (SELECT max(as_of) AS latest FROM jobs INDEXED BY loaded_dates"  # noqa: S608 - constants
    " WHERE state IN ('done', 'incomplete') AND as_of IS NOT NULL AND route = ?1"
    f" UNION ALL SELECT max(as_of) {_SENT_IN_PART} AND route = ?1)"
)
_Kept = TypeVar("_Kept")


class LedgerReader:
    """The ledger of a state directory, for questions only. `salt`: of all id hashes in it."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self.salt = int(self._meta("salt"))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # Jobs

    def job(self, job_id: str) -> JobRecord | None:
        """The job of this id, or None."""
        return next(self._jobs("WHERE job_id = ?", job_id), None)

    def job_at(self, seq: int) -> JobRecord | None:
        """The job at this place, or None."""
        return next(self._jobs("WHERE seq = ?", seq), None)

    def jobs(self, *, unfinished_only: bool = False) -> list[JobRecord]:
        """All jobs, or the unfinished ones, in their order."""
        unfinished = "INDEXED BY unfinished_jobs WHERE state IS NULL ORDER BY seq"
        return [*self._jobs(unfinished if unfinished_only else "ORDER BY seq")]

    def jobs_in_order(self, count: int) -> list[JobRecord]:
        """The first unfinished jobs, at most `count`, in the order in which they are to be loaded.

        Jobs that have begun come first, in the order they began; then the others, dropped ones by sequence number.
        """
        first = [
            *self._jobs("INDEXED BY unfinished_jobs WHERE state IS NULL ORDER BY is_waiting, turn, seq LIMIT ?", count)
        ]
        begun = [job for job in first if job.has_begun]
        waiting = first[len(begun) :]
        if not any(job.sequence is not None for job in waiting):
            return first
        numbered = self._jobs(
            "INDEXED BY numbered_jobs WHERE state IS NULL AND is_waiting AND sequence IS NOT NULL"
            " ORDER BY sequence, seq LIMIT ?",
            len(waiting),
        )
        return [*begun, *first_by_sequence(waiting, numbered, lambda job: job.sequence)]

    def begun_jobs(self) -> list[JobRecord]:
        """The unfinished jobs that have begun, in the order in which they began."""
        begun = "INDEXED BY unfinished_jobs WHERE state IS NULL AND is_waiting = 0 ORDER BY turn, seq"
        return [*self._jobs(begun)]

    def untaken_jobs(self) -> list[JobRecord]:
        """The unfinished jobs whose dropped files are entered and not yet taken, in their order."""
        return [*self._jobs("INDEXED BY untaken_jobs WHERE state IS NULL AND NOT is_taken ORDER BY seq")]

    def unfinished_with_open_batches(self) -> set[int]:
        """The `seq` of each unfinished job that has an open batch."""
        query = "SELECT DISTINCT job FROM batches CROSS JOIN jobs ON seq = job WHERE is_open = 1 AND state IS NULL"
        return {row["job"] for row in self._rows(query)}

    def jobs_of_drop(self, drop: str) -> list[JobRecord]:
        """The jobs of a drop, in their order: one, or several if an earlier version entered one for each file.

        `drop`: the id of its first job.
        """
        return [*self._jobs("WHERE drop_id = ? ORDER BY seq", drop)]

    def retries_of(self, job_id: str) -> list[JobRecord]:
        """The retries of a job, in their order."""
        return [*self._jobs("WHERE retry_of = ? ORDER BY seq", job_id)]

    def ended_jobs(self, *, since: str = "", latest: int | None = None) -> list[JobRecord]:
        """The jobs that ended at the time `since` (UTC in ISO 8601) or later, in the order in which they were entered.

        `latest`: only so many, those that ended last.
        """
        found = self._jobs(
            "INDEXED BY ended_jobs WHERE state IS NOT NULL AND finished_at >= ? ORDER BY finished_at DESC, seq DESC"
            " LIMIT ?",
            since,
            -1 if latest is None else latest,
        )
        return sorted(found, key=lambda job: job.seq)

    def jobs_before(self, job_id: str | None, count: int) -> list[JobRecord]:
        """The jobs with the highest ids, at most `count`, the highest first; those whose ids come before this one."""
        where, values = ("", ()) if job_id is None else ("WHERE job_id < ?", (job_id,))
        return [*self._jobs(f"{where} ORDER BY job_id DESC LIMIT ?", *values, count)]

    def ended_before(self, time: str, *, behind: EndedJob | None, count: int) -> list[EndedJob]:
        """The jobs that ended before a time (UTC in ISO 8601), in the order of their ends, at most `count`.

        `behind`: the last job of the call before; None begins with the first.
        """
        start = ("", 0) if behind is None else (behind.finished_at, behind.seq)
        query = (
            "SELECT seq, job_id, route, finished_at FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL"
            " AND finished_at < ? AND (finished_at, seq) > (?, ?) ORDER BY finished_at, seq LIMIT ?"
        )
        return [EndedJob(*row) for row in self._rows(query, time, *start, count)]

    def ends_since(self, time: str) -> list[RouteEnd]:
        """The ends of jobs that ended at a time (UTC in ISO 8601) or later, in their order; no retries."""
        query = (
            "SELECT job_id, route, export, started_at, finished_at, state FROM jobs INDEXED BY ended_jobs"
            " WHERE state IS NOT NULL AND finished_at >= ? AND retry_of IS NULL ORDER BY finished_at, seq"
        )
        return [RouteEnd(*row) for row in self._rows(query, time)]

    def latest_ends(self) -> Iterator[datetime]:
        """The times at which jobs ended, the latest first; of an hour the last one counts. Those of other forms go."""
        rows = self._rows(
            "SELECT max(finished_at) AS at FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL"
            " GROUP BY substr(finished_at, 1, 13) ORDER BY at DESC"
        )
        for row in rows:
            with suppress(ValueError):
                yield datetime.fromisoformat(row["at"]).astimezone(UTC)

    def ends_set_back(self) -> dict[int, str]:
        """By `seq` of jobs that ended long before one that was entered earlier: the latest end of those, as noted.

        The clock was set back in between, or the earlier job took long: how old the later one is, its end does not say.
        """
        rows = self._rows(
            "SELECT seq, before FROM (SELECT seq, finished_at, max(finished_at) OVER"
            " (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before"
            " FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL)"
            " WHERE julianday(finished_at) < julianday(before) - 1.5"
        )
        return {row["seq"]: row["before"] for row in rows}

    def latest_end(self) -> str | None:
        """The time at which the last job ended, UTC in ISO 8601; None if none has."""
        found: str | None = self._one("SELECT max(finished_at) FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL")
        return found or None

    def count_jobs(self) -> tuple[int, int]:
        """The number of jobs that have ended, and of those that have not."""
        ended = self._one("SELECT count(*) FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL")
        return ended, self._one("SELECT count(*) FROM jobs INDEXED BY unfinished_jobs WHERE state IS NULL")

    def loaded(self, size_bytes: int) -> list[Loaded]:
        """The jobs that are done, the latest first, whose exports had this size; no retries."""
        rows = self._rows(
            "SELECT seq, job_id, route, sha256, coalesce(json_extract(checkpoint, '$.sending'), '') AS sending"
            " FROM jobs WHERE state = 'done' AND size_bytes = ? AND retry_of IS NULL ORDER BY seq DESC",
            size_bytes,
        )
        return [Loaded(**row) for row in rows]

    def latest_sequence(self) -> int | None:
        """The highest sequence number of the dropped exports that are done, or that were sent in part.

        An export with rows that wait to be sent counts too.
        """
        found: int | None = self._one(_LATEST_SEQUENCE)
        return found

    def latest_as_of(self, route: str) -> str | None:
        """The latest date (`as_of`) of the exports of a route that are done, or sent in part as `latest_sequence`."""
        found: str | None = self._one(
            _LATEST_AS_OF,
            route,
        )
        return found

    def may_send_after(self, seq: int) -> set[int]:
        """The `seq` of each job that sent something newer than this one, or may yet; of retries none does.

        A retry sends values that no later row has overtaken, so it changes nothing that a job after it has said.
        """
        rows = self._rows(
            "SELECT seq FROM jobs WHERE seq > ?1 AND retry_of IS NULL AND (state IS NULL OR EXISTS"
            " (SELECT 1 FROM batches WHERE batches.job = jobs.seq AND NOT EXISTS"
            " (SELECT 1 FROM facts WHERE facts.batch_id = batches.batch_id AND facts.kind = ?2)))"
            # Dropped exports run in the order of their sequence numbers, so one that was entered before may come later.
            " UNION SELECT seq FROM jobs WHERE state IS NULL AND seq < ?1 AND retry_of IS NULL"
            " AND coalesce(json_extract(checkpoint, '$.digest_bytes'), 0) = 0"
            " UNION SELECT job FROM batches JOIN jobs ON jobs.seq = job WHERE job < ?1 AND claim IS NOT NULL"
            " AND batch_id > (SELECT min(batch_id) FROM batches WHERE job = ?1)",
            seq,
            fact_kind(NeverSent()),
        )
        return {row["seq"] for row in rows}

    def batches_behind(self, job: JobRecord) -> dict[int, list[int]]:
        """The batches of a job and of those that may have sent something later, by the `seq` of theirs; retries too.

        Those that a batch was split into are left out, and so are those that were never sent.
        """
        rows = self._rows(
            # Dropped exports run in the order of their sequence numbers, so one that was entered before may come later.
            "SELECT job, batch_id FROM batches JOIN jobs ON jobs.seq = job WHERE parent IS NULL AND (job >= ?1"
            " OR claim IS NOT NULL"
            " AND (batch_id > (SELECT min(batch_id) FROM batches WHERE job = ?1) OR sequence > ?2))"
            " AND NOT EXISTS (SELECT 1 FROM facts WHERE facts.batch_id = batches.batch_id AND facts.kind = ?3)"
            " ORDER BY batch_id",
            job.seq,
            job.sequence,
            fact_kind(NeverSent()),
        )
        found: dict[int, list[int]] = {}
        for row in rows:
            found.setdefault(row["job"], []).append(row["batch_id"])
        return found

    def held_rows(self, job: JobRecord) -> list[Held]:
        """Encoded id, encoded row and line of each held row; those of one id are in their order."""
        query = "SELECT * FROM held WHERE job = ? ORDER BY seal, piece"
        with self._readable(f"held rows of job {job.job_id}"), closing(self._rows(query, job.seq)) as rows:
            return replay((row["seal"], row["changes"]) for row in _as_written(rows, "held"))

    def marks_of_commands(self) -> dict[str, bool]:
        """The marks of `load` commands that have not ended: job id -> True if `--again` asked for the job."""
        return self._kept(COMMANDS, dict)

    def set_aside(self) -> dict[str, SetAside]:
        """The unfinished jobs that were set aside, by their ids."""
        kept: dict[str, Any] = self._kept(SET_ASIDE, dict)
        with self._readable(f"its {SET_ASIDE}"):
            return {job_id: of_plain(SetAside, values) for job_id, values in kept.items()}

    def approved(self) -> dict[str, Approval]:
        """The unfinished jobs that were in quarantine and may go on, by their ids."""
        kept: dict[str, Any] = self._kept(APPROVED, dict)
        with self._readable(f"its {APPROVED}"):
            return {job_id: of_plain(Approval, values) for job_id, values in kept.items()}

    def is_quarantined(self, job: JobRecord) -> bool:
        """True if nothing of a job is sent until it is approved, or given up."""
        if job.state is not None or job.is_abandoned or not job.checkpoint.quarantine:
            return False
        return job.job_id not in self.approved() and job.job_id not in self.set_aside()

    def latest_done(self, route: str, count: int, *, before: int = 2**62) -> list[Report]:
        """The reports of the latest done jobs of a route, the latest first, at most `count`; no retries.

        `before`: the `seq` of the job before which they were entered.
        """
        done = self._jobs(
            "INDEXED BY done_jobs WHERE state = 'done' AND route = ? AND seq < ? AND retry_of IS NULL"
            " ORDER BY seq DESC LIMIT ?",
            route,
            before,
            count,
        )
        return [each.report for each in done if each.report is not None]

    # Batches

    def may_have_unchanged(self, job: JobRecord, *, before_memory: bool = False) -> bool:
        """True if this job, or one that may be later, had rows that said nothing new: they are in no batch.

        `before_memory`: only jobs count that were entered before the memory was begun, so that it need not know them.
        """
        # Dropped exports run in the order of their sequence numbers, so one that was entered before may come later.
        query = (
            "SELECT count(*) FROM jobs WHERE (seq >= ? OR claim IS NOT NULL) AND seq <= ?"
            " AND coalesce(json_extract(checkpoint, '$.unchanged'), 0) > 0"
        )
        last = int(self._kept(MEMORY, dict).get("after_job", 0)) if before_memory else 2**62
        return bool(self._one(query, job.seq, last))

    def batch(self, batch_id: int) -> BatchRecord | None:
        """The batch of this id, or None."""
        return next(self._batches("WHERE batch_id = ?", batch_id), None)

    def batches(self, *, job: JobRecord | None = None) -> list[BatchRecord]:
        """The batches of a job, or all open ones, in the order in which they were sealed."""
        where, values = ("job = ?", (job.seq,)) if job else ("is_open = 1", ())
        return [*self._batches(f"WHERE {where} ORDER BY batch_id", *values)]

    def batches_with_ids(self) -> list[int]:
        """The ids of the batches of which a fact holds an id: of a row that Target refused, or named as lost."""
        query = (
            "SELECT DISTINCT batch_id FROM facts WHERE kind = ?1 OR (kind = ?2 AND"
            " (json_array_length(detail, '$.failed_ids') OR json_array_length(detail, '$.unconfirmed_ids')))"
        )
        return [row["batch_id"] for row in self._rows(query, "RowRejected", "SeenComplete")]

    @property
    def remembers(self) -> str:
        """The kind of the memory, `digests` or `values`; empty if there is no memory."""
        return str(self._kept(MEMORY, dict).get("remembers", ""))

    @property
    def remembered_of(self) -> str:
        """The URL of the Target whose profiles the memory is of; empty if there is no memory."""
        return str(self._kept(MEMORY, dict).get("target", ""))

    @property
    def is_memory_behind(self) -> bool:
        """True if batches were released that the memory does not know, since it was switched off."""
        return bool(self._kept(MEMORY, dict).get("is_behind", False))

    def memory_catalog(self) -> MemoryCatalog:
        """The files of the memory, and the partitions of it that were merged."""
        with self._readable("the catalog of the memory"):
            files = [*_as_written(self._rows("SELECT * FROM memory_files ORDER BY number"), "memory_files")]
            partitions = [*_as_written(self._rows("SELECT * FROM memory_partitions"), "memory_partitions")]
        names = [each.name for each in fields(MemoryFile)]
        return MemoryCatalog(
            tuple(MemoryFile(**{name: row[name] for name in names}) for row in files),
            {row["partition"]: Partition(row["base"], row["merged_to"]) for row in partitions},
        )

    def next_post_number(self) -> int:
        """One more than the highest number of a POST so far; 0 if there is none."""
        query = (
            "SELECT coalesce(max(json_extract(detail, '$.post_number')), -1) + 1 FROM facts INDEXED BY post_numbers"
            " WHERE kind = 'Begun'"
        )
        return int(self._one(query))

    def overtaken(self, batch_id: int) -> set[int]:
        """The hashes of the ids in a batch that have a later sealed row."""
        rows = self._rows("SELECT * FROM overtaken WHERE batch_id = ?", batch_id)
        with self._readable(f"what is overtaken of batch {batch_id}"):
            return {row["hash"] % 2**64 for row in _as_written(rows, "overtaken")}

    def overtaken_values(self, batch_id: int) -> dict[int, frozenset[str]]:
        """By hash of an id in a batch: the parameters that later sealed rows have; none is noted if all count."""
        return self._values_of(batch_id, is_filled_in=False)

    def filled_in(self, batch_id: int) -> dict[int, frozenset[str]]:
        """By hash of an id in a batch: the parameters of which its row has values that it does not say.

        That is noted of ids of which rows had been lost before. The rows of a batch that was split are in its children.
        """
        found: dict[int, frozenset[str]] = {}
        place: int | None = batch_id
        while place is not None:
            found |= self._values_of(place, is_filled_in=True)
            place = None if (record := self.batch(place)) is None else record.batch.parent
        return found

    def _values_of(self, batch_id: int, *, is_filled_in: bool) -> dict[int, frozenset[str]]:
        """By hash of an id in a batch the parameters noted; behind a comma, those of values that were filled in."""
        found: dict[int, set[str]] = {}
        rows = self._rows("SELECT * FROM overtaken_values WHERE batch_id = ?", batch_id)
        with self._readable(f"what is overtaken of batch {batch_id}"):
            for row in _as_written(rows, "overtaken_values"):
                if row["parameters"].startswith(",") == is_filled_in:
                    names = row["parameters"].removeprefix(",").split(",")
                    found.setdefault(row["hash"] % 2**64, set()).update(names)
        return {hash_: frozenset(parameters) for hash_, parameters in found.items()}

    # The rest

    def learned_statuses(self) -> Learned:
        """The learned number of statuses that Target keeps."""
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", LEARNED), None)
        with self._readable("what was learned of statuses"):
            kept = asdict(Learned()) if row is None else orjson.loads(row[0])
            return Learned(int(kept["size"]), kept["failed_at"] and datetime.fromisoformat(kept["failed_at"]))

    @property
    def is_paused(self) -> bool:
        """True if sending was paused by request."""
        return self._meta("is_paused") == "1"

    def check(self) -> None:
        """Raise `FatalError` (74) if the ledger cannot be read."""
        self._one("SELECT count(*) FROM meta")

    def damaged(self, why: str) -> FatalError:
        """The error (74) for a ledger with facts that cannot be true."""
        return damaged(self._path, why)

    def _jobs(self, which: str, *values: object) -> Iterator[JobRecord]:
        for row in self._rows(f"SELECT * FROM jobs {which}", *values):  # noqa: S608
            with self._readable(f"job {row['job_id']}"):
                _check(row, "jobs")
                job = job_of_row(row)
            yield job

    def _batches(self, which: str, *values: object) -> Iterator[BatchRecord]:
        rows = [*self._rows(f"SELECT * FROM batches {which}", *values)]  # noqa: S608
        # Those of all batches by one question: a job may have thousands.
        of_these = f"SELECT * FROM facts WHERE batch_id IN (SELECT batch_id FROM batches {which}) ORDER BY seq"  # noqa: S608
        facts: dict[int, list[sqlite3.Row]] = {row["batch_id"]: [] for row in rows}
        for fact in self._rows(of_these, *values):
            facts.setdefault(fact["batch_id"], []).append(fact)
        for row in rows:
            with self._readable(f"batch {row['batch_id']}"):
                record = self._read_batch(row, facts[row["batch_id"]])
            yield record

    def _read_batch(self, row: sqlite3.Row, rows: list[sqlite3.Row]) -> BatchRecord:
        _check(row, "batches")
        facts = [*_as_written(rows, "facts")]
        return BatchRecord(
            Batch(**{field.name: row[field.name] for field in fields(Batch)}),
            row["job"],
            tuple(make_fact(fact["kind"], orjson.loads(fact["detail"])) for fact in facts),
            tuple(fact["at"] for fact in facts),
            bool(row["is_open"]),
        )

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        """Raise `FatalError` (74) where the body finds that this is damaged."""
        try:
            yield
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self._path, f"{what} cannot be read: {error}") from error

    def _kept(self, key: str, kind: type[_Kept]) -> _Kept:
        """The value that `_keep` kept under this key; an empty one of this kind if there is none."""
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", key), None)
        with self._readable(f"its {key}"):
            kept = kind() if row is None else orjson.loads(row[0])
            if not isinstance(kept, kind):
                raise TypeError(f"it is no {kind.__name__}")
            return kept

    def _meta(self, key: str) -> str:
        return str(self._one("SELECT value FROM meta WHERE key = ?", key))

    def _one(self, query: str, *values: object) -> Any:
        return next(self._rows(query, *values))[0]

    def _rows(self, query: str, *values: object) -> Generator[sqlite3.Row, None, None]:
        with using(self._path):
            yield from self._database.execute(query, values)


def _as_written(rows: Iterable[sqlite3.Row], table: str) -> Iterator[sqlite3.Row]:
    """The rows, which have all columns of their table. Raises `ValueError` at one that is not as it was written."""
    for row in rows:
        _check(row, table)
        yield row


def _check(row: sqlite3.Row, table: str) -> None:
    if not is_as_written(row, table):
        raise ValueError("it is not as it was written")


def read_ledger(path: Path) -> LedgerReader | None:
    """Open the ledger for reading, beside the process that holds it; None if there is no ledger."""
    if not is_there(path):
        return None
    # Before the ledger, since a process may be writing.
    mark = read_mark(mark_of(path))
    with using(path):
        database = connect_to_read(path)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA query_only = ON")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if 0 < version < SCHEMA_VERSION:
            raise FatalError(
                f"the ledger {path} is of an earlier version of profile-pipeline (format {version}, this one has "
                f"{SCHEMA_VERSION}): the next `load` or `serve` of this version takes it over.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            )
        if version != SCHEMA_VERSION:
            raise damaged(path, "it has another format than this program knows")
        check_mark(database, path, mark)
        return LedgerReader(database, path)
