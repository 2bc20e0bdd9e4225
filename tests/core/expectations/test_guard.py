"""The judgement of an export: what is usual, what breaks a limit, and that the same export never breaks one."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report, ReportedRejects
from pipeline.core.expectations.guard import KNOWN_FROM, LOOKED_AT, Limits, Numbers, judged
from pipeline.core.model import RowCounts, Warnings
from pipeline.core.rows.allowance import Allowance

DAY = Numbers(rows=1_000, rejected=10, mapped=990, filled={"tier": 990, "ltv": 495, "vip": 9})
WEEK = [DAY] * LOOKED_AT


def percent(of: float) -> Allowance:
    return Allowance(percent=of)


LIMITS = Limits(500, percent(30), percent(20), percent(1))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, None),
        ({"rows": 1_300}, None),
        (
            {"rows": 1_301},
            "it has 1,301 rows, where 1,000 are usual: a change by more than [guard] max_rows_change = 30%",
        ),
        ({"rows": 699, "rejected": 7}, "it has 699 rows, where 1,000 are usual"),
        ({"rejected": 20}, None),
        (
            {"rejected": 21},
            "21 of its 1,000 rows are rejected, where 1 % is usual: more by more than [guard] max_rejects_change = 1%",
        ),
        ({"rejected": 0}, None),
        ({"filled": {"tier": 792, "ltv": 396, "vip": 9}}, None),
        (
            {"filled": {"tier": 791, "ltv": 990, "vip": 9}},
            "fewer values than usual, by more than [guard] max_fill_drop = 20%: tier in 79.9 % of the rows, where "
            "100 % is usual",
        ),
        # Of nine values chance may take any number away.
        ({"filled": {"tier": 990, "ltv": 495, "vip": 0}}, None),
        ({"filled": {"ltv": 495}}, "tier in 0 % of the rows, where 100 % is usual"),
        ({"filled": {**DAY.filled, "new": 0}}, None),
    ],
)
def test_what_breaks_a_limit(changed: dict[str, object], told: str | None) -> None:
    verdict = judged(replace(DAY, **changed), WEEK, LIMITS)  # type: ignore[arg-type]
    assert verdict.to_learn == 0
    if told is None:
        assert verdict.breaches == ()
    else:
        assert len(verdict.breaches) == 1
        assert told in verdict.breaches[0]


def test_what_breaks_a_limit_by_a_count() -> None:
    limits = Limits(0, Allowance(count=5), Allowance(count=600), Allowance(count=3))
    assert judged(replace(DAY, rows=1_005), WEEK, limits).breaches == ()
    assert "max_rows_change = 5" in judged(replace(DAY, rows=1_006), WEEK, limits).breaches[0]
    assert judged(replace(DAY, rejected=13), WEEK, limits).breaches == ()
    assert "max_rejects_change = 3" in judged(replace(DAY, rejected=14), WEEK, limits).breaches[0]
    few = {**DAY.filled, "tier": 389}
    assert "max_fill_drop = 600" in judged(replace(DAY, filled=few), WEEK, limits).breaches[0]


def test_the_least_number_of_rows_needs_nothing_to_be_known() -> None:
    few = replace(DAY, rows=499)
    assert judged(few, [], Limits(500)).breaches == ("it has 499 rows, fewer than [guard] min_rows = 500",)
    assert judged(few, [], Limits(500)).to_learn == 0
    verdict = judged(few, [DAY], LIMITS)
    assert (len(verdict.breaches), verdict.to_learn) == (1, 2)


def test_of_exports_that_are_usually_empty_no_share_is_taken() -> None:
    empty = Numbers(0, 0, 0, {})
    assert judged(DAY, [empty] * 3, LIMITS).breaches == ()
    assert judged(DAY, [empty] * 3, Limits(max_rows_change=Allowance(count=10))).breaches
    assert judged(empty, [DAY] * 3, LIMITS).breaches


def test_a_column_that_was_given_up_is_not_missed_for_a_week() -> None:
    without = replace(DAY, filled={"ltv": 495})
    assert judged(without, WEEK, LIMITS).breaches
    assert judged(without, [without, *WEEK], LIMITS).breaches == ()


def test_a_column_that_is_new_is_not_judged_before_it_is_known() -> None:
    new = replace(DAY, filled={**DAY.filled, "new": 990})
    none = replace(DAY, filled={**DAY.filled, "new": 0})
    assert judged(none, [new, new, *WEEK], LIMITS).breaches == ()
    assert judged(none, [new, new, new, *WEEK], LIMITS).breaches


def test_only_some_columns_are_named() -> None:
    many = replace(DAY, filled={f"c{number}": 900 for number in range(9)})
    none = replace(DAY, filled={f"c{number}": number for number in range(9)})
    (told,) = judged(none, [many] * 3, LIMITS).breaches
    assert told.count("is usual") == 5
    assert told.endswith("(and 4 more parameters)")
    assert "c0 in 0 % of the rows" in told


numbers = st.builds(
    lambda rows, rejected, left_out, shares: Numbers(
        rows + rejected,
        rejected,
        max(0, rows - left_out),
        {name: int(max(0, rows - left_out) * share) for name, share in shares.items()},
    ),
    st.integers(0, 20_000),
    st.integers(0, 200),
    st.integers(0, 50),
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 1)),
)
allowances = st.one_of(
    st.none(),
    st.floats(0, 100).map(lambda each: Allowance(percent=each)),
    st.builds(Allowance, count=st.integers(0, 99)),
)
limits = st.builds(Limits, st.integers(0, 10), allowances, allowances, allowances)


@given(numbers, limits, st.integers(KNOWN_FROM, LOOKED_AT + 3))
def test_an_export_like_all_before_it_breaks_no_limit_but_the_least_number(
    export: Numbers, limits: Limits, known: int
) -> None:
    verdict = judged(export, [export] * known, limits)
    assert len(verdict.breaches) == (export.rows < limits.min_rows)


@given(numbers, st.lists(numbers, max_size=9), limits)
def test_a_wider_limit_breaks_no_more(export: Numbers, before: list[Numbers], limits: Limits) -> None:
    assert len(judged(export, before, replace(limits, max_rows_change=None)).breaches) <= len(
        judged(export, before, limits).breaches
    )
    assert judged(export, before, Limits()).breaches == ()
    if len(before) < KNOWN_FROM:
        assert judged(export, before, replace(limits, min_rows=0)).breaches == ()


@given(numbers, st.lists(numbers, min_size=KNOWN_FROM, max_size=9), st.floats(0, 100))
def test_rows_are_compared_with_the_median(export: Numbers, before: list[Numbers], of: float) -> None:
    usual = median_low(each.rows for each in before[:LOOKED_AT])
    is_broken = bool(judged(export, before, Limits(max_rows_change=percent(of))).breaches)
    assert is_broken == (usual > 0 and 100 * abs(export.rows - usual) > Fraction(repr(of)) * usual)


@given(numbers, st.lists(numbers, min_size=KNOWN_FROM, max_size=9), st.floats(0, 100))
def test_fewer_values_make_it_no_better(export: Numbers, before: list[Numbers], of: float) -> None:
    limits = Limits(max_fill_drop=percent(of))
    worse = replace(export, filled={name: count // 2 for name, count in export.filled.items()})
    assert len(judged(export, before, limits).breaches) <= len(judged(worse, before, limits).breaches)


def test_the_numbers_of_a_job_are_the_same_before_it_is_sent_and_in_its_report() -> None:
    reasons = Counter({"local.field_count": 3, "local.header_again": 2})
    warnings = Warnings(empty_cells=Counter({"tier": 40}), ids_gone=5)
    checkpoint = Checkpoint(
        read=105,
        rejected=5,
        empty=4,
        excluded=6,
        by_reason=reasons,
        warnings=warnings,
        columns_sent=("tier", "ltv"),
    )
    report = Report(
        state="done",
        columns_sent=("tier", "ltv"),
        rows=RowCounts(read=105, confirmed=88, rejected=7, empty=4, excluded=6),
        rejects=ReportedRejects(by_reason={**reasons, "target.refused": 2}),
        warnings=warnings.as_dict(),
    )
    expected = Numbers(rows=100, rejected=3, mapped=89, filled={"tier": 45, "ltv": 85})
    assert Numbers.of_checkpoint(checkpoint) == Numbers.of_report(Report.from_json(report.as_json())) == expected
