"""A batch's life: each transition, which facts are legal, what a restart makes of it, when its ids are free."""

from dataclasses import dataclass, field, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.lifecycle import (
    LEGAL,
    Ages,
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
    after_restart,
    born_of,
    check_legal,
    fold,
    release_at,
    try_again,
)
from pipeline.core.errors import ExitCode
from tests.tools.life_drawing import EXAMPLES

HOLD_S = 3_600.0
READY = Life()
POSTING = Life(Phase.POSTING, post_number=7)
FOLLOWING = Life(Phase.FOLLOWING, attempts=1, post_number=7, posted_at=50.0, status_url="url", last=Taken("url"))
REFUSED = Life(Phase.REFUSED, attempts=1, post_number=7, last=RefusedAs("bad"))
SETTLED = replace(FOLLOWING, phase=Phase.SETTLED, last=SeenComplete(0, 0))


def live(*facts: Fact, at: float = 0.0) -> Life:
    life = Life()
    for fact in facts:
        life = fold(life, fact, at)
    return life


# Each transition.

TRANSITIONS: list[tuple[Life, Fact, Life]] = [
    (READY, Begun(7), POSTING),
    (POSTING, NotTaken("503"), replace(POSTING, phase=Phase.READY, last=NotTaken("503"))),
    (
        POSTING,
        InDoubt("cut"),
        replace(POSTING, phase=Phase.READY, attempts=1, ambiguous=1, open_since=(99.0,), last=InDoubt("cut")),
    ),
    (
        POSTING,
        Taken("url"),
        replace(POSTING, phase=Phase.FOLLOWING, attempts=1, posted_at=99.0, status_url="url", last=Taken("url")),
    ),
    (POSTING, RefusedAs("bad"), replace(POSTING, phase=Phase.REFUSED, attempts=1, last=RefusedAs("bad"))),
    (FOLLOWING, SeenComplete(1, 2, ("u",)), replace(FOLLOWING, phase=Phase.SETTLED, last=SeenComplete(1, 2, ("u",)))),
    # The copy that is stuck, or whose status is lost, may be applied yet: its hold counts from now.
    (FOLLOWING, SeenStuck(), replace(FOLLOWING, phase=Phase.READY, stuck=1, open_since=(99.0,), last=SeenStuck())),
    (FOLLOWING, GivenUp("lost"), replace(FOLLOWING, phase=Phase.SETTLED, open_since=(99.0,), last=GivenUp("lost"))),
    (
        replace(FOLLOWING, open_since=(10.0,)),
        GivenUp("lost"),
        replace(FOLLOWING, phase=Phase.SETTLED, open_since=(10.0, 99.0), last=GivenUp("lost")),
    ),
    (
        replace(READY, ambiguous=3, open_since=(1.0, 2.0, 3.0)),
        GivenUp("used up"),
        Life(Phase.SETTLED, ambiguous=3, open_since=(1.0, 2.0, 3.0), last=GivenUp("used up")),
    ),
    # Sent once more after a restart, or given up before that.
    (REFUSED, Begun(8), replace(REFUSED, phase=Phase.POSTING, post_number=8)),
    (REFUSED, GivenUp("used up"), replace(REFUSED, phase=Phase.SETTLED, last=GivenUp("used up"))),
    (REFUSED, NeverSent(), replace(REFUSED, phase=Phase.SETTLED, last=NeverSent())),
    (REFUSED, SplitUp((8, 9)), replace(REFUSED, phase=Phase.SETTLED, last=SplitUp((8, 9)))),
    (REFUSED, RowRejected("bad", 3, "u,1"), replace(REFUSED, phase=Phase.SETTLED, last=RowRejected("bad", 3, "u,1"))),
    (REFUSED, Failed("budget"), replace(REFUSED, phase=Phase.SETTLED, last=Failed("budget"))),
    (READY, NeverSent(), Life(Phase.SETTLED, last=NeverSent())),
    (SETTLED, Released(), replace(SETTLED, is_released=True)),
]


@pytest.mark.parametrize(("before", "fact", "after"), TRANSITIONS)
def test_transitions(before: Life, fact: Fact, after: Life) -> None:
    assert fold(before, fact, 99.0) == after


