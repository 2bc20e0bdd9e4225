"""When a refusal is known to be about the rows, when it is in doubt, and when it is known to be about everything."""

import pytest

from pipeline.core.batches.refusals import (
    MAX_REFUSALS_AFTER_ACCEPTANCE,
    MAX_REFUSALS_IN_DOUBT,
    MAX_ROWS_REFUSED_ALIKE,
    REFUSALS_BEFORE_DOUBT,
    Refusals,
    SeenAccepting,
)

WHOLE = 7


def refused(times: int, *, accepted_before: bool = False, tried_alone: bool = False) -> Refusals:
    refusals = Refusals()
    if accepted_before:
        refusals.note_accepted()
    for _ in range(times):
        refusals.note_refused(WHOLE, tried_alone=tried_alone)
    return refusals


def test_a_run_begins_without_doubt_and_without_proof() -> None:
    refusals = Refusals()
    assert (refusals.is_in_doubt, refusals.is_proven(WHOLE), refusals.is_everything) == (False, False, False)


def test_a_few_refusals_are_no_reason_to_doubt_where_something_was_accepted() -> None:
    assert not refused(REFUSALS_BEFORE_DOUBT - 1, accepted_before=True).is_in_doubt
    assert refused(REFUSALS_BEFORE_DOUBT, accepted_before=True).is_in_doubt
    assert not refused(0).is_in_doubt
    assert refused(1).is_in_doubt


@pytest.mark.parametrize(
    ("messages", "single_rows", "accepted_before", "is_everything"),
    [
        ("aaaaaa", MAX_ROWS_REFUSED_ALIKE, False, True),
        ("aaaaaa", MAX_ROWS_REFUSED_ALIKE - 1, False, False),
        ("aaabaa", MAX_ROWS_REFUSED_ALIKE, False, False),
        ("aaaaaa", MAX_ROWS_REFUSED_ALIKE, True, False),
    ],
)
def test_rows_refused_alone_and_in_the_same_words(
    messages: str, single_rows: int, accepted_before: bool, is_everything: bool
) -> None:
    refusals = refused(0, accepted_before=accepted_before)
    for number, message in enumerate(messages):
        refusals.note_refused(WHOLE, tried_alone=False, message=message, is_single_row=number < single_rows)
    assert refusals.is_everything is is_everything
    refusals.note_accepted()
    assert not refusals.is_everything


def test_an_acceptance_ends_the_doubt() -> None:
    refusals = refused(MAX_REFUSALS_IN_DOUBT, tried_alone=True)
    refusals.note_accepted()
    assert (refusals.is_in_doubt, refusals.is_everything) == (False, False)
    refusals.note_refused(WHOLE, tried_alone=True)
    assert (refusals.is_in_doubt, refusals.is_everything) == (False, False)


@pytest.mark.parametrize(
    ("accepted_before", "most"), [(False, MAX_REFUSALS_IN_DOUBT), (True, MAX_REFUSALS_AFTER_ACCEPTANCE)]
)
def test_everything_is_refused_after_enough_trials_and_not_before(accepted_before: bool, most: int) -> None:
    assert not refused(most - 1, accepted_before=accepted_before, tried_alone=True).is_everything
    assert refused(most, accepted_before=accepted_before, tried_alone=True).is_everything


def test_refusals_of_what_was_under_way_already_do_not_say_that_it_is_everything() -> None:
    assert not refused(10 * MAX_REFUSALS_AFTER_ACCEPTANCE).is_everything


def test_what_is_proven_is_counted_all_the_same() -> None:
    """Target may turn to refusing everything at any time."""
    refusals = Refusals()
    refusals.prove(WHOLE, 8)
    for _ in range(MAX_REFUSALS_IN_DOUBT):
        refusals.note_refused(WHOLE, tried_alone=True)
    assert (refusals.is_in_doubt, refusals.is_everything) == (True, True)
    assert (refusals.is_proven(WHOLE), refusals.is_proven(8), refusals.is_proven(9)) == (True, True, False)


def test_acceptances_of_earlier_runs_count_as_such() -> None:
    refusals = Refusals(SeenAccepting(has_accepted=True))
    for _ in range(MAX_REFUSALS_IN_DOUBT):
        refusals.note_refused(WHOLE, tried_alone=True)
    assert (refusals.accepted, refusals.is_everything) == (0, False)


def test_what_another_job_has_accepted_tells_nothing_of_the_rows_of_this_one() -> None:
    run = SeenAccepting()
    refusals, other = Refusals(run), Refusals(run)
    for _ in range(REFUSALS_BEFORE_DOUBT):
        refusals.note_refused(WHOLE, tried_alone=False)
    other.note_accepted()
    assert (refusals.accepted, refusals.is_in_doubt, refusals.has_accepted) == (0, True, True)
    assert (other.accepted, other.is_in_doubt) == (1, False)


def test_few_and_many_refusals_in_a_row() -> None:
    assert refused(MAX_REFUSALS_IN_DOUBT).are_few
    assert not refused(MAX_REFUSALS_IN_DOUBT + 1).are_few


def test_trials_are_counted_for_each_batch() -> None:
    refusals = refused(3, tried_alone=True)
    refusals.note_refused(8, tried_alone=False)
    assert (refusals.tried(WHOLE), refusals.tried(8)) == (3, 0)
