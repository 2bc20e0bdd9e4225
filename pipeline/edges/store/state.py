"""The state directory while a process holds it: lock, ledger, spool, and the folders of jobs."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
import numpy as np

from pipeline.core.batches.book import Book
from pipeline.core.batches.lifecycle import Ages, Failed, GivenUp, IllegalFactError, Life, SeenComplete, born_of, fold
from pipeline.core.errors import ConfigurationError
from pipeline.core.model import Batch, BatchContent, Hashes
from pipeline.core.rows.encoding import encoded_forms
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.durable import disk_errors, make_directory, sync_directory, sync_names, write_durably
from pipeline.edges.host import Host
from pipeline.edges.lock import StateLock, state_lock
from pipeline.edges.process.heap import give_back
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.ledger import NOTHING_FILLED_IN, NOTHING_REMEMBERED, Ledger, Overtaken, open_ledger
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.memory.catalog import MemoryFile
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.spool import Spool

P = ParamSpec("P")
T = TypeVar("T")


class State:
    """The state directory of the process that holds it.

    `held`: its lock. `outcomes`: the directory for the folders of jobs.
    `lost`: batch id -> sorted id hashes of its failed or unconfirmed rows. None means all its rows: read their hashes
    from the spool. They are mapped only while they are read: a mapped file is an open file, and over months there
    may be more such batches than a process may have open files.
    `ages`: of open batches, as far as earlier runs in this process know them.
    `memory`: what was last sent of each id; None if nothing is remembered. `turn_to_remember`, `turn_to_merge`: for
    whoever adds to it, or merges its files; who needs both takes that to merge first, since it may take minutes, in
    which batches are released. `turn_to_write_memory`: for whoever writes one of them, taken last, since each takes
    much memory. `remembered`: set when more is remembered; whoever waited makes it anew.
    """

    def __init__(
        self,
        directory: Path,
        held: StateLock,
        ledger: Ledger,
        spool: Spool,
        host: Host,
        outcomes: Path | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.directory = directory
        self.held = held
        self.outcomes = outcomes or directory / "jobs"
        self._to_enter = directory / "to-enter"
        self._gathered = directory / "gathered"
        self.ledger = ledger
        self.spool = spool
        self.host = host
        self.lost: dict[int, Hashes | None] = {}
        self._ids_lost: tuple[tuple[int, ...], Hashes] = (), np.empty(0, dtype=np.uint64)
        self.ages: dict[int, Ages] = {}
        self.is_paused = ledger.is_paused
        self.memory = memory
        self.remembered, self.turn_to_remember, self.turn_to_merge = anyio.Event(), anyio.Lock(), anyio.Lock()
        self.turn_to_write_memory = anyio.Lock()
        self._turn, self._turn_to_write = anyio.Lock(), anyio.Lock()

    async def in_turn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function of the ledger or the spool off the event loop, one at a time."""
        async with self._turn:
            return await self.host.run_blocking(partial(function, *args, **kwargs))

    async def write(
        self,
        batch_id: int,
        number: int,
        content: BatchContent,
        *,
        parent: int | None = None,
        when_written: Callable[[], None] = lambda: None,
    ) -> Batch:
        """Write a batch into the spool off the event loop, one at a time; calls of `in_turn` may run meanwhile.

        `when_written`: called in the event loop when the memory of the body has been returned, before the write ends.
        """

        def when_gone() -> None:
            give_back()
            self.host.in_loop(when_written)

        write = partial(self.spool.write, batch_id, number, content, parent=parent, when_written=when_gone)
        async with self._turn_to_write:
            return await self.host.run_blocking(write)

    def folder(self, job_id: str) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self.outcomes / job_id)

    def begin_folder(self, job_id: str) -> JobFolder:
        """Make the folder of a job that is to be entered when its files are there; then call `end_folder`. Blocks.

        The next start removes it if this process is killed before the job is entered.
        """
        make_directory(self._to_enter)
        write_durably(self._to_enter / job_id, [])
        return self.folder(job_id).make()

    def end_folder(self, job_id: str) -> None:
        """Remove the folder that was begun for a job, unless the job is entered. Blocks."""
        if self.ledger.job(job_id) is None:
            shutil.rmtree(self.folder(job_id).directory, ignore_errors=True)
        (self._to_enter / job_id).unlink(missing_ok=True)

    def end_folders(self) -> None:
        """End the folders that processes had begun when they were killed. Blocks."""
        if self._to_enter.is_dir():
            for name in self._to_enter.iterdir():
                self.end_folder(name.name)

    def gathered(self, job_id: str) -> Path:
        """The directory of the gathered rows of a job."""
        return self._gathered / job_id

    def begin_gathering(self, job_id: str) -> None:
        """Make that directory, empty. Blocks."""
        self.end_gathering(job_id)
        make_directory(self.gathered(job_id))

    def end_gathering(self, job_id: str) -> None:
        """Remove the gathered rows of a job, if there are any. Blocks."""
        with disk_errors(f"cannot remove {self.gathered(job_id)}"), suppress(FileNotFoundError):
            shutil.rmtree(self.gathered(job_id))

    def end_gatherings(self) -> None:
        """Remove gathered rows of jobs of which not all rows were gathered, or all are in batches or held. Blocks."""
        if not self._gathered.is_dir():
            return
        begun = [(job.job_id, job.checkpoint) for job in self.ledger.begun_jobs()]
        # Also of a job with none left, until its end is durable: it opens them to learn so.
        unfinished = {job_id for job_id, each in begun if each.gathered.is_whole and not each.has_ended}
        for directory in self._gathered.iterdir():
            if directory.name not in unfinished:
                self.end_gathering(directory.name)

    @property
    def pending(self) -> Mapping[int, MemoryFile]:
        """The files of the memory for batches whose release is not durable yet, by `batch_id`."""
        return NOTHING_REMEMBERED if self.memory is None else self.memory.pending

    def note_remembered(self, released: Iterable[int]) -> None:
        """Note that the release of these batches is durable, and with it what is remembered of them."""
        if self.memory is not None:
            self.memory.entered(released)
            self.remembered.set()

    def note_ages(self, book: Book) -> None:
        """Remember how old the attempts of a job's batches are, for other runs in this process."""
        gone = {batch.batch_id for batch in book}
        others = {batch_id: ages for batch_id, ages in self.ages.items() if batch_id not in gone}
        self.ages = others | book.ages()

    def note_lost(self, record: BatchRecord) -> None:
        """Remember the ids whose rows a settled batch lost."""
        if isinstance(record.latest, GivenUp | Failed):
            self.lost[record.batch.batch_id] = None
        elif len(hashes := self._failed_hashes(record)):
            self.lost[record.batch.batch_id] = hashes

    def lost_hashes(self, batch_id: int) -> Hashes:
        """The sorted hashes of the ids whose rows a batch lost."""
        known = self.lost[batch_id]
        return self.spool.hashes(batch_id) if known is None else known

    def ids_lost(self) -> Hashes:
        """The sorted hashes of the ids of which any batch lost a row. Blocks."""
        batch_ids, hashes = self._ids_lost
        if batch_ids != (now := tuple(self.lost)):
            none = np.empty(0, dtype=np.uint64)
            hashes = np.unique(np.concatenate([none, *(self.lost_hashes(batch_id) for batch_id in now)]))
            self._ids_lost = now, hashes
        return hashes

    def overtaken_by(
        self, job: JobRecord, batch: Batch, own: Mapping[int, frozenset[str]] = NOTHING_FILLED_IN
    ) -> dict[int, Overtaken]:
        """For each batch with lost rows, those of its ids of which a batch that is about to be sealed has a later row.

        `own`: by hash the parameters of which a row has values of its own; those of others are all its own.

        Batches without any are left out. The rows of a retry are no later than those it sends again. Rows that were
        rejected and mended are as late as those of their job; none is sent that is earlier than a sent one of its id.
        """
        if not self.lost:
            return {}
        hashes, limit = self.spool.hashes(batch.batch_id), self._first_of(job) + job.is_of_mended
        common: dict[int, Hashes] = {}
        for lost_id in self.lost:
            found = np.intersect1d(self.lost_hashes(lost_id), hashes, assume_unique=True)
            if len(found) and (job.retry_of is None or self._is_of_a_job_before(lost_id, limit)):
                common[lost_id] = found
        if not common:
            return {}
        names = self.spool.parameters(batch.batch_id)
        said: dict[int, frozenset[str]] = {}
        for hash_, row in self.spool.rows_by_hash(batch.batch_id, np.concatenate([*common.values()])):
            cells = zip(names, row[:-1].split(b",")[1:], strict=False)
            # Two ids may have the same hash.
            values = own.get(hash_) or {name for name, cell in cells if cell}
            said[hash_] = said.get(hash_, frozenset()) | values
        return {lost_id: {hash_: said[hash_] for hash_ in found.tolist()} for lost_id, found in common.items()}

    def filled_in(self, batch: Batch, own: Mapping[int, frozenset[str]]) -> dict[int, frozenset[str]]:
        """By hash the parameters of which a row of a batch that is about to be sealed has values that it does not say.

        They are of an earlier row. If this one is lost, they must not come back with it: one that is newer than they
        are may have been lost before, and be sent again before it is. `own`: as for `overtaken_by`.
        """
        names, found = self.spool.parameters(batch.batch_id), dict[int, frozenset[str]]()
        for hash_, row in self.spool.rows_by_hash(batch.batch_id, np.array([*own], dtype=np.uint64)):
            cells = zip(names, row[:-1].split(b",")[1:], strict=False)
            if others := {name for name, cell in cells if cell} - own[hash_]:
                found[hash_] = found.get(hash_, frozenset()) | others
        return found

    def _first_of(self, job: JobRecord) -> int:
        """The `seq` of the job whose rows a job sends: of a retry that of the first one; else its own."""
        while job.retry_of is not None and (original := self.ledger.job(job.retry_of)) is not None:
            job = original
        return job.seq

    def _is_of_a_job_before(self, batch_id: int, seq: int) -> bool:
        record = self.ledger.batch(batch_id)
        job = None if record is None else self.ledger.job_at(record.job)
        return job is not None and self._first_of(job) < seq

    def _failed_hashes(self, record: BatchRecord) -> Hashes:
        match record.latest:
            case SeenComplete(lost_ids=lost_ids) if lost_ids:
                ids = sorted(encoded_forms(lost_ids))
                lengths = np.array([len(profile_id) for profile_id in ids], dtype=np.int64)
                starts = np.cumsum(lengths) - lengths
                return np.sort(hash_ids(b"".join(ids), starts, lengths, self.ledger.salt))
        return np.empty(0, dtype=np.uint64)


