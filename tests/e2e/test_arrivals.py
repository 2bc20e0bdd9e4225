"""The service takes at once what is dropped, and all the same where the system cannot tell of it."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.edges.drop.writers import is_local
from pipeline.edges.store.notices import read_drops
from tests.tools.dropping import HEADER, dropping, events
from tests.tools.support import ended, program, until
from tests.tools.writing import writing

#: Runs a program that may not watch any file: the limit holds in a user namespace of its own.
UNWATCHED = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh"]


def may_be_unwatched() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*UNWATCHED, "true"], capture_output=True).returncode == 0


async def test_a_drop_is_taken_long_before_the_next_look(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        drop.put("first.csv", "a,gold,1", signal_as="first.csv.ready")
        async with drop.serving(drop={"poll_s": 3_600.0}) as process:
            await until(lambda: drop.ends() == {"first.csv": "done"}, within_s=60.0)
            for name in ("second", "third"):
                drop.put(f"{name}.csv", "a,gold,1", signal_as=f"{name}.csv.ready")
                await until(lambda name=name: f"{name}.csv" in drop.ends(), within_s=60.0)  # type: ignore[misc]
            drop.put("group/fourth.csv", "a,gold,2", signal_as="_SUCCESS")
            await until(lambda: len(drop.ends()) == 4, within_s=60.0)
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert done.code == 0, done.said
        assert events(done, "drop_directory_not_watched") == []


@pytest.mark.skipif(not may_be_unwatched(), reason="no user namespace can be made here")
async def test_where_nothing_can_be_watched(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        process = await asyncio.create_subprocess_exec(
            *UNWATCHED,
            *program(),
            *("serve", "--config", str(drop.config())),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            await until(lambda: (drop.directory / ".processing" / "lock").exists())
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            await until(lambda: drop.ends() == {"a.csv": "done"}, within_s=60.0)
        finally:
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert done.code == 0, done.said
        (said,) = events(done, "drop_directory_not_watched")
        assert "Too many open files" in said["why"]


def rows_of(first: int, last: int) -> str:
    return "".join(f"u{number},gold,{number}\n" for number in range(first, last))


async def test_a_writer_that_pauses_behind_its_signal_is_waited_for(tmp_path: Path) -> None:
    """A thousand rows, the signal, a pause of more than `settle_s`, and two thousand rows more."""
    async with dropping(tmp_path) as drop:
        if not is_local(drop.directory):
            pytest.skip("the file system of the tests tells nothing of writers")
        async with drop.serving(drop={"settle_s": 0.2, "signal_wait_s": 60.0}) as process:
            with writing(drop.directory / "big.csv") as writer:
                writer.write(f"{HEADER}\n{rows_of(0, 1_000)}")
                (drop.directory / "big.csv.ready").touch()
                drop.put("later.csv", "u0,tin,1", signal_as="later.csv.ready")
                await until(lambda: read_drops(drop.at.state).drops_waiting)
                (told,) = read_drops(drop.at.state).drops_waiting
                assert told.why == "big.csv is open for writing in another process"
                for start in (1_000, 2_000):
                    await asyncio.sleep(0.6)
                    writer.write(rows_of(start, start + 1_000))
                    assert drop.ends() == {}, "nor does a later drop overtake it"
                writer.close()
                await until(lambda: len(drop.ends()) == 2)
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert done.code == 0, done.said
        assert drop.ends() == {"big.csv": "done", "later.csv": "done"}
        assert [report["rows"]["read"] for report in drop.reports()] == [3_000, 1]
        whys = [event["why"] for event in events(done, "export_not_whole")]
        assert whys == [told.why, "big.csv is newer than its signal"]
        assert drop.left() == []
        drop.at.sandbox.apply_all()
        assert len(drop.at.sandbox.profiles()) == 3_000
        assert drop.at.sandbox.profiles()["u0"]["tier"] == "tin"


async def test_an_export_that_comes_in_pieces_behind_its_signal(tmp_path: Path) -> None:
    """Each piece is written by a process of its own that is gone at once, so that nobody is seen to write."""
    async with dropping(tmp_path) as drop:
        async with drop.serving(drop={"settle_s": 1.0, "signal_wait_s": 60.0}) as process:
            (drop.directory / "big.csv.ready").touch()
            for start in (0, 1_000, 2_000):
                with writing(drop.directory / "big.csv", "a") as writer:
                    writer.write((f"{HEADER}\n" if not start else "") + rows_of(start, start + 1_000))
                await asyncio.sleep(0.5)
            await until(lambda: drop.ends())
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert [report["rows"]["read"] for report in drop.reports()] == [3_000], done.said


async def test_a_writer_that_closes_its_export_for_a_while_behind_its_signal(tmp_path: Path) -> None:
    """The export is older than its signal, and nobody has it open: only what comes next tells that it was not whole."""
    async with dropping(tmp_path) as drop:
        async with drop.serving(drop={"settle_s": 1.0, "signal_wait_s": 60.0}) as process:
            for start in (0, 1_000, 2_000):
                with writing(drop.directory / "big.csv", "a") as writer:
                    writer.write((f"{HEADER}\n" if not start else "") + rows_of(start, start + 1_000))
                if not start:
                    (drop.directory / "big.csv.ready").touch()
                await asyncio.sleep(0.5)
            await until(lambda: drop.ends())
            process.send_signal(signal.SIGTERM)
            done = await ended(process)
        assert [report["rows"]["read"] for report in drop.reports()] == [3_000], done.said
        assert drop.left() == []


async def test_an_export_that_was_still_before_its_signal_is_not_held_up(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop, drop.serving(drop={"settle_s": 600.0}) as process:
        still_since = time.time() - 700.0
        for name in ("a.csv", "b.csv"):
            written = drop.put(f"{name}.tmp", f"{name[0]},gold,1")
            os.utime(written, (still_since, still_since))
            written.rename(drop.directory / name)
            (drop.directory / f"{name}.ready").touch()
        await until(lambda: drop.ends() == {"a.csv": "done", "b.csv": "done"})
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0


async def test_a_drain_waits_for_what_is_not_whole(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        (drop.directory / "a.csv.ready").touch()
        await asyncio.sleep(0.01)
        drop.put("a.csv", "a,gold,1")
        done = await drop.drain(drop={"settle_s": 0.5})
        assert (done.code, drop.ends()) == (0, {"a.csv": "done"}), done.said
        (said,) = events(done, "export_not_whole")
        assert said["why"] == "a.csv is newer than its signal"
