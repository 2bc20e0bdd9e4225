"""Droppers that put something in the place of `.processing`, a job's directory or an export, while the service runs."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.edges.store.ledger_reader import read_ledger
from tests.tools.dropping import Drop, dropping, events
from tests.tools.support import SIX_ROWS, Process, ended, names_in, run_program, started, until

#: More than are sent with the first batch of one row, so that the job is still reading its rows to Target.
ROWS = [f"{name},gold,1" for name in ("a", "b")]
#: As many as begin while rows of theirs wait, and some behind them, of which nothing is read before they have gone on.
BEHIND_WAITING = tuple(f"{letter}.csv" for letter in "abcdefgh")


def contents(directory: Path) -> dict[str, bytes]:
    """By path what is in a directory of jobs."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def a_link(place: Path, target: Path) -> None:
    place.symlink_to(target)


def another_directory(place: Path, target: Path) -> None:
    place.mkdir()
    for job in target.iterdir():
        (place / job.name).mkdir()
        (place / job.name / "a.csv").write_text("id,tier,ltv\nx,stolen,1\n")


def an_empty_directory(place: Path, _: Path) -> None:
    place.mkdir()


def a_file(place: Path, _: Path) -> None:
    place.write_text("")


def nothing(_place: Path, _target: Path) -> None:
    """It is moved away, and that is all."""


KINDS = [a_link, another_directory, a_file, nothing]
Put = Callable[[Path, Path], None]


def clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        place.rmdir()
    else:
        place.unlink(missing_ok=True)


async def status(drop: Drop) -> str:
    return (await run_program("status", "--config", drop.at.directory / "config.toml")).out


async def status_with(drop: Drop, words: str) -> str:
    """What `status` says once it says this."""
    async with asyncio.timeout(20):
        while words not in (told := await status(drop)):
            pass
    return told


async def ask(drop: Drop, command: str) -> None:
    assert (await run_program(command, "--config", drop.at.directory / "config.toml")).code == 0


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[Drop, Process, Path]]:
    """The service, with a job that is done and whose report and export are kept; and the directory of its jobs."""
    async with (
        dropping(tmp_path) as drop,
        drop.serving(drop={"keep_exports": "always", "signal_wait_s": 60.0}, export={"max_rejects": 5}) as process,
    ):
        drop.put("first.csv", "first,gold,1", ",no id,1", signal_as="first.ready")
        await until(lambda: drop.ends() and len(names_in(drop.directory / ".processing")) == 1)
        yield drop, process, drop.at.state / "jobs"


