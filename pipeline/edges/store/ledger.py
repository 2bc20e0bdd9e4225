"""The ledger: the durable facts about jobs and batches, in one SQLite file of the state directory.

Constraints: only the process that holds the lock of the state directory writes. Every method is one transaction,
flushed to the disk before it returns (WAL, `synchronous=FULL`). Facts are only ever added.

Format: `jobs` (one row each, with the checkpoint of its latest seal), `batches` (as sealed), `facts` (the history of
each batch, in order), `held` (the changes of held rows by each seal, see `held_log`), `overtaken` (for batches with
lost rows: hashes of the ids of which a later row was sealed), `overtaken_values` (the parameters that such rows had;
and those of which a row of a batch itself has values that it does not say),
`memory_files` and `memory_partitions` (the catalog of the memory), `meta` (the client code, and values kept by name).

Invariant: a batch is in the ledger only if its body was durable in the spool before.

All methods block: call them from a worker thread, one at a time. `ledger_reader` has those that write nothing.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.fact_codec import fact_detail, fact_kind, make_fact
from pipeline.core.batches.lifecycle import Fact, NeverSent, Released, SplitUp
from pipeline.core.batches.report import LastRun, Report
from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.drop.claim import Claim
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, Hashes
from pipeline.core.plain import plain
from pipeline.core.target.status_memory import Learned
from pipeline.edges.durable import disk_error
from pipeline.edges.exports import Identity
from pipeline.edges.store.ledger_file import (
    TRANSACTIONS,
    damaged,
    examine,
    is_there,
    json_of_parts,
    prepare,
    transactions_of,
    using,
    write_held,
)
from pipeline.edges.store.ledger_reader import APPROVED, COMMANDS, LEARNED, MEMORY, SET_ASIDE, LedgerReader
from pipeline.edges.store.mark import Mark, MarkFile, identity_of, mark_of, read_mark
from pipeline.edges.store.memory.catalog import MemoryFile
from pipeline.edges.store.memory_tables import is_memory_empty, may_have_arrived
from pipeline.edges.store.records import Approval, JobRecord, SetAside

#: The columns of `jobs` that get their values after a job was entered.
_LATER = ("seq", "is_abandoned", "state", "exit_code", "sha256", "report", "last_run")
NOTHING_REMEMBERED: Mapping[int, MemoryFile] = {}
#: Of a batch with lost rows: hash of an id -> the parameters of which a later row of that id has a value.
Overtaken = Mapping[int, frozenset[str]]
#: No row was filled in with what is remembered.
NOTHING_FILLED_IN: Mapping[int, frozenset[str]] = {}


class Ledger(LedgerReader):
    """The ledger of a state directory, for the process that holds its lock."""

    def __init__(self, database: sqlite3.Connection, path: Path, utc_now: Callable[[], str]) -> None:
        super().__init__(database, path)
        self._utc_now = utc_now
        self._mark = MarkFile(mark_of(path), Mark(identity_of(str(self.salt)), transactions_of(database)))
        self._next_batch_id = 1 + int(self._one("SELECT coalesce(max(batch_id), 0) FROM batches"))

    def close(self) -> None:
        """Close the database and the mark."""
        super().close()
        self._mark.close()

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
                self._keep(COMMANDS, {**left, **marks})
        found = [self.job(job.job_id) for job in entered]
        if None in found:
            raise FatalError(f"the ledger {self._path} did not keep the job", exit_code=ExitCode.DISK_OR_LEDGER)
        return [job for job in found if job is not None]

    def end_command(self, job_ids: Collection[str]) -> None:
        """Remove the marks of these jobs: their command has ended, and has reported each of them."""
        with self._transaction():
            marks = self.marks_of_commands()
            self._keep(COMMANDS, {job_id: again for job_id, again in marks.items() if job_id not in job_ids})

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

    def note_run(self, job: JobRecord, run: LastRun) -> None:
        """Note the end of a run that left a job unfinished, in place of that of an earlier run."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET last_run = ? WHERE seq = ?", (_json(plain(run)), job.seq))

    def abandon_job(self, job_id: str) -> None:
        """Mark an unfinished job as abandoned: it ends without sending the rest."""
        with self._transaction() as database:
            database.execute("UPDATE jobs SET is_abandoned = 1 WHERE job_id = ?", (job_id,))

    def set_job_aside(self, job_id: str, aside: SetAside) -> None:
        """Mark an unfinished job as set aside, until it has ended."""
        with self._transaction():
            self._keep(SET_ASIDE, plain({**self.set_aside(), job_id: aside}))

    def approve_job(self, job_id: str, by: str) -> None:
        """Let a job in quarantine go on, because of somebody; it is kept until the job has ended."""
        with self._transaction():
            self._keep(APPROVED, plain({**self.approved(), job_id: Approval(by, self._utc_now())}))

    def finish_job(
        self,
        job: JobRecord,
        report: Report,
        *,
        never_sent: Iterable[int],
        released: Iterable[int],
        remembered: Mapping[int, MemoryFile] = NOTHING_REMEMBERED,
    ) -> None:
        """End a job for good; its held rows, if any are left, are unsent.

        `never_sent`: the ids of batches that were never sent; their rows are unsent too.
        `released`: the ids of batches that are released. `remembered`: as in `seal`.
        """
        with self._transaction() as database:
            for batch_id in never_sent:
                self._insert_fact(batch_id, NeverSent())
            for batch_id in released:
                self._release(batch_id, remembered)
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
            for key, of_unfinished in ((SET_ASIDE, self.set_aside()), (APPROVED, self.approved())):
                if job.job_id in of_unfinished:
                    self._keep(key, plain({each: of_unfinished[each] for each in of_unfinished if each != job.job_id}))

    # Batches

    def allot_batch_id(self) -> int:
        """A new id for a batch. No batch of the ledger has it, or had it."""
        self._next_batch_id += 1
        return self._next_batch_id - 1

    def seal(
        self,
        job: JobRecord,
        checkpoint: Checkpoint,
        batch: Batch | None,
        *,
        held: HeldChanges,
        released: Iterable[int],
        overtaken: Mapping[int, Hashes | Overtaken],
        filled_in: Mapping[int, frozenset[str]] = NOTHING_FILLED_IN,
        awaited: Collection[int] = (),
        remembered: Mapping[int, MemoryFile] = NOTHING_REMEMBERED,
    ) -> None:
        """The seal transaction: batch, checkpoint, changes of held rows, and the releases that it makes final.

        `batch`: None if the seal has none.
        `released`: ids of batches that are released.
        `overtaken`: for batches with lost rows, batch id -> hashes of their ids of which this batch has a later row.
        Without the parameters that this row has, the lost one is overtaken as a whole.
        `filled_in`: by hash of an id the parameters of which its row in this batch has values that it does not say.
        `awaited`: ids of released batches for which other jobs still wait; they stay open, as their bodies are needed.
        `remembered`: batch id -> the file of the memory that has its rows, for the batches whose release this is.
        """
        with self._transaction(is_seal=True) as database:
            if batch:
                self._insert_batch(batch, job.seq)
            database.execute("UPDATE jobs SET checkpoint = ? WHERE seq = ?", (_json(checkpoint.as_dict()), job.seq))
            write_held(database, job.seq, held)
            for batch_id in released:
                self._release(batch_id, remembered)
                if batch_id not in awaited:
                    self._close(batch_id)
            for lost_id, by_hash in overtaken.items():
                self._insert_overtaken(lost_id, by_hash)
            if batch and filled_in:
                self._insert_values(batch.batch_id, {hash_: {"", *names} for hash_, names in filled_in.items()})

    def split(self, parent: Batch, children: tuple[Batch, Batch]) -> None:
        """Replace a refused batch by two smaller ones in one step; they inherit its rows and its open attempts."""
        with self._transaction(is_seal=True):
            job = self._one("SELECT job FROM batches WHERE batch_id = ?", parent.batch_id)
            for child in children:
                self._insert_batch(child, job)
            self._insert_fact(parent.batch_id, SplitUp((children[0].batch_id, children[1].batch_id)))
            self._close(parent.batch_id)

    def add_fact(self, batch_id: int, fact: Fact) -> None:
        """Add a fact about a batch."""
        with self._transaction():
            self._insert_fact(batch_id, fact)

    def erase(self, batch_id: int, hashes: Hashes, left: Callable[[Fact], Fact], batch: Batch | None) -> None:
        """Erase ids from what is kept of a batch whose job has ended, in one step; their hashes too.

        `left`: what is left of a fact. `batch`: what it is when rows were erased from its body; None if none was.
        """
        with self._transaction() as database:
            for row in database.execute("SELECT * FROM facts WHERE batch_id = ?", (batch_id,)).fetchall():
                fact = make_fact(row["kind"], orjson.loads(row["detail"]))
                if (new := left(fact)) != fact:
                    detail = _json(fact_detail(new))
                    database.execute("UPDATE facts SET detail = ? WHERE seq = ?", (detail, row["seq"]))
            for table in ("overtaken", "overtaken_values"):
                query = f"DELETE FROM {table} WHERE batch_id = ? AND hash = ?"  # noqa: S608 - constants
                database.executemany(query, [(batch_id, hash_) for hash_ in hashes.astype("<i8").tolist()])
            if batch is not None:
                values = (batch.rows, batch.size_bytes, batch.sha256, batch.ids_sha256, batch.lines_sha256, batch_id)
                database.execute(
                    "UPDATE batches SET rows = ?, size_bytes = ?, sha256 = ?, ids_sha256 = ?, lines_sha256 = ?"
                    " WHERE batch_id = ?",
                    values,
                )

    def erase_filled_in(self, hashes: Hashes) -> None:
        """Erase the hashes of ids from what is known of rows that were filled in, of batches that nothing needs."""
        with self._transaction() as database:
            # All at once, since no index has the hashes alone.
            database.execute(
                "DELETE FROM overtaken_values WHERE parameters LIKE ',%' AND hash IN (SELECT value FROM json_each(?))"
                " AND batch_id IN"
                " (SELECT batch_id FROM batches JOIN jobs ON job = jobs.seq WHERE NOT is_open AND state IS NOT NULL)",
                (_json(hashes.astype("<i8").tolist()),),
            )

    def compact(self) -> bool:
        """Leave nothing in the file, or in its write-ahead log, of what was deleted; False if others read it now.

        A connection of its own does so, as it wants a file for what it sorts, and not memory.
        """
        with using(self._path), closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("VACUUM")
            is_busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not is_busy

    # The rest

    def remember_statuses(self, learned: Learned) -> None:
        """Keep the learned number of statuses that Target keeps."""
        with self._transaction():
            self._keep(LEARNED, asdict(learned))

    def begin_memory(self, remembers: str, target: str) -> None:
        """Note that there is a memory from now on: of rows that are sent to `target`, a URL.

        `remembers`: what it remembers of each: `digests` or `values`.
        """
        with self._transaction():
            last = self._one("SELECT coalesce(max(seq), 0) FROM jobs")
            self._keep(MEMORY, {"remembers": remembers, "target": target, "is_behind": False, "after_job": last})

    def number_of_source(self, name: str) -> int:
        """The number, from 1 on, by which the memory knows where an id came from; a new one if there is none yet."""
        kept = self._kept(MEMORY, dict)
        sources = [*kept.get("sources", ()), name]
        if sources.index(name) == len(sources) - 1:
            with self._transaction():
                self._keep(MEMORY, {**kept, "sources": sources})
        return sources.index(name) + 1

    def replace_partition(
        self, partition: int, file: MemoryFile | None, merged_to: int, gone: Collection[int] = ()
    ) -> None:
        """Enter the file into which a partition of the memory was merged, and remove files that no partition needs.

        `file`: None if nothing is left in it. `merged_to`: the number of the last file that was merged.
        `gone`: the numbers of the files to remove.
        """
        with self._transaction() as database:
            if file is not None:
                self._insert("memory_files", asdict(file))
            self._insert(
                "memory_partitions",
                {"partition": partition, "base": file.number if file else None, "merged_to": merged_to},
                verb="INSERT OR REPLACE",
            )
            database.executemany("DELETE FROM memory_files WHERE number = ?", [(number,) for number in gone])

    def replace_memory_files(self, gone: Collection[int], file: MemoryFile | None) -> None:
        """Enter the file into which runs of the memory were merged, and remove these.

        `file`: None if nothing is left of them. `gone`: the numbers of the files to remove.
        """
        with self._transaction() as database:
            if file is not None:
                self._insert("memory_files", asdict(file))
            database.executemany("DELETE FROM memory_files WHERE number = ?", [(number,) for number in gone])

    def clear_memory(self) -> None:
        """Forget the memory: whatever is sent next is the first that is remembered."""
        with self._transaction() as database:
            database.execute("DELETE FROM memory_partitions")
            database.execute("DELETE FROM memory_files")
            database.execute("DELETE FROM meta WHERE key = ?", (MEMORY,))

    def pause(self, *, is_paused: bool) -> None:
        """Pause sending, or resume it."""
        with self._transaction() as database:
            database.execute("UPDATE meta SET value = ? WHERE key = 'is_paused'", ("1" if is_paused else "0",))

    def _insert_job(self, job: JobRecord) -> None:
        values = {each.name: getattr(job, each.name) for each in fields(job) if each.name not in _LATER}
        claim = _json(job.claim.as_dict()) if job.claim else None
        written = {"settings": _json(job.settings), "checkpoint": _json(job.checkpoint.as_dict()), "claim": claim}
        self._insert("jobs", values | written | {"export": str(job.export), "parts": json_of_parts(job.parts)})

    def _release(self, batch_id: int, remembered: Mapping[int, MemoryFile]) -> None:
        """Add the fact that a batch is released, and what is remembered of it, unless another job has added both."""
        if self._has_fact(batch_id, Released()):
            return
        self._insert_fact(batch_id, Released())
        if (file := remembered.get(batch_id)) is not None:
            self._insert("memory_files", asdict(file))
        elif may_have_arrived(self._database, batch_id) and not is_memory_empty(self._database):
            # Whoever asks the memory from now on would take what was sent before for the latest.
            self._keep(MEMORY, {**self._kept(MEMORY, dict), "is_behind": True})

    def _has_fact(self, batch_id: int, fact: Fact) -> bool:
        query = "SELECT count(*) FROM facts WHERE batch_id = ? AND kind = ?"
        return bool(self._one(query, batch_id, fact_kind(fact)))

    def _insert_overtaken(self, batch_id: int, overtaken: Hashes | Overtaken) -> None:
        if isinstance(overtaken, Mapping):
            # What an earlier version noted without parameters is overtaken as a whole, and stays so.
            self._insert_values(batch_id, overtaken)
            hashes = [*map(_signed, overtaken)]
        else:
            hashes = overtaken.astype("<i8").tolist()
        self._database.executemany(
            "INSERT OR IGNORE INTO overtaken VALUES (?1, ?2, sum_of(?1, ?2))",
            [(batch_id, hash_) for hash_ in hashes],
        )

    def _insert_values(self, batch_id: int, names_of: Mapping[int, Collection[str]]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO overtaken_values SELECT ?1, ?2, ?3, sum_of(?1, ?2, ?3) WHERE"
            " NOT EXISTS (SELECT 1 FROM overtaken WHERE batch_id = ?1 AND hash = ?2)"
            " OR EXISTS (SELECT 1 FROM overtaken_values WHERE batch_id = ?1 AND hash = ?2)",
            [(batch_id, _signed(hash_), ",".join(sorted(names))) for hash_, names in names_of.items()],
        )

    def _close(self, batch_id: int) -> None:
        self._database.execute("UPDATE batches SET is_open = 0 WHERE batch_id = ?", (batch_id,))

    def _insert_batch(self, batch: Batch, job: int) -> None:
        self._insert("batches", asdict(batch) | {"job": job})

    def _insert_fact(self, batch_id: int, fact: Fact) -> None:
        detail = _json(fact_detail(fact))
        self._insert("facts", {"batch_id": batch_id, "at": self._utc_now(), "kind": fact_kind(fact), "detail": detail})

    def _insert(self, table: str, values: Mapping[str, object], verb: str = "INSERT") -> None:
        marks = ", ".join("?" * len(values))
        self._database.execute(f"{verb} INTO {table} ({', '.join(values)}) VALUES ({marks})", (*values.values(),))

    def _keep(self, key: str, value: object) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, _json(value)))

    @contextmanager
    def _transaction(self, *, is_seal: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk, and then in the mark, when this ends. A seal is durable in both.

        If only the mark cannot be written, it has happened all the same, and no other may follow until that is made up.
        """
        self._mark.catch_up()
        count = "UPDATE meta SET value = value + 1 WHERE key = ? RETURNING value"
        with using(self._path), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            ((number,),) = self._database.execute(count, (TRANSACTIONS,)).fetchall()
        self._mark.note(int(number), is_durable=is_seal)


def _signed(hash_: int) -> int:
    return hash_ - 2**64 if hash_ >= 2**63 else hash_


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def open_ledger(
    path: Path, client_code: str, utc_now: Callable[[], str], *, is_new: bool, spooled: Collection[int] = ()
) -> Ledger:
    """Open the ledger; make it only if `is_new`, and no mark says that there was one.

    `spooled`: the ids of the batches in the spool.

    Raises `FatalError`: 74 if it is damaged, is not the one of this spool or is older; 78 if of another client code.
    """
    mark = read_mark(mark_of(path))
    has_content = is_there(path) and path.stat().st_size > 0
    is_new = is_new and mark is None
    if not is_new and not has_content:
        raise damaged(path, "it is missing or empty, while the state directory holds batches")
    try:
        with using(path):
            if has_content:
                examine(path, mark, spooled, is_new=is_new)
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            prepare(database, path, client_code)
    except OSError as error:
        raise disk_error(error, f"cannot open the ledger {path}") from error
    return Ledger(database, path, utc_now)
