"""Counts what a naive sender would do wrong with an export: one that cuts the file and sends the pieces as they are.

Everything is counted in what a load would send, so that it comes at next to no cost. Only what occurs is told.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.core.model import Offsets, Reason, Rows, Warnings

#: Rows and bytes that Target takes in one batch (Adobe).
MOST_ROWS, MOST_BYTES = 500_000, 50_000_000

#: By name the two digits of the escape that stands for a byte in an encoded row.
_ESCAPES = {"raw_ampersand": b"26", "raw_percent": b"25", "raw_plus": b"2B", "raw_equals": b"3D"}
_PERCENT = 37
_IS_FIRST_DIGIT = np.isin(np.arange(256), [escape[0] for escape in _ESCAPES.values()])
_NOWHERE: Offsets = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that a naive sender would do wrong: `count` of it, the first on this line, if it is on any.

    `first_part`: the part in which that line is, if the export has parts.
    """

    name: str
    count: int
    first_line: int | None = None
    first_part: str | None = None


@dataclass(slots=True)
class NaiveSender:
    """The mistakes of a naive sender in the rows so far."""

    _counts: dict[str, int] = field(default_factory=dict)
    _lines: dict[str, int] = field(default_factory=dict)
    _rows: int = 0
    _is_cut: bool = False

    def send(self, rows: Rows) -> None:
        """Count what is in these rows."""
        ampersands: Offsets = _NOWHERE
        # Most rows hold none, and a search for one byte is fast.
        if b"%" in rows.body:
            octets = np.frombuffer(rows.body, dtype=np.uint8)
            places = np.flatnonzero(octets == _PERCENT)
            # All that are counted begin with one of two digits, and most others do not.
            places = places[_IS_FIRST_DIGIT[octets[places + 1]]]
            digits = octets[places + 1].astype(np.uint16) << 8 | octets[places + 2]
            for name, escape in _ESCAPES.items():
                found = places[digits == int.from_bytes(escape)]
                if len(found):
                    self._note(name, len(found), _line_at(rows, int(found[0])))
                    ampersands = found if name == "raw_ampersand" else ampersands
        self._cut(rows, ampersands)

    def _cut(self, rows: Rows, ampersands: Offsets) -> None:
        """Count the rows behind the first `&` of each piece: Target takes what stands before it, without a word.

        `ampersands`: the places of all `&` in the rows.
        """
        first = 0
        while first < len(rows):
            stop = min(len(rows), first + MOST_ROWS - self._rows % MOST_ROWS)
            if not self._rows % MOST_ROWS:
                self._is_cut = False
            begin = first
            if not self._is_cut:
                start, end = int(rows.ends[first - 1]) if first else 0, int(rows.ends[stop - 1])
                behind = ampersands[np.searchsorted(ampersands, start) :]
                is_there = len(behind) and behind[0] < end
                begin = int(np.searchsorted(rows.ends, behind[0], side="right")) if is_there else stop
            if begin < stop:
                self._is_cut = True
                self._note("rows_cut_off", stop - begin, int(rows.lines[begin]))
            self._rows += stop - first
            first = stop

    def _note(self, name: str, count: int, line: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + count
        self._lines.setdefault(name, line)

    def mistakes(self, facts: "Facts") -> list[Mistake]:
        """All that occurs, the worst first."""
        warnings, reasons = facts.warnings, facts.by_reason
        said = warnings.first_lines
        found = [
            Mistake("rows_cut_off", self._counts.get("rows_cut_off", 0), self._lines.get("rows_cut_off")),
            *(Mistake(name, self._counts.get(name, 0), self._lines.get(name)) for name in _ESCAPES),
            Mistake("value_with_delimiter", warnings.value_with_delimiter, said.get("value_with_delimiter")),
            Mistake("id_in_later_batch", facts.rows_in_later_batches),
            Mistake("id_again_in_batch", facts.superseded),
            Mistake("null_cells", warnings.null_cells, said.get("null_cells")),
            Mistake("empty_cells", sum(warnings.empty_cells.values()), said.get("empty_cells")),
            Mistake("ids_trimmed", warnings.ids_trimmed, said.get("ids_trimmed")),
            *(Mistake(name, *reasons.get(reason.value, (0, None))) for name, reason in _BY_REASON.items()),
            Mistake("not_utf8", int(facts.is_other_encoding)),
            Mistake("byte_order_mark", int(facts.has_mark)),
            Mistake("other_delimiter", int(facts.delimiter not in (b",", b""))),
            Mistake("over_rows", facts.read if facts.read > MOST_ROWS else 0),
            Mistake("over_bytes", facts.size_bytes if facts.size_bytes >= MOST_BYTES else 0),
        ]
        return [each for each in found if each.count]


_BY_REASON = {
    "id_as_number": Reason.ID_NUMBER,
    "id_of_nobody": Reason.ID_PLACEHOLDER,
    "empty_id": Reason.EMPTY_ID,
    "id_with_plus_or_slash": Reason.ID_CHARACTER,
    "invalid_utf8": Reason.INVALID_UTF8,
    "header_again": Reason.HEADER_AGAIN,
    "field_count": Reason.FIELD_COUNT,
    "delimiter_rejected": Reason.DELIMITER,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The other facts that are known of the export.

    `by_reason`: the number of rejects, and the line of the first.
    `rows_in_later_batches`: rows of an id that an earlier batch holds too.
    `size_bytes`: of the text that would be sent.
    """

    read: int
    size_bytes: int
    superseded: int
    rows_in_later_batches: int
    warnings: Warnings
    by_reason: dict[str, tuple[int, int]]
    is_other_encoding: bool
    has_mark: bool
    delimiter: bytes


def _line_at(rows: Rows, place: int) -> int:
    """The line of the row in whose text this place is."""
    return int(rows.lines[int(np.searchsorted(rows.ends, place, side="right"))])
