"""Entries in sorted files: their columns, and the parameter names of their rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.core.memory.cells import with_shapes, without_shapes
from pipeline.core.memory.entries import Entries, Values, no_entries
from pipeline.core.memory.finding import indexes_of
from pipeline.core.memory.texts import Texts
from pipeline.core.model import Hashes, Offsets
from pipeline.edges.store.memory.sorted_file import FileFacts, ReadSlice, Slice, SortedFile, write_slices

_KINDS = {"digests": "<u8", "sent_at": "<u4", "noted_at": "<u4", "sources": "<u2"}
_KINDS_OF_VALUES = {"shapes": "<u2", "id_lengths": "<u4"}
_SHAPES, _PATTERNS = "shapes", "patterns"


@dataclass(slots=True)
class Shapes:
    """The parameter names of rows, numbered as they become known to this process; each file has numbers of its own."""

    names: list[tuple[str, ...]] = field(default_factory=list)

    def number(self, names: tuple[str, ...]) -> int:
        """The number of these names."""
        if names not in self.names:
            self.names.append(names)
        return self.names.index(names)


def write_entries(
    path: Path, entries: Iterable[tuple[int, Entries]], shapes: Sequence[tuple[str, ...]], *, with_values: bool
) -> FileFacts:
    """Write entries by partition, durably. `shapes`: what the numbers in `Values.shapes` mean."""

    def part(partition: int, some: Entries) -> tuple[int, Slice, Texts | None]:
        columns = {name: getattr(some, name) for name in _KINDS}
        texts = None
        if (values := some.values) is not None:
            columns |= {name: getattr(values, name) for name in _KINDS_OF_VALUES}
            columns[_PATTERNS] = without_shapes(some.patterns)
            texts = Texts(values.texts, values.starts, values.ends)
        return partition, Slice(some.keys, columns), texts

    kinds = _KINDS | (_KINDS_OF_VALUES | {_PATTERNS: "<u8"} if with_values else {})
    slices = (part(partition, some) for partition, some in entries)
    return write_slices(path, kinds, slices, has_texts=with_values, notes={_SHAPES: [list(names) for names in shapes]})


class EntryFile:
    """A file of entries. `shapes`: those of the process, by which the rows of what is read are numbered."""

    def __init__(self, number: int, file: SortedFile, shapes: Shapes) -> None:
        self.number = number
        self.file = file
        numbers = [shapes.number(tuple(names)) for names in file.notes[_SHAPES]]
        self._numbers = np.array(numbers or [0], dtype=np.uint16)

    def entries_of(self, partition: int, keys: Hashes, rows: ReadSlice | None = None) -> Entries:
        """The entries of a partition that have one of these keys, which are sorted. `rows`: if it was read already."""
        rows = rows or self.file.rows_of(partition)
        indexes = indexes_of(keys, rows.keys)
        if not len(indexes):
            return no_entries(with_values=rows.sizes is not None)
        ends = None if rows.sizes is None else np.cumsum(rows.sizes.at(indexes), dtype=np.int64)
        return self._made(rows.taken(indexes), ends, self.file.texts(partition, rows, indexes))

    def part(self, partition: int, rows: ReadSlice, part: slice) -> Entries:
        """The entries of a part of a partition that was read; of its text, that part is read."""
        indexes = np.arange(part.start, part.stop)
        ends = None if rows.sizes is None else np.cumsum(rows.sizes.at(part), dtype=np.int64)
        return self._made(rows.taken(part), ends, self.file.texts(partition, rows, indexes))

    def entries_without_values(self, rows: ReadSlice, keys: Hashes) -> Entries:
        """The same of a partition that was read, without their values: no text is read."""
        return self._made(rows.taken(indexes_of(keys, rows.keys)), None, b"")

    def _made(self, rows: Slice, ends: Offsets | None, text: bytes) -> Entries:
        columns = rows.columns
        values = None
        if ends is not None:
            values = Values.side_by_side(self._numbers[columns[_SHAPES]], columns["id_lengths"], ends, text)
        # A file of values that was written before there was such a column tells nothing of it.
        told = np.zeros(len(rows), dtype=np.uint64)
        if _PATTERNS in columns:
            told = with_shapes(columns[_PATTERNS], self._numbers[columns[_SHAPES]].astype(np.uint64))
        entries = (columns["digests"], columns["sent_at"], columns["noted_at"], columns["sources"])
        return Entries(rows.keys, *entries, told, values)
