"""The entries of a batch that is released: what is remembered of its rows from then on."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from pipeline.core.memory.digest import digest_rows
from pipeline.core.memory.entries import GONE, Entries, Small, Values
from pipeline.core.memory.id_kinds import keys_of_kind, marked, unsorted_order
from pipeline.core.memory.row_fates import Fate, Fates, RowFates
from pipeline.core.memory.texts import joined_texts
from pipeline.core.model import Flags, Hashes, Offsets, Starts

_COMMA = ord(",")
#: Rows looked at in one go, so that what is found in them takes little memory.
_ROWS_AT_ONCE = 32_768


def parameters_of(body: bytes) -> tuple[str, ...]:
    """The parameter names in the header row of a body."""
    return tuple(_heading(body)[1:])


def _heading(body: bytes) -> list[str]:
    """The header row of a body: the kind of the ids, and the parameter names."""
    return body[: body.index(b"\n")].decode().removeprefix("batch=").split(",")


def released_rows(
    body: bytes,
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
    """The entries of the rows of a body, part by part, so that no more than a part of its texts is there twice.

    `keys`, `starts`: the sorted hashes of its ids, and the offset of the row of each.
    `bounds`: the index of the first key of each part, and behind them that of the end. Keys of one part may differ in
    their last bit alone, so none is cut between those.
    `source`: see `Entries`; rows that were refused have none.
    `is_gone`: in the order of the body, set for rows of ids that a snapshot no longer has; None if there are none.
    `shape`: the number of the body's parameter names; None if digests are remembered instead of values.
    """
    id_kind = _heading(body)[0]
    begins = starts.astype(np.int64)
    in_body = np.argsort(begins)
    ends = np.empty_like(begins)
    ends[in_body] = np.append(begins[in_body][1:], len(body))
    of_each = fates.of(keys, salt)
    is_sent = of_each == Fate.SENT
    sources = _sources(of_each, source, in_body, is_gone)
    digests = np.zeros(len(keys), dtype=np.uint64)
    id_lengths = np.zeros(len(keys), dtype=np.int64)
    if shape is None:
        digests[in_body] = digest_rows(body, begins[in_body], ends[in_body], parameters_of(body), salt)
        digests = marked(digests, id_kind)
        digests[~is_sent] = 0
    else:
        id_lengths[in_body] = _id_lengths(body, begins[in_body], ends[in_body])
    keys = keys_of_kind(keys, id_kind)
    del in_body
    for first, stop in pairwise(bounds):
        some = slice(first, stop)
        values = None
        if shape is not None:
            values = _values(body, begins[some], ends[some], id_lengths[some], of_each[some], shape)
        entries = Entries(
            keys[some],
            digests[some],
            np.where(is_sent[some], at_minutes, 0).astype(np.uint32),
            np.full(stop - first, at_minutes, dtype=np.uint32),
            sources[some],
            values,
        )
        if (order := unsorted_order(entries.keys)) is not None:
            entries = entries.taken(order)
        yield entries if values else _once(entries)


def _sources(fates: Fates, source: int, in_body: Offsets, is_gone: Flags | None) -> Small:
    """The source of each id. One that is gone stays of its source until Target surely has what that means."""
    sources = np.where(fates == Fate.REFUSED, 0, source)
    if is_gone is not None and is_gone.any():
        gone = in_body[is_gone]
        sources[gone] = np.where(fates[gone] == Fate.SENT, GONE, 0)
    return sources.astype(np.uint16)


def _values(body: bytes, starts: Offsets, ends: Offsets, id_lengths: Offsets, fates: Fates, shape: int) -> Values:
    """The rows of some ids. Of one that was refused, the id alone is left."""
    is_refused = fates == Fate.REFUSED
    if is_refused.any():
        ends = np.where(is_refused, starts + id_lengths, ends)
        rows = zip(starts.tolist(), ends.tolist(), is_refused.tolist(), strict=True)
        text = b"".join([body[start:end] + b"\n" if is_alone else body[start:end] for start, end, is_alone in rows])
        ends = ends + is_refused
    else:
        text = joined_texts(body, starts, ends)
    return Values(
        np.full(len(starts), shape, dtype=np.uint16), id_lengths.astype(np.uint32), np.cumsum(ends - starts), text
    )


def _id_lengths(body: bytes, starts: Offsets, ends: Offsets) -> Offsets:
    """The bytes of the id with which each row begins; shape (n,). The rows are in the order of the body."""
    octets, lengths = np.frombuffer(body, dtype=np.uint8), np.empty_like(starts)
    for first in range(0, len(starts), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        begin, end = int(starts[first]), int(ends[some][-1])
        commas = np.flatnonzero(octets[begin:end] == _COMMA)
        lengths[some] = commas[np.searchsorted(commas, starts[some] - begin)] - (starts[some] - begin)
    return lengths


def _once(entries: Entries) -> Entries:
    """The entries with each key once: of two ids of one key, the digests cannot tell which is meant."""
    is_last = np.append(entries.keys[1:] != entries.keys[:-1], True)
    return entries if is_last.all() else entries.taken(np.flatnonzero(is_last))
