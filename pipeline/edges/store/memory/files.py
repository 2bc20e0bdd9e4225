"""The files of the memory: which of them count, in which order, and for which partitions."""

import errno
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.entries import Entries, in_parts, latest
from pipeline.core.model import Hashes
from pipeline.edges.durable import disk_errors, free_bytes, make_directory, sync_directory
from pipeline.edges.store.memory.catalog import Catalog, MemoryFile, Partition
from pipeline.edges.store.memory.entry_file import EntryFile, Shapes, write_entries
from pipeline.edges.store.memory.kept_slices import KeptSlices
from pipeline.edges.store.memory.sorted_file import FileFacts, SortedFile

_SUFFIX = ".memory"


@dataclass(frozen=True, slots=True)
class Merge:
    """A file that was written to take the place of others, and does not count yet.

    `file`: None if nothing is left. `replaced`: the numbers of those that go for it. `read`: of others that are in it.
    `partition`: the one whose base it is, of all runs up to `merged_to`; None if it is a run.
    """

    file: MemoryFile | None
    replaced: tuple[int, ...]
    read: tuple[int, ...] = ()
    partition: int | None = None
    merged_to: int = 0


class MemoryFiles:
    """The files in the directory of a memory; made if there is none, and tidied from what a crash left.

    A file is a base, a run, or a pending run: one whose batch is not durably released yet. Bases and runs are in the
    catalog. Whoever asks for several things that belong together holds `lock` meanwhile.

    `is_reader`: nothing is made, tidied or written, beside a process that may do all of that.
    """

    def __init__(
        self,
        directory: Path,
        catalog: Catalog,
        *,
        with_values: bool,
        min_free_bytes: int,
        merged_rows: int,
        is_reader: bool = False,
    ) -> None:
        if not is_reader:
            make_directory(directory)
        self.directory = directory
        self._is_reader = is_reader
        self.with_values = with_values
        self.min_free_bytes = min_free_bytes
        self.merged_rows = merged_rows
        self.shapes = Shapes()
        self.lock = threading.RLock()
        self._catalog = catalog
        #: Those in the catalog, and what it has of partitions.
        self._files: dict[int, MemoryFile] = {}
        self._partitions: dict[int, Partition] = {}
        self._opened: dict[int, EntryFile] = {}
        self._kept = KeptSlices()
        #: Pending runs by batch, and the numbers of runs that are being written.
        self._pending: dict[int, MemoryFile] = {}
        self._begun: set[int] = set()
        self._read_catalog()
        self._next_number = 1 + max([*self._files, *(each.merged_to for each in self._partitions.values())], default=0)
        if not is_reader:
            self._sweep()

    # Runs

    def write_run(self, batch_id: int, entries: Iterable[tuple[int, Entries]], rows: int) -> None:
        """Write a run; it is pending then. `rows`: how many entries it has."""
        self._check_room(rows)
        with self.lock:
            number = self._allot_number()
            self._begun.add(number)
        try:
            file = self._write(number, entries, batch_id)
            with self.lock:
                self._pending[batch_id] = file
        finally:
            with self.lock:
                self._begun.discard(number)

    @property
    def pending(self) -> dict[int, MemoryFile]:
        """By batch the runs that are pending."""
        with self.lock:
            return dict(self._pending)

    def entered(self, batch_ids: Iterable[int]) -> None:
        """Note that the runs of these batches are in the catalog; those that are not pending are left out."""
        with self.lock:
            for batch_id in batch_ids:
                if (file := self._pending.pop(batch_id, None)) is not None:
                    self._files[file.number] = file

    # Questions

    @property
    def catalogued(self) -> list[MemoryFile]:
        """All files in the catalog."""
        with self.lock:
            return list(self._files.values())

    def partition(self, number: int) -> Partition:
        """The state of a partition."""
        return self._partitions.get(number, Partition())

    def base_of(self, partition: int) -> EntryFile | None:
        """The base of a partition, if it has one."""
        base = self.partition(partition).base
        return None if base is None else self.open(base)

    def rows_of_base(self, partition: int) -> int:
        """The rows in the base of a partition."""
        base = self.partition(partition).base
        return 0 if base is None else self._files[base].rows

    def left_of(self, run: MemoryFile) -> dict[int, int]:
        """By partition the rows of a run that are in no base yet."""
        partitions = self.open(run.number).file.partitions
        return {each: rows for each, rows in partitions.items() if run.number > self.partition(each).merged_to}

    def runs(self) -> list[MemoryFile]:
        """The runs in the catalog of which all older ones are there too, the oldest first."""
        with self.lock:
            bases = {each.base for each in self._partitions.values()}
            first = min([*self._begun, *(file.number for file in self._pending.values())], default=self._next_number)
            return [self._files[number] for number in sorted(self._files) if number not in bases and number < first]

    def is_settled(self) -> bool:
        """True if no run is pending or being written."""
        with self.lock:
            return not self._pending and not self._begun

    def of(self, partition: int) -> list[EntryFile]:
        """The files in which entries of a partition are, the oldest first, pending runs too."""
        with self.lock:
            bases = {each.base for each in self._partitions.values()}
            numbers = {*self._files, *(file.number for file in self._pending.values())} - bases
            base = self.base_of(partition)
            return [*([] if base is None else [base]), *self.with_rows(partition, sorted(numbers))]

    def with_rows(self, partition: int, runs: Iterable[int]) -> list[EntryFile]:
        """Those of some runs that have rows of a partition that are not in its base."""
        merged_to = self.partition(partition).merged_to
        opened = [self.open(number) for number in runs if number > merged_to]
        return [each for each in opened if each.file.has_rows(partition)]

    def ask(self, partitions: Collection[int]) -> None:
        """Begin a question of these partitions: what was read of others is not kept, see `KeptSlices`."""
        with self.lock:
            self._kept.ask(partitions)

    def entries_of(self, partition: int, keys: Hashes, *, with_values: bool) -> dict[int, Entries]:
        """By the number of the file, 0 for the base, the entries of a partition that have one of these sorted keys.

        Without values, no text is read.
        """
        with self.lock:
            base = self.partition(partition).base
            by_file: dict[int, Entries] = {}
            for file in self.of(partition):
                rows = self._kept.rows_of(partition, file)
                by_file[0 if file.number == base else file.number] = (
                    file.entries_of(partition, keys, rows) if with_values else file.entries_without_values(rows, keys)
                )
            return by_file

    def done_with_questions(self) -> None:
        """Keep no memory for what was read for questions."""
        self.ask(())

    def keys_of(self, partition: int) -> list[Hashes]:
        """The sorted keys of each file in which entries of a partition are."""
        with self.lock:
            return [each.file.rows_of(partition).keys for each in self.of(partition)]

    def open(self, number: int) -> EntryFile:
        """A file by its number; its footer is checked when it is opened first."""
        opened = self._opened.get(number)
        if opened is None:
            file = self._files.get(number) or next(each for each in self._pending.values() if each.number == number)
            facts = FileFacts(file.rows, file.size_bytes, file.checksum)
            opened = self._opened[number] = EntryFile(number, SortedFile.open(self._path(number), facts), self.shapes)
        return opened

    @contextmanager
    def reading(self) -> Iterator[None]:
        """No file goes while the body runs. Raises `FatalError` (74) where one is not what the catalog has."""
        try:
            with self.lock, disk_errors(f"cannot read the memory {self.directory}"):
                try:
                    yield
                except FileNotFoundError as error:
                    raise ValueError(f"{Path(error.filename).name} is missing") from error
        except ValueError as error:
            raise FatalError(
                f"the memory {self.directory} is damaged ({error}), and nothing of it is believed. Restore the whole "
                "state directory from a backup, or run `profile-pipeline memory rebuild`: it empties the memory, and "
                "everything is sent once more.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from error

    def has_moved_on(self) -> bool:
        """True if the process that holds the memory has other files by now, for one that reads it: it has them too."""
        if not self._is_reader:
            return False
        with self.lock:
            before = self._files
            self._read_catalog()
            # Where a memory was emptied, a number may be that of another file by now.
            same = self._files.items() & before.items()
            self._opened = {number: self._opened[number] for number, _ in same if number in self._opened}
            self._kept.ask(())
            return self._files != before

    # Merges

    def merged(self, partition: int, files: Sequence[EntryFile]) -> Iterator[Entries]:
        """The entries of a partition in some files, the oldest first, merged. Some keys come after the other.

        So it takes little memory, however much is remembered. No merge may be entered meanwhile: it removes files.
        """
        with self.reading():
            slices = [each.file.rows_of(partition) for each in files]
        for parts in in_parts([each.keys for each in slices]):
            with self.reading():
                some = zip(files, slices, parts, strict=True)
                entries = latest([file.part(partition, rows, part) for file, rows, part in some])
            yield entries

    def write_base(
        self, partition: int, entries: Iterable[Entries], runs: Sequence[EntryFile], merged_to: int
    ) -> Merge:
        """Write a new base of a partition; it counts when it is entered.

        `entries`: some keys after the other. `runs`: those that are in it, besides the base that it replaces.
        `merged_to`: no run up to it has anything else of the partition.
        """
        base = self.partition(partition).base
        replaced = () if base is None else (base,)
        rows = self.rows_of_base(partition) + sum(each.file.rows_in(partition) for each in runs)
        file = self._write_merged(((partition, some) for some in entries), rows)
        return Merge(file, replaced, tuple(each.number for each in runs), partition, merged_to)

    def write_runs(self, runs: Sequence[MemoryFile], entries: Iterable[tuple[int, Entries]]) -> Merge:
        """Write one run in place of some; they are the newest, and none is pending. It counts when it is entered."""
        rows = sum(run.rows for run in runs)
        return Merge(self._write_merged(entries, rows), tuple(run.number for run in runs))

    def enter(self, merge: Merge) -> bool:
        """Let a merge count: one transaction, after which files that are in it go.

        If another merge has replaced files that are in it meanwhile, it is dropped, and False returned.
        """
        with self.lock:
            partitions, gone = self._partitions, [*merge.replaced]
            is_in_time = all(number in self._files for number in (*gone, *merge.read))
            if merge.partition is not None:
                base = self.partition(merge.partition).base
                is_in_time &= gone == ([] if base is None else [base])
                merged = Partition(None if merge.file is None else merge.file.number, merge.merged_to)
                partitions = {**partitions, merge.partition: merged}
                gone += [run.number for run in self.runs() if self._is_over(run, partitions)]
            elif merge.file is not None:
                # A run that was begun between the choice and the number of this one is newer, and has a lower number.
                # That of a base says nothing: whatever it has is older than any run behind it.
                bases = {each.base for each in self._partitions.values()}
                others = {*self._files, *self._begun, *(file.number for file in self._pending.values())}
                others -= {*gone, *bases}
                is_in_time &= not any(min(gone) < number < merge.file.number for number in others)
        if not is_in_time:
            self._remove([] if merge.file is None else [merge.file.number])
            return False
        if merge.partition is None:
            self._catalog.replace_memory_files(gone, merge.file)
        else:
            self._catalog.replace_partition(merge.partition, merge.file, merge.merged_to, gone)
        with self.lock:
            self._partitions = partitions
            for number in gone:
                del self._files[number]
                self._opened.pop(number, None)
            if merge.file is not None:
                self._files[merge.file.number] = merge.file
            self._kept.ask(())
            self._remove(gone)
        return True

    def clear(self) -> None:
        """Remove all files, and the catalog of them."""
        with self.lock:
            self._catalog.clear_memory()
            self._pending.clear()
            self._opened.clear()
            self._kept.ask(())
            self._read_catalog()
            self._sweep()

    # Within

    def _read_catalog(self) -> None:
        known = self._catalog.memory_catalog()
        self._files = {file.number: file for file in known.files}
        self._partitions = dict(known.partitions)

    def _allot_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _write(self, number: int, entries: Iterable[tuple[int, Entries]], batch_id: int | None) -> MemoryFile:
        facts = write_entries(self._path(number), entries, self.shapes.names, with_values=self.with_values)
        return MemoryFile(number, batch_id, facts.rows, facts.size_bytes, facts.checksum)

    def _is_over(self, run: MemoryFile, partitions: dict[int, Partition]) -> bool:
        """True if no partition needs a run any more."""
        return all(
            run.number <= partitions.get(partition, Partition()).merged_to
            for partition in self.open(run.number).file.partitions
        )

    def _write_merged(self, entries: Iterable[tuple[int, Entries]], rows: int) -> MemoryFile | None:
        """A new file of entries that were merged; None if there are none."""
        self._check_room(rows)
        with self.lock:
            number = self._allot_number()
        file = self._write(number, entries, None)
        if file.rows:
            return file
        self._remove([number])
        return None

    def _remove(self, numbers: Collection[int]) -> None:
        with disk_errors(f"cannot remove files of the memory {self.directory}"):
            for number in numbers:
                self._path(number).unlink(missing_ok=True)

    def _check_room(self, rows: int) -> None:
        """Raise `FatalError` (74) unless there is room for another file of so many rows."""
        known = sum(file.size_bytes for file in self.catalogued) / max(1, sum(file.rows for file in self.catalogued))
        if free_bytes(self.directory) - rows * max(32.0, known) < self.min_free_bytes:
            raise FatalError(
                f"{self.directory} has too little free beside [state] min_free_bytes = {self.min_free_bytes:,} to "
                "remember what was sent: make room and run again.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _path(self, number: int) -> Path:
        return path_of(self.directory, number)

    def _sweep(self) -> None:
        """Remove what a crash left: files that are not in the catalog."""
        _remove_others(self.directory, {self._path(number).name for number in self._files})


def path_of(directory: Path, number: int) -> Path:
    """The path of a file in the directory of a memory."""
    return directory / f"{number:08d}{_SUFFIX}"


def remove_all(directory: Path) -> None:
    """Remove all files in the directory of a memory of which the catalog has none, if there is such a directory."""
    if directory.is_dir():
        _remove_others(directory, set())


def _remove_others(directory: Path, known: Collection[str]) -> None:
    with disk_errors(f"cannot tidy the directory {directory}"):
        for file in [*directory.glob(f"*{_SUFFIX}"), *directory.glob(".*.tmp")]:
            if file.name not in known:
                file.unlink()
        sync_directory(directory)
