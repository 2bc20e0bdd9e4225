"""A state directory that is not as it was left: refused with what to do, and nothing altered or older is ever sent."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.drawn import seeds, share
from tests.tools.faults.altered import ALTERATIONS, REFUSED, RIGHT, alter_once, plan
from tests.tools.faults.loading import disorder
from tests.tools.support import Bench, Ended, bench, ended, profiles_after, run_program, started, until

IDS = tuple(f"u{number}" for number in range(12))
#: Two rows a batch, and up to four on their way.
SMALL: dict[str, Any] = {"batch": {"max_rows": 2}, "settle": {"status_window": 10}}
SLOW: dict[str, Any] = {"apply_min_s": 0.3, "apply_max_s": 0.6}
_REFUSED = 74


def lines_of(day: str) -> list[str]:
    return [f"{each},{day},{each}{day}" for each in IDS]


def export_of(at: Bench, day: str) -> Path:
    """The export of a day, written once: written again, it would be another one."""
    path = at.directory / f"{day}.csv"
    return path if path.exists() else at.export(*lines_of(day), name=path.name)


async def load(at: Bench, day: str) -> Ended:
    export = export_of(at, day)
    return await run_program("load", export, "--config", at.config(**SMALL), "--json")


async def load_and_kill(at: Bench, day: str, *, accepted: int) -> None:
    """Load an export, and kill it when Target has taken so many of its batches."""
    export, before = export_of(at, day), at.sandbox.counts()["batches"]
    async with started("load", export, "--config", at.config(**SMALL), "--json") as process:
        await until(lambda: at.sandbox.counts()["batches"] >= before + accepted)
        process.kill()
        await ended(process)


def assert_refused(at: Bench, done: Ended, *, bodies: list[str]) -> None:
    """It says what was found and what to do, and neither sends nor deletes anything."""
    assert done.code == _REFUSED, done.said
    assert "estore the whole state directory" in done.err
    assert "batch_accepted" not in done.err
    assert bodies_in(at) == bodies
    at.sandbox.apply_all()
    assert disorder(at.sandbox.mistakes) == []


def bodies_in(at: Bench) -> list[str]:
    return sorted(file.name for file in at.state.glob("spool/*.body"))


Replacement = Callable[[Bench, Path], None]


def ledger_alone(at: Bench, yesterday: Path) -> None:
    for file in at.state.glob("ledger.db*"):
        file.unlink()
    shutil.copy(yesterday / "ledger.db", at.state / "ledger.db")


def without_log(at: Bench, _: Path) -> None:
    (at.state / "ledger.db-wal").unlink()


def without_ledger(at: Bench, _: Path) -> None:
    for file in at.state.glob("ledger.db*"):
        file.unlink()


def emptied(at: Bench, _: Path) -> None:
    (at.state / "ledger.db").write_bytes(b"")


def without_spool(at: Bench, _: Path) -> None:
    shutil.rmtree(at.state / "spool")


def with_spool_of_yesterday(at: Bench, yesterday: Path) -> None:
    shutil.rmtree(at.state / "spool")
    shutil.copytree(yesterday / "spool", at.state / "spool")


REPLACEMENTS = (
    ledger_alone,
    without_log,
    without_ledger,
    emptied,
    without_spool,
    with_spool_of_yesterday,
)


@pytest.mark.parametrize("replacement", REPLACEMENTS, ids=lambda each: each.__name__)
async def test_a_ledger_and_a_spool_that_do_not_belong_together(tmp_path: Path, replacement: Replacement) -> None:
    """Yesterday's ledger is put back after a load that was killed, its log is lost, and so on."""
    async with bench(tmp_path, **SLOW) as at:
        assert (await load(at, "monday")).code == 0
        yesterday = Path(shutil.copytree(at.state, tmp_path / "backup"))
        await load_and_kill(at, "tuesday", accepted=4)
        replacement(at, yesterday)
        bodies = bodies_in(at)
        for day in ("wednesday", "tuesday"):
            assert_refused(at, await load(at, day), bodies=bodies)


