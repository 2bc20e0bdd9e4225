"""The page of a report: what it says, that its numbers add up, and that nothing in it is taken for markup."""

from copy import deepcopy
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.report import Report
from pipeline.core.model import Reason
from pipeline.edges.views.job_view import JobView, happened
from pipeline.edges.views.page import MAX_BATCHES, render
from pipeline.edges.views.wording import MEANINGS, REASONS, STATES
from pipeline.jobs.report import page_of
from tests.edges.views.pages import Seen, what_is_wrong
from tests.edges.views.test_screen import FOLDER
from tests.edges.views.test_screen import REPORT as PRINTED

REPORT: dict[str, Any] = {
    **PRINTED,
    "version": "0.1.0",
    "columns_sent": ["tier", "ltv"],
    "started_at": "2026-11-23T02:14:00+00:00",
    "finished_at": "2026-11-23T03:35:12+00:00",
}


def report_with(**changes: Any) -> Report:
    """`rows` are all that are not nought."""
    report = deepcopy(REPORT)
    if "rows" in changes:
        rows = dict.fromkeys(MEANINGS, 0) | changes.pop("rows")
        report["rows"] = {"read": sum(rows.values()), **rows}
    return Report.from_json(report | changes)


def seen(folder: Path = FOLDER, **changes: Any) -> Seen:
    page = render(report_with(**changes), folder)
    assert what_is_wrong(page) == []
    return Seen(page)


LOSSY = {"confirmed": 1_000, "superseded": 20, "rejected": 7, "empty": 3, "failed": 2, "unconfirmed": 1}


def test_numbers_add_up() -> None:
    classes, *_ = seen(rows=LOSSY).tables
    counted = {row[0]: int(row[1].replace(",", "")) for row in classes[1:]}
    total = counted.pop("read")
    assert counted == {name: LOSSY.get(name, 0) for name in MEANINGS if name != "pending"}
    assert total == sum(counted.values()) == 1_033


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "All is well: Target applied all 1,234,567 rows."),
        ({"rows": {"confirmed": 9, "superseded": 2}}, "All is well: Target applied 9 of 11 rows, 2 needed no sending."),
        ({"rows": {"confirmed": 2, "unchanged": 9}}, "All is well: Target applied 2 of 11 rows, 9 said nothing new."),
        ({"rows": {"confirmed": 1}}, "All is well: Target applied all 1 row."),
        (
            {"rows": LOSSY},
            "Target applied 1,000 of 1,033 rows, 23 needed no sending, 7 have a mistake and were not sent, "
            "3 may not have arrived.",
        ),
        ({"rows": {"confirmed": 1, "rejected": 1}}, "Target applied 1 of 2 rows, 1 has a mistake and was not sent."),
        ({"rows": {}}, "This export has a header and no rows, so there was nothing to send."),
        (
            {"state": "failed", "rows": {"confirmed": 5, "unsent": 5}},
            "This export could not be used: of 10 rows read, Target applied 5.",
        ),
        ({"target": "sandbox"}, "All is well: The sandbox applied all 1,234,567 rows."),
        ({"state": "failed", "rows": {}}, "This export could not be used: not a row of it was read."),
        (
            {"state": "unfinished", "rows": {}},
            "This load was stopped before a row was read. The next run goes on with it.",
        ),
        (
            {"state": "unfinished", "rows": {"confirmed": 2, "pending": 1}},
            "Target applied 2 of 3 rows, 1 is on its way. The next run goes on with it.",
        ),
        (
            {"state": "skipped", "rows": {"unsent": 4}},
            "This was a trial: 4 rows were read and checked, and nothing was sent to Target.",
        ),
    ],
)
def test_what_happened(changes: dict[str, Any], told: str) -> None:
    report = report_with(**changes)
    assert happened(JobView(report, report.state)) == told
    assert told in seen(**changes).text


def test_what_to_do(tmp_path: Path) -> None:
    assert "There is nothing to do." in seen().text
    (tmp_path / "failed.jsonl").touch()
    page = seen(tmp_path, state="incomplete", rows=LOSSY)
    assert "Mend the rejected rows at their source; rejects.jsonl has line and reason of each." in page.text
    assert f"profile-pipeline retry {REPORT['job']} --config FILE" in page.texts, "as it is to be typed"
    assert {"href": "failed.jsonl"} in [attributes for tag, attributes in page.tags if tag == "a"]
    failed = seen(state="failed", error="column 'email' is not listed.", rows={})
    assert "column 'email' is not listed." in failed.text
    assert "Remove the cause, then load or drop the export anew." in failed.text


def test_every_state_and_every_reason_has_words() -> None:
    for state, words in STATES.items():
        assert words in seen(state=state).text
    reasons = [*(reason.value for reason in Reason), TARGET_REFUSED]
    assert set(REASONS) == set(reasons)
    page = seen(rejects={"file": "rejects.jsonl", "by_reason": dict.fromkeys(reasons, 1_001)})
    assert [row[:2] for row in page.tables[1][1:]] == [[f"{REASONS[reason]}{reason}", "1,001"] for reason in reasons]