def test_every_fact_is_in_the_table() -> None:
    assert {type(fact) for _, fact, _ in TRANSITIONS} == set(get_args(Fact))


# Which facts are legal.

#: Where each fact leads from each phase; what is not here cannot happen.
LEADS_TO: dict[tuple[Phase, type[Fact]], Phase] = {
    (Phase.READY, Begun): Phase.POSTING,
    (Phase.READY, GivenUp): Phase.SETTLED,
    (Phase.READY, NeverSent): Phase.SETTLED,
    (Phase.POSTING, Taken): Phase.FOLLOWING,
    (Phase.POSTING, NotTaken): Phase.READY,
    (Phase.POSTING, InDoubt): Phase.READY,
    (Phase.POSTING, RefusedAs): Phase.REFUSED,
    (Phase.FOLLOWING, SeenComplete): Phase.SETTLED,
    (Phase.FOLLOWING, SeenStuck): Phase.READY,
    (Phase.FOLLOWING, GivenUp): Phase.SETTLED,
    (Phase.REFUSED, Begun): Phase.POSTING,
    (Phase.REFUSED, SplitUp): Phase.SETTLED,
    (Phase.REFUSED, RowRejected): Phase.SETTLED,
    (Phase.REFUSED, Failed): Phase.SETTLED,
    (Phase.REFUSED, GivenUp): Phase.SETTLED,
    (Phase.REFUSED, NeverSent): Phase.SETTLED,
    (Phase.SETTLED, Released): Phase.SETTLED,
}
IN_PHASE = {life.phase: life for life in (READY, POSTING, FOLLOWING, REFUSED, SETTLED)}


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("phase", Phase)
def test_which_facts_may_happen_in_a_phase_and_where_they_lead(phase: Phase, kind: type[Fact]) -> None:
    life, fact = IN_PHASE[phase], EXAMPLES[kind]
    before = replace(life)
    if (phase, kind) in LEADS_TO:
        check_legal(life, fact)
        assert fold(life, fact, 99.0).phase is LEADS_TO[phase, kind]
    else:
        for refused in (lambda: check_legal(life, fact), lambda: fold(life, fact, 99.0)):
            with pytest.raises(
                IllegalFactError, match=f"{kind.__name__} cannot happen to a batch that {phase}"
            ) as caught:
                refused()
            assert caught.value.exit_code is ExitCode.OUR_BUG
    assert life == before


def test_every_phase_and_every_fact_is_legal_somewhere() -> None:
    assert LEGAL.keys() == set(Phase)
    assert {kind for kinds in LEGAL.values() for kind in kinds} == set(get_args(Fact))
    assert EXAMPLES.keys() == set(get_args(Fact))


@pytest.mark.parametrize("life", [READY, POSTING, FOLLOWING, SETTLED])
def test_only_what_was_refused_is_tried_again(life: Life) -> None:
    assert try_again(life) == life


def test_what_was_refused_and_is_tried_again_waits_to_be_sent_and_forgets_nothing() -> None:
    refused = live(Begun(1), InDoubt("cut"), Begun(2), RefusedAs("bad"), at=5.0)
    assert try_again(refused) == replace(refused, phase=Phase.READY)
    assert fold(try_again(refused), Begun(3), 6.0) == fold(refused, Begun(3), 6.0), (
        "as in the ledger, which has no such fact"
    )


def test_a_part_has_the_open_attempts_of_the_whole_and_nothing_else() -> None:
    whole = live(Begun(1), InDoubt("cut"), Begun(2), Taken("url"), SeenStuck(), Begun(3), RefusedAs("bad"), at=5.0)
    assert born_of(whole) == Life(open_since=(5.0, 5.0))
    assert born_of(whole).may_be_applied
    assert born_of(live(Begun(1), RefusedAs("bad"))) == Life()


def test_a_new_attempt_has_a_new_number_and_a_new_url() -> None:
    life = live(Begun(3), Taken("one"), SeenStuck(), Begun(9), Taken("two"))
    assert (life.post_number, life.status_url, life.attempts) == (9, "two", 2)


