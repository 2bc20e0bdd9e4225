"""Holds back the last lines of an export, which are no rows, and compares a trailer with the rows that were read."""

import re
from dataclasses import dataclass

from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect

#: Bytes held back at most. Ours: it bounds memory, and no trailer is near it.
MAX_HELD_BYTES = 16_777_216
#: Bytes of a trailer that is compared with a pattern, at most. Ours: comparing takes their square at worst.
_MAX_TRAILER_BYTES = 1_024
#: `{any}` in a pattern, at most: each of them makes comparing a longer line dearer by its length.
_MOST_ANY = 2
#: Bytes of lines behind a trailer in which nothing stands; the last one ends files of DOS.
_BLANK = b" \t\r\n\x1a"
_WHAT_FOLLOWS = "What was sent by now is followed to its end, the rest is not sent. Get the export anew."
_FIELD = re.compile(r"(\{[^{}]*\})")
_PARTS = {"{rows}": rb"([0-9]{1,18})", "{any}": rb".*?"}


@dataclass(frozen=True, slots=True)
class TrailerPattern:
    """The last line of an export, as [export] trailer has it; made by `of`.

    `{rows}` stands for the number of rows, `{any}` for anything, the rest for itself.
    """

    text: str
    line: re.Pattern[bytes]

    @classmethod
    def of(cls, text: str) -> "TrailerPattern":
        """The pattern of a text. Raises `ValueError` for one that is none, with what it must be."""
        pieces = _FIELD.split(text)
        if unknown := [piece for piece in pieces[1::2] if piece not in _PARTS]:
            raise ValueError(f"knows {{rows}} and {{any}}, not {unknown[0]}")
        if pieces.count("{rows}") > 1 or pieces.count("{any}") > _MOST_ANY:
            raise ValueError(f"must have {{rows}} once at most, and {{any}} {_MOST_ANY} times at most")
        if "{rows}" not in pieces and not "".join(pieces[::2]).strip():
            raise ValueError("must have {rows}, or a text by which the last line is known")
        line = b"".join(_PARTS.get(piece, re.escape(piece.encode())) for piece in pieces)
        return cls(text, re.compile(line, re.DOTALL))

    def rows_of(self, line: bytes) -> int | None:
        """The number of rows that a trailer tells, None if the pattern has none.

        Raises `InputError` for a line that is no such trailer.
        """
        found = self.line.fullmatch(line) if len(line) <= _MAX_TRAILER_BYTES else None
        if found is None:
            raise InputError(
                f"its last line is no trailer as [export] trailer = {self.text!r} says, so it was cut off, or is "
                f"written otherwise. {_WHAT_FOLLOWS}"
            )
        return int(found[1]) if self.line.groups else None

    def check(self, line: bytes, rows: int) -> None:
        """Raise `InputError` if a line is no trailer, or tells another number of rows than were read."""
        told = self.rows_of(line)
        if told is not None and told != rows:
            raise InputError(
                f"its trailer tells {told:,} rows, and {rows:,} were read. Rows are missing, or there twice, or it "
                f"counts otherwise: {{rows}} are the records behind the header, but for blank ones. {_WHAT_FOLLOWS}"
            )


class Trailer:
    """Passes an export on block by block, except for its last `lines` lines; or, with a `pattern`, for its trailer.

    The trailer is the last line in which anything stands, and whatever blank lines are behind it.

    Every line end ends a line, in quotes too. A line feed at the end of the file begins no line. Nothing needs to be
    known of what stood before: held lines are held again when reading goes on at any earlier place.
    """

    def __init__(self, lines: int, dialect: Dialect, pattern: TrailerPattern | None = None) -> None:
        self._lines = lines
        self._dialect = dialect
        self._pattern = pattern
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        """Add a block; return what is not among the last lines, however the file goes on.

        Raises `InputError` for lines of more than `MAX_HELD_BYTES`.
        """
        self._held += block
        cut = self._start()
        passed, self._held = self._held[:cut], self._held[cut:]
        if len(self._held) > MAX_HELD_BYTES:
            key = f"skip_last = {self._lines}" if self._pattern is None else f"trailer = {self._pattern.text!r}"
            raise InputError(f"[export] {key} would leave out more than {MAX_HELD_BYTES:,} bytes: is it meant?")
        return passed

    def check(self, rows: int) -> None:
        """At the end of the file, compare its trailer with the rows that were read.

        Raises `InputError` where there is none, or if it tells another number; and where something stands in the file,
        but on fewer lines than are to be left out, so that all of them would be.
        """
        if self._pattern is not None:
            self._pattern.check(self._held.rstrip(_BLANK), rows)
            return
        buffer = self._dialect.with_line_feeds(self._held, at_end=True)
        held = buffer.count(b"\n") + (bool(buffer) and not buffer.endswith(b"\n"))
        if buffer.strip(_BLANK) and held < self._lines:
            raise InputError(
                f"[export] skip_last = {self._lines:,} would leave out all that stands behind its header, {held:,} "
                "lines: it was cut off, or has fewer lines at its end that are no rows."
            )

    def _start(self) -> int:
        """The offset at which the last lines begin, if the file ends here; 0 if it has no more lines."""
        buffer = self._dialect.with_line_feeds(self._held, at_end=True)
        if self._pattern is not None:
            return buffer.rfind(b"\n", 0, len(buffer.rstrip(_BLANK))) + 1
        end = len(buffer) - buffer.endswith(b"\n")
        for _ in range(self._lines):
            end = buffer.rfind(b"\n", 0, max(end, 0))
            if end < 0:
                return 0
        return end + 1
