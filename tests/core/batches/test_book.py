"""The book of a job's batches: what follows from their facts, what a split and a restart make of it, and outcomes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.book import Book, seen_complete, settlement
from pipeline.core.batches.lifecycle import (
    LEGAL,
    Begun,
    Fact,
    Failed,
    GivenUp,
    IllegalFactError,
    InDoubt,
    Life,
    NeverSent,
    NotTaken,
    Phase,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
    born_of,
    fold,
)
from pipeline.core.errors import ExitCode
from pipeline.core.model import Batch, BatchState, RowCounts, Settled
from pipeline.core.target.replies import Complete, RowOutcomes
from tests.tools.life_drawing import EXAMPLES

HOLD_S = 3_600.0
READY = Life()
POSTING = Life(Phase.POSTING, post_number=7)
FOLLOWING = Life(Phase.FOLLOWING, attempts=1, post_number=7, posted_at=50.0, status_url="url", last=Taken("url"))
REFUSED = Life(Phase.REFUSED, attempts=1, post_number=7, last=RefusedAs("bad"))

SENT = (Begun(1),)
DOUBT = (Begun(1), InDoubt("cut"))
ACCEPTED = (Begun(1), Taken("url"))
COMPLETE = (*ACCEPTED, SeenComplete(0, 0))
WAS_REFUSED = (Begun(1), RefusedAs("bad"))


def batch(batch_id: int, rows: int = 10, *, number: int | None = None, parent: int | None = None) -> Batch:
    return Batch(batch_id, number or batch_id, rows, 100, "sha", parent)


def live(*facts: Fact, at: float = 0.0) -> Life:
    life = Life()
    for fact in facts:
        life = fold(life, fact, at)
    return life


def record(book: Book, batch_id: int, *facts: Fact, now: float = 0.0, hold_s: float = HOLD_S) -> None:
    for fact in facts:
        book.record(batch_id, fact, now=now, hold_s=hold_s)


def book_of(*facts_of: tuple[Fact, ...], rows: int = 10) -> Book:
    """Batches from 1 on of which this is known."""
    book = Book()
    for batch_id, facts in enumerate(facts_of, 1):
        book.seal(batch(batch_id, rows))
        record(book, batch_id, *facts)
    return book


def ids(batches: Iterable[Batch]) -> list[int]:
    return [each.batch_id for each in batches]


def seen_of(book: Book) -> tuple[object, ...]:
    """All that can be asked of a book."""
    return (
        [(each, book.life(each.batch_id), book.outcome(each.batch_id)) for each in book],
        book.settled,
        book.unsettled,
        book.phases(),
        (len(book), book.unsettled_count, book.is_all_settled, book.last_number, book.rows, book.refused_rows),
        (counted(book), closed(book)),
    )


def counted(book: Book) -> RowCounts:
    rows = RowCounts()
    book.count(rows)
    return rows


def closed(book: Book) -> RowCounts:
    rows = RowCounts()
    book.close(rows, goes_on=False)
    return rows


# Batches come and go on.


def test_a_sealed_batch_waits_to_be_sent() -> None:
    book = book_of(())
    assert book.life(1) == Life()
    assert ids(book) == ids(book.unsettled) == [1]
    assert (len(book), book.settled, book.outcome(1), book.is_all_settled) == (1, [], None, False)


def test_an_empty_book() -> None:
    book = Book()
    assert (len(book), book.rows, book.last_number, book.unsettled, book.is_all_settled) == (0, 0, 0, [], True)


def test_a_fact_counts_and_says_how_the_batch_stands() -> None:
    book = book_of(())
    assert book.record(1, Begun(3), now=5.0, hold_s=HOLD_S) == book.life(1) == live(Begun(3))
    assert book.record(1, Taken("url"), now=6.0, hold_s=HOLD_S).posted_at == 6.0
    assert book.phases() == {Phase.FOLLOWING: 1}
    book.record(1, SeenComplete(0, 0), now=7.0, hold_s=HOLD_S)
    assert (book.unsettled, book.unsettled_count, book.is_all_settled) == ([], 0, True)
    settled = book.outcome(1)
    assert settled is not None
    assert book.settled == [settled]
    assert (settled.state, settled.confirmed, settled.release_at) == (BatchState.COMPLETE, 10, 7.0)


def test_the_hold_of_an_outcome_is_that_of_when_it_came() -> None:
    book = book_of(())
    record(book, 1, *DOUBT, now=100.0)
    record(book, 1, GivenUp("used up"), now=200.0, hold_s=60.0)
    before = book.outcome(1)
    assert before is not None
    assert before.release_at == 200.0
    record(book, 1, Released(), now=300.0, hold_s=9_000.0)
    assert book.outcome(1) is before, "an outcome does not change"
    assert book.life(1).is_released


def test_a_batch_that_was_dropped_has_no_outcome() -> None:
    book = book_of((NeverSent(),), COMPLETE)
    assert book.outcome(1) is None
    assert (ids(book.unsettled), book.unsettled_count, book.is_all_settled) == ([1], 1, False)
    assert closed(book) == RowCounts(unsent=10)


@pytest.mark.parametrize("facts", [(), SENT, ACCEPTED, WAS_REFUSED, COMPLETE])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_fact_that_cannot_happen_changes_nothing(facts: tuple[Fact, ...], kind: type[Fact]) -> None:
    book = book_of(DOUBT, facts)
    fact = EXAMPLES[kind]
    before = seen_of(book)
    if kind in LEGAL[book.life(2).phase]:
        book.check(2, fact)
        assert seen_of(book) == before, "it counts when it is recorded, not when it is asked for"
        return
    asking: list[Callable[[], object]] = [
        lambda: book.check(2, fact),
        lambda: book.record(2, fact, now=9.0, hold_s=HOLD_S),
    ]
    if kind is SplitUp:
        asking.append(lambda: book.split(2, (batch(8, parent=2), batch(9, parent=2)), now=9.0))
    for ask in asking:
        with pytest.raises(IllegalFactError, match="a bug in profile-pipeline") as caught:
            ask()
        assert caught.value.exit_code is ExitCode.OUR_BUG
        assert seen_of(book) == before


def test_only_a_refused_batch_is_tried_again() -> None:
    book = book_of(WAS_REFUSED, ACCEPTED, COMPLETE)
    others = [book.life(2), book.life(3)]
    for batch_id in (1, 2, 3):
        book.try_again(batch_id)
    assert book.life(1) == replace(live(*WAS_REFUSED), phase=Phase.READY)
    assert [book.life(2), book.life(3)] == others
    record(book, 1, Begun(9), Taken("url"), SeenComplete(0, 0))
    assert counted(book) == RowCounts(confirmed=20)


# Splits.


def test_the_parts_of_a_batch_have_its_open_attempts() -> None:
    book = book_of((*DOUBT, Begun(2), RefusedAs("bad")))
    book.split(1, (batch(2, 3, parent=1), batch(3, 7, parent=1)), now=9.0)
    assert book.life(2) == book.life(3) == Life(open_since=(0.0,))
    settled = book.outcome(1)
    assert settled is not None
    assert (settled.state, book.life(1).last) == (BatchState.SPLIT, SplitUp((2, 3)))
    assert (ids(book), ids(book.unsettled), book.rows) == ([1, 2, 3], [2, 3], 10)
    assert closed(book) == RowCounts(unconfirmed=10), "what Target may have of the whole it may have of the parts"
    record(book, 2, Begun(4), RefusedAs("bad"), Failed("budget"))
    record(book, 3, *COMPLETE)
    assert counted(book) == RowCounts(unconfirmed=3, confirmed=7)
    assert book.is_all_settled


def test_a_part_of_a_part_is_of_the_whole() -> None:
    book = book_of(WAS_REFUSED, ())
    parts = (batch(3, 6, parent=1), batch(4, 4, parent=1))
    book.split(1, parts, now=9.0)
    record(book, 3, *WAS_REFUSED)
    smaller = (batch(5, 5, parent=3), batch(6, 1, parent=3))
    book.split(3, smaller, now=9.0)
    assert [book.whole_of(each) for each in book] == [1, 2, 1, 1, 1, 1]
    assert book.rows == 20


# What follows.


def test_phases_are_counted() -> None:
    book = book_of((), DOUBT, SENT, ACCEPTED, ACCEPTED, WAS_REFUSED, COMPLETE, (NeverSent(),))
    expected = {Phase.READY: 2, Phase.POSTING: 1, Phase.FOLLOWING: 2, Phase.REFUSED: 1, Phase.SETTLED: 2}
    assert book.phases() == expected


def test_outcomes_are_in_the_order_of_numbers_and_batches_in_that_of_coming() -> None:
    book = Book()
    for batch_id, number in ((7, 3), (9, 1), (8, 2)):
        book.seal(batch(batch_id, number=number))
        record(book, batch_id, *COMPLETE)
    assert [settled.batch.number for settled in book.settled] == [1, 2, 3]
    assert ids(book) == [7, 9, 8]
    assert book.last_number == 3


def test_refused_rows_are_those_that_target_rejected() -> None:
    rejected = (*WAS_REFUSED, RowRejected("bad", 2, "u,1"))
    book = book_of(rejected, rejected, (*WAS_REFUSED, Failed("budget")), COMPLETE, rows=1)
    assert book.refused_rows == 2
    assert counted(book) == RowCounts(rejected=2, failed=1, confirmed=1)


# After a restart.


def adopted(*facts: Fact, now: float = 1_000.0) -> tuple[Book, Fact | None]:
    book = Book()
    return book, book.adopt(batch(1), live(*facts, at=5.0), now=now, hold_s=HOLD_S)


def test_an_attempt_that_was_cut_off_is_in_doubt() -> None:
    book, fact = adopted(*SENT)
    assert isinstance(fact, InDoubt)
    assert (book.life(1).phase, book.life(1).open_since) == (Phase.READY, (1_000.0,))


@pytest.mark.parametrize("facts", [(), DOUBT, ACCEPTED, COMPLETE, (NeverSent(),)])
def test_others_stand_where_they_stood(facts: tuple[Fact, ...]) -> None:
    book, fact = adopted(*facts)
    assert fact is None
    assert book.life(1).phase is live(*facts).phase
    assert (book.outcome(1) is None) == (facts != COMPLETE)


def test_one_that_was_refused_is_sent_again() -> None:
    book, fact = adopted(*WAS_REFUSED)
    assert (book.life(1).phase, fact) == (Phase.READY, None)


def test_a_settled_one_holds_its_ids_anew() -> None:
    book, _ = adopted(*DOUBT, GivenUp("used up"))
    settled = book.outcome(1)
    assert settled is not None
    assert settled.release_at == 1_000.0 + HOLD_S


# What became of the rows.


def settle(rows: int, life: Life) -> Settled:
    return settlement(Batch(1, 1, rows, 100, "sha"), life, now=99.0, hold_s=HOLD_S)


@pytest.mark.parametrize(
    ("facts", "state", "classes", "why"),
    [
        ([Taken("url"), SeenComplete(0, 0)], BatchState.COMPLETE, (10, 0, 0, 0), None),
        (
            [Taken("url"), SeenComplete(2, 3, ("u",))],
            BatchState.COMPLETE,
            (5, 2, 3, 0),
            "Target failed 2 rows and did not count 3 rows as applied",
        ),
        (
            [Taken("url"), SeenComplete(10, 0)],
            BatchState.COMPLETE,
            (0, 10, 0, 0),
            "Target failed 10 rows",
        ),
        (
            [Taken("url"), SeenComplete(0, 0, batch_size=12)],
            BatchState.COMPLETE,
            (10, 0, 0, 0),
            "Target read 12 rows, and 10 were sent",
        ),
        (
            [Taken("url"), SeenComplete(0, 1, (), ("u",))],
            BatchState.COMPLETE,
            (9, 0, 1, 0),
            "Target did not count 1 row as applied",
        ),
        ([InDoubt("cut"), Begun(2), Taken("url"), SeenComplete(0, 0)], BatchState.COMPLETE, (10, 0, 0, 0), None),
        ([Taken("url"), GivenUp("lost")], BatchState.UNCONFIRMED, (0, 0, 10, 0), "lost"),
        ([InDoubt("cut"), GivenUp("used up")], BatchState.UNCONFIRMED, (0, 0, 10, 0), "used up"),
        ([RefusedAs("bad"), Failed("budget")], BatchState.FAILED, (0, 10, 0, 0), "budget"),
        (
            [InDoubt("cut"), Begun(2), RefusedAs("bad"), Failed("budget")],
            BatchState.UNCONFIRMED,
            (0, 0, 10, 0),
            "budget; an earlier attempt may be applied",
        ),
        ([RefusedAs("bad"), SplitUp((2, 3))], BatchState.SPLIT, (0, 0, 0, 0), None),
        (
            [RefusedAs("bad"), RowRejected("no such", 3, "u,1")],
            BatchState.FAILED,
            (0, 0, 0, 10),
            "its row was rejected: no such",
        ),
        ([Taken("url"), SeenComplete(1, 0), Released()], BatchState.COMPLETE, (9, 1, 0, 0), "Target failed 1 row"),
    ],
)
def test_settlements(facts: list[Fact], state: BatchState, classes: tuple[int, int, int, int], why: str | None) -> None:
    life = live(Begun(1), *facts, at=40.0)
    settled = settle(10, life)
    assert settled.state == state
    assert (settled.confirmed, settled.failed, settled.unconfirmed, settled.rejected) == classes
    assert (settled.why or "").startswith(why or "")
    assert bool(settled.why) == bool(why)
    assert settled.attempts == life.attempts
    assert settled.may_be_applied == life.may_be_applied
    assert settled.release_at == (3_640.0 if life.open_since else 99.0)
    assert settled.failed_ids == (("u",) if SeenComplete(2, 3, ("u",)) in facts else ())
    assert settled.batch == Batch(1, 1, 10, 100, "sha")


@pytest.mark.parametrize(
    "life", [READY, POSTING, FOLLOWING, REFUSED, live(NeverSent()), live(*DOUBT), live(Begun(1), NotTaken("503"))]
)
def test_a_batch_that_is_not_settled_or_was_never_sent_has_no_outcome(life: Life) -> None:
    with pytest.raises(ValueError, match="has no outcome"):
        settle(10, life)


def test_seen_complete() -> None:
    complete = Complete(batch_size=10, consumed=8, not_found=1, failed=2, failed_ids=("a", "b"))
    assert seen_complete(10, complete, {b"a", b"b"}) == SeenComplete(3, 2, ("a", "b"))
    assert seen_complete(3, complete, {b"a", b"b"}).failed + seen_complete(3, complete, {b"a", b"b"}).unconfirmed <= 3
    assert [seen_complete(rows, complete, {b"a", b"b"}).batch_size for rows in (9, 10, 11)] == [10, None, 10]
    pending = Complete(batch_size=2, updated=1, unknown_ids=("u2",))
    assert seen_complete(2, pending, {b"u2"}) == SeenComplete(0, 1, (), ("u2",))


#: The rows of a batch of 10 by what Target names, and what stands in the batch.
NAMED: dict[str, tuple[Complete, set[bytes], RowOutcomes]] = {
    "a row": (Complete(failed_ids=("a",)), {b"a"}, RowOutcomes(9, 1, 0)),
    "encoded and decoded": (Complete(failed_ids=("a b", "a%20b")), {b"a%20b"}, RowOutcomes(9, 1, 0)),
    "an id that is not in it": (Complete(failed_ids=("x",)), set(), RowOutcomes(9, 0, 1)),
    "one that is and one that is not": (Complete(failed_ids=("a", "x")), {b"a"}, RowOutcomes(8, 1, 1)),
    "not in it, and counted": (Complete(failed=1, failed_ids=("x",)), set(), RowOutcomes(9, 1, 0)),
    "not in it, though all were applied": (Complete(updated=10, failed_ids=("x",)), set(), RowOutcomes(9, 0, 1)),
    "pending and not in it": (Complete(unknown_ids=("x",)), set(), RowOutcomes(9, 0, 1)),
    "failed and pending, as it was sent and as it is meant": (
        Complete(failed_ids=("a b",), unknown_ids=("a%20b",)),
        {b"a%20b"},
        RowOutcomes(9, 1, 0),
    ),
    "more than there are": (Complete(failed_ids=tuple(map(str, range(99)))), set(), RowOutcomes(0, 0, 10)),
}


@pytest.mark.parametrize(("complete", "in_batch", "expected"), NAMED.values(), ids=NAMED)
def test_an_id_counts_once_and_as_a_row_of_the_batch_only_if_it_is_one(
    complete: Complete, in_batch: set[bytes], expected: RowOutcomes
) -> None:
    seen = seen_complete(10, complete, in_batch)
    assert (seen.failed, seen.unconfirmed) == (expected.failed, expected.unconfirmed)
    assert seen.failed_ids == complete.failed_ids, "all of them are named in failed.jsonl"


def test_batches_of_which_other_rows_were_read_are_counted() -> None:
    book = Book()
    for batch_id, size in ((1, None), (2, 3), (3, 1)):
        book.seal(Batch(batch_id, batch_id, 2, 100, "sha"))
        record(book, batch_id, Begun(batch_id), Taken("url"), SeenComplete(0, 0, batch_size=size))
    assert book.misread == 2


# Any legal history.


@dataclass
class Entry:
    """A batch in the ledger: its facts, and when each became known."""

    batch: Batch
    facts: list[tuple[Fact, float]] = field(default_factory=list)
    #: When each open attempt of what it is a part of was last known; a restart makes all times anew.
    inherited: tuple[float, ...] = ()
    #: A verdict let it be sent once more, which is no fact.
    is_tried_again: bool = False

    @property
    def last(self) -> Fact | None:
        said = [fact for fact, _ in self.facts if not isinstance(fact, Released)]
        return said[-1] if said else None

    @property
    def phase(self) -> Phase:
        match self.last:
            case None | NotTaken() | InDoubt() | SeenStuck():
                return Phase.READY
            case Begun():
                return Phase.POSTING
            case Taken():
                return Phase.FOLLOWING
            case RefusedAs():
                return Phase.READY if self.is_tried_again else Phase.REFUSED
        return Phase.SETTLED

    @property
    def open_since(self) -> list[float]:
        """When each attempt was last known of which Target may apply the copy yet."""
        found, before = [*self.inherited], None
        for fact, at in self.facts:
            if isinstance(fact, InDoubt | SeenStuck) or (isinstance(fact, GivenUp) and isinstance(before, Taken)):
                found.append(at)
            before = fact
        return found

    @property
    def settled_at(self) -> float | None:
        if self.phase is not Phase.SETTLED or isinstance(self.last, NeverSent):
            return None
        return next(at for fact, at in self.facts if fact is self.last)

    @property
    def classes(self) -> RowCounts:
        """Its rows, if it is settled."""
        rows = self.batch.rows
        match self.last:
            case SeenComplete(failed, unconfirmed):
                return RowCounts(confirmed=rows - failed - unconfirmed, failed=failed, unconfirmed=unconfirmed)
            case RowRejected():
                return RowCounts(rejected=rows)
            case Failed() if not self.open_since:
                return RowCounts(failed=rows)
            case Failed() | GivenUp():
                return RowCounts(unconfirmed=rows)
        return RowCounts()

    @property
    def may_be_applied(self) -> bool:
        if isinstance(self.last, RowRejected | Failed | NeverSent):
            return False
        return bool(self.open_since) or isinstance(self.last, SeenComplete | Begun | Taken)


def total(classes: Iterable[RowCounts]) -> RowCounts:
    rows = RowCounts()
    for each in classes:
        rows.confirmed += each.confirmed
        rows.failed += each.failed
        rows.unconfirmed += each.unconfirmed
        rows.rejected += each.rejected
    return rows


class History:
    """A book, and beside it the facts as a ledger keeps them, from which the same is worked out anew."""

    def __init__(self) -> None:
        self.book = Book()
        self.entries: dict[int, Entry] = {}
        self.now = 0.0

    def step(self, what: str, which: int, choice: int) -> None:
        """Let one thing happen; the numbers choose among the batches, and among what may happen to one."""
        self.now += 1.0
        batch_id = list(self.entries)[which % len(self.entries)] if self.entries else 0
        match what:
            case "restart":
                self.restart()
            case "seal":
                self._seal(1 + choice % 6)
            case "again" if batch_id and self.entries[batch_id].phase is Phase.REFUSED:
                self.entries[batch_id].is_tried_again = True
                self.book.try_again(batch_id)
            case "fact" if batch_id:
                self._record(batch_id, choice)

    def _seal(self, rows: int, parent: int | None = None) -> Batch:
        batch_id = len(self.entries) + 1
        # Numbers do not come in the order of the batches.
        sealed = batch(batch_id, rows, number=batch_id ^ 1, parent=parent)
        self.entries[batch_id] = Entry(sealed)
        if parent is None:
            self.book.seal(sealed)
        return sealed

    def _record(self, batch_id: int, choice: int) -> None:
        entry = self.entries[batch_id]
        rows = entry.batch.rows
        facts = [EXAMPLES[kind] for kind in LEGAL[entry.phase] if kind is not SplitUp or rows > 1]
        # Most go on.
        facts += 4 * [fact for fact in facts if not isinstance(fact, GivenUp | NeverSent | Failed | RowRejected)]
        fact = facts[choice % len(facts)]
        if isinstance(fact, SplitUp):
            self._split(entry)
            return
        if isinstance(fact, SeenComplete):
            failed = choice % (rows + 1)
            fact = SeenComplete(failed, (rows - failed) // 2)
        entry.facts.append((fact, self.now))
        entry.is_tried_again = False
        self.book.check(batch_id, fact)
        self.book.record(batch_id, fact, now=self.now, hold_s=HOLD_S)

    def _split(self, whole: Entry) -> None:
        first, second = (self._seal(rows, parent=whole.batch.batch_id) for rows in (1, whole.batch.rows - 1))
        for part in (first, second):
            self.entries[part.batch_id].inherited = tuple(whole.open_since)
        whole.facts.append((SplitUp((first.batch_id, second.batch_id)), self.now))
        self.book.split(whole.batch.batch_id, (first, second), now=self.now)

    def restart(self) -> None:
        """A new process adopts what the ledger has; twice, as if it were cut off at once."""
        for _ in range(2):
            before, self.book = self.book, Book()
            found = {each: self._adopt(each) for each in self.entries}
            self._check_restart(before, found)

    def _adopt(self, batch_id: int) -> Fact | None:
        entry = self.entries[batch_id]
        fact = self.book.adopt(entry.batch, self._life(entry), now=self.now, hold_s=HOLD_S)
        if fact is not None:
            entry.facts.append((fact, self.now))
        entry.is_tried_again = isinstance(entry.last, RefusedAs)
        return fact

    def _life(self, entry: Entry) -> Life:
        """Of the facts alone, as the ledger has no times."""
        parent = entry.batch.parent
        life = Life() if parent is None else born_of(self._life(self.entries[parent]))
        for fact, _ in entry.facts:
            life = fold(life, fact, 0.0)
        return life

    def _check_restart(self, before: Book, found: dict[int, Fact | None]) -> None:
        """Rows, phases and outcomes are what they were; only times are anew, and what was cut off is in doubt."""
        assert before.rows == self.book.rows
        goes_on = {Phase.POSTING: Phase.READY, Phase.REFUSED: Phase.READY}
        for each in before:
            was, now = before.life(each.batch_id), self.book.life(each.batch_id)
            assert now.phase is goes_on.get(was.phase, was.phase)
            assert isinstance(found[each.batch_id], InDoubt) == (was.phase is Phase.POSTING)
            assert now.attempts == was.attempts + (was.phase is Phase.POSTING)
            assert len(now.open_since) == len(was.open_since) + (was.phase is Phase.POSTING)
        assert _without_times(before.settled) == _without_times(self.book.settled)
        assert counted(before) == counted(self.book)
        for entry in self.entries.values():
            # All is as if it became known now.
            entry.facts = [(fact, self.now) for fact, _ in entry.facts]
            entry.inherited = (self.now,) * len(entry.inherited)

    def check(self) -> None:
        """The book says what is worked out anew from the facts."""
        book, entries = self.book, list(self.entries.values())
        assert {each.batch_id for each in book} == self.entries.keys()
        assert book.phases() == Counter(entry.phase for entry in entries)
        settled = [entry for entry in entries if entry.settled_at is not None]
        assert [each.batch.number for each in book.settled] == sorted(entry.batch.number for entry in settled)
        assert {each.batch_id for each in book.unsettled} == {
            entry.batch.batch_id for entry in entries if entry.settled_at is None
        }
        assert book.unsettled_count == len(entries) - len(settled)
        assert book.is_all_settled == (len(settled) == len(entries))
        assert book.rows == sum(entry.batch.rows for entry in entries if entry.batch.parent is None)
        assert counted(book) == total(entry.classes for entry in settled)
        left = [entry for entry in entries if entry.settled_at is None]
        assert closed(book) == RowCounts(
            unconfirmed=sum(entry.batch.rows for entry in left if entry.may_be_applied),
            unsent=sum(entry.batch.rows for entry in left if not entry.may_be_applied),
        )
        assert counted(book).accounted + closed(book).accounted == book.rows
        for entry in entries:
            self._check_batch(entry)

    def _check_batch(self, entry: Entry) -> None:
        life, outcome = self.book.life(entry.batch.batch_id), self.book.outcome(entry.batch.batch_id)
        assert life.may_be_applied == entry.may_be_applied
        assert sorted(life.open_since) == sorted(entry.open_since)
        assert (outcome is None) == (entry.settled_at is None)
        if outcome is None or entry.settled_at is None:
            return
        assert total([entry.classes]) == RowCounts(
            confirmed=outcome.confirmed,
            failed=outcome.failed,
            unconfirmed=outcome.unconfirmed,
            rejected=outcome.rejected,
        )
        counts = [outcome.confirmed, outcome.failed, outcome.unconfirmed, outcome.rejected]
        assert min(counts) >= 0
        assert sum(counts) == (0 if outcome.state is BatchState.SPLIT else entry.batch.rows)
        if outcome.state is not BatchState.SPLIT:
            assert outcome.release_at == max([entry.settled_at, *(at + HOLD_S for at in entry.open_since)])
        if outcome.confirmed:
            assert isinstance(entry.last, SeenComplete), "nothing is confirmed that was not seen complete"
        if outcome.state is BatchState.FAILED and not outcome.rejected:
            assert not outcome.may_be_applied, "what Target may have is not failed"


def _without_times(settled: list[Settled]) -> list[Settled]:
    return [replace(each, release_at=0.0) for each in settled]


WHAT = ["seal", "restart", "again", *["fact"] * 9]
#: What happens, to which batch, and how.
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 9), st.integers(0, 1_000)), min_size=20, max_size=60)


@given(STEPS)
def test_any_legal_history_is_what_its_facts_come_to(steps: list[tuple[str, int, int]]) -> None:
    history = History()
    history.step("seal", 0, 5)
    for what, which, choice in steps:
        history.step(what, which, choice)
        history.check()
    history.restart()
    history.check()