def test_never_sent() -> None:
    assert live(NeverSent()).is_never_sent
    assert live(NeverSent(), Released()).is_never_sent
    assert not live(Begun(1), Taken("url"), SeenComplete(0, 0)).is_never_sent


# Whether Target may have taken it.


@pytest.mark.parametrize(
    ("life", "may_be"),
    [
        (live(), False),
        (live(Begun(1)), True),
        (live(Begun(1), NotTaken("503")), False),
        (live(Begun(1), InDoubt("cut")), True),
        (live(Begun(1), InDoubt("cut"), Begun(2), NotTaken("503")), True),
        (live(Begun(1), Taken("url")), True),
        (live(Begun(1), Taken("url"), SeenComplete(0, 0)), True),
        (live(Begun(1), Taken("url"), SeenComplete(0, 0), Released()), True),
        (live(Begun(1), Taken("url"), SeenStuck()), True),
        (live(Begun(1), Taken("url"), GivenUp("lost")), True),
        (live(Begun(1), RefusedAs("bad")), False),
        (live(Begun(1), RefusedAs("bad"), RowRejected("bad", 2, "u,1")), False),
        (live(Begun(1), RefusedAs("bad"), Failed("budget")), False),
        (live(Begun(1), RefusedAs("bad"), SplitUp((2, 3))), False),
        (live(Begun(1), InDoubt("cut"), Begun(2), RefusedAs("bad"), Failed("budget")), False),
        (live(NeverSent()), False),
        (Life(open_since=(1.0,)), True),
    ],
)
def test_what_target_may_have(life: Life, may_be: bool) -> None:
    assert life.may_be_applied is may_be


# After a restart.

LIVES = [after for _, _, after in TRANSITIONS]


@pytest.mark.parametrize("life", LIVES)
def test_a_restart_makes_holds_begin_anew(life: Life) -> None:
    found, fact = after_restart(life, 1_000.0)
    assert set(found.open_since) <= {1_000.0}
    assert found.posted_at == 1_000.0
    if life.phase is Phase.POSTING:
        assert isinstance(fact, InDoubt)
        assert found == fold(replace(life, posted_at=1_000.0), fact, 1_000.0)
        assert (found.phase, found.attempts, found.ambiguous) == (Phase.READY, life.attempts + 1, life.ambiguous + 1)
    elif life.phase is Phase.REFUSED:
        # It may have been the configuration, which may have changed: it is to be sent again.
        assert fact is None
        assert found == replace(life, phase=Phase.READY, posted_at=1_000.0)
    else:
        assert fact is None
        assert found == replace(life, open_since=(1_000.0,) * len(life.open_since), posted_at=1_000.0)


@pytest.mark.parametrize("life", LIVES)
def test_a_restart_after_a_restart_changes_nothing(life: Life) -> None:
    found, _ = after_restart(life, 1_000.0)
    assert after_restart(found, 1_000.0) == (found, None)
    later, fact = after_restart(found, 2_000.0)
    assert fact is None
    assert later == replace(found, open_since=(2_000.0,) * len(found.open_since), posted_at=2_000.0)


def test_in_the_same_process_ages_go_on_unless_there_is_an_attempt_that_it_does_not_know() -> None:
    life = replace(FOLLOWING, open_since=(0.0, 0.0))
    known, _ = after_restart(life, 1_000.0, Ages(open_since=(5.0, 6.0), posted_at=7.0))
    assert known == replace(life, open_since=(5.0, 6.0), posted_at=7.0)
    for ages in (Ages((5.0,), 7.0), Ages((5.0, 6.0, 7.0), 7.0), None):
        unknown, _ = after_restart(life, 1_000.0, ages)
        assert unknown == replace(life, open_since=(1_000.0, 1_000.0), posted_at=1_000.0)


# When its ids are free.


@pytest.mark.parametrize(
    ("open_since", "settled_at", "at"),
    [
        ((), 100.0, 100.0),
        ((10.0,), 100.0, 3_610.0),
        ((10.0, 50.0), 100.0, 3_650.0),
        ((50.0, 10.0), 100.0, 3_650.0),
        ((10.0,), 9_000.0, 9_000.0),
    ],
)
def test_ids_are_free_when_no_open_copy_can_be_applied_any_more(
    open_since: tuple[float, ...], settled_at: float, at: float
) -> None:
    assert release_at(Life(open_since=open_since), settled_at=settled_at, hold_s=HOLD_S) == at


