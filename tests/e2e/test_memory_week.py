"""A week of exports to a Target that replaces what an earlier batch set, of ids of which none is seen meanwhile."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.loop import run_virtually
from tests.simulation.staged import Stage, staged
from tests.tools.support import profiles_after

IDS = tuple(f"u{number}" for number in range(200))
DAY_S = 86_400.0
BATCH_ROWS = 50
_VALUES: dict[str, Any] = {"memory": {"remember": "values"}}
_CHANGES: dict[str, Any] = {"memory": {"remember": "values", "send": "changes"}}
#: What each day's export has: a snapshot of all ids, or a delta of some.
WEEK = (
    ("id,city",),
    ("id,tier",),
    ("id,tier,city,ltv", "snapshot"),
    ("id,city",),
    ("id,ltv,tier",),
    ("id,tier,city,ltv", "snapshot"),
    ("id,tier",),
)
Day = tuple[str, tuple[str, ...]]


def week(seed: int) -> Iterator[Day]:
    """The header and the lines of each day; a third of the cells is empty, and some ids repeat."""
    draw = random.Random(seed)
    for day, (header, *kind) in enumerate(WEEK):
        ids = list(IDS) if kind else draw.sample(IDS, 120)
        ids += draw.choices(ids, k=30)
        names = header.split(",")[1:]
        rows = ([draw.choice(["", f"{name}{day}", f"{name}{draw.randrange(9)}"]) for name in names] for _ in ids)
        yield header, tuple(",".join([profile_id, *cells]) for profile_id, cells in zip(ids, rows, strict=True))


def oracle(days: list[Day]) -> dict[str, dict[str, str]]:
    """The last value of each id's attributes that is not empty, over all days."""
    profiles: dict[str, dict[str, str]] = {}
    for header, lines in days:
        for profile_id, values in profiles_after(*lines, header=header).items():
            profiles.setdefault(profile_id, {}).update(values)
    return profiles


async def load_week(stage: Stage, days: list[Day], **sections: Any) -> list[dict[str, Any]]:
    """Load an export each day; the reports."""
    reports = []
    for day, (header, lines) in enumerate(days):
        reports.append(await stage.load(*lines, name=f"day{day}.csv", header=header, **small(sections)))
        await asyncio.sleep(DAY_S)
    return reports


def small(sections: dict[str, Any]) -> dict[str, Any]:
    """Sections with several batches a day."""
    return {"batch": {"max_rows": BATCH_ROWS}, **sections}


def after_week(directory: Path, days: list[Day], **sections: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The reports of a week, and the profiles behind it; the order of what was sent is right."""

    async def run() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        async with staged(directory, override="replace") as stage:
            reports = await load_week(stage, days, **sections)
            stage.sandbox.apply_all()
            assert stage.sandbox.mistakes == []
            return reports, stage.sandbox.profiles()

    return run_virtually(run())


@pytest.mark.parametrize("sections", [_VALUES, _CHANGES], ids=["all", "changes"])
def test_after_a_week_each_id_has_the_last_value_of_each_attribute(tmp_path: Path, sections: dict[str, Any]) -> None:
    days = list(week(1))
    reports, profiles = after_week(tmp_path, days, **sections)
    assert [report["state"] for report in reports] == ["done"] * len(days)
    assert profiles == oracle(days)
    unchanged = sum(report["rows"]["unchanged"] for report in reports)
    assert (unchanged > 0) == (sections is _CHANGES)


def test_without_a_memory_the_same_week_loses_attributes(tmp_path: Path) -> None:
    """So the sandbox does what Adobe's documentation says of batches without a visit between them."""
    days = list(week(1))
    _, profiles = after_week(tmp_path, days)
    expected = oracle(days)
    assert profiles != expected
    lost = sum(len(expected[profile_id].keys() - profiles[profile_id].keys()) for profile_id in expected)
    assert lost > len(IDS) / 2
    assert all(expected[each][name] == value for each, values in profiles.items() for name, value in values.items())


@pytest.mark.parametrize("remember", ["digests", "values"])
def test_of_a_snapshot_that_says_nothing_new_nothing_is_sent_until_it_is_to_be_refreshed(
    tmp_path: Path, remember: str
) -> None:
    async def run() -> list[tuple[int, int, int]]:
        lines = [f"{profile_id},gold,{number}" for number, profile_id in enumerate(IDS)]
        sections = small({"memory": {"remember": remember, "send": "changes", "refresh_days": 2.5}})
        told = []
        async with staged(tmp_path, override="replace") as stage:
            for day in range(6):
                report = await stage.load(*lines, name=f"day{day}.csv", **sections)
                told.append((report["rows"]["unchanged"], report["rows"]["confirmed"], len(report["batches"])))
                await asyncio.sleep(DAY_S)
            stage.sandbox.apply_all()
            assert stage.sandbox.profiles() == profiles_after(*lines)
            assert len(stage.posts) == 2 * told[0][2]
        return told

    nothing, everything = (len(IDS), 0, 0), (0, len(IDS), len(IDS) // BATCH_ROWS)
    assert run_virtually(run()) == [everything, nothing, nothing] * 2