class TestProcessing:
    """`.processing` itself: nothing is followed, nothing is lost, and it goes on when it is back."""

    @pytest.mark.parametrize("put", KINDS)
    async def test_replaced_before_a_drop_is_taken(self, tmp_path: Path, put: Put) -> None:
        async with served(tmp_path) as (drop, process, jobs):
            kept, place = contents(jobs), drop.directory / ".processing"
            place.rename(drop.directory / ".old")
            put(place, jobs)
            drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
            told = await status_with(drop, "Not taken")
            assert f"{place} is" in told
            assert f"{drop.directory / '.old'} back to that name" in told
            assert contents(jobs) == kept
            assert (drop.directory / "a.csv.ready").exists(), "it is not taken"
            clear(place)
            (drop.directory / ".old").rename(place)
            await until(lambda: len(drop.ends()) == 2)
            assert drop.ends() == {"first.csv": "done", "a.csv": "done"}
            assert kept.items() <= contents(jobs).items()
            assert "Not taken" not in await status(drop)
            process.terminate()
            done = await ended(process)
            assert done.code == 0
            assert [event["name"] for event in events(done, "drop_refused")] == [str(place)]

    @pytest.mark.parametrize("put", KINDS)
    async def test_replaced_after_drops_were_taken(self, tmp_path: Path, put: Put) -> None:
        """They are read from where they are, and moved to their jobs from there."""
        async with served(tmp_path) as (drop, _, jobs):
            kept, place = contents(jobs), drop.directory / ".processing"
            await ask(drop, "pause")
            drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
            drop.put("b.csv", *ROWS, signal_as="b.csv.ready")
            await until(lambda: len(names_in(place)) == 3)
            place.rename(drop.directory / ".old")
            put(place, jobs)
            await ask(drop, "resume")
            await until(lambda: len(drop.ends()) == 3)
            assert set(drop.ends().values()) == {"done"}
            await until(lambda: names_in(drop.directory / ".old") == ["lock"])
            assert kept.items() <= contents(jobs).items()
            assert sum(path.endswith(("/a.csv", "/b.csv")) for path in contents(jobs)) == 2, "they are kept"
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == {name: {"tier": "gold", "ltv": "1"} for name in ("first", "a", "b")}

    async def test_one_of_another_user_is_refused_at_the_start(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            place = drop.directory / ".processing"
            place.mkdir(mode=0o777)
            try:
                os.chown(place, 20_001, -1)
            except PermissionError:
                pytest.skip("needs root to be two users")
            done = await drop.drain()
            assert done.code == 78
            assert "it belongs to user 20001" in done.err
            assert names_in(place) == []

    @pytest.mark.parametrize("put", [an_empty_directory, nothing])
    async def test_replaced_between_two_runs(self, tmp_path: Path, put: Put) -> None:
        """An export that was taken is not given up for lost, though nobody holds where it is."""
        async with dropping(tmp_path) as drop:
            place = drop.directory / ".processing"
            await claim(drop, *BEHIND_WAITING)
            place.rename(drop.directory / ".old")
            jobs = drop.at.state / "jobs"
            jobs.mkdir(exist_ok=True)
            put(place, jobs)
            async with drop.serving() as process:
                told = await status_with(drop, "it is in")
                assert f"it is in {drop.directory / '.old'}" in told
                assert BEHIND_WAITING[-1] not in drop.ends()
                process.terminate()
                assert (await ended(process)).code == 0
            clear(place)
            (drop.directory / ".old").rename(place)
            done = await drop.drain()
            assert done.code == 0, done.said
            assert [report["export"]["name"] for report in drop.reports()] == [*BEHIND_WAITING]
            assert drop.ends() == dict.fromkeys(BEHIND_WAITING, "done")

    async def test_a_link_is_refused_at_the_start(self, tmp_path: Path) -> None:
        async with served(tmp_path) as (drop, process, jobs):
            process.kill()
            await process.wait()
            kept, place = contents(jobs), drop.directory / ".processing"
            place.rename(drop.directory / ".old")
            place.symlink_to(jobs)
            done = await drop.drain()
            assert done.code == 78
            assert "symbolic link" in done.err
            assert contents(jobs) == kept


def taken(drop: Drop) -> int:
    """The number of jobs of which the ledger says that their files are taken."""
    ledger = read_ledger(drop.at.state / "ledger.db")
    if ledger is None:
        return 0
    with closing(ledger):
        return sum(job.claim is not None and job.claim.is_taken for job in ledger.jobs(unfinished_only=True))


async def ask_before(drop: Drop) -> None:
    drop.config()
    await ask(drop, "pause")


async def claim(drop: Drop, *names: str) -> None:
    """Exports of one id are taken, and no process runs."""
    await ask_before(drop)
    for name in names:
        drop.put(name, f"u,{name[0]},1", signal_as=f"{name}.ready")
    async with drop.serving() as process:
        await until(lambda: taken(drop) == len(names))
        process.kill()
        await process.wait()
    await ask(drop, "resume")


class TestInside:
    """What is in `.processing` may be replaced only with the service's own rights; it is not followed either."""

    async def test_a_job_whose_directory_became_a_link_waits(self, tmp_path: Path) -> None:
        async with served(tmp_path) as (drop, _, jobs):
            kept, place = contents(jobs), drop.directory / ".processing"
            await ask(drop, "pause")
            drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
            await until(lambda: len(names_in(place)) == 2 and drop.left() and "a.csv" not in drop.left())
            (job,) = [name for name in names_in(place) if name != "lock"]
            (place / job).rename(place / "away")
            (first,) = [folder for folder in jobs.iterdir() if folder.name != job]
            (place / job).symlink_to(first / "drop")
            (first / "drop" / "a.csv").write_text("id,tier,ltv\nx,stolen,1\n")
            # What it has read before is read to its end, from what is open.
            await ask(drop, "resume")
            await until(lambda: len(drop.ends()) == 2 or "cannot be reached" in pause_of(drop))
            assert kept.items() <= contents(jobs).items()
            assert b"stolen" not in b"".join(orjson.dumps(profile) for profile in drop.at.sandbox.profiles().values())
            (place / job).unlink()
            (place / "away").rename(place / job)
            await until(lambda: drop.ends() == {"first.csv": "done", "a.csv": "done"})

    @pytest.mark.parametrize("kind", ["a link", "a second name", "another file"])
    async def test_an_export_that_was_replaced_is_not_sent(self, tmp_path: Path, kind: str) -> None:
        async with dropping(tmp_path) as drop:
            await ask_before(drop)
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            async with drop.serving() as process:
                await until(lambda: taken(drop) == 1)
                process.kill()
                await process.wait()
            (export,) = drop.directory.glob(".processing/*/a.csv")
            info = export.stat()
            secret = drop.at.state / "secret"
            secret.write_bytes(export.read_bytes().replace(b"gold", b"evil"))
            os.utime(secret, ns=(info.st_atime_ns, info.st_mtime_ns))
            export.unlink()
            if kind == "a link":
                export.symlink_to(secret)
            elif kind == "a second name":
                export.hardlink_to(secret)
            else:
                export.write_bytes(secret.read_bytes())
                os.utime(export, ns=(info.st_atime_ns, info.st_mtime_ns))
            await ask(drop, "resume")
            done = await drop.drain()
            assert done.code in (65, 66), done.said
            # What was read and sealed before it was replaced may have been sent, and nothing of what took its place.
            assert {each["tier"] for each in drop.at.sandbox.profiles().values()} <= {"gold"}
            assert secret.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
@pytest.mark.parametrize(("mode", "may"), [(0o2770, True), (0o3770, False)])
async def test_with_the_sticky_bit_no_dropper_can_move_it(tmp_path: Path, mode: int, may: bool) -> None:
    """And what other users drop is taken all the same: the drop directory is the service's own."""
    async with dropping(tmp_path) as drop:
        os.chown(drop.directory, -1, 20_001)
        drop.directory.chmod(mode)
        for above in [tmp_path, *tmp_path.parents][:4]:
            above.chmod(above.stat().st_mode | 0o011)
        config = drop.config()
        async with drop.serving() as _:
            assert await as_dropper(drop.directory, "mv .processing .old") is may
            if may:
                (drop.directory / ".old").rename(drop.directory / ".processing")
            assert await as_dropper(drop.directory, "printf 'id,tier,ltv\\na,gold,1\\n' > a.csv; touch a.csv.ready")
            await until(lambda: drop.ends() == {"a.csv": "done"})
        told = await run_program("config", "check", "--config", config, "--json")
        finding = next(each for each in orjson.loads(told.out)["findings"] if each["subject"] == "[drop] directory")
        assert finding["verdict"] == ("warning" if may else "ok")


async def as_dropper(directory: Path, script: str) -> bool:
    """Run a script in the drop directory as a user who is in its group only. True if it succeeds."""
    command = ["/bin/sh", "-ec", f"umask 002; {script} 2>/dev/null"]
    who: dict[str, Any] = {"user": 20_001, "group": 20_001, "extra_groups": []}
    return not await (await asyncio.create_subprocess_exec(*command, cwd=directory, **who)).wait()


def pause_of(drop: Drop) -> str:
    try:
        return str(orjson.loads((drop.at.state / "service.json").read_bytes())["paused"]["why"])
    except (OSError, ValueError):
        return ""


async def test_a_drop_directory_made_anew_is_locked(tmp_path: Path) -> None:
    """And what is dropped there is loaded; a second service on it is refused."""
    async with dropping(tmp_path) as drop, drop.serving() as process:
        clear(drop.directory)
        drop.directory.mkdir()
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        await until(lambda: drop.ends() == {"a.csv": "done"})
        other = drop.at.directory / "other"
        other.mkdir()
        config = (tmp_path / "config.toml").read_text().replace(str(drop.at.state), str(other))
        (other / "config.toml").write_text(config)
        async with started("serve", "--drain", "--config", other / "config.toml") as second:
            refused = await ended(second)
        assert refused.code == 73, refused.said
        assert "in use by process" in refused.err
        process.terminate()
        done = await ended(process)
        assert done.code == 0
        assert len(events(done, "drop_directory_held_anew")) == 1
