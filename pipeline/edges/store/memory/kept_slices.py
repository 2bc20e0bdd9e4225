"""Slices of files of the memory that are kept, as the next question is of the same ids or partition, most often."""

from collections.abc import Collection

from pipeline.edges.store.memory.entry_file import EntryFile
from pipeline.edges.store.memory.sorted_file import ReadSlice

#: Ours: bytes of slices that are kept at once. A few rows may ask for all partitions, and their slices grow with the
#: memory: all of them are what it has of columns.
KEPT_BYTES = 33_554_432


class KeptSlices:
    """The slices that were read for a question, without their texts.

    They take no more than `max_bytes`, but for those of a single partition, which are kept however large they are: all
    rows of a large export ask one partition after the other, each several times.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        #: By partition, by the number of the file.
        self._slices: dict[int, dict[int, ReadSlice]] = {}

    @property
    def size_bytes(self) -> int:
        """The bytes of all that are kept."""
        return self._size_bytes

    def ask(self, partitions: Collection[int]) -> None:
        """Begin a question of these partitions: what was read of others is not kept."""
        self._slices = {partition: self._slices[partition] for partition in partitions if partition in self._slices}
        self._size_bytes = sum(each.size_bytes for of_files in self._slices.values() for each in of_files.values())

    def rows_of(self, partition: int, file: EntryFile) -> ReadSlice:
        """The slice of a partition in a file, which is read if it is not kept."""
        found = self._slices.get(partition, {}).get(file.number)
        if found is not None:
            return found
        found = file.file.rows_of(partition)
        is_only_one = not self._slices.keys() - {partition}
        if is_only_one or self._size_bytes + found.size_bytes <= self._max_bytes:
            self._slices.setdefault(partition, {})[file.number] = found
            self._size_bytes += found.size_bytes
        return found
