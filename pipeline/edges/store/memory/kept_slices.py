"""Slices of files of the memory that are kept, as the next question is of the same ids or partition, most often."""

from collections.abc import Collection

import numpy as np

from pipeline.edges.store.memory.entry_file import EntryFile
from pipeline.edges.store.memory.sorted_file import ReadSlice

#: Ours: bytes of slices that are kept at once. A few rows may ask for all partitions, and their slices grow with the
#: memory: all of them are what it has of columns.
KEPT_BYTES = 50_331_648


class KeptSlices:
    """The slices that were read for a question, without their texts.

    They take no more than `max_bytes`, but for those of a single partition, which are kept however large they are: all
    rows of a large export ask one partition after the other, each several times.

    Constraint: whoever has a slice takes copies of what is wanted, and has done with it before anybody begins the next
    question; the lock of the files is held meanwhile. What is read for that lies in the same place: to ask the system
    for memory anew, slice by slice, takes twice as long as to read them.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        #: By partition, by the number of the file.
        self._slices: dict[int, dict[int, ReadSlice]] = {}
        #: Where slices lie one behind the other, and how much of it is taken.
        self._room: memoryview | None = None
        self._taken = 0

    @property
    def size_bytes(self) -> int:
        """The bytes of all that are kept."""
        return sum(each.size_bytes for of_files in self._slices.values() for each in of_files.values())

    def ask(self, partitions: Collection[int]) -> None:
        """Begin a question of these partitions: what was read of others is not kept. Of none, no memory is kept."""
        self._slices = {partition: self._slices[partition] for partition in partitions if partition in self._slices}
        if not self._slices:
            self._taken = 0
        if not partitions:
            self._room = None

    def rows_of(self, partition: int, file: EntryFile) -> ReadSlice:
        """The slice of a partition in a file, which is read if it is not kept."""
        found = self._slices.get(partition, {}).get(file.number)
        if found is not None:
            return found
        size_bytes = file.file.size_of(partition)
        has_room = self._taken + size_bytes <= self._max_bytes
        found = file.file.rows_of(partition, self._place(size_bytes) if has_room else None)
        is_only_one = not self._slices.keys() - {partition}
        if has_room or is_only_one:
            self._slices.setdefault(partition, {})[file.number] = found
        return found

    def _place(self, size_bytes: int) -> memoryview:
        """So many bytes that nobody has, which are taken then."""
        if self._room is None:
            # Memory that nothing was written to takes none.
            self._room = np.empty(self._max_bytes, dtype=np.uint8).data
        self._taken += size_bytes
        return self._room[self._taken - size_bytes : self._taken]
