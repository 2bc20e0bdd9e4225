"""Maps whole blocks of records at once, with the same result as `RowMapper` in a fraction of the time.

A block becomes a table in which every comma and line feed separates cells. The quotes around fields are deleted, and
each byte that they protected becomes a *stand-in*: one byte that no UTF-8 text holds. The positions of the separators,
shaped (rows, columns), are then enough to judge the rows, and a few searches for single bytes over the whole block
encode it. A block without quotes or CR, with its columns already in order, or with nothing to encode skips that work
after a quick look.

Rows that might be rejected, or are near a limit, go to the exact mapper, `RowMapper`, with their line numbers. So the
exact mapper decides every case that is not plain.
"""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter

import numpy as np

from pipeline.core.formats.blockframing import Framed, steps, without
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Flags, Octets, Offsets, Reject, Rows, Warnings
from pipeline.core.rows.blockcells import Nulls, Pads, as_written, guarded, id_of, suspects
from pipeline.core.rows.blocksteps import BlockSteps, Stepped, with_ids
from pipeline.core.rows.cells import INVISIBLE, is_bare, trimmed
from pipeline.core.rows.encoding import KEPT, STAND_INS, Escapes, encode_table
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.id_forms import EMPTY, NotSent, excluded_by
from pipeline.core.rows.mapping import (
    MAX_ATTRIBUTES_BYTES,
    SAFE_ATTRIBUTES_BYTES,
    SAFE_VALUE_CHARACTERS,
    Mapped,
    RowMapper,
)
from pipeline.core.rows.profile_id import SAFE_ID_CHARACTERS
from pipeline.core.rows.table import Escaped, Table, cut_out

_LINE_FEED, _CARRIAGE_RETURN, _COMMA, _QUOTE = b'\n\r,"'
#: Cells with a NUL behind each -> a table, but for the ends of its rows: what separates in a cell has a stand-in.
_FROM_CELLS = bytes(_COMMA if byte == 0 else STAND_INS[byte] if byte in b',\r\n"' else byte for byte in range(256))
_STAND_INS = np.array([STAND_INS.get(byte, byte) for byte in range(256)], dtype=np.uint8)
_NONE: Offsets = np.zeros(0, dtype=np.int64)
#: Bytes that encoding makes of one byte, at most.
_MAX_GROWTH = 3
#: Bytes that steps make an id longer by, at most: hashes have 64, and another case makes three bytes of one.
_ID_GROWTH = 3 * 4 * SAFE_ID_CHARACTERS
#: If more than one byte in this many is quoted, examining all bytes is faster than picking the quoted ones (measured).
_BYTES_PER_QUOTED = 12
#: Bytes that may be seen, as all that is no ASCII may.
_MAY_BE_SEEN = np.array([chr(byte) not in INVISIBLE or byte > 0x7F for byte in range(256)], dtype=np.bool_)
#: Records that are looked at one by one sooner than all at once.
_FEW_RECORDS = 64
#: Rows that are checked for invalid UTF-8 together, before each is checked by itself.
_ROWS_PER_PIECE = 64


