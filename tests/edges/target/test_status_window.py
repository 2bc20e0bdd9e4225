"""What `status` tells of how many statuses Target keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.cli.print_status import print_status
from pipeline.core.target.status_memory import Learned
from pipeline.edges.store.ledger import Ledger, open_ledger
from pipeline.jobs.status.tenant import status
from tests.tools.support import CLOSED, settings_for

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FAILED_AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@contextmanager
def ledger_with(directory: Path, learned: Learned) -> Iterator[Ledger]:
    ledger = open_ledger(directory / "ledger.db", "demo", NOW.isoformat, is_new=True)
    try:
        if learned != Learned():
            ledger.remember_statuses(learned)
        yield ledger
    finally:
        ledger.close()


def told(directory: Path, learned: Learned, window: object = "auto") -> tuple[dict[str, Any], str]:
    """The status window as told to programs, and all that people read."""
    settings = settings_for(CLOSED, directory, settle={"status_window": window})
    with ledger_with(directory, learned) as ledger:
        known = status(ledger, None, settings, NOW, None)
    screen = StringIO()
    print_status(known, Console(file=screen, width=200))
    return dict(known.as_json()["status_window"]), screen.getvalue()


@pytest.mark.parametrize(
    ("learned", "window", "lines"),
    [
        (Learned(), {"size": 10, "is_learned": False, "more_failed_at": None}, []),
        (
            Learned(40),
            {"size": 40, "is_learned": True, "more_failed_at": None},
            ["Target keeps at least 40 statuses: so many batches may be under way."],
        ),
        (
            Learned(10, FAILED_AT),
            {"size": 10, "is_learned": False, "more_failed_at": "2026-11-23T09:30:00+00:00"},
            ["More than 10 did not hold on 2026-11-23 09:30 UTC; they are tried a day later."],
        ),
        (
            Learned(20, FAILED_AT),
            {"size": 20, "is_learned": True, "more_failed_at": "2026-11-23T09:30:00+00:00"},
            [
                "Target keeps at least 20 statuses: so many batches may be under way.",
                "More than 20 did not hold on 2026-11-23 09:30 UTC; they are tried a day later.",
            ],
        ),
    ],
)
def test_what_was_learned(tmp_path: Path, learned: Learned, window: dict[str, object], lines: list[str]) -> None:
    known, screen = told(tmp_path, learned)
    assert known == window
    assert screen.splitlines()[1:] == [*lines, "No job yet."]


def test_a_fixed_window(tmp_path: Path) -> None:
    """Whatever was learned when it was not fixed."""
    known, screen = told(tmp_path, Learned(40, FAILED_AT), 25)
    assert known == {"size": 25, "is_learned": False, "more_failed_at": None}
    assert screen.splitlines()[1:] == ["No job yet."]


def test_where_nothing_was_ever_loaded(tmp_path: Path) -> None:
    known = status(None, None, settings_for(CLOSED, tmp_path), NOW, None)
    assert known.as_json()["status_window"] == {"size": 10, "is_learned": False, "more_failed_at": None}
