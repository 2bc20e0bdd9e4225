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

* `remember`: one read of the body, with values one more for every 8 MB of it; one write of m entries. Nothing else is
  touched, however large n is.
* `find`: one read of the columns of each slice in which a key is asked for: with all partitions that is n entries of 16
  to 24 bytes; with values, of the texts only those of ids whose values are asked for. Work grows with m. What is asked
  for the values of the same ids then reads no columns anew but those that were too many to be kept (`kept_slices`).
* `write_merge`: a partition reads and writes n / 256 entries. A partition is due when its runs have a quarter of its
  base's rows; so a row is written five times or so while the memory grows, and twice in a load that is sorted by key.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.core.batches.hashset import contains
from pipeline.core.errors import FatalError
from pipeline.core.memory.entries import Entries, Found, latest, no_entries, without_empty
from pipeline.core.memory.finding import found_in
from pipeline.core.memory.id_kinds import ID_KINDS, THIRD_PARTY_ID, digests_of_kind, keys_of_kind, unsorted_order
from pipeline.core.memory.keyed_rows import Digested, KeyedRows
from pipeline.core.memory.released_rows import Body, released_rows, small_parts
from pipeline.core.memory.row_fates import RowFates
from pipeline.core.model import Flags, Hashes, Rows
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.store.memory import upkeep
from pipeline.edges.store.memory.catalog import Catalog, MemoryFile
from pipeline.edges.store.memory.files import MemoryFiles, Merge
from pipeline.edges.store.memory.sorted_file import PARTITIONS, bounds_of, partition_of
from pipeline.edges.store.spool import Spool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """The facts of a memory that people are told.

    `ids`: the number of entries; an id that is in several files that are not merged yet counts in each.
    `oldest_minutes`: the time of the oldest entry, in minutes since 1970 (UTC); None if there is none.
    """

    ids: int
    size_bytes: int
    oldest_minutes: int | None
    files: int


