"""Rejected rows as a table that people mend in a spreadsheet: `rejects.csv`, in the export's own columns.

Before the export's columns stand `_line`, `_reason` (in words) and, where an export has parts, `_file`. A row that
cannot be cut into cells stands in one cell, so that whoever mends it sees all of it.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`, and may cut a cell at another delimiter than ours. So
`guarded` puts an apostrophe before each such character that begins a cell or stands behind a delimiter or line break;
a plain number, such as -5, stays as it is. `unguarded` takes off exactly what `guarded` put there: every text comes
back as it was, one with apostrophes of its own too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.formats.dialect import Dialect, EscapeIn
from pipeline.core.formats.framing import BrokenLine, Framer, Record
from pipeline.core.formats.json_lines import JsonFramer
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Reason

LINE, REASON, FILE = "_line", "_reason", "_file"
#: Columns that stand in the table for people, and are no columns of the export.
FOR_PEOPLE = (LINE, REASON, FILE)
#: Characters of the longest cell. Microsoft: Excel's "total number of characters that a cell can contain" is 32,767.
MAX_CELL_CHARACTERS = 32_767
#: Delimiters that spreadsheets take as such; tables with another one are written with the first.
_DELIMITERS = (b",", b";", b"\t", b"|")
#: What makes a cell a formula where it begins one; the last four are forms of the others that Excel takes for them.
_FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BEGINS_FORMULA = re.compile(f"(?:\\A(?='*[{_FORMULA}\t\r])|(?<=[,;|\t\r\n])(?='*[{_FORMULA}]))")
_GUARD = re.compile(f"(?:\\A'(?='*[{_FORMULA}\t\r])|(?<=[,;|\t\r\n])'(?='*[{_FORMULA}]))")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")


def guarded(cell: str) -> str:
    """The cell as a spreadsheet does not run it."""
    return cell if _NUMBER.fullmatch(cell) else _BEGINS_FORMULA.sub("'", cell)


def unguarded(cell: str) -> str:
    """The cell that `guarded` made this of; any other that was typed in as it is, but for such an apostrophe."""
    return _GUARD.sub("", cell)


@dataclass(frozen=True, slots=True)
class Written:
    """The way an export is written, as far as it takes to cut a record of it into cells.

    `columns`: their names, or positions if it has no header. The others are as in `Dialect`.
    """

    columns: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    cr_ends_lines: bool = False
    is_json: bool = False
    escape_in: EscapeIn = "all"
    cr_lf_ends_lines: bool = False

    @property
    def table_delimiter(self) -> bytes:
        """The delimiter of the table: that of the export, if spreadsheets know it."""
        delimiter = self.delimiter.encode()
        return delimiter if delimiter in _DELIMITERS and not self.is_json else _DELIMITERS[0]

    def cells(self, raw: bytes) -> list[str]:
        """The cells of a rejected record, as its export has them; the record in one cell if it cannot be cut."""
        if b"\0" in raw or not is_utf8(raw):
            return [raw.decode(errors="backslashreplace").replace("\0", "\\x00")]
        if self.is_json:
            return self._cells_of_object(raw) or [raw.decode()]
        records = self._records(raw)
        if len(records) == 1 and isinstance(records[0], Record):
            return [field.decode() for field in records[0].fields]
        return [raw.decode()]

    def _cells_of_object(self, raw: bytes) -> list[str]:
        framed = JsonFramer(self.columns).feed(raw + b"\n")
        fields = framed.data.split(b"\0")[:-1] if len(framed.ends) == 1 else []
        for record in framed.others:
            fields = record.fields if isinstance(record, Record) else []
        return [field.decode() for field in fields]

    def _records(self, raw: bytes) -> Sequence[Record | BrokenLine]:
        written = (self.delimiter.encode(), self.quote.encode(), self.escape.encode())
        framer = Framer(Dialect(*written, self.cr_ends_lines, self.escape_in, self.cr_lf_ends_lines))
        return [*framer.feed(raw + b"\n"), *framer.finish()]


def table_line(cells: Sequence[str], delimiter: bytes) -> bytes:
    """A line of the table, quoted where it has to be; bytes that are no UTF-8 may stand in it as surrogates."""
    return delimiter.join(_quoted(cell.encode(errors="surrogateescape"), delimiter) for cell in cells) + b"\r\n"


def _quoted(cell: bytes, delimiter: bytes) -> bytes:
    if any(each in cell for each in (b'"', b"\r", b"\n", *_DELIMITERS, delimiter)) or cell != cell.strip():
        return b'"' + cell.replace(b'"', b'""') + b'"'
    return cell


def fits_a_spreadsheet(cells: Sequence[str]) -> bool:
    """True if no cell is longer than a spreadsheet takes."""
    return all(len(cell) <= MAX_CELL_CHARACTERS for cell in cells)


def is_to_be_mended(reason: str) -> bool:
    """True if a row rejected for this reason is in the table: the header once more is no row to mend."""
    return reason != Reason.HEADER_AGAIN.value
