"""Rows that Target refuses are found by splitting, named with its reason, and keep no other row back."""

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.settings.settings import load_settings
from tests.simulation.virtually import virtually
from tests.tools.faults.loading import check_equation, check_left_over, read_lines, run, run_load, write_config
from tests.tools.faults.refusing import MESSAGE, POISON, RefusingTarget, host_at, refusing
from tests.tools.support import CLOSED

HEADER = "id,tier,ltv"
ROWS = 400
BATCH_ROWS = 100
REFUSED_BY_TARGET = 77
#: Two of them in the first batch, one in the third.
POISONED = (7, 63, 250)


def export_with(poisoned: Iterable[int], *, rows: int = ROWS) -> dict[str, dict[str, str]]:
    """Per id the attributes of an export of which the rows of these numbers are poisonous."""
    bad = set(poisoned)
    return {
        f"u{number}": {"tier": POISON if number in bad else f"t{number}", "ltv": f"{number}"} for number in range(rows)
    }


def write(path: Path, profiles: dict[str, dict[str, str]], *more: str) -> None:
    """The export: line `number + 2` is that of row `number`."""
    lines = [f"{profile_id},{values['tier']},{values['ltv']}" for profile_id, values in profiles.items()]
    path.write_text("\n".join((HEADER, *lines, *more)) + "\n")


