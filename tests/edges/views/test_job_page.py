"""The page of a job that runs, waits, is stopped or quarantined: what it says, and what there is to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.core.batches.report import LastRun, Report, ReportedBatch, ReportedExport, ReportedPart, ReportedRejects
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts
from pipeline.edges.views.batch_track import BatchTrack, Doing, Span
from pipeline.edges.views.frame import Site
from pipeline.edges.views.job_view import JobView
from pipeline.edges.views.page import job_page
from tests.edges.views.pages import Seen, what_is_wrong

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
JOB = "20261123T090000Z-customers-3f2a"
ROWS = RowCounts(read=9_000, confirmed=5_000, superseded=20, rejected=7, pending=3_973)
HOSTILE = "\"><script>alert('1')</script><img src=x onerror=a()>&amp;{{ 7 * 7 }}{% raw %}"


def minute(number: float) -> datetime:
    return NINE + timedelta(minutes=number)


def view(
    state: str = "running", *, rows: RowCounts = ROWS, tracks: tuple[BatchTrack, ...] = (), **changes: Any
) -> JobView:
    """A job a quarter of an hour after it was entered; `changes` of the view, or of its report."""
    of_report = {name: changes.pop(name) for name in [*changes] if name in Report.__dataclass_fields__}
    report = Report(
        job=JOB,
        state="unfinished",
        export=ReportedExport("customers.csv", 1_000_000, "", rows.read),
        client_code="acme",
        started_at=NINE.isoformat(),
        finished_at=minute(15).isoformat(),
        rows=rows,
    )
    return JobView(replace(report, **of_report), state, tracks, **changes)


def seen(job: JobView, *, is_live: bool = True) -> Seen:
    page = job_page(job, Site(is_overview=False) if is_live else None)
    assert what_is_wrong(page) == []
    return Seen(page)


def test_a_running_job() -> None:
    waits = ("Target to apply 1 batch, the oldest accepted 2 min ago", "3 batches to be sent")
    page = seen(view(waits_for=waits, route="crm", read_to_line=9_001, read_bytes=250_000, export_bytes=1_000_000))
    assert "customers.csv: running" in page.text
    assert "Adobe Target, client acme · route crm · entered 23 November 2026, 09:00:00 UTC, 15 min ago" in page.text
    assert "Target has applied 5,000 of 9,000 rows read so far, 3,973 are on the way." in page.text
    assert "It waits for Target to apply 1 batch, the oldest accepted 2 min ago 3 batches to be sent" in page.text
    assert "It is read up to line 9,001, 25 % of the file." in page.text
    assert "pending" in page.text
    assert "next run" not in page.text, "this one goes on"
    assert "nothing to do" not in page.text
    assert "Ended" not in page.text


@pytest.mark.parametrize(
    ("state", "told"),
    [("running", "No row of it is read yet."), ("waiting", "It has not begun: it waits.")],
)
def test_a_job_that_has_read_nothing(state: str, told: str) -> None:
    page = seen(view(state, rows=RowCounts()))
    assert told in page.text
    assert not [tag for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]


def test_a_job_that_lost_rows_says_so_while_it_runs() -> None:
    rows = RowCounts(read=10, confirmed=6, failed=1, unconfirmed=2, pending=1)
    assert "6 of 10 rows read so far, 1 is on the way, 3 may not have arrived." in seen(view(rows=rows)).text


def test_a_quarantined_job_says_why_and_which_commands_there_are() -> None:
    error = "4,000 rows, 60 % fewer than usual; max_rows_change allows 30 %."
    page = seen(view("quarantined", error=error))
    assert "customers.csv: in quarantine, nothing sent" in page.text
    assert "Nothing of this export was sent" in page.text
    assert error in page.text
    assert f"profile-pipeline approve {JOB} --config FILE" in page.texts, "as it is to be typed"
    assert f"profile-pipeline abandon {JOB} --config FILE" in page.texts


def test_a_job_that_nobody_is_at_says_what_goes_on_with_it() -> None:
    page = seen(view("unfinished"))
    assert "profile-pipeline serve --config FILE" in page.texts
    assert "Remove the cause" not in page.text
    last = LastRun("2026-11-23T09:14:00+00:00", ExitCode.REFUSED_BY_TARGET, "the token is refused")
    page = seen(view("unfinished", last_run=last))
    assert "Its run ended unfinished at 2026-11-23 09:14:00 UTC (exit code 77): the token is refused" in page.text
    assert "Remove the cause, then profile-pipeline serve --config FILE goes on with it" in page.text


def test_a_job_that_only_ends() -> None:
    page = seen(view(is_abandoned=True, set_aside="KeyError in placer.py"))
    assert "It is abandoned: what Target may have is followed to its end" in page.text
    assert "It was set aside, so it is only followed to its end: KeyError in placer.py" in page.text


def track(number: int, state: str = "complete", *, settled: float | None = 5) -> BatchTrack:
    ended = None if settled is None else minute(settled)
    spans = (Span(Doing.SENDING, minute(0), minute(1)), Span(Doing.APPLYING, minute(1), ended))
    return BatchTrack(number, 1_000, 99_000, state, spans, 1_000 if state == "complete" else 0, 1, ended)


def test_batches_over_time() -> None:
    tracks = (track(1), track(2, "failed"), track(3, "accepted", settled=None), BatchTrack(4, 5, 9, "sealed"))
    settled = (
        ReportedBatch(1, 1_000, 99_000, state="complete"),
        ReportedBatch(2, 1_000, 99_000, state="failed", why="no"),
    )
    page = seen(view(tracks=tracks, batches=settled))
    rows = {row[0]: row for row in page.tables[-1][1:]}
    assert list(rows) == ["2", "1", "3", "4"], "those with trouble come first"
    assert rows["1"][4:] == ["09:00:00 – 09:05:00", "complete"]
    assert rows["2"][5] == "failedno"
    assert rows["3"][4:] == ["09:00:00", "is being applied"]
    assert rows["4"][4:] == ["", "waits to be sent"]
    words = "3 batches sent from 23 November 2026, 09:00:00 UTC on, 2 settled, within 15 min 0 s; 67 rows a minute"
    assert words in page.text
    assert "Rows confirmed: 67 rows a minute" in page.text


def test_where_rejects_began() -> None:
    rejects = ReportedRejects(
        by_reason={"local.empty_id": 1_204, "target.refused": 1}, first_lines={"local.empty_id": 12_345}
    )
    page = seen(view(rejects=rejects, folder="/state/jobs/j"))
    (table,) = [table for table in page.tables if "What is wrong" in table[0]]
    assert table[1:] == [
        ["no idlocal.empty_id", "1,204", "line 12,345"],
        ["refused by Targettarget.refused", "1", ""],
    ]
    assert "/state/jobs/j" in page.texts, "a live page does not give away what is personal"
    assert not [href for href in page.values("href") if "rejects" in href]
    by_part = replace(rejects, first_parts={"local.empty_id": "part-1.csv"})
    assert "line 12,345 of part-1.csv" in seen(view(rejects=by_part)).text


def test_parts_and_warnings() -> None:
    parts = tuple(ReportedPart(f"part-{number}.csv", 1_234_567, 1_000) for number in range(3))
    warnings: dict[str, Any] = {
        "ids_trimmed": 1_204,
        "first_lines": {"ids_trimmed": 44},
        "first_parts": {"ids_trimmed": "part-1.csv"},
    }
    page = seen(view(parts=parts, warnings=warnings))
    assert "3 files, read in this order" in page.text
    assert ["part-2.csv", "1,000", "1.2 MB"] in page.tables[-1]
    assert "1,204 ids were trimmed" in page.text
    assert "first on line 44 of part-1.csv" in page.text


def test_a_live_page_listens_and_a_report_does_not() -> None:
    page = seen(view())
    (body,) = [attributes for tag, attributes in page.tags if tag == "body"]
    assert body == {"data-events": "../events", "data-at": "23 November 2026, 09:15:00 UTC"}
    assert "As of 23 November 2026, 09:15:00 UTC" in page.text
    assert {"main", "verdict", "now", "rows", "facts", "live", "announced"} <= {
        *seen(view(waits_for=("a",))).values("id")
    }
    (body,) = [attributes for tag, attributes in seen(view(), is_live=False).tags if tag == "body"]
    assert body == {}


def test_nothing_is_taken_for_markup_and_nothing_turns_a_line_around() -> None:
    told = HOSTILE + "\u202e\x1b[2J\nz"
    page = seen(
        view(
            client_code=told,
            error=told,
            columns_sent=(told,),
            export=ReportedExport(told),
            parts=(ReportedPart(told),),
            rejects=ReportedRejects(told, {told: 1}, {told: 2}, {told: told}),
            warnings={"empty_cells": {told: 1}},
            batches=(ReportedBatch(1, 1, 1, state=told, why=told),),
            version=told,
            route=told,
            folder=told,
            waits_for=(told, f"`{told}`"),
            last_run=LastRun("", why=told),
            set_aside=told,
            came_back={told: 1},
        )
    )
    assert {tag for tag, _ in page.tags}.isdisjoint({"img"})
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "".join(page.texts).count(HOSTILE) >= 12
    assert all(line.isprintable() for line in page.page.split("\n"))


def test_what_was_read_back_is_told() -> None:
    text = "".join(seen(view("done", read_back={"equal": 19, "different": 1, "not_read": 0})).texts)
    assert "Ids of a sample, read back from Target" in text
    assert "19 equal, 1 different" in text
    assert "read back" not in "".join(seen(view("done")).texts)


def test_times_that_are_not_known_and_unknown_states_do_no_harm() -> None:
    """As in reports of earlier versions, or of later ones."""
    seen(view("new", batches=(ReportedBatch(1, 1, 1, state="new"),)))