class Memory:
    """The memory of a state directory; made if there is none.

    `spool`: of the batches that are remembered; None for one that is only asked, beside the process that holds it.
    `with_values`: values are remembered, not digests. `merged_rows`: see `Host`.

    Files are looked at when they are first read, or by `check`. Methods may be called from several threads at once;
    those that write to the ledger (`enter_merge`, `merge_one`, `expire`, `forget`, `rebuild`) must be called as the
    ledger's are, and merges one at a time.
    """

    def __init__(
        self,
        directory: Path,
        spool: Spool | None,
        catalog: Catalog,
        *,
        with_values: bool,
        min_free_bytes: int = 0,
        merged_rows: int = 4_096,
    ) -> None:
        self._spool = spool
        self._salt = catalog.salt
        self.has_values = with_values
        self._files = MemoryFiles(
            directory,
            catalog,
            with_values=with_values,
            min_free_bytes=min_free_bytes,
            merged_rows=merged_rows,
            is_reader=spool is None,
        )

    # Writing

    def remember(self, batch_id: int, fates: RowFates, *, at_minutes: int, source: int = 0) -> None:
        """Write the run of a batch that is about to be released; it is pending until `entered`. Blocks.

        `fates`: of its rows, by its life (`row_fates`); it is settled, and not split.
        `at_minutes`: now, in minutes since 1970 (UTC). `source`: see `Entries`.

        If the run is pending already, nothing is done. Raises `FatalError` (74) if the disk refuses.
        """
        if self.has(batch_id):
            return
        if self._spool is None:
            raise ValueError("a memory that is only asked remembers nothing")
        # What was kept of slices must not stand beside what this takes.
        self._files.done_with_questions()
        spool = self._spool
        size_bytes, keys, starts = spool.rows_by_key(batch_id)
        body = Body(size_bytes, partial(spool.read_body, batch_id))
        shape = self.shape_of(tuple(body.heading(starts)[1:])) if self.has_values else None
        # Rows that no line of their export has are of ids that are gone.
        is_gone = self._spool.lines(batch_id) == 0 if source else None
        bounds = small_parts(keys, bounds_of(keys), size_bytes)
        parts = released_rows(
            body,
            keys,
            starts,
            fates,
            bounds,
            salt=self._salt,
            at_minutes=at_minutes,
            source=source,
            shape=shape,
            is_gone=is_gone,
        )
        partitions = partition_of(keys[bounds[:-1]]).tolist()
        self._files.write_run(batch_id, zip(partitions, parts, strict=True), len(keys))

    def has(self, batch_id: int) -> bool:
        """True if the run of a batch is pending."""
        return batch_id in self._files.pending

    @property
    def pending(self) -> Mapping[int, MemoryFile]:
        """By `batch_id` the runs that are not in the catalog yet; `Ledger.seal` and `Ledger.finish_job` enter them."""
        return self._files.pending

    def entered(self, batch_ids: Iterable[int]) -> None:
        """Note that the runs of these batches are in the catalog now; those that are not pending are left out."""
        self._files.entered(batch_ids)

    # Asking

    @property
    def shapes(self) -> list[tuple[str, ...]]:
        """The parameter names of remembered rows, by the numbers in `Values.shapes`; a number always means the same."""
        self.check()
        with self._files.lock:
            return list(self._files.shapes.names)

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameter names of remembered rows, each once, in the order in which they became known."""
        return tuple(dict.fromkeys(name for names in self.shapes for name in names))

    def shape_of(self, parameters: tuple[str, ...]) -> int:
        """The number of these names among `shapes`."""
        with self._files.lock:
            return self._files.shapes.number(parameters)

    def find(self, hashes: Hashes, rows: KeyedRows | None = None, *, id_kind: str = THIRD_PARTY_ID) -> Found:
        """The entries of some ids. Blocks. It is fast where calls go from partition to partition.

        `hashes`: of the ids, sorted. `rows`: theirs, in the same order, if their values are asked for too, where values
        are remembered. Without them, the entries have none: no text is read, and of two ids of one hash the newer entry
        is found for both. `id_kind`: that of the ids, as [export] has it.

        Raises `FatalError` (74) if the memory is damaged.
        """
        keys = keys_of_kind(hashes, id_kind)
        if (order := unsorted_order(keys)) is None:
            return digests_of_kind(self._find(keys, rows), id_kind)
        found = self._find(keys[order], None if rows is None else rows.chosen(order))
        indexes = np.empty_like(found.indexes)
        indexes[order] = found.indexes
        return digests_of_kind(Found(found.entries, indexes), id_kind)

    def knows(self, hashes: Hashes, *, id_kind: str = THIRD_PARTY_ID) -> Flags:
        """Set for each hash, which are sorted, of which any id may be remembered; shape (n,). Blocks."""
        keys = keys_of_kind(hashes, id_kind)
        is_known = np.zeros(len(keys), dtype=np.bool_)
        partitions = partition_of(keys)
        for partition in np.unique(partitions).tolist():
            some = slice(*np.searchsorted(partitions, [partition, partition + 1]))
            for known in self._asked(partial(self._files.keys_of, partition)):
                is_known[some] |= contains(known, keys[some])
        return is_known

    def _find(self, keys: Hashes, rows: KeyedRows | None) -> Found:
        """The entries of these keys, which are sorted."""
        bounds, with_values = bounds_of(keys).tolist(), self.has_values and rows is not None
        asked = {
            each: keys[slice(*of_each)] for each, of_each in enumerate(pairwise(bounds)) if of_each[0] < of_each[1]
        }
        self._files.ask(asked)
        # The bases are as one file: of each partition, its base is the oldest.
        by_file: dict[int, list[Entries]] = {}
        for partition, some in asked.items():
            # Whoever else needs the files, as the event loop does, waits for one partition, and not for all.
            found_by_file = self._asked(partial(self._files.entries_of, partition, some, with_values=with_values))
            for number, entries in found_by_file.items():
                by_file.setdefault(number, []).append(entries)
        lists = [latest(by_file[number]) for number in sorted(by_file)] or [no_entries(with_values=with_values)]
        found = found_in(lists, keys, rows if with_values else None)
        return Found(found.entries.joined(), found.indexes)

    def parts_of(self, partition: int) -> Iterator[Entries]:
        """All that is remembered of the ids of a partition, some ids after the other. Blocks at each.

        No merge may be entered meanwhile.
        """
        with self._files.reading():
            files = self._files.of(partition)
        return map(without_empty, self._files.merged(partition, files))

    def facts(self) -> MemoryFacts:
        """The number of ids that are remembered, how large that is, and how old."""
        with self._files.reading():
            files = self._files.catalogued
            by_partition = {partition: self._files.of(partition) for partition in range(PARTITIONS)}
            ids = sum(each.file.rows_in(number) for number, some in by_partition.items() for each in some)
            times = [each.file.least_in(number, "noted_at") for number, some in by_partition.items() for each in some]
        return MemoryFacts(ids, sum(file.size_bytes for file in files), min(times, default=None), len(files))

    def check(self) -> None:
        """Raise `FatalError` (74) if a file is not there, or is not that of the catalog. Their slices are not read."""
        self._asked(lambda: [self._files.open(file.number) for file in self._files.catalogued])

    def _asked(self, ask: Callable[[], T]) -> T:
        """The answer of the files. Beside a process that merges them, it is asked for again if one has gone for it."""
        while True:
            try:
                with self._files.reading():
                    return ask()
            except FatalError:
                if not self._files.has_moved_on():
                    raise

    # Upkeep

    def is_merge_due(self) -> bool:
        """True if `merge_one` has something to do."""
        return upkeep.due_partition(self._files) is not None or bool(upkeep.runs_to_merge(self._files))

    def write_merge(self) -> Merge | None:
        """Merge what is most in need of it: a partition, or many small runs into one; None if nothing is due. Blocks.

        It asks nothing of the ledger, and what it writes counts only when it is entered.

        Raises `FatalError` (74) if the disk refuses, or the memory is damaged; nothing has changed then.
        """
        partition = upkeep.due_partition(self._files)
        if partition is not None:
            return upkeep.merge_partition(self._files, partition)
        runs = upkeep.runs_to_merge(self._files)
        return upkeep.merge_runs(self._files, runs) if runs else None

    def enter_merge(self, merge: Merge) -> bool:
        """Let a merge count, in one transaction of the ledger; False if another one came first. Blocks shortly."""
        return self._files.enter(merge)

    def merge_one(self) -> None:
        """Merge what is most in need of it, if anything is. Blocks."""
        if (merge := self.write_merge()) is not None:
            self.enter_merge(merge)

    def expiry(self, before_minutes: int) -> Iterator[Merge]:
        """The merges by which what was not sent since a time goes, in minutes since 1970 (UTC). Blocks at each.

        Each is to be entered before the next is asked for.
        """
        return upkeep.expiry(self._files, before_minutes)

    def expire(self, before_minutes: int) -> None:
        """Let go of what was not sent since a time, in minutes since 1970 (UTC). Blocks."""
        for merge in self.expiry(before_minutes):
            self.enter_merge(merge)

    def forget(self, ids: Collection[bytes]) -> int:
        """Erase encoded ids of every kind; return the number of those of which anything was remembered. Blocks.

        Raises `ValueError` while any run is pending: it may have them.
        """
        if not self._files.is_settled():
            raise ValueError("runs of the memory are pending")
        rows = _rows_of_ids(sorted(set(ids)), self._salt)
        is_known = np.zeros(len(rows), dtype=np.bool_)
        for id_kind in ID_KINDS:
            is_known |= self.find(rows.hashes, rows, id_kind=id_kind).is_known
        if is_known.any():
            keys = np.sort(np.concatenate([keys_of_kind(rows.hashes, id_kind) for id_kind in ID_KINDS]))
            for merge in upkeep.erasure(self._files, ids, keys):
                if not self._files.enter(merge):
                    raise ValueError("the memory was merged meanwhile: the ids are not erased")
        return int(np.count_nonzero(is_known))

    def rebuild(self) -> None:
        """Forget everything, also where it is damaged: each row is sent once more. Blocks."""
        self._files.clear()


def _rows_of_ids(ids: list[bytes], salt: int) -> KeyedRows:
    """Rows of ids alone, sorted by hash."""
    lengths = np.array([len(each) for each in ids], dtype=np.int64)
    hashes = hash_ids(b"".join(ids), np.cumsum(lengths) - lengths, lengths, salt)
    ends = np.cumsum(lengths + 1)
    rows = Rows(b"".join([each + b"\n" for each in ids]), ends, lengths, np.zeros_like(ends), hashes)
    return KeyedRows.of_rows(rows, Digested((), salt))
