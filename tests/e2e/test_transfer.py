"""The script of docs/transfer.md, run as it stands there: rclone brings exports from a bucket, and they are loaded."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.tools.dropping import dropping, text_of
from tests.tools.support import HANGS_AFTER_S, profiles_after

ROOT = Path(__file__).resolve().parents[2]
#: The binary that its package puts beside the interpreter.
RCLONE = Path(sys.executable).parent / "rclone"


def why_not() -> str:
    """The reason why rclone cannot be run here; empty if it can."""
    if not RCLONE.exists() or shutil.which("sh") is None:
        return "rclone is not installed"
    ran = subprocess.run([RCLONE, "version"], capture_output=True, timeout=60, check=False)
    return "" if ran.returncode == 0 else f"rclone does not run here: {ran.stderr!r}"


def environment(**more: str) -> dict[str, str]:
    """No configuration of whoever runs the tests, no proxy."""
    return {"PATH": f"{RCLONE.parent}:{os.environ['PATH']}", "RCLONE_CONFIG": "/dev/null", **more}


@asynccontextmanager
async def bucket(directory: Path) -> AsyncIterator[dict[str, str]]:
    """The directories of this one as buckets, on a loopback address; gives the environment that names the remote."""
    command = [
        "serve",
        "s3",
        str(directory),
        "--addr",
        "127.0.0.1:0",
        "--auth-key",
        "key,secret",
        "--dir-cache-time",
        "0",
    ]
    serving = await asyncio.create_subprocess_exec(RCLONE, *command, stderr=asyncio.subprocess.PIPE, env=environment())
    assert serving.stderr is not None
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            while not (found := re.search(rb"http://127\.0\.0\.1:\d+", await serving.stderr.readline())):
                assert serving.returncode is None
        remote = {"TYPE": "s3", "PROVIDER": "Rclone", "ENDPOINT": found[0].decode()}
        keys = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}
        yield {f"RCLONE_CONFIG_CRM_{name}": value for name, value in {**remote, **keys}.items()}
    finally:
        serving.kill()
        await serving.communicate()


async def bring(drop: Path, **more: str) -> tuple[int | None, str]:
    """Run the script once; its exit code, and what rclone told."""
    page = (ROOT / "docs" / "transfer.md").read_text()
    script = page.partition("```sh\n")[2].partition("```")[0]
    bringing = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        script,
        stderr=asyncio.subprocess.PIPE,
        env=environment(DROP=str(drop), CRM_PATH="exports", ONCE="1", MIN_AGE="0", RCLONE_VERBOSE="1", **more),
    )
    async with asyncio.timeout(HANGS_AFTER_S):
        _, told = await bringing.communicate()
    return bringing.returncode, told.decode()


async def test_exports_arrive_whole_with_their_signals_last_and_are_loaded(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    exports = tmp_path / "remote" / "exports"
    (exports / "day").mkdir(parents=True)
    (exports / "a.csv").write_text(text_of("a,gold,1"))
    (exports / "a.csv.ready").touch()
    (exports / "day" / "part-0.csv").write_text(text_of("b,gold,1"))
    (exports / "day" / "part-1.csv").write_text(text_of("b,silver,2"))
    (exports / "day" / "_SUCCESS").touch()
    (exports / "later.csv.partial").write_text("id,ti")
    async with dropping(tmp_path) as drop, bucket(tmp_path / "remote") as remote:
        code, told = await bring(drop.directory, **remote)
        assert code == 0, told
        copied = re.findall(r": (\S+): Copied", told)
        assert {*copied[:3]} == {"a.csv", "day/part-0.csv", "day/part-1.csv"}
        assert {*copied[3:]} == {"a.csv.ready", "day/_SUCCESS"}
        # What is brought is not there any more, so that it is not brought again.
        assert [file.name for file in exports.rglob("*") if file.is_file()] == ["later.csv.partial"]
        done = await drop.drain()
        assert done.code == 0, done.said
        assert drop.at.sandbox.profiles() == profiles_after("a,gold,1", "b,gold,1", "b,silver,2")
        assert drop.ends() == {"a.csv": "done", "day": "done"}
        # Again: there is nothing to bring.
        code, told = await bring(drop.directory, **remote)
        assert (code, "Copied" in told) == (0, False)
        assert drop.left() == []


async def test_no_signal_comes_where_its_export_could_not(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    exports = tmp_path / "remote" / "exports"
    exports.mkdir(parents=True)
    (exports / "a.csv").write_text(text_of("a,gold,1"))
    (exports / "a.csv.ready").touch()
    (tmp_path / "drop").mkdir()
    # In the way of the export.
    (tmp_path / "drop" / "a.csv" / "x").mkdir(parents=True)
    async with bucket(tmp_path / "remote") as remote:
        code, told = await bring(tmp_path / "drop", RCLONE_RETRIES="1", **remote)
        assert code != 0, told
    assert {*exports.iterdir()} == {exports / "a.csv", exports / "a.csv.ready"}
    assert not (tmp_path / "drop" / "a.csv.ready").exists()
