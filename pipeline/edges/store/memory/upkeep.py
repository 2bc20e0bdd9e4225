"""Keeps the memory small: merges runs, and lets go of what is old or is to be forgotten.

A partition is merged when its runs have a quarter of its base's rows, and enough to be worth a file. Many small runs,
as a service writes that loads many small drops, are merged into one run before. Each step is one transaction.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from pipeline.core.memory.entries import Entries, without, without_empty, without_older
from pipeline.core.model import Hashes
from pipeline.edges.store.memory.catalog import MemoryFile
from pipeline.edges.store.memory.files import MemoryFiles, Merge
from pipeline.edges.store.memory.sorted_file import PARTITIONS, partition_of

#: A partition is due when its runs have this share of its base's rows.
_SHARE_OF_BASE = 4
#: Small runs that are merged into one. An older run is merged with them up to this many times their rows.
_RUNS_TO_MERGE = 8
_LARGEST_TO_SMALLER = 4

Left = Callable[[Entries], Entries]


def due_partition(files: MemoryFiles) -> int | None:
    """The partition that is to be merged next; None if none is due.

    It is due by the rows in its runs; or if it is one of the last that need a run, which takes room as a whole.
    """
    rows: Counter[int] = Counter()
    with files.reading():
        for run in files.runs():
            left = files.left_of(run)
            rows.update(left)
            if 2 * sum(left.values()) < run.rows:
                rows.update({partition: files.rows_of_base(partition) + files.merged_rows for partition in left})
        over = {
            partition: count - max(files.merged_rows, files.rows_of_base(partition) // _SHARE_OF_BASE)
            for partition, count in rows.items()
        }
    most = max(over, key=over.__getitem__, default=None)
    return most if most is not None and over[most] >= 0 else None


def runs_to_merge(files: MemoryFiles) -> list[MemoryFile]:
    """The runs that are to be merged into one next, the newest of all; empty if they are few, or any is pending."""
    with files.lock:
        if not files.is_settled():
            return []
        runs, rows = files.runs(), 0
        for count, run in enumerate(reversed(runs)):
            if rows and run.rows > _LARGEST_TO_SMALLER * rows:
                return runs[len(runs) - count :] if count >= _RUNS_TO_MERGE else []
            rows += run.rows
        return runs if len(runs) >= _RUNS_TO_MERGE else []


def merge_partition(files: MemoryFiles, partition: int, left: Left = without_empty) -> Merge:
    """The base of a partition and its runs, merged into a new base. `left`: what is left of all its entries."""
    with files.reading():
        merged_to = max([files.partition(partition).merged_to, *(run.number for run in files.runs())])
        base = files.base_of(partition)
        runs = files.with_rows(partition, [run.number for run in files.runs()])
    entries = files.merged(partition, [base, *runs] if base else runs)
    return files.write_base(partition, map(left, entries), runs, merged_to)


def merge_runs(
    files: MemoryFiles, runs: Sequence[MemoryFile], left: Callable[[int, Entries], Entries] = lambda _, entries: entries
) -> Merge:
    """Runs, merged into one. `left`: what is left of their entries of a partition."""

    def merged() -> Iterator[tuple[int, Entries]]:
        for partition in range(PARTITIONS):
            with files.reading():
                some = files.with_rows(partition, [run.number for run in runs])
            for entries in files.merged(partition, some):
                yield partition, left(partition, entries)

    # The file tells the parameter names of its rows, as they are known when it is begun: those of these runs too.
    with files.reading():
        for run in runs:
            files.open(run.number)
    return files.write_runs(runs, merged())


def expiry(files: MemoryFiles, before_minutes: int) -> Iterator[Merge]:
    """The merges by which what was not sent since a time goes; each is to be entered before the next is asked for.

    Of partitions without a base nothing goes while a run is pending.
    """

    def left(entries: Entries) -> Entries:
        return without_older(without_empty(entries), before_minutes)

    def left_of_runs(partition: int, entries: Entries) -> Entries:
        return entries if files.base_of(partition) else left(entries)

    for partition in range(PARTITIONS):
        if files.base_of(partition) and _oldest(files, partition) < before_minutes:
            yield merge_partition(files, partition, left)
    oldest = [_oldest(files, each) for each in range(PARTITIONS) if not files.base_of(each)]
    if min(oldest, default=before_minutes) < before_minutes and files.is_settled():
        yield merge_runs(files, files.runs(), left_of_runs)


def erasure(files: MemoryFiles, ids: Collection[bytes], keys: Hashes) -> Iterator[Merge]:
    """The merges by which ids are erased; each is to be entered before the next is asked for. No run may be pending.

    `keys`: those of the ids, sorted. The bases are first: while the runs have what is newer, nothing older comes back
    if a crash comes between.
    """
    wanted, partitions = set(ids), np.unique(partition_of(keys)).tolist()
    for partition in partitions:
        with files.reading():
            base = files.base_of(partition)
            some = base.entries_of(partition, keys) if base else None
        if base and some and len(without(some, wanted, keys)) < len(some):
            kept = (without(part, wanted, keys) for part in files.merged(partition, [base]))
            yield files.write_base(partition, kept, (), files.partition(partition).merged_to)
    with files.reading():
        runs = files.runs()
        has_any = any(len(files.open(run.number).entries_of(each, keys)) for run in runs for each in partitions)
    if has_any:
        yield merge_runs(files, runs, lambda _, entries: without(entries, wanted, keys))


def _oldest(files: MemoryFiles, partition: int) -> int:
    """A time than which no entry of a partition is older; of what is pending none is asked."""
    with files.reading():
        runs = files.with_rows(partition, [run.number for run in files.runs()])
        base = files.base_of(partition)
        times = [each.file.least_in(partition, "noted_at") for each in ([base, *runs] if base else runs)]
    return min(times, default=2**32)