def test_shares_show_none_as_none_and_all_as_all_only() -> None:
    classes, *_ = seen(rows={"confirmed": 1_000_000, "failed": 1}).tables
    assert {row[0]: row[2] for row in classes[1:]} == {
        **dict.fromkeys(
            ("superseded", "unchanged", "excluded", "rejected", "empty", "unconfirmed", "unsent", "read"), ""
        ),
        "confirmed": "99.9 %",
        "failed": "< 0.1 %",
    }


def test_times() -> None:
    text = seen().text
    assert "Began 23 November 2026, 02:14:00 UTC" in text
    assert "Ended 23 November 2026, 03:35:12 UTC, after 1 h 21 min" in text
    assert "Worked on for 20 min 34 s" in text, "in all of its runs"
    for ended, told in (("02:14:59", "59 s"), ("02:16:01", "2 min 1 s")):
        assert f"after {told} " in seen(finished_at=f"2026-11-23T{ended}+00:00").text
    assert "after 2 d 1 h" in seen(finished_at="2026-11-25T03:35:12+00:00").text


def test_of_many_batches_those_with_trouble_come_first() -> None:
    def batch(number: int, **facts: Any) -> dict[str, Any]:
        return {"number": number, "rows": 7, "bytes": 1_234_567, "attempts": 1, "state": "complete", **facts}

    batches = [batch(number) for number in range(1, 2 * MAX_BATCHES)]
    batches.append(batch(2 * MAX_BATCHES, state="unconfirmed", why="lost"))
    page = seen(rows={"confirmed": 1_393, "unconfirmed": 7}, batches=batches)
    listed = page.tables[-1][1:]
    assert len(listed) == MAX_BATCHES
    assert listed[0] == ["200", "7", "1.2 MB", "1", "unconfirmedlost"]
    assert listed[1][0] == "1"
    assert "100 more are in report.json." in page.text


HOSTILE = "\"><script>alert('1')</script><img src=x onerror=a()>&amp;{{ 7 * 7 }}{% raw %}"


def test_nothing_is_taken_for_markup() -> None:
    page = seen(
        state="failed",
        error=HOSTILE,
        client_code=HOSTILE,
        columns_sent=[HOSTILE],
        version=HOSTILE,
        export={"name": HOSTILE, "bytes": 1, "sha256": HOSTILE, "rows": 1},
        warnings={"empty_cells": {HOSTILE: 1}},
        rejects={"file": "rejects.jsonl", "by_reason": {HOSTILE: 1}},
        batches=[{"number": 1, "rows": 1, "bytes": 1, "attempts": 1, "state": "failed", "why": HOSTILE}],
        job=HOSTILE,
    )
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert "".join(page.texts).count(HOSTILE) >= 10, "shown as it is everywhere"


def test_names_of_exports_are_one_line_that_reads_as_it_is_written() -> None:
    name = "customers\u202evsc.\n\x00\udcff" + "x" * 500
    text = seen(export={"name": name, "bytes": 1, "sha256": "", "rows": 1}).text
    assert r"customers\u202evsc.\n\x00\udcff" in text
    assert "x" * 300 not in text


def test_nothing_on_the_page_turns_a_line_around() -> None:
    told = "a\x1b[2J\u202eb\x9bc\u200bd"
    export = {"name": told, "bytes": 1, "rows": 0}
    page = render(report_with(error=told, export=export, columns_sent=[told], target=told, state="failed"), FOLDER)
    assert all(line.isprintable() for line in page.split("\n"))
    assert page.count("\\u202e") >= 4


def test_it_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "failed.jsonl").touch()
    page = render(
        report_with(rows=LOSSY, rejects={"file": "rejects.jsonl", "by_reason": {"local.empty_id": 7}}), tmp_path
    )
    assert what_is_wrong(page) == []
    tags = Seen(page).tags
    assert not [tag for tag, _ in tags if tag == "script"]
    links = {attributes["href"] or "" for tag, attributes in tags if "href" in attributes and tag != "use"}
    assert {link for link in links if not link.startswith("data:image/svg+xml,")} == {"rejects.jsonl", "failed.jsonl"}
    assert "default-src 'none'" in unescape(page)
    assert "script-src" not in page
    assert "prefers-color-scheme: dark" in page
    assert not [loading for loading in ("@import", "http://", "https://") if loading in page]


def test_a_page_that_cannot_be_made_does_no_harm(tmp_path: Path) -> None:
    report = report_with()
    assert page_of(report, tmp_path) == render(report, tmp_path)
    with capture_logs() as logs:
        assert page_of(replace(report, started_at=""), tmp_path) is None
    assert [said["event"] for said in logs] == ["report_page_not_made"]