class BlockMapper:
    """Maps, encodes and judges the records of `BlockFramer`; `exact` does so for irregular ones."""

    def __init__(self, exact: RowMapper) -> None:
        self._exact = exact
        self._plan = exact.plan
        self._delimiter = exact.delimiter
        names_bytes = sum(map(len, self._plan.parameters))
        self._steps = BlockSteps(exact)
        growth = 0 if self._plan.steps.id_steps is None else _ID_GROWTH
        #: A row of less than this many bytes before encoding is within every limit on rows and attributes.
        self._safe_bytes = min(
            exact.max_row_bytes // _MAX_GROWTH + 1 - growth,
            MAX_ATTRIBUTES_BYTES - names_bytes + 1,
            SAFE_ATTRIBUTES_BYTES - names_bytes,
        )
        picked = [self._plan.id_index, *self._plan.cell_indexes]
        self._picked = None if picked == list(range(self._plan.field_count)) else np.array(picked)
        #: For each cell of a row, the id first, if it is trimmed.
        self._trims = np.array([exact.rules.trim != "none", *exact.trims])
        self._nulls = Nulls(exact.rules, exact.delimiter)
        self._suspects = suspects(exact.rules, exact.header_id, has_commas=exact.on_delimiter == "encode")
        # One byte that separates nothing takes the place of another; other replacements are left to the exact path.
        is_simple = len(exact.replacement) == 1 and exact.replacement.isascii() and exact.replacement not in b",\r\n"
        self._is_replacing = is_simple and exact.on_delimiter == "replace"
        self._kept_replacement = exact.replacement[0] if self._is_replacing and exact.replacement in KEPT else None
        self._escapes = Escapes.of(exact.replacement if self._is_replacing else None)
        #: Records that the exact mapper has mapped.
        self.exact_records = 0

    def map(self, framed: Framed) -> Mapped:
        """The rows to send and the rejects of these records, each in file order.

        Raises `InputError` (65) for the header in another order.
        """
        framed = framed.set_aside(_is_no_text(framed), self._delimiter)
        text, separators = self._separate(framed)
        columns = self._plan.field_count
        is_ragged = _is_ragged(text, separators, columns, len(framed.ends))
        warnings = Warnings()
        if is_ragged.any():
            text, separators = _without_rows(text, separators, is_ragged)
            framed = self._ragged_aside(framed, np.flatnonzero(is_ragged), warnings)
        table = Table.of(text, columns, separators)
        is_blank = table.sizes == columns
        if is_blank.any():
            _note_blank(warnings, framed.lines[is_blank])
            framed = framed.leaving(is_blank)
            text, separators = _without_rows(text, separators, is_blank)
            table = Table.of(text, columns, separators)
        left_out, by_column = self._steps.left_out(table)
        if left_out is None:
            return self._map_table(self._pick(table), framed, warnings)
        excluded = Counter({column: len(rows) for column, rows in by_column.items()})
        not_sent = tuple(
            self._not_sent(excluded_by(column), table, self._plan.id_index, rows, framed.lines)
            for column, rows in by_column.items()
        )
        framed = framed.leaving(left_out)
        text, separators = _without_rows(text, separators, left_out)
        table = Table.of(text, columns, separators)
        mapped = self._map_table(self._pick(table), framed, warnings)
        return replace(mapped, excluded=excluded + Counter(mapped.excluded), not_sent=(*not_sent, *mapped.not_sent))

    def _not_sent(self, why: str, table: Table, id_column: int, rows: Offsets, lines: Offsets) -> NotSent:
        """The rows of these indexes, with the ids in a column. `lines`: of all rows of the table."""
        ends = table.separators[rows * table.columns + id_column]
        starts = (
            (table.separators[rows * table.columns + id_column - 1] + 1)
            if id_column
            else (table.ends[rows] - table.sizes[rows])
        )
        text = table.text
        ids = [as_written(text[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return NotSent(why, self._exact.forms.hashes(ids), lines[rows])

    def _map_table(self, table: Table, framed: Framed, warnings: Warnings) -> Mapped:
        """Map the regular records of `framed`, given as a table with the same rows, and its other records."""
        lines = framed.lines
        escaped = Escaped.of(table)
        table, escaped, padded, emptied = self._plain_cells(table, escaped)
        padded_rows = padded // table.columns
        padded_places = padded - padded_rows * table.columns
        emptied_rows = emptied // table.columns
        stepped, table, escaped = self._with_steps(table, escaped)
        sizes = table.sizes
        starts, id_ends = table.ends - sizes, table.separators[:: table.columns]
        id_lengths = id_ends - starts
        is_odd, ends_in_point_zero = self._suspects.of(table, starts, id_ends)
        is_odd |= (id_lengths == 0) | (id_lengths > SAFE_ID_CHARACTERS) | (sizes >= self._safe_bytes)
        is_delimiter = escaped.is_delimiter
        if len(escaped.of_ids):
            is_odd[escaped.spoilt] = True
        if has_delimiter := bool(is_delimiter.any()):
            is_odd[self._odd_by_delimiter(escaped, is_delimiter)] = True
        is_padded_id = padded_places == 0
        if self._exact.rules.trim == "none":
            is_odd[padded_rows[is_padded_id]] = True
        is_odd |= stepped.is_odd
        # In a row with an id only, nothing but the separators follows the id.
        is_empty = (sizes == id_lengths + table.columns) & ~is_odd
        keep = ~(is_odd | is_empty)
        notes = _Notes(warnings, lines, keep)
        if has_delimiter:
            cells = np.searchsorted(table.separators, escaped.places[is_delimiter])
            notes.add("value_with_delimiter", cells[_is_first(cells)] // table.columns)
        notes.add("id_ends_in_point_zero", ends_in_point_zero)
        notes.add("id_with_guard", guarded(table, escaped))
        self._note_padded(notes, padded_rows, padded_places)
        notes.add("null_cells", emptied_rows)
        for name, noted_rows in stepped.notes.items():
            notes.add(name, noted_rows)
        if framed.source is not None and framed.source.joined:
            notes.add("array_joined", _joined(lines, framed.source.joined))
        self._count_blank(table, notes)
        if len(sizes) and sizes.max() > SAFE_VALUE_CHARACTERS:
            notes.add("value_over_256_characters", _long_cells(table) // table.columns)
        rejects, odd = self._rejects(table, framed, np.flatnonzero(is_odd), warnings)
        empty = np.flatnonzero(is_empty)
        not_sent = (self._not_sent(EMPTY, table, 0, empty, lines),) if len(empty) else ()
        if has_delimiter and self._kept_replacement is not None:
            table, escaped = _replaced(table, escaped, is_delimiter, self._kept_replacement)
        if stepped.ids:
            table, id_lengths = with_ids(table, stepped.ids, keep)
            escaped = Escaped.of(table)
        rows = self._encode(table, escaped, id_lengths, keep, lines)
        if not self._exact.has_steps:
            self._exact.order.check(rows)
        fast = Mapped(rows, rejects, len(empty), warnings, not_sent=not_sent)
        if not (len(odd) or framed.others):
            return fast
        others = framed.exactly(odd, self._delimiter)
        self.exact_records += len(others)
        return _merge(fast, self._exact.map(others))

    def _ragged_aside(self, framed: Framed, ragged: Offsets, warnings: Warnings) -> Framed:
        """The same records, with the ragged ones framed by the exact framer, but for those that are blank."""
        is_blank = self._are_bare(framed, ragged)
        is_odd, dropped = np.zeros((2, len(framed.ends)), dtype=np.bool_)
        is_odd[ragged[~is_blank]] = dropped[ragged[is_blank]] = True
        if is_blank.any():
            _note_blank(warnings, framed.lines[dropped])
            framed, is_odd = framed.leaving(dropped), is_odd[~dropped]
        return framed.set_aside(is_odd, self._delimiter)

    def _are_bare(self, framed: Framed, places: Offsets) -> Flags:
        """Set for each of these records, given by their indexes, in which nothing is to be seen but delimiters."""
        if framed.source is not None or len(places) <= _FEW_RECORDS:
            return np.array([is_bare(raw, self._delimiter) for raw in framed.raw(places)], dtype=np.bool_)
        # Exports may have gigabytes of lines of blanks. Those of ASCII are told by their bytes, all at once.
        octets = np.frombuffer(framed.data, dtype=np.uint8)
        seen = np.concatenate([[0], np.cumsum(_MAY_BE_SEEN[octets] & (octets != self._delimiter[0]))])
        is_blank: Flags = seen[framed.ends[places]] == seen[framed.starts(places)]
        unsure = np.flatnonzero(~is_blank)
        is_blank[unsure] = [is_bare(raw, self._delimiter) for raw in framed.raw(places[unsure])]
        return is_blank

    def _rejects(self, table: Table, framed: Framed, odd: Offsets, warnings: Warnings) -> tuple[list[Reject], Offsets]:
        """Judge the odd rows, given by their indexes, by their ids only.

        Returns the rejects, and the indexes of the rows that are left to the exact path. Blank ones are neither.
        """
        rejects: list[Reject] = []
        if not len(odd):
            return rejects, odd
        is_blank = self._are_bare(framed, odd)
        blank, odd = odd[is_blank], odd[~is_blank]
        left = []
        header_id = self._exact.header_id.decode().lower()
        starts, ends = table.ends[odd] - table.sizes[odd], table.separators[:: table.columns][odd]
        rows = zip(
            odd.tolist(), framed.lines[odd].tolist(), starts.tolist(), ends.tolist(), framed.raw(odd), strict=True
        )
        for row, line, start, end, raw in rows:
            profile_id = id_of(table, start, end)
            if (header_id and header_id in profile_id.decode().lower()) or (b'"' in raw and not trimmed(profile_id)):
                # Perhaps it is the header again, or quotes around nothing.
                left.append(row)
            elif reason := self._exact.problem_of_id(profile_id):
                rejects.append(Reject(line, reason, profile_id, raw))
            else:
                left.append(row)
        _note_blank(warnings, framed.lines[blank])
        return rejects, np.array(left, dtype=np.int64)

    def _plain_cells(self, table: Table, escaped: Escaped) -> tuple[Table, Escaped, Offsets, Offsets]:
        """The table with its cells trimmed, and those empty that mean no value.

        Returns the indexes of the padded cells and of the emptied ones too.
        """
        pads, trim = Pads.of(table, escaped), self._exact.rules.trim
        is_trimming = bool(self._trims.any())
        padded = _NONE if pads is None else pads.cells
        if pads and is_trimming:
            to_trim = padded if trim == "all" else padded[self._trims[padded % table.columns]]
            if len(to_trim):
                table = pads.trim(table, to_trim)
                escaped = Escaped.of(table)
        emptied = self._nulls.of(table, escaped)
        if len(emptied):
            table = Nulls.empty(table, emptied)
            escaped = Escaped.of(table)
        return table, escaped, padded, emptied

    def _with_steps(self, table: Table, escaped: Escaped) -> tuple[Stepped, Table, Escaped]:
        """The table after the steps on its values; each line break in a value that is replaced is one byte then."""
        stepped = self._steps.values(table)
        if stepped.table is not table:
            table, escaped = stepped.table, Escaped.of(stepped.table)
        if self._is_replacing:
            table, escaped = _with_single_breaks(table, escaped)
        return stepped, table, escaped

    def _note_padded(self, notes: "_Notes", rows: Offsets, places: Offsets) -> None:
        """Note the padded cells, given by row and by place in it, as trimmed or as sent with what is around them."""
        is_trimmed = self._trims[places]
        notes.add("ids_trimmed", rows[places == 0])
        notes.add("values_trimmed", rows[(places > 0) & is_trimmed])
        notes.add("values_padded", rows[(places > 0) & ~is_trimmed])

    def _odd_by_delimiter(self, escaped: Escaped, is_delimiter: Flags) -> Offsets:
        """The indexes of rows that hold a comma or a line break, and are left to the exact path for it."""
        if self._exact.on_delimiter == "encode":
            return _NONE
        if not self._is_replacing:
            return escaped.rows[is_delimiter]
        rows: Offsets = escaped.rows[escaped.of_ids[is_delimiter[escaped.of_ids]]]
        return rows

    def _count_blank(self, table: Table, notes: "_Notes") -> None:
        # Comparing neighbours skips the first cell of the table, which is an id and never blank.
        blank = 1 + np.flatnonzero(table.separators[1:] - table.separators[:-1] == 1)
        rows = blank // table.columns
        if not notes.keep.all():
            is_kept = notes.keep[rows]
            blank, rows = blank[is_kept], rows[is_kept]
        if not len(blank):
            return
        # A division takes several times as long as a product.
        counts = np.bincount(blank - rows * table.columns, minlength=table.columns)[1:].tolist()
        counted = {parameter: count for parameter, count in zip(self._plan.parameters, counts, strict=True) if count}
        notes.warnings.note_empty_cells(counted, int(notes.lines[rows[0]]))

    def _separate(self, framed: Framed) -> tuple[bytes, Offsets]:
        """The records as text of a table, and the offsets of its separators, shape (n,)."""
        text = framed.data
        if framed.source is not None:
            return _from_cells(text, framed.ends)
        if b'"' in text:
            text = _protect(text, self._delimiter[0], framed.quotes)
        if b"\r" in text:
            text = _with_plain_line_ends(text, framed.ends)
        if self._delimiter != b",":
            text = text.translate(bytes.maketrans(b"," + self._delimiter, bytes([STAND_INS[_COMMA]]) + b","), b'"')
        elif b'"' in text:
            # `translate` is faster where quotes are many, `replace` where they are few.
            text = text.translate(None, b'"') if text.count(b'"', 0, 4096) > 64 else text.replace(b'"', b"")
        octets = np.frombuffer(text, dtype=np.uint8)
        return text, np.flatnonzero((octets == _COMMA) | (octets == _LINE_FEED))

    def _pick(self, table: Table) -> Table:
        """Reorder the table: the id first, then only the columns that are sent."""
        if self._picked is None:
            return table
        columns = len(self._picked)
        if not len(table.separators):
            return Table.of(b"", columns, table.separators)
        shape = (-1, table.columns)
        starts = np.concatenate([[0], table.separators[:-1] + 1]).reshape(shape)[:, self._picked].ravel()
        sizes = steps(table.separators + 1).reshape(shape)[:, self._picked].ravel()
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
        octets = table.octets[places]
        separators = ends - 1
        octets[separators] = _COMMA
        octets[separators[columns - 1 :: columns]] = _LINE_FEED
        return Table.of(octets.tobytes(), columns, separators)

    def _encode(self, table: Table, escaped: Escaped, id_lengths: Offsets, keep: Flags, lines: Offsets) -> Rows:
        """Encode the rows to keep. `id_lengths`: (n,), in bytes before encoding."""
        text, places, octets = table.text, escaped.places, escaped.octets
        # An escaped byte becomes three.
        sizes = table.sizes + 2 * np.bincount(escaped.rows, minlength=len(keep))
        if len(escaped.of_ids):
            id_lengths = id_lengths + 2 * np.bincount(escaped.rows[escaped.of_ids], minlength=len(keep))
        if not keep.all():
            text, _ = without(text, table.ends, ~keep)
            is_kept = keep[escaped.rows]
            places = (places - _bytes_before(~keep, table.sizes)[escaped.rows])[is_kept]
            octets = octets[is_kept]
            sizes, id_lengths, lines = sizes[keep], id_lengths[keep], lines[keep]
        body = encode_table(text, places, octets, self._escapes)
        ends = np.cumsum(sizes)
        return Rows(body, ends, id_lengths, lines, hash_ids(body, ends - sizes, id_lengths, self._exact.salt))


def _is_no_text(framed: Framed) -> Flags:
    """Set for each record that holds a NUL or is not valid UTF-8; shape (n,)."""
    data, ends = framed.data, framed.ends
    is_bad = np.zeros(len(ends), dtype=np.bool_)
    if framed.source is None and b"\0" in data:
        nuls = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 0)
        is_bad[np.searchsorted(ends, nuls, side="right")] = True
    if is_utf8(data):
        return is_bad
    starts = [0, *ends.tolist()]
    for first in range(0, len(ends), _ROWS_PER_PIECE):
        piece = starts[first : first + _ROWS_PER_PIECE + 1]
        if not is_utf8(data[piece[0] : piece[-1]]):
            is_bad[first : first + _ROWS_PER_PIECE] |= [not is_utf8(data[a:b]) for a, b in pairwise(piece)]
    return is_bad


def _joined(lines: Offsets, joined: dict[int, int]) -> Offsets:
    """The index of a row for each of its joined arrays, ascending; `lines`: of the rows, shape (n,)."""
    wanted = np.fromiter(joined, dtype=np.int64, count=len(joined))
    counts = np.fromiter(joined.values(), dtype=np.int64, count=len(joined))
    is_there = np.isin(wanted, lines)
    return np.repeat(np.searchsorted(lines, wanted[is_there]), counts[is_there])


def _from_cells(cells: bytes, ends: Offsets) -> tuple[bytes, Offsets]:
    """Cells with a NUL behind each as text of a table, and the offsets of its separators, shape (n,).

    `ends`: the ends of the rows.
    """
    octets = np.frombuffer(bytearray(cells).translate(_FROM_CELLS), dtype=np.uint8)
    octets[ends - 1] = _LINE_FEED
    return octets.tobytes(), np.flatnonzero((octets == _COMMA) | (octets == _LINE_FEED))


def _is_ragged(text: bytes, separators: Offsets, columns: int, rows: int) -> Flags:
    """Set for each row that does not have `columns` cells; shape (n,)."""
    octets = np.frombuffer(text, dtype=np.uint8)
    if len(separators) == rows * columns and (octets[separators[columns - 1 :: columns]] == _LINE_FEED).all():
        return np.zeros(rows, dtype=np.bool_)
    is_ragged: Flags = np.diff(np.flatnonzero(octets[separators] == _LINE_FEED), prepend=-1) != columns
    return is_ragged


def _without_rows(text: bytes, separators: Offsets, dropped: Flags) -> tuple[bytes, Offsets]:
    """Remove the `dropped` rows; return the remaining text and the offsets of its separators.

    Rows may have any number of cells.
    """
    last = np.flatnonzero(np.frombuffer(text, dtype=np.uint8)[separators] == _LINE_FEED)
    ends, cells = separators[last] + 1, steps(last + 1)
    left, _ = without(text, ends, dropped)
    separators = separators - np.repeat(_bytes_before(dropped, steps(ends)), cells)
    return left, separators[np.repeat(~dropped, cells)]


def _bytes_before(dropped: Flags, sizes: Offsets) -> Offsets:
    """For each row that is kept, the number of dropped bytes before it; shape (n,)."""
    before: Offsets = np.cumsum(np.where(dropped, sizes, 0))
    return before


def _with_plain_line_ends(text: bytes, ends: Offsets) -> bytes:
    """Replace the CR LF at the end of each record by LF.

    Record i ends before `text[ends[i]]`. No quoted CR is left: each is a stand-in.
    """
    octets = np.frombuffer(text, dtype=np.uint8)
    of_line_ends = np.count_nonzero(octets[ends - 2] == _CARRIAGE_RETURN)
    # Deleting every CR is faster, and right if each CR belongs to a line end.
    has_others = np.count_nonzero(octets == _CARRIAGE_RETURN) != of_line_ends
    return text.replace(b"\r\n", b"\n") if has_others else text.replace(b"\r", b"")


def _protect(data: bytes, delimiter: int, quotes: Offsets | None) -> bytes:
    """Replace each byte that quotes protect by its stand-in: then every quote left encloses a field.

    `data`: regular records.
    `quotes`: the offsets of all quotes, or None to have them searched.
    """
    octets = np.frombuffer(bytearray(data), dtype=np.uint8)
    if quotes is None:
        quotes = np.flatnonzero(octets == _QUOTE)
    opening, closing = quotes[0::2], quotes[1::2]
    ends = np.cumsum(closing - opening)
    quoted_bytes = len(quotes) and int(ends[-1])
    if quoted_bytes * _BYTES_PER_QUOTED > len(data):
        # A byte is quoted if the number of quotes up to it is odd. The sum may overflow: its lowest bit stays right.
        is_quoted = (np.cumsum(octets == _QUOTE, dtype=np.uint8) & 1).view(np.bool_)
        inside = np.flatnonzero(_may_separate(octets, delimiter) & is_quoted)
    else:
        inside = np.repeat(closing - ends, closing - opening) + np.arange(quoted_bytes)
        inside = inside[_may_separate(octets[inside], delimiter)]
    octets[inside] = _STAND_INS[octets[inside]]
    # A quote that opens right behind a closing one is the second of a doubled quote.
    octets[opening[1:][opening[1:] == closing[:-1] + 1]] = STAND_INS[_QUOTE]
    return octets.tobytes()


def _may_separate(octets: Octets, delimiter: int) -> Flags:
    """Set for each byte that would separate cells or records if it were not quoted; shape (n,)."""
    separates: Flags = (octets == delimiter) | (octets == _LINE_FEED) | (octets == _CARRIAGE_RETURN)
    return separates


@dataclass(frozen=True, slots=True)
class _Notes:
    """Warnings about the rows to keep of a table: `lines` and `keep` have shape (n,)."""

    warnings: Warnings
    lines: Offsets
    keep: Flags

    def add(self, name: str, rows: Offsets) -> None:
        """Count a warning once for each entry of `rows`, which are indexes of rows, ascending."""
        if len(rows) and len(rows := rows[self.keep[rows]]):
            self.warnings.note(name, int(self.lines[rows[0]]), len(rows))


def _note_blank(warnings: Warnings, lines: Offsets) -> None:
    """Count blank records, given by their lines, which ascend; records before them may have been counted already."""
    if len(lines):
        among = Warnings()
        among.note("blank_records", int(lines[0]), len(lines))
        warnings.add_among(among)


def _is_first(cells: Offsets) -> Flags:
    """Set for each of these indexes, which ascend, that differs from the one before it; shape (n,)."""
    is_first = np.ones(len(cells), dtype=np.bool_)
    np.not_equal(cells[1:], cells[:-1], out=is_first[1:])
    return is_first


def _replaced(table: Table, escaped: Escaped, is_delimiter: Flags, replacement: int) -> tuple[Table, Escaped]:
    """The table with commas and line breaks replaced by a byte that is sent as it is."""
    octets = np.frombuffer(bytearray(table.text), dtype=np.uint8)
    octets[escaped.places[is_delimiter]] = replacement
    return replace(table, text=octets.tobytes()), escaped.leaving(is_delimiter, escaped.places[~is_delimiter])


def _with_single_breaks(table: Table, escaped: Escaped) -> tuple[Table, Escaped]:
    """The table with an LF for each CR LF in a value, which is replaced as one."""
    returns = np.flatnonzero((escaped.octets == STAND_INS[_CARRIAGE_RETURN]) & ~escaped.is_in_id)
    if len(returns):
        returns = returns[table.octets[escaped.places[returns] + 1] == STAND_INS[_LINE_FEED]]
    if not len(returns):
        return table, escaped
    places = escaped.places[returns]
    table = cut_out(table, np.searchsorted(table.separators, places), places, places + 1)
    dropped = np.zeros(len(escaped.places), dtype=np.bool_)
    dropped[returns] = True
    left = escaped.places[~dropped]
    return table, escaped.leaving(dropped, left - np.searchsorted(places, left))


def _long_cells(table: Table) -> Offsets:
    """The indexes of the values that exceed `SAFE_VALUE_CHARACTERS`."""
    widths = steps(table.separators + 1) - 1
    long = np.flatnonzero(widths > SAFE_VALUE_CHARACTERS)
    ends = table.separators[long]
    # Count the bytes that begin a character: all but UTF-8 continuation bytes. A stand-in is one character.
    is_first = table.octets & 0xC0 != 0x80
    counts = [int(np.count_nonzero(is_first[end - width : end])) for end, width in zip(ends, widths[long], strict=True)]
    long_cells: Offsets = long[np.array(counts, dtype=np.int64) > SAFE_VALUE_CHARACTERS]
    return long_cells


def _merge(fast: Mapped, exact: Mapped) -> Mapped:
    """Merge both in the order of their lines."""
    fast.warnings.add_among(exact.warnings)
    empty, not_sent = fast.empty + exact.empty, (*fast.not_sent, *exact.not_sent)
    rejects = sorted([*fast.rejects, *exact.rejects], key=attrgetter("line"))
    if not len(exact.rows):
        return Mapped(fast.rows, rejects, empty, fast.warnings, exact.excluded, not_sent)
    first, second = fast.rows, exact.rows
    places = np.searchsorted(first.lines, second.lines)
    starts = [0, *np.concatenate([[0], first.ends])[places].tolist()]
    pieces = [first.body[start:end] for start, end in zip(starts, [*starts[1:], len(first.body)], strict=True)]
    texts = [second.text(index) for index in range(len(second))]
    body = b"".join([piece for pair in zip(pieces, [*texts, b""], strict=True) for piece in pair])
    sizes = np.insert(steps(first.ends), places, steps(second.ends))
    rows = Rows(
        body,
        np.cumsum(sizes),
        np.insert(first.id_lengths, places, second.id_lengths),
        np.insert(first.lines, places, second.lines),
        np.insert(first.hashes, places, second.hashes),
    )
    return Mapped(rows, rejects, empty, fast.warnings, exact.excluded, not_sent)
