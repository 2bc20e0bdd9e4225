"""Finds, in a table of cells, those to trim, those that mean no value, and ids that may mean nobody.

It means what `cells` says, and looks closely only at the few places that may matter: every invisible character is one
that must be escaped, and few ids begin and end as a placeholder does.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.core.model import Flags, Octets, Offsets
from pipeline.core.rows.cells import INVISIBLE, CellRules, is_heading
from pipeline.core.rows.encoding import KEPT, STAND_INS
from pipeline.core.rows.table import Escaped, Table, cut_out

_COMMA, _LINE_FEED, _POINT, _MINUS = b",\n.-"
_ZERO = np.uint8(ord("0"))
#: First bytes of invisible characters beyond ASCII.
_LEADS = {each.encode()[0] for each in INVISIBLE if ord(each) > 0x7F}
#: First byte of an invisible character -> the bytes of it.
_BYTES_OF = {each.encode()[0]: len(each.encode()) for each in INVISIBLE} | {STAND_INS[byte]: 1 for byte in b"\t\r\n"}
_INVISIBLE_BYTES = bytes(_BYTES_OF.get(byte, 0) for byte in range(256))
#: All invisible characters of several bytes, as numbers.
_INVISIBLE_CODES = np.array([int.from_bytes(each.encode()) for each in INVISIBLE if ord(each) > 0x7F])
#: Stand-in -> the byte that it stands for.
_AS_WRITTEN = bytes.maketrans(bytes(STAND_INS.values()), bytes(STAND_INS))
#: Bits of `_Suspects`: the byte may begin or end a known id; it may begin or end one of punctuation only.
_KNOWN, _PUNCTUATION, _IS_ZERO = 1, 2, 4


@dataclass(frozen=True, slots=True, eq=False)
class Pads:
    """The invisible characters of a table in which at least one cell begins or ends with one.

    `places`: the offset of each, ascending.
    `sizes`: its bytes.
    `cells`: the indexes of the cells that begin or end with one, ascending.
    """

    places: Offsets
    sizes: Offsets
    cells: Offsets

    @classmethod
    def of(cls, table: Table, escaped: Escaped) -> "Pads | None":
        """Those of a table; None if no cell begins or ends with any."""
        if not len(escaped.octets):
            return None
        # `translate` is several times faster than an index of an array, and flags are found faster than numbers.
        sizes = np.frombuffer(escaped.octets.tobytes().translate(_INVISIBLE_BYTES), dtype=np.uint8)
        found = np.flatnonzero(sizes > 0)
        if not len(found):
            return None
        octets, places, widths = table.octets, escaped.places[found], sizes[found].astype(np.int64)
        if (long := np.flatnonzero(widths > 1)).size:
            codes = octets[places[long]].astype(np.int64) << 8 | octets[places[long] + 1]
            third = octets.take(places[long] + 2, mode="clip")
            codes = np.where(widths[long] == 3, codes << 8 | third, codes)
            is_one = np.ones(len(places), dtype=np.bool_)
            is_one[long] = np.isin(codes, _INVISIBLE_CODES)
            places, widths = places[is_one], widths[is_one]
        # Before the first byte stands, so to say, the last: a line feed.
        before, behind = octets[places - 1], octets[places + widths]
        is_edge = (before == _COMMA) | (before == _LINE_FEED) | (behind == _COMMA) | (behind == _LINE_FEED)
        edges = places[is_edge]
        if not len(edges):
            return None
        cells = np.searchsorted(table.separators, edges)
        return cls(places, widths, cells[np.diff(cells, prepend=-1) > 0])

    def trim(self, table: Table, cells: Offsets) -> Table:
        """The table with these cells, at least one and all of them padded, without what is around them."""
        is_solid = np.ones(len(table.text), dtype=np.bool_)
        for offset in range(int(self.sizes.max())):
            is_solid[self.places[self.sizes > offset] + offset] = False
        solid = np.flatnonzero(is_solid)
        ends = table.separators[cells]
        starts = np.where(cells > 0, table.separators[cells - 1] + 1, 0)
        # The separator behind a cell is solid, so there is a first one.
        first, last = np.searchsorted(solid, starts), np.searchsorted(solid, ends)
        begin = solid[first]
        end = np.where(first < last, solid[last - 1] + 1, ends)
        pieces = np.stack([starts, end]).T.ravel(), np.stack([begin, ends]).T.ravel()
        return cut_out(table, np.repeat(cells, 2), *pieces)


class Nulls:
    """The cells that mean no value. `rules` have them."""

    def __init__(self, rules: CellRules, delimiter: bytes) -> None:
        protected = bytes({*b',"', *delimiter})
        in_table = bytes.maketrans(protected, bytes(STAND_INS[byte] for byte in protected))
        self._values = [value.translate(in_table) for value in rules.nulls]
        # Signs are rarer than letters, and one byte is found much faster than several.
        self._tells = [min(value, key=lambda byte: bytes([byte]).isalnum()) for value in self._values]

    def of(self, table: Table, escaped: Escaped) -> Offsets:
        """The indexes of such cells, ids apart; ascending."""
        found = []
        for tell, value in zip(self._tells, self._values, strict=True):
            # What must be escaped is known already, and seldom is there much of it.
            seen = table.text if tell in KEPT else escaped.octets.tobytes()
            if tell in seen and value in table.text:
                found.append(_cells_like(table, value))
        if not found:
            return np.zeros(0, dtype=np.int64)
        cells = np.sort(np.concatenate(found))
        return cells[cells % table.columns > 0]

    @staticmethod
    def empty(table: Table, cells: Offsets) -> Table:
        """The table with these cells, at least one, empty."""
        return cut_out(table, cells, table.separators[cells - 1] + 1, table.separators[cells])


def _cells_like(table: Table, value: bytes) -> Offsets:
    widths = np.diff(table.separators, prepend=-1) - 1
    cells = np.flatnonzero(widths == len(value))
    octets = table.octets
    for offset, byte in enumerate(value):
        cells = cells[octets[table.separators[cells] - len(value) + offset] == byte]
    return cells


@lru_cache(maxsize=8)
def suspects(rules: CellRules, header_id: bytes, *, has_commas: bool) -> "Suspects":
    """The `Suspects` of these; kept, since the tables of small exports would take longer to make than the exports."""
    return Suspects(rules, header_id, has_commas=has_commas)


class Suspects:
    """Looks for ids that the exact path has to judge: nobody's, no value, numbers, and the header's.

    `rules` judge them. `header_id`: the name of the id column. `has_commas`: rows with a comma
    in the id are not left to the exact path anyway.
    """

    def __init__(self, rules: CellRules, header_id: bytes, *, has_commas: bool) -> None:
        known = [*rules.placeholders, *(each.decode() for each in (*rules.nulls, header_id) if each)]
        self._rules = rules
        self._header_id = header_id
        self._has_commas = has_commas
        # A letter beyond ASCII may have more bytes in the other case.
        self._longest = max((len(text.encode()) * (1 if text.isascii() else 3) for text in known), default=0)
        firsts, lasts = np.zeros((2, 256), dtype=np.uint8)
        for kinds, place in ((firsts, 0), (lasts, -1)):
            kinds[[byte for byte in range(256) if not bytes([byte]).isalnum()]] = _PUNCTUATION
            kinds[0x80:] |= _KNOWN
            kinds[[each.encode()[place] for text in known for each in (text, text.lower(), text.upper())]] |= _KNOWN
        # No punctuation begins with another byte than these, so letters beyond ASCII are not looked at closely.
        leads = {each.encode()[0] for text in known for each in (text, text.lower(), text.upper())}
        leads |= {*_LEADS, 0xC2, 0xE2, 0xE3, 0xEF}
        firsts[[byte for byte in range(0x80, min(STAND_INS.values())) if byte not in leads]] = 0
        lasts[_ZERO] |= _IS_ZERO
        self._firsts, self._lasts = firsts, lasts
        # One lookup for all ids, which leaves few of them.
        self._is_last = (lasts > 0).tobytes()

    def of(self, table: Table, starts: Offsets, ends: Offsets) -> tuple[Flags, Offsets]:
        """Set for each row whose id is one, shape (n,); and the indexes of the rows whose id ends in `.0`.

        `starts`, `ends`: of the ids, shape (n,).
        """
        octets = table.octets
        is_suspect = np.zeros(len(ends), dtype=np.bool_)
        if not len(ends):
            return is_suspect, np.zeros(0, dtype=np.int64)
        if self._rules.number_ids == "reject":
            self._find_numbers(table, starts, ends, is_suspect)
        lasts = octets[ends - 1]
        rows = np.flatnonzero(np.frombuffer(lasts.tobytes().translate(self._is_last), dtype=np.bool_))
        if not len(rows):
            return is_suspect, rows
        kinds = self._lasts[lasts[rows]]
        in_point_zero = _in_point_zero(octets, ends, rows[kinds >= _IS_ZERO])
        if len(rows := rows[kinds != _IS_ZERO]):
            kinds = self._firsts[octets[starts[rows]]] & self._lasts[lasts[rows]]
            sizes = ends[rows] - starts[rows]
            # A row without id is left to the exact path anyway.
            rows = rows[((kinds & _PUNCTUATION > 0) | ((kinds & _KNOWN > 0) & (sizes <= self._longest))) & (sizes > 0)]
            self._judge(table, rows, starts, ends, is_suspect)
        return is_suspect, in_point_zero

    def _judge(self, table: Table, rows: Offsets, starts: Offsets, ends: Offsets, is_suspect: Flags) -> None:
        # Nobody's ids come again and again.
        judged: dict[bytes, bool] = {}
        for row, start, end in zip(rows.tolist(), starts[rows].tolist(), ends[rows].tolist(), strict=True):
            profile_id = id_of(table, start, end)
            is_known = judged.get(profile_id)
            if is_known is None:
                is_known = judged[profile_id] = self._is_known(profile_id)
            is_suspect[row] |= is_known

    def _find_numbers(self, table: Table, starts: Offsets, ends: Offsets, is_suspect: Flags) -> None:
        """Set the flag of each row with an id such as 3.91E16; the exact path sees those with a plus sign anyway."""
        octets = table.octets
        is_negative = octets[starts] == _MINUS
        if is_negative.any():
            starts = starts + is_negative
        second = octets.take(starts + 1, mode="clip")
        is_pointed = second == _POINT
        if self._has_commas:
            is_pointed |= second == STAND_INS[_COMMA]
        if not is_pointed.any():
            return
        rows = np.flatnonzero(is_pointed)
        is_digit = (octets[starts[rows]] ^ _ZERO < 10) & (octets[ends[rows] - 1] ^ _ZERO < 10)
        for row in rows[is_digit].tolist():
            is_suspect[row] = self._rules.is_number(id_of(table, starts[row] - is_negative[row], ends[row]))

    def _is_known(self, profile_id: bytes) -> bool:
        is_header = bool(self._header_id) and is_heading(profile_id, self._header_id)
        return is_header or profile_id in self._rules.nulls or self._rules.is_placeholder(profile_id)


def _in_point_zero(octets: Octets, ends: Offsets, rows: Offsets) -> Offsets:
    """Those of `rows`, whose ids end in a zero, whose ids end in `.0`, `.00` or `.000`; ascending."""
    found = []
    for distance in (2, 3, 4):
        # A separator stands before the id, so what is before it is never taken for a part of it; before the first one
        # there is the last of the table.
        before = octets[ends[rows] - distance]
        found.append(rows[before == _POINT])
        rows = rows[before == _ZERO]
        if not len(rows):
            break
    return np.sort(np.concatenate(found))


def id_of(table: Table, start: int, end: int) -> bytes:
    """The bytes of a table from `start` to `end`, the id of a row, as they were before there were stand-ins."""
    return as_written(table.text[int(start) : int(end)])


def as_written(cell: bytes) -> bytes:
    """A cell of a table as it was before there were stand-ins."""
    return cell.translate(_AS_WRITTEN)


def guarded(table: Table, escaped: Escaped) -> Offsets:
    """The indexes of the rows whose id has a guard against a spreadsheet, ascending."""
    octets, firsts = table.octets, escaped.octets[escaped.of_ids]
    of_ids: Offsets = escaped.of_ids[(firsts == ord("'")) | (firsts == ord("="))]
    if not len(of_ids):
        return of_ids
    places, rows = escaped.places[of_ids], escaped.rows[of_ids]
    is_first = places == table.ends[rows] - table.sizes[rows]
    places, rows = places[is_first], rows[is_first]
    quote = STAND_INS[ord('"')]
    ends = table.separators[:: table.columns][rows]
    is_formula = (octets[places] == ord("=")) & (octets[places + 1] == quote) & (octets[ends - 1] == quote)
    guarded_rows: Offsets = rows[(octets[places] == ord("'")) | is_formula]
    return guarded_rows
