"""Compares rows with what is remembered of their ids: what they say anew, and what they lack.

A row of the digest of the one sent last says nothing new: that is asked first, and of most rows nothing else. With
values, each cell of any other is compared, byte by byte, and an empty cell says nothing; unless it is plain by which
cells each has that the row says something new. So a hash decides nothing but that a row is the same as a whole, for
which its id and all its cells count.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.core.memory.cells import cells_of, has_cells_of, lacks_any, patterns
from pipeline.core.memory.entries import Found, Values
from pipeline.core.memory.texts import same_texts
from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.core.rows.encoding import merge, rearrange


def unchanged_by_digest(digests: Hashes, found: Found) -> Flags:
    """Set for each row that is the one sent last, word for word; shape (n,). `digests`: of the rows, as they are."""
    unchanged: Flags = (found.digests == digests) & (found.sent_at > 0)
    return unchanged


def says_all_anew(rows: Rows, shape: int, salt: int, found: Found) -> Flags:
    """Set for each row that certainly says something new, and lacks nothing that is remembered; shape (n,).

    `rows`: of which none is the one sent last, word for word. `shape`: the number of their parameter names.

    Such a row has a cell wherever the one sent last has one, so that one of them must be another, or new; or none that
    counts was sent. If nothing tells of which cells they are, it is not set.
    """
    own = patterns(rows.body, rows.ends, rows.id_lengths, shape, salt)
    says_all: Flags = has_cells_of(own, found.patterns) & ((found.digests > 0) | (found.sent_at == 0))
    return says_all


def unchanged_by_values(
    rows: Rows, parameters: tuple[str, ...], found: Found, shapes: Sequence[tuple[str, ...]]
) -> Flags:
    """Set for each row of which every cell that is not empty equals what is remembered as sent; shape (n,).

    `parameters`: of the rows' header. `shapes`: the names of the cells of remembered rows, by `Values.shapes`.
    """
    is_unchanged = found.sent_at > 0
    values = found.entries.values
    if values is None:
        return np.zeros(len(rows), dtype=np.bool_)
    asked = np.flatnonzero(is_unchanged)
    entries = found.indexes[asked]
    by_shape = values.shapes[entries]
    for shape in np.unique(by_shape).tolist():
        of_shape = np.flatnonzero(by_shape == shape)
        is_unchanged[asked[of_shape]] = _says_nothing_new(
            rows, asked[of_shape], parameters, values, entries[of_shape], shapes[shape]
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
    asked = np.flatnonzero((indexes >= 0) & lacks_any(rows, len(parameters)))
    lacks_what_is_there = np.zeros(len(asked), dtype=np.bool_)
    by_shape = values.shapes[indexes[asked]]
    for shape in np.unique(by_shape).tolist():
        some = np.flatnonzero(by_shape == shape)
        entries, names = indexes[asked[some]], shapes[shape]
        _, sizes = cells_of(rows.body, rows.starts[asked[some]], rows.ends[asked[some]], len(parameters))
        _, remembered = cells_of(values.text, values.starts[entries], values.ends[entries], len(names))
        for place, name in enumerate(parameters):
            if name in names:
                lacks_what_is_there[some] |= (sizes[place] == 0) & (remembered[names.index(name)] > 0)
    return asked[lacks_what_is_there]


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


def _says_nothing_new(
    rows: Rows, indexes: Offsets, parameters: tuple[str, ...], values: Values, entries: Offsets, names: tuple[str, ...]
) -> Flags:
    """Set for each of these rows that says nothing but what its entry says, whose cells have these names."""
    starts, sizes = cells_of(rows.body, rows.starts[indexes], rows.ends[indexes], len(parameters))
    remembered_starts, remembered_sizes = cells_of(
        values.text, values.starts[entries], values.ends[entries], len(names)
    )
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
