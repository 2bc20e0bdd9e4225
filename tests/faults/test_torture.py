"""A share of `make torture`: a few campaigns once; its table stands at the end of what pytest says."""

import io
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from tests.tools.drawn import SEED, share
from tests.tools.faults.tally import Tally
from tests.tools.torture.__main__ import Row, left_out, summary_of, table_of
from tests.tools.torture.campaigns import CAMPAIGNS, Campaign
from tests.tools.torture.one import named

#: A run of these takes too long, or is judged by its time.
LONG = {"mends", "fuzz", "hostile exports"}
#: So many of the others, and each time others: what they do has tests of its own beside this one.
SHARE = 3


def test_a_share_of_all_campaigns(record_property: Callable[[str, object], None]) -> None:
    names = share([each.name for each in CAMPAIGNS if each.name not in LONG], SHARE)
    command = [sys.executable, "-m", "tests.tools.torture", *names, "--runs", "1", "--seed", str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}, check=False)
    _, _, table = done.stdout.partition("faults and attacks")
    record_property("summary", f"faults and attacks{table}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in table for name in names)


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_each_campaign_is_there(campaign: Campaign) -> None:
    assert all(callable(named(each)) for each in (campaign.run, campaign.most, campaign.why_not) if each)


def test_what_must_be_0_is_seen_and_told_how_to_run_again() -> None:
    row = Row(CAMPAIGNS[0])
    row.note({"seed": 7, "tally": {"runs": 1, "rows": 1_000_000, "lost": 12}, "error": "lost: u1"})
    row.note({"seed": 8, "tally": {"runs": 1, "rows": 1_000_000, "refused": 1}, "error": ""})
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table_of([row]), summary_of([row], 7, 1.0))
    said = console.export_text()
    assert row.tally == Tally(runs=2, rows=2_000_000, lost=12, refused=1)
    assert row.broken == ["lost: u1\n  again: python -m tests.tools.torture 'kills of loads' --seed 7 --runs 1"]
    assert "2,000,000" in said
    assert "12 that must be 0" in said
    assert max(map(len, said.splitlines())) <= 100


def test_the_table_fits_whatever_is_in_it() -> None:
    rows = [Row(campaign, seconds=9_999.0, state="done") for campaign in CAMPAIGNS]
    rows[0].tally = Tally(
        runs=99_999, rows=9_999_999, lost=1, broken=1, refused=9_999, blocked_ms=120, events=9_999_999
    )
    rows[1].why_not = rows[2].why_not = "strace is not installed"
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table_of(rows))
    said = console.export_text()
    assert "…" not in said
    assert f"{CAMPAIGNS[1].name} " in said
    assert left_out(rows) == [f"left out, since strace is not installed: {CAMPAIGNS[1].name}, {CAMPAIGNS[2].name}"]
