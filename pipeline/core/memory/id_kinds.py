"""Kinds of ids: the same text as a `thirdPartyId` and as a `pcId` is two profiles.

The kind is in the keys and in the digests: those of the second kind are marked. A key keeps its partition so, and all
but its order among neighbours. Whoever asks and whoever is told has plain hashes and digests.
"""

from dataclasses import replace

import numpy as np

from pipeline.core.memory.entries import Found
from pipeline.core.model import Hashes, Offsets

THIRD_PARTY_ID = "thirdPartyId"
#: Kind -> the marks on keys and on digests.
_MARKS = {THIRD_PARTY_ID: (0, 0), "pcId": (1, 0xA5A5_5A5A_C3C3_3C3C)}
ID_KINDS = tuple(_MARKS)


def keys_of_kind(hashes: Hashes, id_kind: str) -> Hashes:
    """The keys of ids of a kind, by their plain hashes; they may not be sorted any more."""
    mark = _MARKS[id_kind][0]
    # Most often there is none, and nothing is copied.
    return hashes ^ np.uint64(mark) if mark else hashes


def marked(digests: Hashes, id_kind: str) -> Hashes:
    """Digests with the mark of a kind, or without it if they have it; those that are none stay."""
    mark = _MARKS[id_kind][1]
    of_kind: Hashes = np.where(digests == 0, digests, digests ^ np.uint64(mark)) if mark else digests
    return of_kind


def digests_of_kind(found: Found, id_kind: str) -> Found:
    """The entries that were found, with plain digests of a kind."""
    digests = marked(found.entries.digests, id_kind)
    return Found(replace(found.entries, digests=digests), found.indexes)


def unsorted_order(keys: Hashes) -> Offsets | None:
    """The order that sorts keys; None if they are sorted."""
    is_sorted = bool((keys[1:] >= keys[:-1]).all())
    return None if is_sorted else np.argsort(keys, kind="stable")
