"""Answers about the address or the way to it, and never about the rows: no row is blamed for them."""

from pathlib import Path

import pytest
from aiohttp import web

from tests.faults.test_answers import COMPLETE, load

PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body></body></html>"
HALF_A_PAGE = "<html><body>Service temporarily"


def complete(number: int) -> web.Response:
    return web.Response(text=COMPLETE.format(counts=""))


@pytest.mark.parametrize("status", [302, 307, 404, 407, 415, 421, 451])
def test_an_address_that_takes_nothing_is_known_by_its_first_answer(tmp_path: Path, status: int) -> None:
    report, _, posts = load(tmp_path, lambda number: web.Response(status=status, headers={"Location": "/elsewhere"}))
    assert (report["exit_code"], posts) == (77, 1)
    assert f"HTTP {status}" in report["error"]
    assert report["rows"]["rejected"] == 0


def test_a_web_page_in_place_of_the_first_answer_ends_the_run_within_a_call(tmp_path: Path) -> None:
    report, _, posts = load(tmp_path, lambda number: web.Response(text=PAGE, content_type="text/html"))
    assert (report["exit_code"], posts) == (77, 1)
    assert "HTTP 200 with a web page" in report["error"]
    assert report["rows"]["pending"] == 6


@pytest.mark.parametrize("status", [302, 407])
def test_a_detour_in_the_middle_of_a_load_rejects_no_row(tmp_path: Path, status: int) -> None:
    """One row a batch: each is refused as often as a poisonous one would be, with acceptances in between."""

    def post(number: int) -> web.Response | None:
        return web.Response(status=status, headers={"Location": "/login"}) if number in (2, 3, 5) else None

    report, _, posts = load(tmp_path, post, complete, batch={"max_rows": 1})
    assert report["exit_code"] == 0, report["error"]
    assert (report["rows"]["confirmed"], report["rows"]["rejected"]) == (6, 0)
    assert posts == 6 + 3


def test_a_web_page_behind_an_acceptance_is_an_answer_like_no_other(tmp_path: Path) -> None:
    """Target was there before: whatever sends pages now may have passed the batch on."""

    def post(number: int) -> web.Response | None:
        return web.Response(text=PAGE, content_type="text/html") if number == 2 else None

    report, _, posts = load(tmp_path, post, complete, batch={"max_rows": 3})
    assert (report["exit_code"], report["rows"]["confirmed"], posts) == (0, 6, 3)


def test_half_a_page_is_no_page(tmp_path: Path) -> None:
    def post(number: int) -> web.Response | None:
        return web.Response(text=HALF_A_PAGE, content_type="text/html") if number == 1 else None

    report, _, posts = load(tmp_path, post, complete)
    assert (report["exit_code"], report["rows"]["confirmed"], posts) == (0, 6, 2)


@pytest.mark.parametrize("count", ["-1", "6.0", "six", "9" * 15])
def test_counts_that_stay_unreadable_settle_the_batch_as_unconfirmed(tmp_path: Path, count: str) -> None:
    """The deadline of a day is not waited for: the batch is complete, and says nothing of its rows."""
    asked = []

    def status(number: int) -> web.Response:
        asked.append(number)
        return web.Response(text=COMPLETE.format(counts=f"<successfulUpdates>{count}</successfulUpdates>"))

    report, logs, _ = load(tmp_path, None, status)
    assert report["exit_code"] == 76
    assert report["rows"]["unconfirmed"] == 6
    assert len(asked) == 4
    (said,) = [event for event in logs if event["event"] == "counts_not_readable"]
    assert said["why"] == "complete, but successfulUpdates is no count"


def test_counts_that_can_be_read_later_count(tmp_path: Path) -> None:
    def status(number: int) -> web.Response:
        count = "-1" if number < 3 else "6"
        return web.Response(text=COMPLETE.format(counts=f"<successfulUpdates>{count}</successfulUpdates>"))

    report, _, _ = load(tmp_path, None, status)
    assert (report["exit_code"], report["rows"]["confirmed"]) == (0, 6)
