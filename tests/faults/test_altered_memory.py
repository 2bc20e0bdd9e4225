"""A memory that is not as it was left is not believed, and when it is emptied, everything is sent once more."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.drawn import SEED, share
from tests.tools.faults.altered import ALTERATIONS
from tests.tools.support import ONE_BY_ONE, Bench, Ended, bench, ended, profiles_after, run_program, started, until

IDS = tuple(f"u{number}" for number in range(40))
SECTIONS: dict[str, Any] = {
    "batch": {"max_rows": 10},
    "settle": {"ambiguous_hold_s": 0.1},
    "memory": {"remember": "values", "send": "changes"},
}
_REFUSED, _CONFIGURATION = 74, 78
#: So many of the alterations are tried in a run.
ALTERED = 2
Alter = Callable[[Path, Path, random.Random], object]


def lines_of(day: str) -> list[str]:
    """A snapshot: half of it is what the one before said."""
    return [f"{each},{day if number % 2 else 'gold'},{each}" for number, each in enumerate(IDS)]


async def load(at: Bench, day: str, **sections: Any) -> Ended:
    path = at.directory / f"{day}.csv"
    export = path if path.exists() else at.export(*lines_of(day), name=path.name)
    return await run_program("load", export, "--config", at.config(**SECTIONS | sections), "--json")


async def rebuild(at: Bench, **sections: Any) -> Ended:
    return await run_program("memory", "rebuild", "--config", at.config(**SECTIONS | sections))


def altered(name: str) -> Alter:
    """Alters one file of the memory."""

    def alter(state: Path, _: Path, draw: random.Random) -> None:
        file = draw.choice(sorted((state / "memory").iterdir()))
        content = ALTERATIONS[name](file.read_bytes(), draw)
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)

    return alter


def without_any(state: Path, _: Path, __: random.Random) -> None:
    shutil.rmtree(state / "memory")


def of_yesterday(state: Path, yesterday: Path, _: random.Random) -> None:
    shutil.rmtree(state / "memory")
    shutil.copytree(yesterday / "memory", state / "memory")


def one_of_yesterday(state: Path, yesterday: Path, draw: random.Random) -> None:
    """Under the name of a file of today."""
    old, new = (draw.choice(sorted((each / "memory").iterdir())) for each in (yesterday, state))
    while old.name == new.name:
        new = draw.choice(sorted((state / "memory").iterdir()))
    shutil.copy(old, new)


ALTERS: dict[str, Alter] = {
    **{name: altered(name) for name in ALTERATIONS},
    **{each.__name__: each for each in (without_any, of_yesterday, one_of_yesterday)},
}


async def test_a_memory_that_is_not_as_it_was_left_is_refused_until_it_is_emptied(tmp_path: Path) -> None:
    async with bench(tmp_path, override="replace") as at:
        assert (await load(at, "monday")).code == 0
        yesterday = Path(shutil.copytree(at.state, tmp_path / "yesterday"))
        assert (await load(at, "tuesday")).report["rows"]["unchanged"] == len(IDS) / 2
        today = Path(shutil.copytree(at.state, tmp_path / "today"))
        for number, name in enumerate(share([*ALTERS], ALTERED), SEED):
            shutil.rmtree(at.state)
            shutil.copytree(today, at.state)
            ALTERS[name](at.state, yesterday, random.Random(number))
            sent_before = at.sandbox.counts()["batches"]
            done = await load(at, "wednesday")
            assert done.code == _REFUSED, (name, done.said)
            assert "memory rebuild" in done.err, (name, done.err)
            emptied = await rebuild(at)
            assert emptied.code == 0, (name, emptied.said)
            done = await load(at, "wednesday")
            assert (done.code, done.report["state"]) == (0, "done"), (name, done.said)
            at.sandbox.apply_all()
            assert at.sandbox.profiles() == profiles_after(*lines_of("wednesday")), name
            # A slice is looked at when it is first read; what was left out before was compared with others.
            assert at.sandbox.counts()["batches"] > sent_before, name
            assert at.sandbox.mistakes == [], name


async def test_of_a_ledger_and_a_memory_that_do_not_belong_together_neither_is_believed(tmp_path: Path) -> None:
    """The memory of today, with all else of yesterday: it is the one of yesterday, or is refused."""
    async with bench(tmp_path, override="replace") as at:
        assert (await load(at, "monday")).code == 0
        yesterday = Path(shutil.copytree(at.state, tmp_path / "yesterday"))
        assert (await load(at, "tuesday")).code == 0
        memory = Path(shutil.copytree(at.state / "memory", tmp_path / "memory"))
        shutil.rmtree(at.state)
        shutil.copytree(yesterday, at.state)
        shutil.rmtree(at.state / "memory")
        shutil.copytree(memory, at.state / "memory")
        done = await load(at, "tuesday")
        assert done.code == 0, done.said
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*lines_of("tuesday"))
        shutil.rmtree(at.state / "memory")
        for file in at.state.glob("ledger.db*"):
            file.unlink()
        shutil.copy(yesterday / "ledger.db", at.state / "ledger.db")
        done = await load(at, "wednesday")
        assert done.code == _REFUSED, done.said
        assert "older than the spool" in done.err


OTHER: dict[str, dict[str, Any]] = {
    "nothing": {"remember": "nothing"},
    "digests": {"remember": "digests", "send": "changes"},
}


@pytest.mark.parametrize("other", OTHER)
async def test_a_memory_of_another_kind_is_refused_until_it_is_emptied(tmp_path: Path, other: str) -> None:
    """Switched off and on again it lacks what was sent meanwhile; and digests are no values."""
    async with bench(tmp_path, override="replace") as at:
        assert (await load(at, "monday")).code == 0
        done = await load(at, "tuesday", memory=OTHER[other])
        if other == "nothing":
            assert (done.code, done.report["rows"]["confirmed"]) == (0, len(IDS))
            done = await load(at, "wednesday")
        assert done.code == _CONFIGURATION, done.said
        assert "memory rebuild" in done.err
        sections = {} if other == "nothing" else {"memory": OTHER[other]}
        assert (await rebuild(at, **sections)).code == 0
        done = await load(at, "wednesday", **sections)
        assert (done.code, done.report["rows"]["confirmed"]) == (0, len(IDS)), done.said
        done = await load(at, "thursday", **sections)
        assert (done.code, done.report["rows"]["unchanged"]) == (0, len(IDS) / 2), done.said
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*lines_of("thursday"))


async def test_gathered_rows_that_are_gone_are_given_up_and_loaded_again(tmp_path: Path) -> None:
    async with bench(tmp_path, override="replace", apply_min_s=0.3, apply_max_s=0.6) as at:
        lines, one_by_one = lines_of("monday")[:12], at.config(**SECTIONS | ONE_BY_ONE)
        export = at.export(*lines)
        async with started("load", export, "--config", one_by_one, "--json") as process:
            await until(lambda: at.sandbox.counts()["batches"])
            process.kill()
            await ended(process)
        for file in at.state.glob("gathered/*/*"):
            file.unlink()
        done = await run_program("load", export, "--config", one_by_one, "--json")
        assert done.code == _REFUSED, done.said
        assert "abandon" in done.report["error"], done.said
        given_up = await run_program("abandon", done.report["job"], "--config", one_by_one, "--json")
        assert given_up.code == 0, given_up.said
        done = await run_program("load", export, "--again", "--config", one_by_one, "--json")
        first, second = map(orjson.loads, done.out.splitlines())
        assert (done.code, first["state"], second["state"]) == (65, "failed", "done"), done.said
        assert second["rows"]["unchanged"] == first["rows"]["confirmed"]
        assert first["rows"]["unsent"] > 0
        # Of a POST that the kill cut off, nobody knows: its row is sent again.
        assert second["rows"]["confirmed"] == 12 - first["rows"]["confirmed"]
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*lines)
