"""Rows go into full batches in the order of their versions, and a new process goes on from what a seal made durable."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.placer import Placed, Placer, Seal
from pipeline.core.batches.tracker import NO_CHANGES, Tracker
from pipeline.core.model import BatchContent, Rows
from pipeline.core.rows.mapping import pack_rows
from tests.core.builders import BODY_START, SALT, all_texts, id_of, merged, rest_of, row, rows_by_id, rows_of, texts_of

START_BYTES = len(BODY_START)


def placer_of(*, max_bytes: int = 10**6, max_rows: int = 10**6) -> Placer:
    tracker = Tracker(max_held_rows=10**6, max_held_bytes=10**9, max_row_bytes=max_bytes - START_BYTES, salt=SALT)
    return Placer(Chunker(BODY_START, max_bytes=max_bytes, max_rows=max_rows), tracker)


def seal(placer: Placer, batch_id: int) -> Seal:
    """Seal the open batch, and let its ids be in flight."""
    sealed = placer.seal()
    assert sealed.content
    placer.tracker.seal(batch_id, sealed.content.hashes)
    return sealed


def content_of(sealed: Seal) -> list[bytes]:
    assert sealed.content
    return texts_of(sealed.content)


def held_of(sealed: Seal) -> dict[bytes, list[bytes]]:
    return {profile_id: [text for text, _ in rows] for profile_id, rows in rows_by_id(sealed.held).items()}


# New rows.


def test_rows_are_placed_and_merge() -> None:
    placer = placer_of()
    texts = [row("u1", "1", ""), row("u2", "2", ""), row("u1", "", "3")]
    assert placer.place(rows_of(texts)) == Placed(stop=3, superseded=1, must_seal=False)
    assert placer.open_rows == 2
    assert content_of(placer.seal()) == [row("u1", "1", "3"), row("u2", "2", "")]
    assert placer.open_rows == 0


def test_no_rows() -> None:
    placer = placer_of()
    assert placer.place(rows_of([])) == Placed(0, 0, must_seal=False)
    assert placer.place_freed(rows_of([])) == Placed(0, 0, must_seal=False)
    assert placer.seal() == Seal(None, NO_CHANGES, ())


def test_where_the_batch_is_full_it_stops() -> None:
    placer = placer_of(max_rows=2)
    rows = rows_of([row(f"u{number}", "1", "") for number in range(3)])
    assert placer.place(rows) == Placed(stop=2, superseded=0, must_seal=True)
    seal(placer, 1)
    assert placer.place(rest_of(rows, 2)) == Placed(stop=1, superseded=0, must_seal=False)
    # Another one fits, and whether one more follows is not known yet.
    assert placer.place(rows_of([row("u9", "1", "")])) == Placed(stop=1, superseded=0, must_seal=False)


def test_a_merge_that_makes_a_row_shorter_lets_more_in() -> None:
    texts = [
        row("u1", "1" * 50, ""),
        row("u1", "1", ""),
        row("u2", "2", ""),
        row("u2", "3", ""),
        row("u3", "4" * 50, ""),
    ]
    placer = placer_of(max_bytes=START_BYTES + len(texts[0]))
    assert placer.place(rows_of(texts)) == Placed(stop=4, superseded=2, must_seal=True)
    assert content_of(placer.seal()) == [row("u1", "1", ""), row("u2", "3", "")]


def test_rows_of_ids_in_flight_are_held_and_merge() -> None:
    placer = placer_of()
    placer.place(rows_of([row("u1", "1", "")]))
    assert held_of(seal(placer, 1)) == {}
    texts = [row("u1", "2", ""), row("u2", "3", ""), row("u1", "", "4")]
    assert placer.place(rows_of(texts)) == Placed(stop=3, superseded=1, must_seal=False)
    assert (placer.open_rows, placer.tracker.held_rows) == (1, 1)
    sealed = placer.seal()
    assert content_of(sealed) == [row("u2", "3", "")]
    assert held_of(sealed) == {b"u1": [row("u1", "2", "4")]}


def test_a_merge_that_breaks_the_cap_is_held_and_the_batch_sealed() -> None:
    texts = [row("u1", "1", ""), row("u1", "", "333"), row("u1", "", "4")]
    placer = placer_of(max_bytes=START_BYTES + len(texts[0]) + 2)
    assert placer.place(rows_of(texts)) == Placed(stop=3, superseded=1, must_seal=True)
    sealed = seal(placer, 1)
    assert content_of(sealed) == texts[:1]
    assert held_of(sealed) == {b"u1": [row("u1", "", "4")]}


# Freed rows, and what a seal holds.


def test_a_released_batch_frees_rows_that_carry_what_it_had() -> None:
    placer = placer_of()
    placer.place(rows_of([row("u1", "1", "1"), row("u2", "2", "2")]))
    seal(placer, 1)
    placer.place(rows_of([row("u1", "3", ""), row("u2", "", "4")], first_line=4))
    freed = placer.release(1, {b"u1": row("u1", "1", "1")})
    assert all_texts(freed) == [row("u1", "3", "1"), row("u2", "", "4")]
    assert placer.place_freed(freed) == Placed(stop=2, superseded=0, must_seal=False)
    sealed = placer.seal()
    assert (content_of(sealed), held_of(sealed)) == (all_texts(freed), {b"u1": [], b"u2": []})
    assert sealed.released == (1,)
    assert placer.seal() == Seal(None, NO_CHANGES, ())


def test_a_release_is_told_with_the_next_seal_even_if_nothing_waited() -> None:
    placer = placer_of()
    for number in (1, 2, 3):
        placer.place(rows_of([row(f"u{number}", "1", "")]))
        assert seal(placer, number).released == ()
    for number in (2, 1):
        assert len(placer.release(number, {})) == 0
    assert placer.seal() == Seal(None, NO_CHANGES, (2, 1))
    placer.release(3, {})
    assert placer.seal().released == (3,)


def test_freed_rows_that_find_no_room_wait_in_front_of_later_ones() -> None:
    placer = placer_of(max_rows=2)
    placer.place(rows_of([row("u1", "1", ""), row("u2", "1", "")]))
    seal(placer, 1)
    placer.place(rows_of([row("u1", "2", ""), row("u2", "2", ""), row("u3", "2", "")], first_line=4))
    freed = placer.release(1, {})
    assert placer.place_freed(freed) == Placed(stop=1, superseded=0, must_seal=True)
    sealed = seal(placer, 2)
    assert content_of(sealed) == [row("u3", "2", ""), row("u1", "2", "")]
    assert held_of(sealed) == {b"u1": [], b"u2": [row("u2", "2", "")]}
    # u2 is in no batch in flight, and must not be overtaken all the same.
    assert placer.place(rows_of([row("u2", "", "3")], first_line=7)) == Placed(1, 1, must_seal=False)
    assert placer.open_rows == 0
    placer.place_freed(placer.tracker.free())
    assert content_of(placer.seal()) == [row("u2", "2", "3")]


def test_freed_rows_that_find_no_room_wait_as_they_were_held() -> None:
    """What they were filled in with is filled in anew, also in the process that goes on: only that row said nothing."""
    placer = placer_of(max_rows=1)
    texts = [row("u1", "1", ""), row("u2", "2", "")]
    filled = [row("u1", "1", "9"), row("u2", "2", "9")]
    assert placer.place_freed(rows_of(filled), rows_of(texts)) == Placed(stop=1, superseded=0, must_seal=True)
    sealed = seal(placer, 1)
    assert content_of(sealed) == filled[:1]
    assert held_of(sealed) == {b"u2": texts[1:]}
    assert placer.tracker.free().body == texts[1]


def test_a_freed_row_with_the_hash_of_another_in_the_open_batch_waits_once_more() -> None:
    placer = placer_of()
    placer.place(rows_of([row("u1", "1", "")], hashes=[9]))
    freed = rows_of([row("u2", "2", "")], hashes=[9])
    assert placer.place_freed(freed) == Placed(stop=1, superseded=0, must_seal=False)
    assert placer.tracker.held_rows == 1
    sealed = seal(placer, 1)
    assert (content_of(sealed), held_of(sealed)) == ([row("u1", "1", "")], {b"u2": [row("u2", "2", "")]})


# Full batches.

CELLS = st.sampled_from(["", "", "1", "22", "x" * 12])
IDS = st.sampled_from(["u1", "u2", "u3", "u4"])
ROWS = st.lists(st.tuples(IDS, CELLS, CELLS).map(lambda each: row(*each)), max_size=6)


@given(st.lists(ROWS, max_size=8), st.integers(1, 4), st.integers(30, 120))
@example([[row("u1", "x" * 12, ""), row("u1", "1", ""), row("u2", "x" * 12, "")]], 4, 36)
def test_a_batch_is_sealed_only_where_the_next_row_does_not_fit(
    lists: list[list[bytes]], max_rows: int, room: int
) -> None:
    max_bytes = START_BYTES + room
    placer = placer_of(max_bytes=max_bytes, max_rows=max_rows)
    for texts in lists:
        rows = rows_of(texts)
        while len(rows):
            placed = placer.place(rows)
            rows = rest_of(rows, placed.stop)
            if not placed.must_seal:
                assert (len(rows), placer.tracker.held_rows) == (0, 0)
                continue
            sealed = placer.seal()
            assert sealed.content
            assert sealed.content.size_bytes == START_BYTES + sum(map(len, texts_of(sealed.content))) <= max_bytes
            # No id is in flight here: what is held would have merged, if there had been room. Held rows of one id have
            # merged with each other, so what was refused is looked up as it came.
            held = held_of(sealed)
            refused = [text for text in texts if id_of(text) in held] or [rows.text(0)]
            assert sealed.content.rows <= max_rows
            assert sealed.content.rows == max_rows or sealed.content.size_bytes + max(map(len, refused)) > max_bytes
            placer = placer_of(max_bytes=max_bytes, max_rows=max_rows)


# Any rows, released in any order, with an end and a new beginning anywhere.


@dataclass
class Durable:
    """What a new process knows: all of it was written in one seal."""

    position: int = 0
    superseded: int = 0
    held: dict[bytes, list[tuple[bytes, int]]] = field(default_factory=dict)
    sealed: dict[int, dict[bytes, tuple[bytes, int]]] = field(default_factory=dict)
    in_flight: list[int] = field(default_factory=list)


class Placing:
    """Places the rows of an export as the producer does, and keeps what a ledger and a spool would.

    `sealed` are the batches, each with its rows by id and their lines. `broken` are ids of which a row was placed
    after the batch with the row before it was released, so that it carries nothing.
    """

    def __init__(self, *, max_bytes: int, max_rows: int) -> None:
        self._caps = {"max_bytes": max_bytes, "max_rows": max_rows}
        self.texts: list[bytes] = []
        self.position = 0
        self.superseded = 0
        self.in_flight: list[int] = []
        self.broken: set[bytes] = set()
        self.durable = Durable()
        self.contents: list[BatchContent] = []
        self.placer = placer_of(**self._caps)

    @property
    def sealed(self) -> dict[int, dict[bytes, tuple[bytes, int]]]:
        return self.durable.sealed

    def read(self, texts: list[bytes]) -> None:
        """Place the next rows of the export."""
        self.texts += texts
        self._place_new()

    def _place_new(self) -> None:
        rows = rows_of(self.texts[self.position :], first_line=self.position + 2)
        seen = {profile_id for batch in self.sealed.values() for profile_id in batch}
        waits = self.placer.tracker.must_wait(rows.hashes)
        self.broken |= seen & {id_of(rows.text(index)) for index in np.flatnonzero(~waits).tolist()}
        while len(rows):
            placed = self.placer.place(rows)
            self.superseded += placed.superseded
            self.position += placed.stop
            assert placed.must_seal or placed.stop == len(rows)
            rows = rest_of(rows, placed.stop)
            if placed.must_seal:
                self.seal()

    def place_freed(self, rows: Rows) -> None:
        while len(rows):
            placed = self.placer.place_freed(rows)
            self.superseded += placed.superseded
            if not placed.must_seal:
                return
            self.seal()
            rows = self.placer.tracker.free()

    def seal(self) -> None:
        sealed = self.placer.seal()
        in_flight = [batch_id for batch_id in self.durable.in_flight if batch_id not in sealed.released]
        batches = dict(self.sealed)
        if sealed.content:
            batch_id = len(batches) + 1
            lines = sealed.content.lines.tolist()
            texts = texts_of(sealed.content)
            batches[batch_id] = {id_of(text): (text, line) for text, line in zip(texts, lines, strict=True)}
            self.placer.tracker.seal(batch_id, sealed.content.hashes)
            self.contents.append(sealed.content)
            in_flight.append(batch_id)
            self.in_flight.append(batch_id)
        before = {} if sealed.held.is_all else self.durable.held
        held = {profile_id: rows for profile_id, rows in (before | rows_by_id(sealed.held)).items() if rows}
        self.durable = Durable(self.position, self.superseded, held, batches, in_flight)

    def release(self, place: int) -> None:
        """Everything in one of the batches was applied: free its ids, and place what waited for it."""
        if not self.in_flight:
            return
        batch_id = self.in_flight.pop(place % len(self.in_flight))
        waiting = self.placer.tracker.waiting_for(batch_id)
        batch = self.sealed[batch_id]
        earlier = {profile_id: batch[profile_id][0] for profile_id in waiting if profile_id in batch}
        self.place_freed(self.placer.release(batch_id, earlier))

    def restart(self) -> None:
        """The process ends; a new one goes on from the latest seal."""
        durable = self.durable
        self.placer = placer_of(**self._caps)
        self.position, self.superseded = durable.position, durable.superseded
        self.in_flight = list(durable.in_flight)
        for batch_id in durable.in_flight:
            self.placer.tracker.seal(batch_id, self.contents[batch_id - 1].hashes)
        held = [entry for rows in durable.held.values() for entry in rows]
        lengths = [len(id_of(text)) for text, _ in held]
        self.placer.tracker.restore(pack_rows([text for text, _ in held], lengths, [line for _, line in held], SALT))
        self.place_freed(self.placer.tracker.free())
        self._place_new()

    def finish(self) -> None:
        """Seal and release until nothing is open or held."""
        self.seal()
        while self.placer.tracker.held_rows:
            assert self.in_flight, "rows are held and no batch is in flight"
            self.release(0)
            if self.placer.open_rows:
                self.seal()
        self.seal()


#: Rows to place, the release of the nth batch in flight, or None: the process ends and begins anew.
STEPS = st.lists(st.one_of(ROWS, ROWS, st.integers(0, 3), st.integers(0, 3), st.none()), max_size=14)
Steps = list[list[bytes] | int | None]


def run(steps: Steps, placing: Placing) -> None:
    for step in steps:
        if isinstance(step, list):
            placing.read(step)
        elif step is None:
            placing.restart()
        else:
            placing.release(step)
        ids = [profile_id for batch_id in placing.in_flight for profile_id in placing.sealed[batch_id]]
        assert len(ids) == len(set(ids)), "an id is in flight in two batches"
    placing.finish()


@given(STEPS, st.integers(1, 4), st.integers(40, 120))
@example([[row("u1", "1", "")], 0, [row("u1", "2", "")], [row("u1", "", "3")]], 1, 60)
@example([[row("u1", "0", ""), row("u1", "1" * 15, ""), row("u1", "", "2" * 15), row("u1", "3", "3")], 0, None], 10, 25)
def test_every_row_is_sent_once_and_in_order(steps: Steps, max_rows: int, room: int) -> None:
    placing = Placing(max_bytes=START_BYTES + room, max_rows=max_rows)
    run(steps, placing)
    texts, batches = placing.texts, placing.sealed.values()
    sent = [(text, line) for batch in batches for text, line in batch.values()]
    assert len(sent) + placing.superseded == len(texts)
    for profile_id in {id_of(text) for text in texts}:
        lines = [batch[profile_id][1] for batch in batches if profile_id in batch]
        assert lines == sorted(set(lines)), "versions are sent in order"
    # Target merges a later batch with an earlier one.
    assert merged(text for text, _ in sent) == merged(texts)
    # Target replaces what an earlier batch set: the same, along unbroken chains of held rows.
    replaced = {id_of(text): text for text, _ in sent}
    unbroken = {profile_id: text for profile_id, text in merged(texts).items() if profile_id not in placing.broken}
    assert {profile_id: replaced[profile_id] for profile_id in unbroken} == unbroken
    tracker = placing.placer.tracker
    assert (tracker.held_rows, tracker.held_bytes, placing.durable.held) == (0, 0, {})
