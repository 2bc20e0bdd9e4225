"""Turns the bytes of an export, block by block, into rows to send and rejects.

Means what `Framer` and `RowMapper` say, byte for byte, on every input; it only says it sooner.
"""

from pipeline.core.rows.blockframing import BlockFramer, Framed
from pipeline.core.rows.blockmapping import BlockMapper
from pipeline.core.rows.framing import MAX_RECORD_BYTES, START, Position
from pipeline.core.rows.mapping import Mapped, RowMapper

#: Larger than all arrays for one block together, in bytes.
_WORKING_BYTES = 4_194_304


class Transform:
    """Maps an export fed block by block from `start` on, behind its header; `exact` says what its records mean."""

    def __init__(self, exact: RowMapper, *, start: Position = START, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        # The memory of large arrays goes back to the system when they are freed, and comes back page by page: that took
        # half of the time. The allocator of glibc keeps what is smaller than the largest block that it saw freed.
        bytearray(_WORKING_BYTES)
        self._framer = BlockFramer(exact.delimiter, start=start, max_record_bytes=max_record_bytes)
        self._mapper = BlockMapper(exact)
        self._last = Framed.of([])

    @property
    def position(self) -> Position:
        """Where what is not mapped yet begins."""
        return self._framer.position

    @property
    def pending_bytes(self) -> int:
        """Bytes fed and not yet mapped: the beginning of a record."""
        return self._framer.pending_bytes

    @property
    def exact_records(self) -> int:
        """Records so far that were irregular, and mapped one by one."""
        return self._mapper.exact_records

    def feed(self, block: bytes) -> Mapped:
        """What becomes of the records that are whole after this block."""
        self._last = self._framer.feed(block)
        return self._mapper.map(self._last)

    def finish(self) -> Mapped:
        """What becomes of the records that only the end of the file completes."""
        self._last = self._framer.finish()
        return self._mapper.map(self._last)

    def split(self, line: int) -> tuple[Mapped, Position, Mapped]:
        """What the last call gave, in two: of the records before this line, where it begins, and of the rest.

        A record to send begins on that line. The rest may be split again.
        """
        first, self._last = self._last.split(line)
        return self._mapper.map(first), self._framer.position_of(line), self._mapper.map(self._last)
