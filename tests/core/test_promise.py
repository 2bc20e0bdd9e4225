"""No schedule of rows, answers, delays and crashes breaks the promise; with any guard taken out, some schedule does.

`PROMISE_EXAMPLES=20000 pytest tests/core/test_promise.py` looks for longer. What keeps the promise lies in the core,
in the order of the steps around it, and in what is one transaction. The core here is the real one. The rest is mirrored
in `promise_process`, so of that these tests show that it has to be so, and the tests of kills show that it is.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.core.promise import HOLD_S, Guards
from tests.core.promise_machine import Climate, Promise
from tests.core.promise_process import FACT, REMOVAL, SEAL, SPLIT

EXAMPLES = int(os.environ.get("PROMISE_EXAMPLES", "200"))

TestPromise = Promise.TestCase
TestPromise.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
#: The first failure is enough; the same examples each time.
UNGUARDED = settings(
    TestPromise.settings,
    max_examples=2_000,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


SPLITTING = Climate(outcomes=("taken", "refused", "refused"), crash_before=(SPLIT,))
#: Guards that are needed seldom: where they are, it does not take long to see.
CLIMATES = {
    "intent": Climate(crash_before=(FACT,)),
    "cut_off_is_ambiguous": Climate(crash_before=(FACT,)),
    "cut_off_is_recorded": Climate(crash_before=(FACT,)),
    "held_in_seal": Climate(crash_before=(SEAL,)),
    "behind_loose": Climate(kinds=("lv", "vl", "l-", "-l", "v-", "-v", "vv")),
    "split_inherits": Climate(outcomes=("taken", "lost after", "refused")),
    "split_in_one_step": SPLITTING,
    "split_children_first": SPLITTING,
    "split_in_views": SPLITTING,
}
#: Needed so seldom that what needs it is told step by step: below, and `turn` in the tests of claims.
TOLD = {"held_until_ended", "body_until_all_seal", "turn"}


@pytest.mark.parametrize("name", [name for name in Guards.names() if name not in TOLD])
def test_without_this_guard_the_promise_breaks(name: str) -> None:
    class Unguarded(Promise):
        guards = Guards.without(name)
        climate = CLIMATES.get(name, Climate())

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Unguarded, settings=UNGUARDED)


def test_the_poison_of_a_refused_row_does_not_spread() -> None:
    class Poisoned(Promise):
        checks_poison = True

    machine = Poisoned()
    machine.start(
        max_rows=2,
        max_bytes=400,
        max_held_rows=100,
        is_eager=True,
        columns=("a", "b"),
        rows=[(b"u1", "vp"), (b"u2", "vv"), (b"u3", "vv"), (b"u1", "v-")],
        seed=0,
        actions=0,
    )
    machine.export.is_complete = True
    machine.settle_down()
    machine.answer([(0, "lost", ""), (1, "taken", ""), (1, "", "complete")])
    machine.answer([(0, "refused", ""), (0, "refused", ""), (0, "taken", ""), (0, "", "complete")])
    machine.wait(HOLD_S)
    machine.teardown()


def begin_two_jobs(machine: Promise, *rows: tuple[bytes, str]) -> None:
    """The first is read, and holds a row of `u1`: an earlier one is in its first batch, and that under way."""
    machine.start(
        max_rows=2,
        max_bytes=400,
        max_held_rows=100,
        is_eager=True,
        columns=("a", "b"),
        rows=[(b"u1", "vv"), (b"u2", "vv"), (b"u3", "vv"), (b"u4", "vv"), (b"u1", "vv")],
        seed=0,
        actions=0,
    )
    machine.end_export()
    machine.next_export(columns=("a", "b"), rows=list(rows), sequence=0)
    machine.end_export()


def abandon_the_first_and_crash(machine: Promise) -> None:
    """What it holds is of an id that waits in the second too."""
    begin_two_jobs(machine, (b"u1", "vv"))
    machine.abandon(is_gone=False, sure=7, which=0)
    machine.answer([(0, "taken", ""), (0, "", "complete")])
    machine.crash(before=FACT, after=0, is_taken=False, clock=0, in_recovery=0)
    machine.ids_in_flight()
    machine.teardown()


def crash_when_only_the_first_has_sealed(machine: Promise) -> None:
    """Its first batch is released for both, and a row of the second is to carry what was in it."""
    begin_two_jobs(machine, (b"u2", "-v"), (b"u2", "-v"))
    machine.crash(before=REMOVAL, after=1, is_taken=False, clock=0, in_recovery=0)
    machine.answer([(0, "taken", ""), (0, "", "complete")])
    machine.ids_in_flight()
    machine.teardown()


@pytest.mark.parametrize(
    ("happens", "guard", "breaks"),
    [
        (abandon_the_first_and_crash, "held_until_ended", "in flight in two batches"),
        (crash_when_only_the_first_has_sealed, "body_until_all_seal", "'u2', replaced|is gone while"),
    ],
)
def test_what_needs_a_guard_that_is_needed_seldom(happens: Callable[[Promise], None], guard: str, breaks: str) -> None:
    assert guard in TOLD
    happens(Promise())

    class Unguarded(Promise):
        guards = Guards.without(guard)

    with pytest.raises(AssertionError, match=breaks):
        happens(Unguarded())
