"""Notifications: what their bodies hold, in which words, and how they are signed."""

import hashlib
import hmac
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.report import Report, ReportedExport, ReportedRejects
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts
from pipeline.core.notifications.notification import Notification
from pipeline.core.notifications.signature import signature
from pipeline.core.notifications.wording import in_chats, of_job, of_overdue, of_pause


def report(state: Any = "done", name: str = "a.csv", error: str | None = None, **rows: int) -> Report:
    return Report(
        job="20261130T021400Z-a-3f2a",
        state=state,
        error=error,
        exit_code=ExitCode.DONE if state == "done" else ExitCode.ROWS_LOST,
        export=ReportedExport(name=name, rows=10),
        client_code="acme",
        finished_at="2026-11-30T02:31:07+00:00",
        rows=RowCounts(read=10, **rows),
        rejects=ReportedRejects(by_reason={"local.empty_id": rows.get("rejected", 0)}),
    )


class TestOfJobs:
    def test_the_body_has_all_facts(self) -> None:
        told = orjson.loads(Notification.of_job(report(confirmed=9, rejected=1), "eu").body("json", "1.2.3"))
        assert list(told) == ["id", "event", "at", "client_code", "route", "text", "job", "version"]
        assert (told["id"], told["event"], told["route"]) == ("20261130T021400Z-a-3f2a-done", "done", "eu")
        assert told["at"] == "2026-11-30T02:31:07+00:00"
        assert told["job"]["rows"]["confirmed"] == 9
        assert told["job"]["rejects"] == {"local.empty_id": 1}

    @pytest.mark.parametrize(
        ("told", "text"),
        [
            (report(confirmed=9, rejected=1), "acme: done: a.csv, 10 rows read, 9 confirmed, 1 rejected."),
            (
                report("incomplete", confirmed=8, failed=1, unconfirmed=1),
                "acme: incomplete: a.csv, 10 rows read, 8 confirmed, 1 failed, 1 unconfirmed. `profile-pipeline retry "
                "20261130T021400Z-a-3f2a` sends the failed and unconfirmed ones again.",
            ),
            (report("failed", error="no column id."), "acme: failed: a.csv: no column id."),
            (report("quarantined", error="too few rows."), "acme: quarantined: a.csv: too few rows."),
        ],
    )
    def test_in_words(self, told: Report, text: str) -> None:
        assert of_job(told, "default") == text
        assert of_job(told, "eu") == text.replace("acme", "acme, route eu", 1)

    def test_one_that_is_quarantined_has_not_ended(self) -> None:
        assert Notification.of_job(report("failed"), "eu").job
        assert not Notification.of_job(report("quarantined"), "eu").job

    def test_a_text_is_cut(self) -> None:
        assert len(of_job(report("failed", error="x" * 5_000), "default")) == 1_503


class TestInChats:
    def test_a_name_is_no_markup_and_calls_nobody(self) -> None:
        name = "<!channel> @here <https://evil.example|a.csv>\n\u202e&.csv"
        body = Notification.of_job(report(name=name), "default").body("text", "1")
        (text,) = orjson.loads(body).values()
        assert not set("<>@\n\u202e") & set(text)
        assert "&lt;!channel&gt; (at)here" in text

    @given(st.text())
    def test_no_text_is(self, text: str) -> None:
        assert not set("<>@") & set(in_chats(text))

    @given(st.text())
    def test_no_text_of_others_turns_a_line(self, text: str) -> None:
        assert of_pause("acme", "now", text).isprintable()
        assert of_overdue("acme", "eu", "05:00", text).isprintable()


def test_it_survives_the_outbox() -> None:
    notification = Notification.of_job(report(confirmed=10), "eu")
    assert Notification.from_json(orjson.loads(orjson.dumps(asdict(notification)))) == notification


@pytest.mark.parametrize("values", [{}, {"id": 1}, {**asdict(Notification.of_job(report(), "a")), "facts": "x"}])
def test_what_is_none(values: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Notification.from_json(values)


@given(st.binary(min_size=1), st.integers(0, 2**40), st.binary())
def test_the_signature_is_that_of_time_and_body(secret: bytes, at_s: int, body: bytes) -> None:
    expected = hmac.new(secret, str(at_s).encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signature(secret, at_s, body) == f"t={at_s},v1={expected}"
