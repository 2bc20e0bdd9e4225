"""The service takes at once what is dropped, and all the same where the system cannot tell of it."""

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.tools.dropping import dropping, events
from tests.tools.support import ended, program, until

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