def life_of(ledger: LedgerReader, record: BatchRecord) -> Life:
    """The life of a batch, folded from its facts; the times in it mean nothing before `after_restart`.

    Raises `FatalError` (74) if the ledger holds facts that cannot happen.
    """
    parent = None if record.batch.parent is None else ledger.batch(record.batch.parent)
    life = Life() if parent is None else born_of(life_of(ledger, parent))
    try:
        for fact in record.facts:
            life = fold(life, fact, 0.0)
    except IllegalFactError as error:
        raise ledger.damaged(f"batch {record.batch.batch_id}: {error}") from error
    return life


@asynccontextmanager
async def open_state(
    directory: Path,
    client_code: str,
    host: Host,
    *,
    min_free_bytes: int,
    outcomes: Path | None = None,
    remember: str = "nothing",
    target: str = "",
) -> AsyncIterator[State]:
    """Hold the state directory.

    `outcomes`: the directory for the folders of jobs; by default `jobs` in it.
    `remember`: what the memory keeps of each row that is sent: `nothing`, `digests` or `values`.
    `target`: the URL of the Target that it is sent to.

    Raises `FatalError`: 73 if it is in use, 74 if damaged or unwritable, 78 if of another client code, or if it has
    another memory than is asked for.
    """

    def utc_now() -> str:
        return host.clock.utc_now().isoformat(timespec="milliseconds")

    def open_all(held: StateLock) -> State:
        spool = Spool(directory / "spool", min_free_bytes=min_free_bytes)
        jobs = directory / "jobs"
        # They may hold a folder or file whose maker was killed before it could flush the name.
        for folder in filter(Path.is_dir, (directory / "spool", jobs)):
            with disk_errors(f"cannot flush the directory {folder}"):
                sync_directory(folder)
        if outcomes is not None and outcomes.is_dir():
            sync_names(outcomes)
        spooled = spool.batch_ids()
        is_new = not spooled and not (jobs.is_dir() and any(jobs.iterdir()))
        ledger = open_ledger(directory / "ledger.db", client_code, utc_now, is_new=is_new, spooled=spooled)
        try:
            memory = _memory(
                directory / "memory",
                spool,
                ledger,
                remember,
                target,
                min_free_bytes=min_free_bytes,
                merged_rows=host.merged_rows,
            )
        except BaseException:
            ledger.close()
            raise
        return State(directory, held, ledger, spool, host, outcomes, memory)

    with state_lock(directory) as held:
        state = await host.run_blocking(open_all, held)
        try:
            await state.in_turn(_tidy, state)
            yield state
        finally:
            with anyio.CancelScope(shield=True):
                await state.in_turn(state.ledger.close)


