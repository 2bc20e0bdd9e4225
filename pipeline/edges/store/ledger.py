"""The ledger: the durable facts about jobs and batches, in one SQLite file of the state directory.

Constraints: only the process that holds the lock of the state directory writes. Every method is one transaction,
flushed to the disk before it returns (WAL, `synchronous=FULL`). Facts are only ever added.

Format: `jobs` (one row each, with the checkpoint of its latest seal), `batches` (as sealed), `facts` (the history of
each batch, in order), `held` (the changes of held rows by each seal, see `held_log`), `overtaken` (for batches with
lost rows: hashes of the ids of which a later row was sealed), `overtaken_values` (the parameters that such rows had),
`meta` (the client code, and values kept by name).

Invariant: a batch is in the ledger only if its body was durable in the spool before.

All methods block: call them from a worker thread, one at a time.
"""

import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.fact_codec import fact_detail, fact_kind, make_fact
from pipeline.core.batches.lifecycle import Fact, NeverSent, Released, SplitUp
from pipeline.core.batches.report import LastRun, Report
from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.drop.claim import Claim
from pipeline.core.drop.ordering import first_by_sequence
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, Hashes
from pipeline.core.plain import of_plain, plain
from pipeline.core.target.status_memory import Learned
from pipeline.edges.durable import disk_error
from pipeline.edges.exports import Identity
from pipeline.edges.store.held_log import Held, replay
from pipeline.edges.store.ledger_file import SCHEMA_VERSION, damaged, is_there, prepare, write_held
from pipeline.edges.store.records import BatchRecord, EndedJob, JobRecord, Loaded

#: The key in `meta` for the marks of `load` commands.
_COMMANDS = "commands"
#: The key in `meta` for the drops that have ended.
_ENDED_DROPS = "ended_drops"
#: The key in `meta` for what was learned of statuses.
_LEARNED = "learned_statuses"
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
#: The columns of `jobs` that get their values after a job was entered.
_LATER = ("seq", "is_abandoned", "state", "exit_code", "sha256", "report", "last_run")
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
}

_Kept = TypeVar("_Kept")
#: Of a batch with lost rows: hash of an id -> the parameters of which a later row of that id has a value.
Overtaken = Mapping[int, frozenset[str]]


