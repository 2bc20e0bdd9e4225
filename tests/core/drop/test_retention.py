"""How long files of jobs are kept."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.drop.retention import ClockWatch, Kind, Retention, doubt_about, kind_of

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("report.json", Kind.REPORT),
        ("report.html", Kind.REPORT),
        ("rejects.jsonl", Kind.REJECTS),
        ("header.txt", Kind.REJECTS),
        ("answers.jsonl", Kind.REJECTS),
        ("failed.jsonl", Kind.REJECTS),
        ("retry.csv", Kind.EXPORT),
        ("drop/customers.csv", Kind.EXPORT),
        # What was dropped under such a name is an export all the same.
        ("drop/report.json", Kind.EXPORT),
        (".something.tmp", Kind.EXPORT),
    ],
)
def test_kinds(path: str, kind: Kind) -> None:
    assert kind_of(path) is kind


@pytest.mark.parametrize(("path", "days"), [("drop/a.csv", 7.0), ("rejects.jsonl", 14.0), ("report.json", 400.0)])
def test_each_kind_has_its_time(path: str, days: float) -> None:
    retention = Retention(7.0, 14.0, 400.0)
    assert not retention.is_over(path, days * DAY_S)
    assert retention.is_over(path, days * DAY_S + 1)


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours_ago", "is_doubted"),
    [
        ([], False),
        ([0.0], False),
        ([35.0], False),
        # Two weeks off, or a clock that is two weeks ahead: nobody can tell.
        ([37.0], True),
        ([24 * 500.0], True),
        # What an earlier process has noted by the wrong clock bears nothing out, until it did so for a day.
        ([0.1, 24 * 500.0, 24 * 501.0], True),
        ([0.1, 23.0, 24 * 500.0], True),
        ([0.1, 25.0, 24 * 500.0], False),
        # The machine's clock is behind what it was.
        ([-1.0, 24.0], False),
        ([-37.0, 24.0], True),
        # Once a day, for years; and once a week, the day after.
        ([24.0 * day for day in range(400)], False),
        ([26.0, 26.0 + 7 * 24], False),
        ([2.0, 2.0 + 7 * 24], True),
    ],
)
def test_a_clock_is_believed_if_the_ends_of_jobs_bear_it_out(hours_ago: list[float], is_doubted: bool) -> None:
    doubt = doubt_about(NOW, [NOW - timedelta(hours=hours) for hours in hours_ago])
    assert (doubt is not None) is is_doubted
    assert doubt is None or doubt.startswith("the clock says 2026-11-23 12:00 UTC, ")


def test_a_clock_is_steady_after_a_day() -> None:
    watch = ClockWatch(NOW, 5.0)
    assert not watch.is_steady(NOW, 5.0)
    day = timedelta(days=1)
    # It is set right by a few seconds now and then.
    assert watch.is_steady(NOW + day + timedelta(seconds=9), 5.0 + DAY_S)
    assert not watch.is_steady(NOW + 500 * day, 5.0 + 2 * DAY_S), "it has jumped"
    assert watch.is_steady(NOW + 501 * day, 5.0 + 3 * DAY_S)
    assert not watch.is_steady(NOW, 5.0 + 4 * DAY_S), "and back"
