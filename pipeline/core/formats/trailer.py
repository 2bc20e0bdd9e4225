"""Holds back the last lines of an export, which are no rows, such as a trailer with the number of rows."""

from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect

#: Bytes held back at most. Ours: it bounds memory, and no trailer is near it.
MAX_HELD_BYTES = 16_777_216


class Trailer:
    """Passes an export on block by block, except for its last `lines` lines.

    Every line end ends a line, in quotes too. A line feed at the end of the file begins no line. Nothing needs to be
    known of what stood before: held lines are held again when reading goes on at any earlier place.
    """

    def __init__(self, lines: int, dialect: Dialect) -> None:
        self._lines = lines
        self._dialect = dialect
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        """Add a block; return what is not among the last lines, however the file goes on.

        Raises `InputError` for lines of more than `MAX_HELD_BYTES`.
        """
        self._held += block
        cut = self._start()
        passed, self._held = self._held[:cut], self._held[cut:]
        if len(self._held) > MAX_HELD_BYTES:
            raise InputError(
                f"[export] skip_last = {self._lines} would leave out more than {MAX_HELD_BYTES:,} bytes: is it meant?"
            )
        return passed

    def _start(self) -> int:
        """The offset at which the last lines begin, if the file ends here; 0 if it has no more lines."""
        buffer = self._dialect.with_line_feeds(self._held, at_end=True)
        end = len(buffer) - buffer.endswith(b"\n")
        for _ in range(self._lines):
            end = buffer.rfind(b"\n", 0, max(end, 0))
            if end < 0:
                return 0
        return end + 1