def good(profiles: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Those without poison."""
    return {profile_id: values for profile_id, values in profiles.items() if POISON not in values.values()}


def check_rejects(state: Path, report: dict[str, Any], poisoned: Iterable[int]) -> None:
    """Each poisonous row is named once, with its line and with what Target said."""
    rejects = read_lines(state / "jobs" / report["job"] / "rejects.jsonl")
    found = sorted((line["line"], line["reason"], line["id"], line["message"]) for line in rejects)
    assert found == [(number + 2, "target.refused", f"u{number}", MESSAGE) for number in sorted(poisoned)]
    assert all(POISON in line["raw"] for line in rejects)


async def load(
    tmp_path: Path, target: RefusingTarget, *, kills: int = 0, batch_rows: int = BATCH_ROWS, max_rejects: str = "100%"
) -> tuple[int, dict[str, Any]]:
    """Load the export, killed so often while it splits; exit code and report."""
    config = tmp_path / "config.toml"
    write_config(
        config, target.base_url, tmp_path / "state", batch_rows=batch_rows, hold_s=0.5, max_rejects=max_rejects
    )
    draw = random.Random(kills)
    for _ in range(kills):
        refused = target.refused + draw.randrange(1, 6)
        await run_load([tmp_path / "export.csv"], config, kill_when=lambda upto=refused: target.refused >= upto)  # type: ignore[misc]
    host = host_at(target) if target.base_url == CLOSED else Host()
    report = (await load_export(tmp_path / "export.csv", load_settings(config, env={}), host=host)).as_json()
    return report["exit_code"], report


@pytest.mark.parametrize("kills", [0, 1, 2])
async def test_poisoned_rows_are_rejected_and_all_others_confirmed(tmp_path: Path, kills: int) -> None:
    profiles = export_with(POISONED)
    write(tmp_path / "export.csv", profiles)
    async with refusing() as target:
        code, report = await load(tmp_path, target, kills=kills)
        assert code == 0, report
        check_equation(report)
        assert Counter(report["rows"]) == Counter(read=ROWS, confirmed=ROWS - len(POISONED), rejected=len(POISONED))
        check_rejects(tmp_path / "state", report, POISONED)
        assert target.profiles == good(profiles)


@virtually
async def test_a_refused_row_does_not_poison_the_next_one_of_its_id(tmp_path: Path) -> None:
    """The later row is held while the first one is in flight, and carries nothing of it."""
    profiles = export_with([7])
    write(tmp_path / "export.csv", profiles, "u7,,later", "u8,,later")
    target = RefusingTarget()
    code, report = await load(tmp_path, target)
    assert code == 0
    check_equation(report)
    check_rejects(tmp_path / "state", report, [7])
    assert target.profiles["u7"] == {"ltv": "later"}
    assert target.profiles["u8"] == {"tier": "t8", "ltv": "later"}


@virtually
async def test_each_batch_of_a_split_has_a_number_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "export.csv", export_with(POISONED))
    target = RefusingTarget()
    _, report = await load(tmp_path, target)
    numbers = [batch["number"] for batch in report["batches"]]
    assert len(set(numbers)) == len(numbers)


@virtually
async def test_nothing_of_a_split_batch_stays_in_the_spool(tmp_path: Path) -> None:
    write(tmp_path / "export.csv", export_with(POISONED))
    target = RefusingTarget()
    await load(tmp_path, target)
    check_left_over(tmp_path / "state")


@pytest.mark.parametrize("batch_rows", [ROWS, 50])
@pytest.mark.parametrize(
    "poisoned",
    [range(5, ROWS, 25), range(40), range(ROWS - 40, ROWS), range(0, ROWS, 9)],
    ids=["all over", "at the beginning", "at the end", "every ninth"],
)
@virtually
async def test_many_poisoned_rows_are_not_taken_for_a_target_that_refuses_all(
    tmp_path: Path, poisoned: range, batch_rows: int
) -> None:
    profiles = export_with(poisoned)
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    code, report = await load(tmp_path, target, batch_rows=batch_rows)
    rows = report["rows"]
    assert target.profiles == good(profiles)
    assert (rows["confirmed"], rows["rejected"] + rows["failed"]) == (ROWS - len(poisoned), len(poisoned))
    # Where many come last, nothing tells any more that it is them: they have failed, and can be sent again.
    assert code == (76 if rows["failed"] else 0)
    assert rows["rejected"] >= len(poisoned) // 4 or poisoned.step == 1


@virtually
async def test_a_target_that_refuses_everything_stops_the_run_until_it_does_not(tmp_path: Path) -> None:
    profiles = export_with([])
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    target.refuses_all = True
    code, report = await load(tmp_path, target)
    assert code == REFUSED_BY_TARGET
    assert report["state"] == "unfinished"
    assert "Target refuses everything (a message that is not known (" in report["error"]
    assert report["rows"]["rejected"] == report["rows"]["confirmed"] == 0
    check_equation(report)
    target.refuses_all = False
    code, report = await load(tmp_path, target)
    assert code == 0, report
    check_equation(report)
    assert report["rows"]["confirmed"] == ROWS
    check_rejects(tmp_path / "state", report, [])
    assert target.profiles == profiles


@pytest.mark.parametrize("rows", [1, 4])
@virtually
async def test_a_target_that_refuses_everything_of_a_small_export_is_not_taken_for_done(
    tmp_path: Path, rows: int
) -> None:
    """Single rows are reached soon, and wait to be rejected until something tells that it is them."""
    profiles = export_with([], rows=rows)
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    target.refuses_all = True
    code, report = await load(tmp_path, target)
    assert (code, report["state"]) == (REFUSED_BY_TARGET, "unfinished"), report["rows"]
    assert "Target refuses everything (a message that is not known (" in report["error"]
    assert report["rows"]["pending"] == rows
    target.refuses_all = False
    _, report = await load(tmp_path, target)
    assert report["rows"]["confirmed"] == rows


@virtually
async def test_few_requests_tell_that_a_target_refuses_everything(tmp_path: Path) -> None:
    """Batches of many rows are not sent in vain over and over."""
    write(tmp_path / "export.csv", export_with([]))
    target = RefusingTarget()
    target.refuses_all = True
    await load(tmp_path, target)
    assert target.refused <= 15, target.refused_rows
    assert sum(target.refused_rows) <= ROWS // 2, target.refused_rows


@virtually
async def test_a_target_that_begins_to_refuse_everything_costs_no_row(tmp_path: Path) -> None:
    profiles = export_with([])
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    target.refuses_all_after = 2
    code, report = await load(tmp_path, target)
    assert (code, report["rows"]["rejected"]) == (REFUSED_BY_TARGET, 0), report
    target.refuses_all_after = None
    code, report = await load(tmp_path, target)
    assert (code, report["rows"]["confirmed"]) == (0, ROWS)
    assert target.profiles == profiles


@virtually
async def test_the_last_rows_are_rejected_though_nothing_is_left_to_be_accepted_after_them(tmp_path: Path) -> None:
    """Seven of the last eight: nothing is accepted behind them, yet Target is known to accept what is good."""
    poisoned = range(ROWS - 7, ROWS)
    profiles = export_with(poisoned)
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    code, report = await load(tmp_path, target, batch_rows=ROWS - 8)
    assert code == 0, report["error"]
    check_rejects(tmp_path / "state", report, poisoned)


@virtually
async def test_a_target_that_refuses_the_last_batch_whole_costs_no_row(tmp_path: Path) -> None:
    """It may be the rows or not: they have failed, and `retry` sends them again."""
    profiles = export_with([])
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    target.refuses_all_after = 3
    code, report = await load(tmp_path, target)
    assert (code, report["rows"]["rejected"]) in ((REFUSED_BY_TARGET, 0), (76, 0))


@pytest.mark.parametrize("kills", [0, 1])
async def test_a_transient_refusal_of_everything_costs_no_row(tmp_path: Path, kills: int) -> None:
    profiles = export_with([])
    write(tmp_path / "export.csv", profiles)
    async with refusing() as target:
        target.refuses_first = 10
        code, report = await load(tmp_path, target, kills=kills)
        assert (code, report["rows"]["confirmed"]) == (0, ROWS), report
        assert target.profiles == profiles


async def test_a_refused_tail_does_not_keep_a_restarted_job_from_its_end(tmp_path: Path) -> None:
    """What was accepted before the restart is followed, and tells that not everything is refused."""
    write(tmp_path / "export.csv", export_with([4], rows=5))
    config = tmp_path / "config.toml"
    async with refusing() as target:
        write_config(config, target.base_url, tmp_path / "state", batch_rows=2, hold_s=0.5)
        await run_load([tmp_path / "export.csv"], config, kill_when=lambda: len(target.accepted) == 2)
        report = (await load_export(tmp_path / "export.csv", load_settings(config, env={}), host=Host())).as_json()
        assert report["state"] in ("done", "incomplete"), report["error"]
        assert report["rows"]["confirmed"] == 4


async def test_an_abandoned_job_ends_though_everything_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "export.csv", export_with([]))
    config = tmp_path / "config.toml"
    async with refusing() as target:
        target.refuses_all = True
        _, first = await load(tmp_path, target)
        write_config(config, target.base_url, tmp_path / "state", batch_rows=BATCH_ROWS, hold_s=0.5)
        code, out, err = await run("abandon", first["job"], "--config", str(config))
        assert code == 0, (out, err)
        write(tmp_path / "other.csv", export_with([], rows=3))
        target.refuses_all = False
        report = (await load_export(tmp_path / "other.csv", load_settings(config, env={}), host=Host())).as_json()
        assert (report["exit_code"], report["rows"]["confirmed"]) == (0, 3)


@virtually
async def test_a_row_that_waits_to_be_rejected_does_not_wait_for_a_row_of_its_own_id(tmp_path: Path) -> None:
    """The later row cannot be sent before the refused one is released, so there is nothing left to learn from."""
    write(tmp_path / "export.csv", {}, f"u1,{POISON},1", f"u2,{POISON},1", "u1,,2", "u2,,2")
    target = RefusingTarget()
    code, report = await load(tmp_path, target, batch_rows=2)
    assert (code, report["state"]) == (REFUSED_BY_TARGET, "unfinished")
    check_equation(report)


@virtually
async def test_rows_that_target_refuses_count_against_max_rejects(tmp_path: Path) -> None:
    poisoned = range(5)
    profiles = export_with(poisoned)
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    code, report = await load(tmp_path, target, max_rejects="1%")
    assert (code, report["state"]) == (65, "failed")
    assert "5 of the 400 rows are rejected, 5 of them by Target, more than [export] max_rejects" in report["error"]
    assert target.profiles == good(profiles)


@virtually
async def test_a_target_that_refuses_everything_run_after_run_does_not_cost_any_row(tmp_path: Path) -> None:
    profiles = export_with([], rows=24)
    write(tmp_path / "export.csv", profiles)
    target = RefusingTarget()
    target.refuses_all = True
    for _ in range(6):
        code, _ = await load(tmp_path, target)
        assert code == REFUSED_BY_TARGET
    target.refuses_all = False
    code, report = await load(tmp_path, target)
    assert code == 0
    assert report["rows"]["confirmed"] == 24, report["rows"]
    assert target.profiles == profiles