class Ledger:
    """The ledger of a state directory. `salt`: of all id hashes in it."""

    def __init__(self, database: sqlite3.Connection, path: Path, utc_now: Callable[[], str]) -> None:
        self._database = database
        self._path = path
        self._utc_now = utc_now
        self.salt = int(self._meta("salt"))
        self._next_batch_id = 1 + int(self._one("SELECT coalesce(max(batch_id), 0) FROM batches"))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def allot_batch_id(self) -> int:
        """A new id for a batch. No batch of the ledger has it, or had it."""
        self._next_batch_id += 1
        return self._next_batch_id - 1

    # Jobs

    def begin_job(self, job: JobRecord) -> JobRecord:
        """Enter a job behind all others; return it with its `seq`."""
        return self.begin_jobs([job])[0]

    def begin_jobs(self, jobs: Iterable[JobRecord]) -> list[JobRecord]:
        """Enter jobs behind all others, in their order, all or none; return them with their `seq`."""
        return self.begin_command(jobs, {})

    def begin_command(
        self,
        jobs: Iterable[JobRecord],
        marks: Mapping[str, bool],
        outdated: Collection[str] = (),
        settings: Mapping[str, dict[str, Any]] | None = None,
    ) -> list[JobRecord]:
        """Enter jobs as `begin_jobs` does, and in the same transaction mark the jobs of a `load` command.

        `marks`: id of each job of the command -> True if `--again` asked for it.
        `outdated`: ids of jobs that lose the marks of earlier commands.
        `settings`: id of each job that has not begun and is to begin with other [export] settings -> those settings.

        A mark stays until `end_command`, or until a later command names the job as outdated.
        """
        entered = list(jobs)
        with self._transaction():
            for job in entered:
                self._insert_job(job)
            for job_id, values in (settings or {}).items():
                self._database.execute("UPDATE jobs SET settings = ? WHERE job_id = ?", (_json(values), job_id))
            if marks:
                left = {job_id: again for job_id, again in self.marks_of_commands().items() if job_id not in outdated}
                self._keep(_COMMANDS, {**left, **marks})
        found = [self.job(job.job_id) for job in entered]
        if None in found:
            raise FatalError(f"the ledger {self._path} did not keep the job", exit_code=ExitCode.DISK_OR_LEDGER)
        return [job for job in found if job is not None]

    def marks_of_commands(self) -> dict[str, bool]:
        """The marks of `load` commands that have not ended: job id -> True if `--again` asked for the job."""
        return self._kept(_COMMANDS, dict)

    def end_command(self, job_ids: Collection[str]) -> None:
        """Remove the marks of these jobs: their command has ended, and has reported each of them."""
        with self._transaction():
            marks = self.marks_of_commands()
            self._keep(_COMMANDS, {job_id: again for job_id, again in marks.items() if job_id not in job_ids})

    def note_claims(self, claims: dict[str, Claim]) -> None:
        """Replace the claims of these jobs, all or none. `claims`: job id -> claim."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE jobs SET claim = ? WHERE job_id = ?",
                [(_json(claim.as_dict()), job_id) for job_id, claim in claims.items()],
            )

    def withdraw_jobs(self, job_ids: Collection[str]) -> None:
        """Remove jobs that have not begun, all or none: nothing was taken for them."""
        with self._transaction() as database:
            database.executemany("DELETE FROM jobs WHERE job_id = ? AND state IS NULL", [(each,) for each in job_ids])

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

    def finish_job(self, job: JobRecord, report: Report, *, never_sent: Iterable[int], released: Iterable[int]) -> None:
        """End a job for good; its held rows, if any are left, are unsent.

        `never_sent`: the ids of batches that were never sent; their rows are unsent too.
        `released`: the ids of batches that are released.
        """
        with self._transaction() as database:
            for batch_id in never_sent:
                self._insert_fact(batch_id, NeverSent())
            for batch_id in released:
                self._release(batch_id)
                self._close(batch_id)
            database.execute(
                "UPDATE jobs SET state = ?, exit_code = ?, sha256 = ?, report = ?, last_run = NULL WHERE seq = ?",
                (
                    report.state,
                    int(report.exit_code),
                    report.export.sha256,
                    _json(report.as_json()),
                    job.seq,
                ),
            )
            database.execute("DELETE FROM held WHERE job = ?", (job.seq,))
            if job.claim is not None:
                self._note_if_ended(job.claim.drop)

    def note_run(self, job: JobRecord, run: LastRun) -> None:
        """Note the end of a run that left a job unfinished, in place of that of an earlier run."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET last_run = ? WHERE seq = ?", (_json(plain(run)), job.seq))

    def ended_drops(self) -> list[str]:
        """The drops of several exports whose jobs have all ended, and that were not forgotten yet."""
        return self._kept(_ENDED_DROPS, list)

    def forget_ended_drop(self, drop: str) -> None:
        """Forget a drop that has ended: its end was reported."""
        with self._transaction():
            self._keep(_ENDED_DROPS, [each for each in self.ended_drops() if each != drop])

    def set_source(self, job: JobRecord, identity: Identity) -> JobRecord:
        """Note that the export of a job that has not begun was written anew; return the job with its new identity."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET size_bytes = ?, mtime_ns = ?, inode = ? WHERE seq = ?",
                (identity.size_bytes, identity.mtime_ns, identity.inode, job.seq),
            )
        return replace(job, size_bytes=identity.size_bytes, mtime_ns=identity.mtime_ns, inode=identity.inode)

    def note_checkpoint(self, job: JobRecord, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a job, without a seal."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET checkpoint = ? WHERE seq = ?", (_json(checkpoint.as_dict()), job.seq))

    def abandon_job(self, job_id: str) -> None:
        """Mark an unfinished job as abandoned: it ends without sending the rest."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET is_abandoned = 1 WHERE job_id = ?", (job_id,))

    def jobs(self, *, unfinished_only: bool = False) -> list[JobRecord]:
        """All jobs, or the unfinished ones, in their order."""
        unfinished = "INDEXED BY unfinished_jobs WHERE state IS NULL ORDER BY seq"
        return [*self._jobs(unfinished if unfinished_only else "ORDER BY seq")]

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

    def latest_end(self) -> str | None:
        """The time at which the last job ended, UTC in ISO 8601; None if none has."""
        found: str | None = self._one("SELECT max(finished_at) FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL")
        return found or None

    def count_jobs(self) -> tuple[int, int]:
        """The number of jobs that have ended, and of those that have not."""
        ended = self._one("SELECT count(*) FROM jobs INDEXED BY ended_jobs WHERE state IS NOT NULL")
        return ended, self._one("SELECT count(*) FROM jobs INDEXED BY unfinished_jobs WHERE state IS NULL")

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

    def check(self) -> None:
        """Raise `FatalError` (74) if the ledger cannot be read."""
        self._one("SELECT count(*) FROM meta")

    def jobs_of_drop(self, drop: str) -> list[JobRecord]:
        """The jobs of a drop, in their order. `drop`: the id of its first job."""
        return [*self._jobs("WHERE drop_id = ? ORDER BY seq", drop)]

    def job(self, job_id: str) -> JobRecord | None:
        """The job of this id, or None."""
        return next(self._jobs("WHERE job_id = ?", job_id), None)

    def job_at(self, seq: int) -> JobRecord | None:
        """The job at this place, or None."""
        return next(self._jobs("WHERE seq = ?", seq), None)

    def loaded(self, size_bytes: int) -> list[Loaded]:
        """The jobs that are done, the latest first, whose exports had this size; no retries."""
        rows = self._rows(
            "SELECT seq, job_id, route, sha256, coalesce(json_extract(checkpoint, '$.sending'), '') AS sending"
            " FROM jobs WHERE state = 'done' AND size_bytes = ? AND retry_of IS NULL ORDER BY seq DESC",
            size_bytes,
        )
        return [Loaded(**row) for row in rows]

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

    def held_rows(self, job: JobRecord) -> list[Held]:
        """Encoded id, encoded row and line of each held row; those of one id are in their order."""
        query = "SELECT seal, changes FROM held WHERE job = ? ORDER BY seal, piece"
        with self._readable(f"held rows of job {job.job_id}"), closing(self._rows(query, job.seq)) as rows:
            return replay((row["seal"], row["changes"]) for row in rows)

    # Batches

    def seal(
        self,
        job: JobRecord,
        checkpoint: Checkpoint,
        batch: Batch | None,
        *,
        held: HeldChanges,
        released: Iterable[int],
        overtaken: Mapping[int, Hashes | Overtaken],
        awaited: Collection[int] = (),
    ) -> None:
        """The seal transaction: batch, checkpoint, changes of held rows, and the releases that it makes final.

        `batch`: None if the seal has none.
        `released`: ids of batches that are released.
        `overtaken`: for batches with lost rows, batch id -> hashes of their ids of which this batch has a later row.
        Without the parameters that this row has, the lost one is overtaken as a whole.
        `awaited`: ids of released batches for which other jobs still wait; they stay open, as their bodies are needed.
        """
        with self._transaction() as database:
            if batch:
                self._insert_batch(batch, job.seq)
            database.execute("UPDATE jobs SET checkpoint = ? WHERE seq = ?", (_json(checkpoint.as_dict()), job.seq))
            write_held(database, job.seq, held)
            for batch_id in released:
                self._release(batch_id)
                if batch_id not in awaited:
                    self._close(batch_id)
            for lost_id, by_hash in overtaken.items():
                self._insert_overtaken(lost_id, by_hash)

    def split(self, parent: Batch, children: tuple[Batch, Batch]) -> None:
        """Replace a refused batch by two smaller ones in one step; they inherit its rows and its open attempts."""
        with self._transaction():
            job = self._one("SELECT job FROM batches WHERE batch_id = ?", parent.batch_id)
            for child in children:
                self._insert_batch(child, job)
            self._insert_fact(parent.batch_id, SplitUp((children[0].batch_id, children[1].batch_id)))
            self._close(parent.batch_id)

    def add_fact(self, batch_id: int, fact: Fact) -> None:
        """Add a fact about a batch."""
        with self._transaction():
            self._insert_fact(batch_id, fact)

    def batches(self, *, job: JobRecord | None = None) -> list[BatchRecord]:
        """The batches of a job, or all open ones, in the order in which they were sealed."""
        where, values = ("job = ?", (job.seq,)) if job else ("is_open = 1", ())
        return [*self._batches(f"WHERE {where} ORDER BY batch_id", *values)]

    def batch(self, batch_id: int) -> BatchRecord | None:
        """The batch of this id, or None."""
        return next(self._batches("WHERE batch_id = ?", batch_id), None)

    def next_post_number(self) -> int:
        """One more than the highest number of a POST so far; 0 if there is none."""
        query = (
            "SELECT coalesce(max(json_extract(detail, '$.post_number')), -1) + 1 FROM facts INDEXED BY post_numbers"
            " WHERE kind = 'Begun'"
        )
        return int(self._one(query))

    def overtaken(self, batch_id: int) -> set[int]:
        """The hashes of the ids in a batch that have a later sealed row."""
        rows = self._rows("SELECT hash FROM overtaken WHERE batch_id = ?", batch_id)
        return {row["hash"] % 2**64 for row in rows}

    def overtaken_values(self, batch_id: int) -> dict[int, frozenset[str]]:
        """By hash of an id in a batch: the parameters that later sealed rows have; none is noted if all count."""
        found: dict[int, set[str]] = {}
        for row in self._rows("SELECT hash, parameters FROM overtaken_values WHERE batch_id = ?", batch_id):
            found.setdefault(row["hash"] % 2**64, set()).update(row["parameters"].split(","))
        return {hash_: frozenset(parameters) for hash_, parameters in found.items()}

    def retries_of(self, job_id: str) -> list[JobRecord]:
        """The retries of a job, in their order."""
        return [*self._jobs("WHERE retry_of = ? ORDER BY seq", job_id)]

    def damaged(self, why: str) -> FatalError:
        """The error (74) for a ledger with facts that cannot be true."""
        return damaged(self._path, why)

    # The number of statuses that Target keeps

    def learned_statuses(self) -> Learned:
        """The learned number of statuses that Target keeps."""
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", _LEARNED), None)
        with self._readable("what was learned of statuses"):
            kept = asdict(Learned()) if row is None else orjson.loads(row[0])
            return Learned(int(kept["size"]), kept["failed_at"] and datetime.fromisoformat(kept["failed_at"]))

    def remember_statuses(self, learned: Learned) -> None:
        """Keep the learned number of statuses that Target keeps."""
        with self._transaction():
            self._keep(_LEARNED, asdict(learned))

    # The pause of sending

    @property
    def is_paused(self) -> bool:
        """True if sending was paused by request."""
        return self._meta("is_paused") == "1"

    def pause(self, *, is_paused: bool) -> None:
        """Pause sending, or resume it."""
        with self._transaction() as database:
            database.execute("UPDATE meta SET value = ? WHERE key = 'is_paused'", ("1" if is_paused else "0",))

    def _insert_job(self, job: JobRecord) -> None:
        values = {each.name: getattr(job, each.name) for each in fields(job) if each.name not in _LATER}
        claim = _json(job.claim.as_dict()) if job.claim else None
        written = {"settings": _json(job.settings), "checkpoint": _json(job.checkpoint.as_dict()), "claim": claim}
        self._insert("jobs", values | written | {"export": str(job.export)})

    def _note_if_ended(self, drop: str) -> None:
        """Note the end of a drop of several jobs, if all of them have ended."""
        query = "SELECT count(*), count(state) FROM jobs WHERE drop_id = ?"
        jobs, ended = next(self._rows(query, drop))
        if 1 < jobs == ended:
            self._keep(_ENDED_DROPS, [*self.ended_drops(), drop])

    def _release(self, batch_id: int) -> None:
        """Add the fact that a batch is released, unless another job has added it."""
        kind = fact_kind(Released())
        if not self._one("SELECT count(*) FROM facts WHERE batch_id = ? AND kind = ?", batch_id, kind):
            self._insert_fact(batch_id, Released())

    def _insert_overtaken(self, batch_id: int, overtaken: Hashes | Overtaken) -> None:
        if isinstance(overtaken, Mapping):
            # What an earlier version noted without parameters is overtaken as a whole, and stays so.
            self._database.executemany(
                "INSERT OR IGNORE INTO overtaken_values SELECT ?1, ?2, ?3 WHERE"
                " NOT EXISTS (SELECT 1 FROM overtaken WHERE batch_id = ?1 AND hash = ?2)"
                " OR EXISTS (SELECT 1 FROM overtaken_values WHERE batch_id = ?1 AND hash = ?2)",
                [(batch_id, _signed(hash_), ",".join(sorted(names))) for hash_, names in overtaken.items()],
            )
            hashes = [*map(_signed, overtaken)]
        else:
            hashes = overtaken.astype("<i8").tolist()
        self._database.executemany(
            "INSERT OR IGNORE INTO overtaken VALUES (?, ?)", [(batch_id, hash_) for hash_ in hashes]
        )

    def _close(self, batch_id: int) -> None:
        self._database.execute("UPDATE batches SET is_open = 0 WHERE batch_id = ?", (batch_id,))

    def _insert_batch(self, batch: Batch, job: int) -> None:
        self._insert("batches", asdict(batch) | {"job": job})

    def _insert_fact(self, batch_id: int, fact: Fact) -> None:
        detail = _json(fact_detail(fact))
        self._insert("facts", {"batch_id": batch_id, "at": self._utc_now(), "kind": fact_kind(fact), "detail": detail})

    def _insert(self, table: str, values: Mapping[str, object]) -> None:
        marks = ", ".join("?" * len(values))
        self._database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", (*values.values(),))  # noqa: S608

    def _jobs(self, which: str, *values: object) -> Iterator[JobRecord]:
        for row in self._rows(f"SELECT * FROM jobs {which}", *values):  # noqa: S608
            with self._readable(f"job {row['job_id']}"):
                job = _read_job(row)
            yield job

    def _batches(self, which: str, *values: object) -> Iterator[BatchRecord]:
        for row in [*self._rows(f"SELECT * FROM batches {which}", *values)]:  # noqa: S608
            with self._readable(f"batch {row['batch_id']}"):
                record = self._read_batch(row)
            yield record

    def _read_batch(self, row: sqlite3.Row) -> BatchRecord:
        facts = [*self._rows("SELECT kind, detail, at FROM facts WHERE batch_id = ? ORDER BY seq", row["batch_id"])]
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

    def _keep(self, key: str, value: object) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _json(value)))

    def _meta(self, key: str) -> str:
        return str(self._one("SELECT value FROM meta WHERE key = ?", key))

    def _one(self, query: str, *values: object) -> Any:
        return next(self._rows(query, *values))[0]

    def _rows(self, query: str, *values: object) -> Generator[sqlite3.Row, None, None]:
        try:
            yield from self._database.execute(query, values)
        except sqlite3.Error as error:
            raise damaged(self._path, error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
        except sqlite3.Error as error:
            raise damaged(self._path, error) from error


def _read_job(row: sqlite3.Row) -> JobRecord:
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    for column, read in _READERS.items():
        if values[column] is not None:
            values[column] = read(values[column])
    return JobRecord(**values)


def _signed(hash_: int) -> int:
    return hash_ - 2**64 if hash_ >= 2**63 else hash_


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def read_ledger(path: Path) -> Ledger | None:
    """Open the ledger for reading, beside the process that holds it; None if there is no ledger."""
    if not is_there(path):
        return None
    try:
        database = sqlite3.connect(path, isolation_level=None)
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
        return Ledger(database, path, lambda: "")
    except sqlite3.Error as error:
        raise damaged(path, error) from error


def open_ledger(path: Path, client_code: str, utc_now: Callable[[], str], *, is_new: bool) -> Ledger:
    """Open the ledger; make it only if `is_new`. Raises `FatalError`: 74 if damaged, 78 if of another client code."""
    if not is_new and not (path.exists() and path.stat().st_size):
        raise damaged(path, "it is missing or empty, while the state directory holds batches")
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        prepare(database, path, client_code)
    except sqlite3.Error as error:
        raise damaged(path, error) from error
    except OSError as error:
        raise disk_error(error, f"cannot open the ledger {path}") from error
    return Ledger(database, path, utc_now)
