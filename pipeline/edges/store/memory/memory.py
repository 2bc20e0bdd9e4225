"""The memory: what was last sent of each id, on the disk, over all jobs of a client code.

Format: sorted files (`sorted_file`), named by their number. A *run* has the rows of one released batch. The *base* of a
partition, one of 256 by the first byte of the key, has what its runs came to when they were last merged. The catalog is
in the ledger: number, rows, size and checksum of each file, and for each partition its base and the number of the last
run that is in it. What is remembered of an id is in the base of its partition and in the runs behind that; the newer
file wins.

Constraints: reads and writes are sequential; a file is written once and durably, and never changed.

Invariants:

* A file counts when it is in the catalog. One that is not is what a crash left: the next start removes it.
* A run is in the catalog if and only if its batch is durably released: one transaction enters both. A crash between the
  file and the transaction leaves a batch that is released anew, and its run is written anew.
* A run has a higher number than any whose rows are older of an id that is in both.
* What is not as the catalog has it, is older, or lacks a file, is never believed.

Why writing at the release is right: a row counts as sent when its batch is settled, and what Target makes of it is
certain when every open attempt is older than the hold: then the batch is released. Until then each later row of its
ids is held (I1, I3), so that nobody asks the memory of them. After it they are sent in order (I2), so that the runs of
an id are in the order of its versions, and the newest run has the newest row. What was written earlier might have to
be taken back; what was written later might be asked for before it is there.

Cost, for n ids remembered, m of them in a run or asked for:

* `remember`: one read of the body, one write of m entries. Nothing else is touched, however large n is.
* `find`: one read of the columns of each slice in which a key is asked for: with all partitions that is n entries of 16
  to 22 bytes; of the texts only those of ids that are asked for. Work grows with m.
* `end_merge`: each partition reads and writes n / 256 entries. A partition is due when its runs have a quarter of its
  base's rows; so a row is written five times or so while the memory grows, and twice in a load that is sorted by key.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.entries import Entries, Found, latest, no_entries, without_empty
from pipeline.core.memory.finding import found_in
from pipeline.core.memory.released_rows import parameters_of, released_rows
from pipeline.core.memory.row_fates import RowFates
from pipeline.core.model import Hashes, Rows
from pipeline.edges.durable import disk_errors, make_directory, sync_directory
from pipeline.edges.store.memory.catalog import Catalog, MemoryFile, Partition
from pipeline.edges.store.memory.entry_file import EntryFile, Shapes, write_entries
from pipeline.edges.store.memory.sorted_file import PARTITIONS, FileFacts, SortedFile, bounds_of
from pipeline.edges.store.spool import Spool

_SUFFIX = ".memory"


class Memory:
    """The memory of a state directory; made if there is none.

    `with_values`: values are remembered, not digests.
    `shapes`: the parameter names of remembered rows, as far as this process has read or written any, by number.

    Files are looked at when they are first read, or by `check`. Methods may be called from several threads at once;
    only those that write to the ledger must be called as the ledger's are.
    """

    def __init__(self, directory: Path, spool: Spool, catalog: Catalog, *, with_values: bool) -> None:
        make_directory(directory)
        self._directory = directory
        self._spool = spool
        self._catalog = catalog
        self.has_values = with_values
        self._shapes = Shapes()
        self._lock = threading.RLock()
        known = catalog.memory_catalog()
        self._files = {file.number: file for file in known.files}
        self._partitions = dict(known.partitions)
        self._opened: dict[int, EntryFile] = {}
        self._pending: dict[int, MemoryFile] = {}
        self._next_number = 1 + max([*self._files, *(each.merged_to for each in self._partitions.values())], default=0)
        self._sweep()

    # Writing

    def remember(self, batch_id: int, fates: RowFates, *, at_minutes: int, source: int = 0) -> None:
        """Write the run of a batch that is about to be released; it is pending until `entered`. Blocks.

        `fates`: of its rows, by its life (`row_fates`); it is settled, and not split.
        `at_minutes`: now, in minutes since 1970 (UTC). `source`: see `Entries`.

        If the run is pending already, nothing is done. Raises `FatalError` (74) if the disk refuses.
        """
        with self._lock:
            if batch_id in self._pending:
                return
            number = self._allot_number()
        body, keys, starts = self._spool.rows_by_key(batch_id)
        shape = self._number_of(parameters_of(body)) if self.has_values else None
        entries = released_rows(
            body,
            keys,
            starts,
            fates,
            salt=self._catalog.salt,
            at_minutes=at_minutes,
            source=source,
            shape=shape,
        )
        file = self._write(number, _by_partition(entries), batch_id)
        with self._lock:
            self._pending[batch_id] = file

    def has(self, batch_id: int) -> bool:
        """True if the run of a batch is pending."""
        with self._lock:
            return batch_id in self._pending

    @property
    def pending(self) -> Mapping[int, MemoryFile]:
        """By `batch_id` the runs that are not in the catalog yet; `Ledger.seal` and `Ledger.finish_job` enter them."""
        with self._lock:
            return dict(self._pending)

    def entered(self, batch_ids: Iterable[int]) -> None:
        """Note that the runs of these batches are in the catalog now; those that are not pending are left out."""
        with self._lock:
            for batch_id in batch_ids:
                if (file := self._pending.pop(batch_id, None)) is not None:
                    self._files[file.number] = file

    # Asking

    @property
    def shapes(self) -> list[tuple[str, ...]]:
        """The parameter names of remembered rows, by the numbers in `Values.shapes`; a number always means the same."""
        with self._reading():
            for number in self._files:
                self._open(number)
            return list(self._shapes.names)

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameter names of remembered rows, each once, in the order in which they became known."""
        return tuple(dict.fromkeys(name for names in self.shapes for name in names))

    def find(self, keys: Hashes, rows: Rows | None = None) -> Found:
        """The entries of some ids. Blocks.

        `keys`: theirs, sorted. `rows`: theirs, in the same order; needed where values are remembered.

        Raises `FatalError` (74) if the memory is damaged.
        """
        bounds, found, indexes, before = bounds_of(keys).tolist(), [], [], 0
        for partition in range(PARTITIONS):
            some = slice(bounds[partition], bounds[partition + 1])
            if some.start < some.stop:
                with self._reading():
                    lists = [file.entries_of(partition, keys[some]) for file in self._files_of(partition)]
                of_some = found_in(lists, keys[some], None if rows is None else _rows_of(rows, some))
                found.append(of_some.entries)
                indexes.append(np.where(of_some.indexes < 0, -1, of_some.indexes + before))
                before += len(of_some.entries)
        if not found:
            return Found(no_entries(with_values=self.has_values), np.zeros(0, dtype=np.int64))
        return Found(latest(found), np.concatenate(indexes))

    def entries_of(self, partition: int) -> Entries:
        """All that is remembered of the ids of a partition. Blocks."""
        with self._reading():
            lists = [file.entries(partition) for file in self._files_of(partition)]
        return without_empty(latest(lists or [no_entries(with_values=self.has_values)]))

    def check(self) -> None:
        """Raise `FatalError` (74) if a file is not there, or is not that of the catalog. Their slices are not read."""
        with self._reading():
            for number in self._files:
                self._open(number)

    # Within

    def _allot_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _number_of(self, names: tuple[str, ...]) -> int:
        with self._lock:
            return self._shapes.number(names)

    def _write(self, number: int, entries: Iterable[tuple[int, Entries]], batch_id: int | None) -> MemoryFile:
        path = self._path(number)
        facts = write_entries(path, entries, self._shapes.names, with_values=self.has_values)
        return MemoryFile(number, batch_id, facts.rows, facts.size_bytes, facts.checksum)

    def _files_of(self, partition: int) -> Iterator[EntryFile]:
        """The files in which entries of a partition are, the oldest first."""
        merged = self._partitions.get(partition, Partition())
        if merged.base is not None:
            yield self._open(merged.base)
        bases = {each.base for each in self._partitions.values()}
        pending = {file.number: file for file in self._pending.values()}
        for number in sorted({*self._files, *pending} - bases):
            if number > merged.merged_to and partition in (file := self._open(number)).file.partitions:
                yield file

    def _open(self, number: int) -> EntryFile:
        opened = self._opened.get(number)
        if opened is None:
            pending = (file for file in self._pending.values() if file.number == number)
            file = self._files.get(number) or next(pending)
            facts = FileFacts(file.rows, file.size_bytes, file.checksum)
            opened = self._opened[number] = EntryFile(SortedFile.open(self._path(number), facts), self._shapes)
        return opened

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08d}{_SUFFIX}"

    def _sweep(self) -> None:
        """Remove what a crash left: files that are not in the catalog."""
        with disk_errors(f"cannot tidy the directory {self._directory}"):
            known = {self._path(number).name for number in self._files}
            for file in [*self._directory.glob(f"*{_SUFFIX}"), *self._directory.glob(".*.tmp")]:
                if file.name not in known:
                    file.unlink()
            sync_directory(self._directory)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """No file goes while the body runs. Raises `FatalError` (74) where one is not what the catalog has."""
        try:
            with self._lock, disk_errors(f"cannot read the memory {self._directory}"):
                yield
        except (ValueError, FileNotFoundError) as error:
            raise FatalError(
                f"the memory {self._directory} is damaged ({error}), and nothing of it is believed. Restore the whole "
                "state directory from a backup, or run `profile-pipeline memory rebuild`: it empties the memory, and "
                "everything is sent once more.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from error


def _by_partition(entries: Entries) -> Iterator[tuple[int, Entries]]:
    bounds = bounds_of(entries.keys)
    for partition in np.flatnonzero(np.diff(bounds)).tolist():
        yield partition, entries.taken(np.arange(bounds[partition], bounds[partition + 1]))


def _rows_of(rows: Rows, some: slice) -> Rows:
    """Some of the rows; the body stays whole up to the last of them."""
    start = int(rows.starts[some.start])
    return Rows(
        rows.body[start : int(rows.ends[some.stop - 1])],
        rows.ends[some] - start,
        rows.id_lengths[some],
        rows.lines[some],
        rows.hashes[some],
    )
