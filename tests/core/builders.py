"""Rows made by hand, and what a naive reader makes of batches: shared by the tests of the core."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.core.chunker import Chunker
from pipeline.core.encoding import merge
from pipeline.core.mapping import pack_rows
from pipeline.core.model import BatchContent, Flags, Hashes, Rows
from pipeline.core.tracker import Tracker

SALT = 42
BODY_START = b"batch=thirdPartyId,a,b\n"


def row(profile_id: str, *cells: str) -> bytes:
    """An encoded row; nothing in it may need encoding."""
    return ",".join([profile_id, *cells]).encode() + b"\n"


def id_of(text: bytes) -> bytes:
    return text.partition(b",")[0]


def rows_of(texts: Sequence[bytes], *, first_line: int = 2, hashes: Sequence[int] | None = None) -> Rows:
    """Rows on successive lines; with `hashes` their hashes are forged."""
    lengths = [len(id_of(text)) for text in texts]
    rows = pack_rows(list(texts), lengths, list(range(first_line, first_line + len(texts))), SALT)
    return rows if hashes is None else replace(rows, hashes=hashes_of(hashes))


def hashes_of(hashes: Iterable[int]) -> Hashes:
    """Sorted or not, as given."""
    return np.array(list(hashes), dtype=np.uint64)


def none_in_flight(rows: Rows, first: int = 0) -> Flags:
    return np.zeros(len(rows) - first, dtype=np.bool_)


def body_of(content: BatchContent) -> bytes:
    return b"".join(content.pieces)


def texts_of(content: BatchContent) -> list[bytes]:
    """The rows of a batch, without what it begins with."""
    return body_of(content).splitlines(keepends=True)[1:]


def all_texts(rows: Rows) -> list[bytes]:
    return [rows.text(index) for index in range(len(rows))]


def merged(texts: Iterable[bytes]) -> dict[bytes, bytes]:
    """By id: of each cell the last non-empty value."""
    profiles: dict[bytes, bytes] = {}
    for text in texts:
        profile_id = id_of(text)
        profiles[profile_id] = merge(profiles[profile_id], text) if profile_id in profiles else text
    return profiles


class Placing:
    """Places rows in batches as the producer does, and keeps what became of them.

    `sealed` are the batches by number, each with its rows by id and their lines; `broken` are ids of which a row
    was placed after the batch with the row before it was released, so that it carries nothing.
    """

    def __init__(self, *, max_bytes: int, max_rows: int) -> None:
        self.sealed: dict[int, dict[bytes, tuple[bytes, int]]] = {}
        self.contents: list[BatchContent] = []
        self.in_flight: list[int] = []
        self.superseded = 0
        self.broken: set[bytes] = set()
        self.chunker = Chunker(BODY_START, max_bytes=max_bytes, max_rows=max_rows)
        self.tracker = Tracker(
            max_held_rows=10**6, max_held_bytes=10**9, max_row_bytes=max_bytes - len(BODY_START), salt=SALT
        )

    def place(self, rows: Rows) -> None:
        first = 0
        while first < len(rows):
            taken = self.chunker.take(rows, first, self.tracker.is_in_flight(rows.hashes[first:]))
            self.superseded += taken.superseded + self.tracker.hold(rows, taken.to_hold)
            first = taken.stop
            if taken.is_full or first < len(rows):
                self.seal()

    def place_new(self, rows: Rows) -> None:
        """Place rows that were just read."""
        seen = {profile_id for batch in self.sealed.values() for profile_id in batch}
        in_flight = self.tracker.is_in_flight(rows.hashes)
        fresh = {id_of(rows.text(index)) for index in np.flatnonzero(~in_flight).tolist()}
        self.broken |= fresh & seen
        self.place(rows)

    def seal(self) -> None:
        assert self.chunker.rows, "a row does not fit in an empty batch"
        content = self.chunker.seal()
        number = len(self.sealed) + 1
        self.tracker.seal(number, content.hashes)
        lines = content.lines.tolist()
        texts = texts_of(content)
        self.sealed[number] = {id_of(text): (text, line) for text, line in zip(texts, lines, strict=True)}
        self.contents.append(content)
        self.in_flight.append(number)

    def release(self, number: int) -> None:
        """Everything in the batch was applied: free its ids, and place what waited for it."""
        waiting = self.tracker.waiting_for(number)
        batch = self.sealed[number]
        self.tracker.carry({profile_id: batch[profile_id][0] for profile_id in waiting if profile_id in batch})
        self.in_flight.remove(number)
        self.place(self.tracker.release(number))

    def finish(self) -> None:
        """Seal and release until nothing is open or held."""
        while self.chunker.rows or self.tracker.held_rows:
            if self.chunker.rows:
                self.seal()
            if self.tracker.held_rows:
                self.release(self.in_flight[0])