def _memory(
    directory: Path,
    spool: Spool,
    ledger: Ledger,
    remember: str,
    target: str,
    *,
    min_free_bytes: int,
    merged_rows: int,
) -> Memory | None:
    """The memory of a state directory. Raises `FatalError` if it is not what is asked for (78), or damaged (74)."""
    if remember == "nothing":
        return None
    check_memory(directory, ledger, remember, target)
    if not ledger.memory_catalog().files and (
        (ledger.remembers, ledger.remembered_of) != (remember, target) or ledger.is_memory_behind
    ):
        # Nothing is remembered, so it may be of any kind.
        ledger.begin_memory(remember, target)
    memory = Memory(
        directory,
        spool,
        ledger,
        with_values=remember == "values",
        min_free_bytes=min_free_bytes,
        merged_rows=merged_rows,
    )
    memory.check()
    return memory


def _tidy(state: State) -> None:
    """Remove the remains of a crash, and find the batches that lost rows."""
    state.end_folders()
    state.end_gatherings()
    for batch_id in state.spool.erasures():
        if (erased := state.ledger.batch(batch_id)) is not None:
            state.spool.end_erasure(erased.batch)
    records = state.ledger.batches()
    open_ids = {record.batch.batch_id for record in records}
    for batch_id in state.spool.batch_ids() - open_ids:
        record = state.ledger.batch(batch_id)
        if record is not None:
            records.append(record)
    for record in records:
        state.spool.expect(record.batch)
        state.note_lost(record)
    state.spool.sweep(lambda batch_id: batch_id in open_ids or batch_id in state.lost)


def check_memory(directory: Path, ledger: LedgerReader, remember: str, target: str) -> None:
    """Raise `ConfigurationError` (78) if something is remembered that is not what the configuration asks for."""
    why = ""
    if not ledger.memory_catalog().files:
        return
    if ledger.remembers != remember:
        why = f'it was made with [memory] remember = "{ledger.remembers}", and that is "{remember}" now'
    elif ledger.remembered_of != target:
        why = f"it is of what was sent to {ledger.remembered_of}, and [target] names {target} now"
    elif ledger.is_memory_behind:
        why = 'it lacks what was sent while [memory] remember was "nothing"'
    if why:
        raise ConfigurationError(
            f"the memory {directory} cannot be used: {why}. Either set it back, or run `profile-pipeline memory "
            "rebuild`: it empties the memory, and everything is sent once more."
        )
