"""docs/notifications.md tells the truth: its examples are what is sent, and its code verifies what is signed."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline import __version__
from pipeline.core.batches.report import Report, ReportedExport
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts
from pipeline.core.notifications.events import EVENTS
from pipeline.core.notifications.notification import Notification
from pipeline.core.notifications.signature import signature
from pipeline.edges.notify.told_file import ToldOf
from pipeline.edges.store.notices import HoldUps, Pause
from pipeline.jobs.status.expected import OverdueExport
from pipeline.service.conditions import conditions_of, recovery_of
from pipeline.settings.settings import load_settings
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "notifications.md").read_text()
JOB = "20261130T021400Z-customers-3f2a"
#: The moment of which an example tells.
NOW = {
    "paused": "2026-11-30T02:14:02+00:00",
    "overdue": "2026-11-30T04:00:01+00:00",
    "recovered": "2026-11-30T06:12:30+00:00",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE)


EXAMPLES = {example["event"]: example for example in map(orjson.loads, blocks("json"))}


def tenant() -> Tenant:
    overrides: dict[str, Any] = {
        "target": {"client_code": "acme"},
        "export": {"id_column": "id"},
        "state": {"directory": "state"},
        "drop": {"directory": "drop"},
        "notify": {"webhook": "https://ops.example.com/hook"},
        "expect": {"by": "05:00", "time_zone": "Europe/Berlin"},
    }
    settings = load_settings(None, env={}, overrides=overrides)
    return Tenant({DEFAULT_ROUTE: settings, "crm-eu": settings}, Path("state"))


def of_job() -> Notification:
    report = Report(
        job=JOB,
        state="incomplete",
        exit_code=ExitCode.ROWS_LOST,
        export=ReportedExport(name="customers.csv"),
        client_code="acme",
        started_at="2026-11-30T02:14:00+00:00",
        finished_at="2026-11-30T02:31:07+00:00",
        seconds=1027.0,
        rows=RowCounts(read=120_000, confirmed=119_200, failed=800),
    )
    return Notification.of_job(report, "crm-eu")


def of_condition(event: str) -> Notification:
    now = datetime.fromisoformat(NOW[event])
    if event == "recovered":
        (made,) = recovery_of(tenant(), ToldOf("2026-11-30", "2026-11-30T04:00:00+00:00", "crm-eu"), now)
        return made
    due = "2026-11-30T04:00:00+00:00"
    late = OverdueExport("crm-eu", "2026-11-30", due, "2026-11-30 05:00 (Europe/Berlin)", "none has come")
    pause = Pause(77, "Target refused the token.", "2026-11-30T02:14:00+00:00", JOB)
    held = conditions_of(tenant(), pause, HoldUps(), (late,), now)
    (made,) = held["paused" if event == "paused" else "overdue crm-eu"].notifications(tenant(), now)
    return made


def sent(event: str) -> Any:
    notification = of_job() if event == "incomplete" else of_condition(event)
    return orjson.loads(notification.body("json", EXAMPLES[event]["version"]))


@pytest.mark.parametrize("event", EXAMPLES)
def test_examples_are_what_is_sent(event: str) -> None:
    assert sent(event) == EXAMPLES[event]
    assert list(sent(event)) == list(EXAMPLES[event])


def test_there_is_one_for_each_kind_of_body() -> None:
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| .* \| `(\w+)` \|$", PAGE))
    assert set(rows) == set(EVENTS)
    for event, key in rows.items():
        assert any(key in example for example in EXAMPLES.values()), event
    for event, example in EXAMPLES.items():
        assert rows[event] in example


def test_keys_of_every_body_are_listed() -> None:
    _, _, table = PAGE.partition("| key | what it is |\n|---|---|\n")
    listed = re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| (.*?) \|", table.partition("\n\n")[0])))
    assert set(listed) == set.intersection(*(set(example) for example in EXAMPLES.values()))


def is_ours() -> Callable[[bytes, str, bytes], bool]:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) <= 6
    found: dict[str, Any] = {}
    exec(code, found)
    verify: Callable[[bytes, str, bytes], bool] = found["is_ours"]
    return verify


class TestVerifying:
    SECRET, BODY = b"0123456789abcdef", b'{"event":"failed"}'

    def test_what_is_ours(self) -> None:
        now = int(datetime.now(UTC).timestamp())
        assert is_ours()(self.SECRET, signature(self.SECRET, now, self.BODY), self.BODY)

    @pytest.mark.parametrize(
        ("secret", "age_s", "body"),
        [(b"another", 0, BODY), (SECRET, 0, b'{"event":"done"}'), (SECRET, 301, BODY), (SECRET, -310, BODY)],
    )
    def test_what_is_not(self, secret: bytes, age_s: int, body: bytes) -> None:
        at = int(datetime.now(UTC).timestamp()) - age_s
        assert not is_ours()(self.SECRET, signature(secret, at, self.BODY), body)

    def test_an_old_one_with_a_new_time(self) -> None:
        now = int(datetime.now(UTC).timestamp())
        old = signature(self.SECRET, now - 3_600, self.BODY).partition(",")[2]
        assert not is_ours()(self.SECRET, f"t={now},{old}", self.BODY)


def test_the_version_of_examples_is_one() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", example["version"]) for example in EXAMPLES.values())
    assert re.match(r"\d+\.\d+", __version__)


def test_the_configuration_on_the_page_can_be_read(tmp_path: Path) -> None:
    (toml,) = blocks("toml")
    file = tmp_path / "config.toml"
    file.write_text(f'[target]\nclient_code = "a"\n[export]\nid_column = "id"\n[state]\ndirectory = "s"\n{toml}')
    settings = load_settings(file, env={})
    assert settings.expect.expectation is not None
    assert replace(settings.expect.expectation, by=300) == settings.expect.expectation
    assert settings.notify.is_used
