"""The overview: its first line says if all is well, and else what it is and which command to type."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.core.expectations.calendar import CalendarDay
from pipeline.edges.views.overview_page import overview_page
from pipeline.edges.views.overview_view import JobLine, Notice, OverviewView, RouteView, TenantView
from pipeline.edges.views.verdict import Verdict, verdict
from tests.edges.views.pages import Seen, what_is_wrong
from tests.edges.views.test_days import days as days_with
from tests.edges.views.test_job_page import HOSTILE

NOW = datetime(2026, 11, 30, 3, 2, 11, tzinfo=UTC)
PAUSED = Notice("Sending is paused.", "`profile-pipeline resume --config FILE` goes on.", is_urgent=True)


def job(state: str = "done", **changes: Any) -> JobLine:
    """A job; one that has ended did so an hour ago."""
    ended = None if state in ("running", "waiting", "quarantined", "unfinished") else NOW - timedelta(hours=1)
    rows = {"read": 1_001, "confirmed": 1_000, "superseded": 1}
    line = JobLine("j1", state, "customers.csv", "acme", "", NOW - timedelta(hours=2), ended, 1_260.0, rows)
    return replace(line, **changes)


def view(
    *jobs: JobLine, notices: tuple[Notice, ...] = (), days: tuple[CalendarDay, ...] = (), **changes: Any
) -> OverviewView:
    ended = [each for each in jobs if each.finished_at]
    route = RouteView("acme", days=days, latest=ended[-1] if ended else None)
    return replace(OverviewView(NOW, "0.1.0", (TenantView("acme", notices, (route,)),), jobs), **changes)


def seen(shown: OverviewView) -> Seen:
    page = overview_page(shown)
    assert what_is_wrong(page) == []
    return Seen(page)


def told(*jobs: JobLine, **changes: Any) -> Verdict:
    return verdict(view(*jobs, **changes))


def test_all_is_well() -> None:
    found = told(job(), job("running", job="j2"), job("waiting", job="j3"), waiting_jobs=4)
    assert (found.headline, found.urgent) == ("All is well.", ())
    assert found.going_on == "1 job is running, 5 jobs wait; the last one to end was customers.csv, 60 min ago."
    assert told().going_on == "No export has come yet."


@pytest.mark.parametrize(("hours", "is_told", "is_urgent"), [(0.9, False, False), (3, True, False), (7, True, True)])
def test_target_that_does_not_apply_a_batch_is_told(hours: float, is_told: bool, is_urgent: bool) -> None:
    found = told(job("running", oldest_accepted=NOW - timedelta(hours=hours)))
    said = [notice.told for notice in (*found.urgent, *found.others)]
    assert [text.split(" of ")[0] for text in said] == ["Target is slow: it has not applied a batch"] * is_told
    assert (found.headline == "All is well.") is not is_urgent


@pytest.mark.parametrize(
    ("jobs", "headline", "to_do"),
    [
        (
            [job("quarantined", error="it has 9 rows")],
            "customers.csv is in quarantine, nothing of it was sent.",
            "It has 9 rows. If it is right, `profile-pipeline approve j1 --config FILE` sends it",
        ),
        (
            [job("unfinished")],
            "customers.csv is not finished, and no process is at it.",
            "serve --config FILE` goes on",
        ),
        (
            [job("incomplete", rows={"read": 9, "failed": 2, "unconfirmed": 1})],
            "customers.csv lost 3 rows.",
            "`profile-pipeline retry j1 --config FILE` sends them again.",
        ),
        (
            [job("failed", error="no column 'id'.")],
            "customers.csv failed.",
            "No column 'id'. Remove the cause, then drop the export anew.",
        ),
    ],
)
def test_a_job_that_needs_somebody(jobs: list[JobLine], headline: str, to_do: str) -> None:
    found = told(*jobs)
    assert found.headline == headline
    assert to_do in found.urgent[0].to_do


def test_what_was_well_later_is_no_news() -> None:
    """The last job of a route counts, and rows that were sent again are not lost."""
    assert told(job("failed"), job(job="j2")).urgent == ()
    assert told(job("incomplete", is_sent_again=True)).urgent == ()


def test_rows_that_were_lost_in_a_job_that_is_not_listed() -> None:
    """Its rows are not known."""
    assert told(job("incomplete", rows={})).headline == "customers.csv lost rows."


def test_rejected_rows_are_good_to_know() -> None:
    (note,) = told(job(rows={"read": 9, "rejected": 2})).others
    assert note.told == "customers.csv: 2 rows of it have mistakes and were not sent."
    (note,) = told(job(rows={"read": 9, "rejected": 1})).others
    assert note.told == "customers.csv: 1 row of it has a mistake and was not sent."


def test_what_sending_waits_for_comes_first_and_the_rest_is_counted() -> None:
    other = Notice("Time windows: no calls until 06:00.")
    found = told(job("failed"), notices=(PAUSED, other))
    assert found.headline == "Sending is paused. And 1 thing more, below."
    assert found.others == (other,)
    page = seen(view(job("failed"), notices=(PAUSED, other)))
    assert page.text.index("profile-pipeline resume --config FILE") < page.text.index("customers.csv failed.")
    assert "Good to know Time windows: no calls until 06:00." in page.text


def test_several_client_codes_are_told_apart() -> None:
    tenants = (TenantView("acme", (PAUSED,)), TenantView("other", (PAUSED,)))
    found = verdict(OverviewView(NOW, tenants=tenants))
    assert [notice.told for notice in found.urgent] == ["acme: Sending is paused.", "other: Sending is paused."]


def test_a_day_without_its_export() -> None:
    page = seen(view(days=days_with("done", "missing")))
    assert "1 day of 30 done. Not so: 30 Nov missing." in page.text
    assert "30 November: missing" in page.text


def test_jobs() -> None:
    running = job("running", job="j2", waits_for=("5 batches to be sent", "Target"), route="crm")
    page = seen(view(running, job(), older_jobs=1_388, waiting_jobs=2))
    assert "running · route crm · 1,001 rows read, 1,000 confirmed; entered 2 h ago" in page.text
    assert "It waits for 5 batches to be sent; Target." in page.text
    assert "2 more jobs wait behind these." in page.text
    assert page.tables[-1][1] == ["customers.csv", "done", "1,001", "0", "0", "21 min 0 s", "30 Nov 02:02"]
    assert "1,388 older jobs more" in page.text
    assert {"./jobs/j1", "./jobs/j2"} <= {*page.values("href")}
    assert "1,000 confirmed, 1 superseded" in page.values("aria-label")


def test_a_new_service_has_a_page_too() -> None:
    page = seen(view(days=days_with()))
    assert "All is well." in page.text
    assert "None yet." in page.text
    assert "no job ended yet" in page.text
    assert "Jobs now" not in page.text


def test_the_title_says_how_many_things_wait_for_somebody() -> None:
    def title(page: str) -> str:
        return page.split("<title>")[1].split("</title>")[0]

    assert title(overview_page(view(job()))) == "OK: profile-pipeline"
    assert title(overview_page(view(job("failed"), notices=(PAUSED,)))) == "2 to do: profile-pipeline"


def test_landmarks_stay_what_they_are() -> None:
    tenant = TenantView("acme", (PAUSED, Notice("a")), (RouteView("acme"),), (("Process", "4711 is at work"),))
    ids = seen(view(job(), job("running", job="j2"), tenants=(tenant,))).values("id")
    assert {"main", "verdict", "notices", "jobs-now", "routes", "jobs-ended", "client-1", "live", "announced"} <= {*ids}


def test_nothing_is_taken_for_markup_and_nothing_turns_a_line_around() -> None:
    text = HOSTILE + "\u202e\x1b[2J\nz"
    line = job("failed", job=text, export=text, route=text, error=text)
    running = job("running", job=text + "2", export=text, route=text, waits_for=(text,))
    route = RouteView(text, text, text, days_with(), line, (text,))
    tenant = TenantView(text, (Notice(text, text, is_urgent=True), Notice(text, text)), (route,), ((text, text),))
    page = seen(OverviewView(NOW, text, (tenant,), (running, line)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"img"})
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "".join(page.texts).count(HOSTILE) >= 10
    assert all(each.isprintable() for each in page.page.split("\n"))


def test_a_thousand_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = view(*(job(job=f"j{number}") for number in range(1_000)))
    overview_page(shown)
    began = time.perf_counter()
    page = overview_page(shown)
    took = time.perf_counter() - began
    with capsys.disabled():
        print(f" a page of 1,000 jobs takes {1_000 * took:.0f} ms")
    assert len(Seen(page).tables[-1]) == 1_001
