"""Compares rows with what is remembered of their ids: what they say anew, and what they lack.

With digests, a row that is not word for word the one sent last is new. With values, each cell is compared, byte by
byte, and an empty cell says nothing: so a hash decides nothing, but for which entry is looked at.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.core.memory.entries import Found, Values
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.memory.texts import same_texts
from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge, rearrange

_COMMA, _LINE_FEED = ord(","), ord("\n")


def unchanged_by_digest(digests: Hashes, found: Found) -> Flags:
    """Set for each row that is the one sent last, word for word; shape (n,). `digests`: of the rows, as they are."""
    unchanged: Flags = (found.digests == digests) & (found.sent_at > 0)
    return unchanged


def unchanged_by_values(
    rows: KeyedRows, parameters: tuple[str, ...], found: Found, shapes: Sequence[tuple[str, ...]]
) -> Flags:
    """Set for each row of which every cell that is not empty equals what is remembered as sent; shape (n,).

    `parameters`: of the rows' header. `shapes`: the names of the cells of remembered rows, by `Values.shapes`.
    """
    is_unchanged = found.sent_at > 0
    values = found.entries.values
    if values is None:
        return np.zeros(len(rows), dtype=np.bool_)
    asked = np.flatnonzero(is_unchanged)
    # Most rows are as they were, as a whole.
    asked = asked[~_are_the_same(rows, asked, parameters, values, found.indexes[asked], shapes)]
    differing, entries = rows.chosen(asked).rows(), found.indexes[asked]
    by_shape, lacks_any = values.shapes[entries], _lacks_any(differing, len(parameters))
    is_unchanged[asked] = False
    for shape in np.unique(by_shape).tolist():
        of_shape = np.flatnonzero(by_shape == shape)
        if shapes[shape] == parameters:
            # A row with all cells is the same as a whole, or has another one.
            of_shape = of_shape[lacks_any[of_shape]]
        is_unchanged[asked[of_shape]] = _says_nothing_new(
            differing, of_shape, parameters, values, entries[of_shape], shapes[shape]
        )
    return is_unchanged


def filled_in(
    rows: Rows, parameters: tuple[str, ...], found: Found, shapes: Sequence[tuple[str, ...]], max_row_bytes: int
) -> tuple[Rows, list[int]]:
    """The rows with the remembered cells that they lack; and the indexes of those that would be too long with them.

    `parameters`: of the rows' header; of a cell that it does not name, nothing is filled in.
    """
    values = found.entries.values
    if values is None or not len(rows):
        return rows, []
    known = _to_be_filled_in(rows, parameters, found.indexes, values, shapes)
    texts: dict[int, bytes] = {}
    places = [[names.index(name) if name in names else None for name in parameters] for names in map(list, shapes)]
    too_long: list[int] = []
    numbers = zip(known.tolist(), found.indexes[known].tolist(), strict=True)
    for index, entry in numbers:
        remembered, row = values.row(entry), rows.text(index)
        if shapes[values.shapes[entry]] != parameters:
            remembered = rearrange(remembered, places[values.shapes[entry]])
        filled = merge(remembered, row)
        if filled is row or filled == row:
            continue
        if len(filled) > max_row_bytes:
            too_long.append(index)
            continue
        texts[index] = filled
    return (with_texts(rows, texts) if texts else rows), too_long


def _to_be_filled_in(
    rows: Rows, parameters: tuple[str, ...], indexes: Offsets, values: Values, shapes: Sequence[tuple[str, ...]]
) -> Offsets:
    """The indexes of the rows that lack a cell that their entry has. `indexes`: of the entries, -1 where none is."""
    asked = np.flatnonzero((indexes >= 0) & _lacks_any(rows, len(parameters)))
    lacks_what_is_there = np.zeros(len(asked), dtype=np.bool_)
    by_shape = values.shapes[indexes[asked]]
    for shape in np.unique(by_shape).tolist():
        some = np.flatnonzero(by_shape == shape)
        entries, names = indexes[asked[some]], shapes[shape]
        _, sizes = _cells(rows.body, rows.starts[asked[some]], rows.ends[asked[some]], len(parameters))
        _, remembered = _cells(values.text, values.starts[entries], values.ends[entries], len(names))
        for place, name in enumerate(parameters):
            if name in names:
                lacks_what_is_there[some] |= (sizes[place] == 0) & (remembered[names.index(name)] > 0)
    return asked[lacks_what_is_there]


def _lacks_any(rows: Rows, columns: int) -> Flags:
    """Set for each row that has fewer cells than so many, or an empty one; shape (n,)."""
    if not len(rows):
        return np.zeros(0, dtype=np.bool_)
    octets = np.frombuffer(rows.body, dtype=np.uint8)
    is_comma = octets == _COMMA
    lacks_any: Flags = np.add.reduceat(is_comma, rows.starts, dtype=np.int64) < columns
    empty = np.flatnonzero(is_comma[:-1] & (is_comma[1:] | (octets[1:] == _LINE_FEED)))
    lacks_any[np.searchsorted(rows.ends, empty, side="right")] = True
    return lacks_any


def with_texts(rows: Rows, texts: dict[int, bytes]) -> Rows:
    """The rows, some of them with other texts."""
    pieces, sizes, first = list[bytes](), np.diff(rows.ends, prepend=0), 0
    for index, text in sorted(texts.items()):
        pieces += [_text_of(rows, first, index), text]
        sizes[index], first = len(text), index + 1
    pieces.append(_text_of(rows, first, len(rows)))
    return Rows(b"".join(pieces), np.cumsum(sizes), rows.id_lengths, rows.lines, rows.hashes)


def _text_of(rows: Rows, first: int, stop: int) -> bytes:
    """The texts of the rows from `first` to `stop`."""
    ends = rows.ends
    return rows.body[int(ends[first - 1]) if first else 0 : int(ends[stop - 1]) if stop else 0]


def _are_the_same(
    rows: KeyedRows,
    indexes: Offsets,
    parameters: tuple[str, ...],
    values: Values,
    entries: Offsets,
    shapes: Sequence[tuple[str, ...]],
) -> Flags:
    """Set for each of these rows that is its entry, byte by byte, under the same names."""
    have_names = np.array([names == parameters for names in shapes], dtype=np.bool_)[values.shapes[entries]]
    some = np.flatnonzero(have_names)
    starts, of_entries = rows.starts[indexes[some]], values.starts[entries[some]]
    sizes, entry_sizes = rows.ends[indexes[some]] - starts, values.ends[entries[some]] - of_entries
    are_the_same = np.zeros(len(indexes), dtype=np.bool_)
    are_the_same[some] = same_texts(rows.body, starts, sizes, values.text, of_entries, entry_sizes)
    return are_the_same


def _says_nothing_new(
    rows: Rows, indexes: Offsets, parameters: tuple[str, ...], values: Values, entries: Offsets, names: tuple[str, ...]
) -> Flags:
    """Set for each of these rows that says nothing but what its entry says, whose cells have these names."""
    starts, sizes = _cells(rows.body, rows.starts[indexes], rows.ends[indexes], len(parameters))
    remembered_starts, remembered_sizes = _cells(values.text, values.starts[entries], values.ends[entries], len(names))
    nothing_new = np.ones(len(indexes), dtype=np.bool_)
    for place, name in enumerate(parameters):
        says_any = sizes[place] > 0
        if name not in names:
            nothing_new &= ~says_any
            continue
        other = names.index(name)
        asked = np.flatnonzero(nothing_new & says_any)
        nothing_new[asked] = same_texts(
            rows.body,
            starts[place][asked],
            sizes[place][asked],
            values.text,
            remembered_starts[other][asked],
            remembered_sizes[other][asked],
        )
    return nothing_new


def _cells(text: bytes, starts: Offsets, ends: Offsets, columns: int) -> tuple[list[Offsets], list[Offsets]]:
    """Where the cells behind the id begin in `text`, and their sizes: for each column an array of shape (n,).

    A row may lack its last cells: they are empty.
    """
    octets = np.frombuffer(text, dtype=np.uint8)
    separators = np.append(np.flatnonzero((octets == _COMMA) | (octets == _LINE_FEED)), len(text))
    place = np.searchsorted(separators, starts)
    begins, sizes = [], []
    for _ in range(columns):
        # Of a row that has ended, the cell is empty, and begins nowhere.
        begin = separators[place] + 1
        has_ended = begin >= ends
        place = np.where(has_ended, place, place + 1)
        end = separators[place]
        begins.append(np.where(has_ended, 0, begin))
        sizes.append(np.where(has_ended, 0, end - begin))
    return begins, sizes
