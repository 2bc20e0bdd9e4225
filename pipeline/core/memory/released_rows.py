"""The entries of a batch that is released: what is remembered of its rows from then on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.core.memory.cells import patterns, separators_in
from pipeline.core.memory.entries import GONE, Entries, Small, Values
from pipeline.core.memory.id_kinds import keys_of_kind, marked, unsorted_order
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.memory.row_fates import Fate, Fates, RowFates
from pipeline.core.memory.texts import TextList, Texts, joined_texts
from pipeline.core.model import Flags, Hashes, Octets, Offsets, Starts, Wholes

#: Rows looked at in one go, so that what is found in them takes little memory.
_ROWS_AT_ONCE = 16_384
#: Bytes of texts that are in memory at once, about those of a part, and of the body while they are read.
_TEXT_BYTES, _PART_BYTES, _READ_BYTES = 8_000_000, 2_000_000, 1_500_000


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a batch, of which parts are read. `read`: gives the bytes from an offset to another."""

    size_bytes: int
    read: Callable[[int, int], bytes]

    def heading(self, starts: Starts) -> list[str]:
        """The header row: the kind of the ids, and the parameter names. `starts`: the offsets of its rows."""
        row = self.read(0, int(starts.min(initial=self.size_bytes)))
        return row[: row.index(b"\n")].decode().removeprefix("batch=").split(",")


def released_rows(
    body: Body,
    keys: Hashes,
    starts: Starts,
    fates: RowFates,
    bounds: Sequence[int],
    *,
    salt: int,
    at_minutes: int,
    source: int,
    shape: int | None,
    is_gone: Flags | None = None,
) -> Iterator[Entries]:
    """The entries of the rows of a body, part by part. The texts of one are there until the next is asked for.

    `keys`, `starts`: the sorted hashes of its ids, and the offset of the row of each.
    `bounds`: the index of the first key of each part, and behind them that of the end. Keys of one part may differ in
    their last bit alone, so none is cut between those.
    `source`: see `Entries`; rows that were refused have none.
    `is_gone`: in the order of the body, set for rows of ids that a snapshot no longer has; None if there are none.
    `shape`: the number of the body's parameter names; None if digests are remembered instead of values.
    """
    id_kind, *parameters = body.heading(starts)
    rows = _Rows.of(body, starts)
    of_each = fates.of(keys, salt)
    sources = _sources(of_each, source, rows.in_body, is_gone)
    looks = _looks(rows, Digested(tuple(parameters), salt), shape)
    looks.digests[:] = marked(looks.digests, id_kind)
    looks.digests[of_each != Fate.SENT] = 0
    looks.patterns[of_each == Fate.REFUSED] = 0
    keys = keys_of_kind(keys, id_kind)
    for part, texts in _parts(rows, bounds, with_texts=shape is not None):
        values = None
        if shape is not None:
            values = _values(texts, looks.id_lengths[part], of_each[part], shape)
        entries = Entries(
            keys[part],
            looks.digests[part],
            np.where(of_each[part] == Fate.SENT, at_minutes, 0).astype(np.uint32),
            np.full(part.stop - part.start, at_minutes, dtype=np.uint32),
            sources[part],
            looks.patterns[part],
            values,
        )
        if (order := unsorted_order(entries.keys)) is not None:
            entries = entries.taken(order)
        yield entries if values else _once(entries)


