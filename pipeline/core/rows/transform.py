"""Turns the bytes of an export, block by block, into rows to send and rejects.

The result equals that of `Framer` and `RowMapper`, byte for byte, on every input; only the speed differs.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from pipeline.core.formats.blockframing import BlockFramer, Framed
from pipeline.core.formats.cells import CellFramer
from pipeline.core.formats.framing import MAX_RECORD_BYTES, START, BrokenLine, Position, Record
from pipeline.core.formats.json_lines import ArrayRule, JsonFramer
from pipeline.core.rows.blockmapping import BlockMapper
from pipeline.core.rows.cells import INVISIBLE, is_blank
from pipeline.core.rows.mapping import Mapped, RowMapper, problem_of_text

_LINE_FEED, _QUOTE = 10, 34
#: Bytes; more than all arrays for one block take together.
_WORKING_BYTES = 4_194_304
#: Bytes with which a blank record may begin, and of which it consists, besides its delimiters.
_MAY_BE_BLANK = frozenset(INVISIBLE.encode()) | {ord('"')}
#: Bytes at the start of a record that are looked at for all records together. Ours: a quote and a bit more.
_LOOKED_AT = 3


#: Bytes that are mapped at once, whatever they are, and those of a part of a block of very short lines.
_SMALL_BYTES, PART_BYTES = 16_384, 65_536
#: Bytes of a line, on average, below which not only the bytes of a block take time; and below which it is cut in parts.
_SHORT_LINE_BYTES, _SHORTEST_LINE_BYTES = 40, 8
#: Odd records of a block of 256 KiB, and quotes of it that do not stand around a delimiter, with which it is mapped
#: within some ten milliseconds.
_FEW_ODD, _FEW_QUOTES = 1_024, 32_768
#: Records that are mapped together, at most: a megabyte of them may become complete at once.
_MOST_RECORDS = 32_768


def is_of_shortest_lines(block: bytes) -> bool:
    """True if the lines of a block are so short that whoever places its rows works on many times their bytes."""
    return _lines(block) * _SHORTEST_LINE_BYTES > len(block)


def _lines(block: bytes) -> int:
    # Counting them in bytes takes five times as long.
    return int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == _LINE_FEED))


def _loose_quotes(block: bytes, delimiter: bytes) -> int:
    """The number of quotes in a block without those between two quoted fields, of which no record becomes odd."""
    quotes = np.frombuffer(block, dtype=np.uint8) == _QUOTE
    count = int(np.count_nonzero(quotes))
    if count > _FEW_QUOTES:
        delimiters = np.frombuffer(block, dtype=np.uint8)[1:-1] == ord(delimiter)
        count -= 2 * int(np.count_nonzero(quotes[:-2] & delimiters & quotes[2:]))
    return count


def count_rows(framed: Framed, delimiter: bytes) -> int:
    """The number of records that `RowMapper` counts as rows: all but the blank ones."""
    # Behind a cell of other formats than CSV stands a NUL.
    may_be_blank = np.isin(np.arange(256), [*_MAY_BE_BLANK, *delimiter, 0])
    octets = np.frombuffer(framed.data, dtype=np.uint8)
    starts = np.concatenate([[0], framed.ends[:-1]]) if len(framed.ends) else framed.ends
    is_candidate = np.ones(len(framed.ends), dtype=np.bool_)
    for offset in range(_LOOKED_AT):
        is_candidate &= may_be_blank[octets.take(np.minimum(starts + offset, framed.ends - 1))]
    blank = sum(map(_is_blank, framed.set_aside(is_candidate, delimiter).others))
    return len(framed.ends) + len(framed.others) - blank


def _is_blank(record: Record | BrokenLine) -> bool:
    return not isinstance(record, BrokenLine) and not problem_of_text(record.raw) and is_blank(record.fields)


@cache
def _keep_working_memory() -> None:
    """Let the process keep the memory of arrays that are freed; once is enough.

    glibc returns the memory of large arrays to the system when they are freed, and gets it again page by page: that
    took half of the time. It keeps memory that is smaller than the largest block it has seen freed.
    """
    bytearray(_WORKING_BYTES)


class Transform:
    """Maps an export fed block by block from `start` on, behind its header.

    `exact`: maps its irregular records.
    `columns`: for JSON Lines, the columns that the fields of a record stand for.
    `is_columnar`: the text is that of a columnar file.
    `arrays`: the rule for arrays in JSON Lines and columnar files.
    """

    def __init__(
        self,
        exact: RowMapper,
        *,
        start: Position = START,
        max_record_bytes: int = MAX_RECORD_BYTES,
        columns: Sequence[str] | None = None,
        is_columnar: bool = False,
        arrays: ArrayRule = "join",
    ) -> None:
        _keep_working_memory()
        plan = exact.plan
        self._framer: BlockFramer | JsonFramer | CellFramer
        if is_columnar:
            sent = (plan.id_index, *plan.cell_indexes)
            self._framer = CellFramer(
                plan.field_count, start=start, max_record_bytes=max_record_bytes, sent=sent, arrays=arrays
            )
        elif columns is not None:
            id_column = columns[plan.id_index]
            self._framer = JsonFramer(
                columns, start=start, max_record_bytes=max_record_bytes, id_column=id_column, arrays=arrays
            )
        else:
            self._framer = BlockFramer(exact.dialect, start=start, max_record_bytes=max_record_bytes)
        self._mapper = BlockMapper(exact)
        self._last = Framed.of([])
        self._rest: Framed | None = None
        self._is_csv = isinstance(self._framer, BlockFramer)
        self._delimiter = exact.delimiter
        self._odd_before = 0

    @property
    def position(self) -> Position:
        """The position of the first byte that is not mapped yet."""
        return self._framer.position if self._rest is None else self._framer.position_of(self._rest.line_of(0))

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet mapped: the beginning of a record."""
        return self._framer.pending_bytes

    @property
    def exact_records(self) -> int:
        """The number of irregular records so far, which were mapped one by one."""
        return self._mapper.exact_records

    def is_slow(self, block: bytes | None) -> bool:
        """True if mapping a block, or the end of the export, may take long: many records, odd ones, or a long one."""
        if block is None or not self._is_csv:
            return self.pending_bytes > _SMALL_BYTES or (block is not None and len(block) > _SMALL_BYTES)
        if len(block) <= _SMALL_BYTES:
            return False
        is_odd = self._odd_before > _FEW_ODD or self.pending_bytes > _SMALL_BYTES
        is_short = _lines(block) * _SHORT_LINE_BYTES > len(block)
        return is_odd or is_short or (b'"' in block and _loose_quotes(block, self._delimiter) > _FEW_QUOTES)

    @property
    def has_more(self) -> bool:
        """True if records that were fed are not mapped yet."""
        return self._rest is not None

    def feed(self, block: bytes) -> Mapped:
        """Add a block; map the records that are now complete."""
        return self._map(self._framer.feed(block))

    def finish(self) -> Mapped:
        """End the file; map the records that only its end completes."""
        return self._map(self._framer.finish())

    def feed_some(self, block: bytes | None) -> Mapped:
        """Add a block, or end the file if it is None; map the first `_MOST_RECORDS` of the records now complete."""
        self._rest = self._framer.finish() if block is None else self._framer.feed(block)
        return self.map_more()

    def map_more(self) -> Mapped:
        """Map the next of the records that were fed and are not mapped yet."""
        framed, self._rest = self._rest or Framed.of([]), None
        if len(framed) > _MOST_RECORDS:
            framed, self._rest = framed.split(framed.line_of(_MOST_RECORDS))
        return self._map(framed)

    def _map(self, framed: Framed) -> Mapped:
        self._last = framed
        before = self._mapper.exact_records
        mapped = self._mapper.map(framed)
        self._odd_before = self._mapper.exact_records - before + len(mapped.rejects)
        return mapped

    def split(self, line: int) -> tuple[Mapped, Position, Mapped]:
        """Split the result of the last call at a line: the records before it, its position, and the rest.

        A record to send begins on that line. The rest may be split again.
        """
        first, self._last = self._last.split(line)
        return self._mapper.map(first), self._framer.position_of(line), self._mapper.map(self._last)