# Any legal life.


@dataclass
class Model:
    """What the facts so far come to, counted plainly; `copies` are those Target may have and was not seen to apply."""

    rows: int
    life: Life = field(default_factory=Life)
    now: float = 0.0
    posts: int = 0
    ambiguous: int = 0
    stuck: int = 0
    refused: int = 0
    accepted: int = 0
    copies: list[float] = field(default_factory=list)
    accepted_at: float | None = None
    facts: list[Fact] = field(default_factory=list)

    def choices(self) -> list[Fact]:
        """The facts that may come next."""
        phase = self.life.phase
        if phase is Phase.POSTING:
            return [Taken("url"), NotTaken("503"), InDoubt("cut"), RefusedAs("bad")]
        if phase is Phase.FOLLOWING:
            failed = min(1, self.rows)
            complete = [SeenComplete(0, 0), SeenComplete(failed, self.rows - failed), SeenComplete(self.rows, 0)]
            return [*complete, SeenStuck(), GivenUp("lost")]
        if phase is Phase.REFUSED:
            last: Fact = SplitUp((8, 9)) if self.rows > 1 else RowRejected("bad", 2, "u,1")
            return [last, Failed("budget")]
        if phase is Phase.SETTLED:
            return [Released()]
        is_new = not (self.copies or self.posts)
        return [Begun(self.posts), *([NeverSent()] if is_new else []), *self._given_up()]

    def _given_up(self) -> list[Fact]:
        return [GivenUp("used up")] if self.copies else []

    def add(self, fact: Fact) -> None:
        self.now += 1.0
        self.facts.append(fact)
        self.life = fold(self.life, fact, self.now)
        match fact:
            case Begun():
                self.posts += 1
            case Taken():
                self.accepted += 1
                self.accepted_at = self.now
            case InDoubt():
                self.ambiguous += 1
                self.copies.append(self.now)
            case RefusedAs():
                self.refused += 1
            case SeenStuck():
                self.stuck += 1
        if isinstance(fact, SeenStuck | GivenUp | SeenComplete) and self.accepted_at is not None:
            if not isinstance(fact, SeenComplete):
                self.copies.append(self.now)
            self.accepted_at = None

    def restart(self) -> None:
        self.now += 100.0
        before = self.life
        self.life, fact = after_restart(self.life, self.now)
        self.copies = [self.now for _ in self.copies]
        self.accepted_at = None if self.accepted_at is None else self.now
        assert (fact is not None) == (before.phase is Phase.POSTING)
        if fact:
            self.ambiguous += 1
            self.copies.append(self.now)
            self.facts.append(fact)

    def check(self) -> None:
        life = self.life
        assert (life.ambiguous, life.stuck) == (self.ambiguous, self.stuck)
        assert life.attempts == self.ambiguous + self.refused + self.accepted <= self.posts
        assert sorted(life.open_since) == sorted(self.copies)
        is_complete = isinstance(life.last, SeenComplete)
        is_underway = life.phase in (Phase.POSTING, Phase.FOLLOWING)
        is_refused = isinstance(life.last, RowRejected | Failed)
        assert life.may_be_applied == (not is_refused and (bool(self.copies) or is_complete or is_underway))


#: Which of the facts that may come next comes; None: the process ends and a new one goes on.
STEPS = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 9), st.none()), max_size=25)


@given(st.integers(1, 4), STEPS)
def test_any_legal_life_keeps_its_counts(rows: int, steps: list[int | None]) -> None:
    model = Model(rows)
    for step in steps:
        if step is None:
            model.restart()
        elif not model.life.is_released:
            choices = model.choices()
            model.add(choices[step % len(choices)])
        model.check()
    # The ledger keeps the facts and nothing else: folding them again comes to the same.
    again, now = after_restart(live(*model.facts), 7.0), after_restart(model.life, 7.0)
    assert again == now
