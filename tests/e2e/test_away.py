"""A drop directory, a state directory or a disk that is away, or fails, and what was taken before."""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.e2e.test_processing import BEHIND_WAITING, ask, ask_before, claim, clear, status_with
from tests.tools.dropping import Drop, dropping
from tests.tools.support import bench, ended, names_in, run_program, small_disk, started, until

THREE = ("a.csv", "b.csv", "c.csv")


def assert_loaded_in_order(drop: Drop, *names: str) -> None:
    names = names or THREE
    assert [report["export"]["name"] for report in drop.reports()] == [*names]
    assert drop.ends() == dict.fromkeys(names, "done")
    drop.at.sandbox.apply_all()
    assert drop.at.sandbox.profiles() == {"u": {"tier": names[-1][0], "ltv": "1"}}


async def run(*command: str | Path) -> tuple[int, str]:
    """Run a command; its code, and what it said of errors."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_service_that_begins_without_its_file_system_waits_for_it(tmp_path: Path) -> None:
    """An empty directory is where it is mounted otherwise."""
    async with dropping(tmp_path) as drop:
        await claim(drop, *BEHIND_WAITING)
        away = tmp_path / "away"
        drop.directory.rename(away)
        drop.directory.mkdir()
        async with drop.serving() as process:
            assert "(74): the export" in await status_with(drop, "cannot be reached")
            assert BEHIND_WAITING[-1] not in drop.ends()
            clear(drop.directory)
            away.rename(drop.directory)
            await until(lambda: len(drop.ends()) == len(BEHIND_WAITING))
            process.terminate()
            done = await ended(process)
        assert done.code == 0
        assert_loaded_in_order(drop, *BEHIND_WAITING)


async def test_a_mount_that_moves_away_for_a_while(tmp_path: Path) -> None:
    with small_disk(4_000_000) as disk:
        async with dropping(tmp_path) as drop:
            await run("mount", "--bind", disk, drop.directory)
            try:
                await ask_before(drop)
                async with drop.serving() as process:
                    for name in THREE:
                        drop.put(name, f"u,{name[0]},1", signal_as=f"{name}.ready")
                    await until(lambda: len(names_in(drop.directory / ".processing")) == 4)
                    await run("umount", "--lazy", drop.directory)
                    await ask(drop, "resume")
                    await until(lambda: len(drop.ends()) == 3)
                    await run("mount", "--bind", disk, drop.directory)
                    drop.put("d.csv", "v,d,1", signal_as="d.csv.ready")
                    await until(lambda: len(drop.ends()) == 4)
                    process.terminate()
                    assert (await ended(process)).code == 0
                assert set(drop.ends().values()) == {"done"}
            finally:
                await run("umount", "--lazy", drop.directory)


async def test_a_load_that_cannot_reach_what_was_taken_is_run_again(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        await claim(drop, *BEHIND_WAITING)
        drop.directory.rename(tmp_path / "away")
        export = drop.at.export("v,gold,1", name="own.csv")
        for _ in range(2):
            done = await run_program("load", export, "--config", tmp_path / "config.toml", "--json")
            assert done.code == 74, done.said
        (tmp_path / "away").rename(drop.directory)
        done = await run_program("load", export, "--config", tmp_path / "config.toml", "--json")
        assert done.code == 0, done.said
        assert drop.ends() == dict.fromkeys([*BEHIND_WAITING, "own.csv"], "done")
        drop.at.sandbox.apply_all()
        assert drop.at.sandbox.profiles()["u"] == {"tier": "h", "ltv": "1"}


async def test_what_was_removed_for_good_fails_and_holds_up_nobody(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        await claim(drop, *BEHIND_WAITING)
        next(drop.directory.glob(".processing/*/g.csv")).unlink()
        done = await drop.drain()
        assert done.code == 66, done.said
        assert drop.ends() == {**dict.fromkeys(BEHIND_WAITING, "done"), "g.csv": "failed"}


@pytest.mark.skipif(not shutil.which("strace"), reason="errors of the disk are injected by strace, which is not here")
@pytest.mark.parametrize(
    ("error", "is_dropped"),
    [("EIO", True), ("EIO", False), ("ESTALE", True), ("ENOTCONN", False), ("EHOSTDOWN", True), ("ENODEV", False)],
)
async def test_an_error_of_the_disk_while_reading_fails_no_job(tmp_path: Path, error: str, is_dropped: bool) -> None:
    async with dropping(tmp_path) as drop:
        config = drop.config()
        if is_dropped:
            await claim(drop, *BEHIND_WAITING)
            export = next(drop.directory.glob(f".processing/*/{BEHIND_WAITING[-1]}"))
            command = ["serve", "--drain"]
        else:
            export = drop.at.export("u,gold,1")
            command = ["load", str(export)]
        inject = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-P", str(export)]
        inject += ["-e", "trace=read", "-e", f"inject=read:error={error}"]
        program = ["-m", "pipeline", *command, "--config", str(config)]
        code, said = await run(*inject, sys.executable, *program)
        if "ptrace" in said:
            pytest.skip("no process may be traced here")
        assert code == 74, said
        assert f"({error}" not in said
        assert error in (tmp_path / "trace").read_text()
        again = await run_program(*command, "--config", config)
        assert again.code == 0, again.said
        if is_dropped:
            assert_loaded_in_order(drop, *BEHIND_WAITING)


async def test_a_state_directory_that_was_replaced_ends_the_service(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop, drop.serving() as process:
        await until(lambda: (drop.at.state / "heartbeat").exists())
        drop.at.state.rename(tmp_path / "moved")
        shutil.copytree(tmp_path / "moved", drop.at.state)
        done = await ended(process)
        assert done.code == 74, done.said
        assert "was removed or replaced while it was in use" in done.err


async def test_a_state_directory_that_was_replaced_ends_a_load(tmp_path: Path) -> None:
    async with bench(tmp_path, apply_min_s=30.0, apply_max_s=30.0) as at:
        config = at.config()
        async with started("load", at.export("u,gold,1"), "--config", config) as process:
            await until(lambda: any((at.state / "spool").glob("*.body")))
            at.state.rename(tmp_path / "moved")
            shutil.copytree(tmp_path / "moved", at.state)
            done = await ended(process)
        assert done.code == 74, done.said