@pytest.mark.parametrize(("command", "code"), [(("status",), _REFUSED), (("config", "check"), 78)])
async def test_who_only_looks_says_the_same(tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    async with bench(tmp_path, **SLOW) as at:
        assert (await load(at, "monday")).code == 0
        yesterday = Path(shutil.copytree(at.state, tmp_path / "backup"))
        await load_and_kill(at, "tuesday", accepted=2)
        log = (at.state / "ledger.db-wal").read_bytes()
        seen = await run_program(*command, "--config", at.config(**SMALL))
        assert (seen.code, (at.state / "ledger.db-wal").read_bytes()) == (0, log), "what it looks at stays as it was"
        ledger_alone(at, yesterday)
        seen = await run_program(*command, "--config", at.config(**SMALL))
        assert seen.code == code, seen.said
        assert "older than the spool" in " ".join(seen.said.split())


async def test_the_ledger_of_another_state_directory(tmp_path: Path) -> None:
    """Of the same client code, and further than this one."""
    async with bench(tmp_path, **SLOW) as at:
        for day in ("monday", "tuesday"):
            assert (await load(at, day)).code == 0
        another = at.state.rename(tmp_path / "another")
        await load_and_kill(at, "wednesday", accepted=2)
        bodies = bodies_in(at)
        ledger_alone(at, another)
        done = await load(at, "thursday")
        assert_refused(at, done, bodies=bodies)
        assert "another ledger" in done.err


@pytest.mark.parametrize("put_back", ["ledger", "all"])
async def test_what_belongs_together_is_put_back(tmp_path: Path, put_back: str) -> None:
    """After the refusal, the right ledger is put back, or the whole directory from one backup."""
    async with bench(tmp_path, **SLOW) as at:
        assert (await load(at, "monday")).code == 0
        yesterday = Path(shutil.copytree(at.state, tmp_path / "backup"))
        await load_and_kill(at, "tuesday", accepted=3)
        right = Path(shutil.copytree(at.state, tmp_path / "right"))
        ledger_alone(at, yesterday)
        assert (await load(at, "tuesday")).code == _REFUSED
        whole = right if put_back == "ledger" else yesterday
        if put_back == "ledger":
            shutil.copytree(right, at.state, dirs_exist_ok=True)
        else:
            # What went since is at Target: it is applied before anything newer is sent.
            at.sandbox.apply_all()
            shutil.rmtree(at.state)
            shutil.copytree(whole, at.state)
        assert (await load(at, "tuesday")).code == 0
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*lines_of("monday"), *lines_of("tuesday"))
        assert disorder(at.sandbox.mistakes) == []


#: Each file has a digest of its own, which is compared whatever was altered.
SPOOLED = [(file, "edited") for file in ("body", "ids", "lines")]
OTHERS = [(file, alteration) for file, _ in SPOOLED for alteration in ALTERATIONS if alteration != "edited"]


@pytest.mark.parametrize(("file", "alteration"), [*SPOOLED, *share(OTHERS, 5)])
async def test_a_file_of_the_spool_that_is_not_what_was_written(tmp_path: Path, file: str, alteration: str) -> None:
    """Each of them, so that it matters whichever the next run needs: nothing is sent any more."""
    async with bench(tmp_path, **SLOW) as at:
        await load_and_kill(at, "monday", accepted=2)
        altered = 0
        for each in sorted((at.state / "spool").glob(f"*.{file}")):
            before, content = each.read_bytes(), None
            content = ALTERATIONS[alteration](before, random.Random(altered))
            if content is None:
                each.unlink()
            else:
                each.write_bytes(content)
            altered += content != before
        assert altered
        done = await load(at, "monday")
        assert done.code == _REFUSED, done.said
        assert "estore the whole state directory" in done.err
        assert "batch_accepted" not in done.err
        assert "attempt_failed" not in done.err
        if done.out:
            assert (done.report["state"], done.report["rows"]["confirmed"]) == ("unfinished", 0)
        at.sandbox.apply_all()
        assert all(cells["tier"] == "monday" for cells in at.sandbox.profiles().values())


SHARE = plan(6, seeds(6).start)


@pytest.mark.parametrize("run", SHARE, ids=lambda run: f"{run[0]}: {run[1]}, seed {run[2]}")
async def test_one_thing_altered(run: tuple[str, str, int]) -> None:
    """A share of `python -m tests.tools.faults.altered`."""
    assert await alter_once(*run) in (RIGHT, REFUSED)