def small_parts(keys: Hashes, bounds: Offsets, size_bytes: int) -> list[int]:
    """The bounds of parts whose texts take little memory. `bounds`: at which a part has to end, the first and last too.

    `keys`: the sorted hashes of all rows. `size_bytes`: what these take; those of an export whose rows were gathered
    are in the order of the keys, so that a batch may have those of a few partitions alone.
    """
    step = max(1, len(keys) * _PART_BYTES // max(1, size_bytes))
    # None is cut between keys that differ in their last bit alone.
    cuts = np.searchsorted(keys, keys[step::step] & ~np.uint64(1))
    of_parts: list[int] = np.unique(np.append(bounds, cuts)).tolist()
    return of_parts


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The n rows of a body, in the order of their keys. All arrays have shape (n,).

    `starts`, `sizes`: where each row begins, and its bytes. `in_body`: the order in which they stand in the body.
    """

    body: Body
    starts: Starts
    sizes: Wholes
    in_body: Offsets

    @classmethod
    def of(cls, body: Body, starts: Starts) -> "_Rows":
        """The rows that begin at these offsets."""
        in_body = np.argsort(starts)
        sizes = np.empty_like(starts)
        sizes[in_body] = np.diff(starts[in_body], append=np.uint32(body.size_bytes))
        return cls(body, starts, sizes, in_body)

    def texts(self, rows: Offsets) -> tuple[bytes, Offsets, Offsets]:
        """A part of the body in which these rows are, which are in its order; where each begins and ends in it."""
        begin, last = int(self.starts[rows[0]]), rows[-1]
        text = self.body.read(begin, int(self.starts[last]) + int(self.sizes[last]))
        starts = self.starts[rows].astype(np.int64) - begin
        return text, starts, starts + self.sizes[rows]


@dataclass(frozen=True, slots=True, eq=False)
class _Looks:
    """The looks of n rows, in the order of their keys; all arrays have shape (n,).

    `digests`: of the rows. `patterns`, `id_lengths`: of the rows, and of their ids, where values are remembered.
    """

    digests: Hashes
    patterns: Hashes
    id_lengths: Wholes


def _looks(rows: _Rows, digested: Digested, shape: int | None) -> _Looks:
    """Look at all rows, some at a time, so that few of them are in memory."""
    count = len(rows.starts)
    # Zeros that nobody writes to take no memory.
    looks = _Looks(np.empty(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.uint32))
    for first in range(0, count, _ROWS_AT_ONCE):
        some = rows.in_body[first : first + _ROWS_AT_ONCE]
        text, starts, ends = rows.texts(some)
        looks.digests[some] = digested.of(text, starts, ends)
        if shape is not None:
            separators = separators_in(text)
            # The first one behind the beginning of a row is behind its id.
            lengths = separators[np.searchsorted(separators, starts)] - starts
            looks.id_lengths[some] = lengths
            looks.patterns[some] = patterns(text, ends, lengths, shape, digested.salt, separators)
    return looks


def _parts(rows: _Rows, bounds: Sequence[int], *, with_texts: bool) -> Iterator[tuple[slice, Texts]]:
    """Each part of the rows, with the texts of its rows, if they are wanted.

    The body is read once for each `_TEXT_BYTES` of texts, since its rows are in another order, and no more than those
    are in memory: what is read next lies in their place.
    """
    parts = [slice(*part) for part in pairwise(bounds)]
    if not with_texts:
        yield from ((part, _NO_TEXTS) for part in parts)
        return
    place = np.empty(0, dtype=np.uint8)
    begins = np.append(0, np.cumsum(rows.sizes, dtype=np.int64))[bounds]
    for some in _together(begins):
        begin, stop, size_bytes = bounds[some.start], bounds[some.stop], int(begins[some.stop] - begins[some.start])
        # A little more, since the next ones may take that.
        place = place if size_bytes <= len(place) else np.empty(size_bytes * 9 // 8, dtype=np.uint8)
        texts = _texts(rows, begin, stop, place)
        for part in parts[some]:
            yield part, texts.of(slice(part.start - begin, part.stop - begin))


def _together(begins: Offsets) -> Iterator[slice]:
    """The parts whose texts are in memory at once. `begins`: where each would begin in all texts, and the end."""
    first = 0
    for stop in range(1, len(begins)):
        if stop == len(begins) - 1 or begins[stop + 1] - begins[first] > _TEXT_BYTES:
            yield slice(first, stop)
            first = stop


_NO_TEXTS = Texts(TextList.of([b""]), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _texts(rows: _Rows, first: int, stop: int, into: Octets) -> Texts:
    """The texts of the rows from `first` to `stop`, in the order of the body. `into`: where they are then."""
    wanted = rows.in_body[(rows.in_body >= first) & (rows.in_body < stop)]
    ends = np.cumsum(rows.sizes[wanted], dtype=np.int64)
    # However few rows there are, little of the body is read for them at a time.
    read_with = rows.starts[wanted] // np.uint32(_READ_BYTES)
    cuts = np.flatnonzero(np.diff(read_with, prepend=-1, append=-1))
    end = 0
    for begin, behind in pairwise(cuts.tolist()):
        some = joined_texts(*rows.texts(wanted[begin:behind]))
        into[end : end + len(some)] = np.frombuffer(some, dtype=np.uint8)
        end += len(some)
    in_order = np.empty_like(ends)
    in_order[wanted - first] = ends
    return Texts(TextList.of([into[:end].data]), in_order - rows.sizes[first:stop], in_order)


def _sources(fates: Fates, source: int, in_body: Offsets, is_gone: Flags | None) -> Small:
    """The source of each id. One that is gone stays of its source until Target surely has what that means."""
    sources = np.where(fates == Fate.REFUSED, 0, source)
    if is_gone is not None and is_gone.any():
        gone = in_body[is_gone]
        sources[gone] = np.where(fates[gone] == Fate.SENT, GONE, 0)
    return sources.astype(np.uint16)


def _values(texts: Texts, id_lengths: Wholes, fates: Fates, shape: int) -> Values:
    """The rows of some ids. Of one that was refused, the id alone is left."""
    shapes, starts, ends = np.full(len(id_lengths), shape, dtype=np.uint16), texts.starts, texts.ends
    is_refused = fates == Fate.REFUSED
    if not is_refused.any():
        return Values(shapes, id_lengths, starts, ends, texts.body)
    ends = np.where(is_refused, starts + id_lengths, ends)
    rows = zip(starts.tolist(), ends.tolist(), is_refused.tolist(), strict=True)
    text = b"".join([texts.body.piece(start, end) + b"\n" * is_alone for start, end, is_alone in rows])
    return Values.side_by_side(shapes, id_lengths, np.cumsum(ends - starts + is_refused), text)


def _once(entries: Entries) -> Entries:
    """The entries with each key once: of two ids of one key, the digests cannot tell which is meant."""
    is_last = np.append(entries.keys[1:] != entries.keys[:-1], True)
    return entries if is_last.all() else entries.taken(np.flatnonzero(is_last))
