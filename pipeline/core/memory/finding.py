"""Finds, for ids that are asked for, what is remembered of them."""

from collections.abc import Sequence

import numpy as np

from pipeline.core.memory.entries import Entries, Found, latest
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.memory.texts import same_texts
from pipeline.core.model import Flags, Hashes, Offsets


def indexes_of(asked: Hashes, keys: Hashes) -> Offsets:
    """The indexes in `keys`, ascending, of those that are asked for. Both are sorted, and may have a key repeatedly."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    within = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    places: Offsets = within[keys[within] == asked].astype(np.int64)
    if not len(places):
        return places
    places = places[np.append(True, places[1:] != places[:-1])]
    again = places[_is_repeated(keys, places)]
    while len(again):
        again = again + 1
        places = np.append(places, again)
        again = again[_is_repeated(keys, again)]
    in_order: Offsets = np.sort(places)
    return in_order


def found_in(entries: Sequence[Entries], keys: Hashes, rows: KeyedRows | None = None) -> Found:
    """The entries that the lists, the oldest first, have of ids that are asked for.

    `keys`: theirs, sorted. `rows`: theirs, in the same order; needed where the lists have values, as ids decide then.
    """
    known = latest(entries)
    if not len(known):
        return Found(known, np.full(len(keys), -1, dtype=np.int64))
    places = np.searchsorted(known.keys, keys)
    within = np.minimum(places, len(known) - 1)
    found = np.where(known.keys[within] == keys, within, -1)
    if known.values is not None:
        if rows is None:
            raise ValueError("where values are remembered, rows are asked for by their ids")
        found = _of_same_id(known, rows, found)
    return Found(known, found)


def _of_same_id(known: Entries, rows: KeyedRows, found: Offsets) -> Offsets:
    """For each row, the index of the entry of its id, of those that have the key of entry `found`; else -1."""
    values = known.values
    if values is None:
        return found
    found, left = found.copy(), np.flatnonzero(found >= 0)
    theirs = rows.chosen(left).rows()
    their_starts, their_lengths = theirs.starts, theirs.id_lengths
    while len(left):
        is_other = ~same_texts(theirs.body, their_starts, their_lengths, *values.ids(found[left]))
        left, their_starts, their_lengths = left[is_other], their_starts[is_other], their_lengths[is_other]
        has_more = _is_repeated(known.keys, found[left])
        found[left] = np.where(has_more, found[left] + 1, -1)
        left, their_starts, their_lengths = left[has_more], their_starts[has_more], their_lengths[has_more]
    return found


def _is_repeated(keys: Hashes, places: Offsets) -> Flags:
    """Set for each place whose key is the next one too; shape of `places`."""
    behind = np.minimum(places + 1, len(keys) - 1)
    is_repeated: Flags = (behind > places) & (keys[behind] == keys[places])
    return is_repeated
