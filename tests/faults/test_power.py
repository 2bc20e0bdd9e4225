"""A loss of power: a share of `python -m tests.tools.faults.power`, and what each step at the disk promises alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.drawn import SEED
from tests.tools.faults.file_log import Call, calls_in, traced
from tests.tools.faults.lost_power import Disk, replay
from tests.tools.faults.power import cut_power
from tests.tools.faults.steps import why_not
from tests.tools.support import small_disk

reason = why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")

#: Cuts of a run, in one course that it draws; `make power-test` has more of both.
CUTS = 4
#: Imports of all scripts.
_IMPORTS = """
import os
from pathlib import Path
from pipeline.core.errors import FatalError
from pipeline.edges.durable import make_directory, write_durably
from pipeline.edges.drop.moving import move
from pipeline.edges.drop.taking import Taking
from pipeline.edges.lock import state_lock
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.mailbox import Mailbox
"""


async def test_a_loss_of_power_at_any_moment_loses_nothing() -> None:
    told = await cut_power(CUTS, seed=SEED, courses=1)
    assert told.errors == []
    assert told.tally.events == told.tally.runs == CUTS


def calls_of(root: Path, script: str, *, failing: str = "") -> list[Call]:
    """The calls of a script in this directory; `failing`: as strace takes it, CALL:error=ERROR:when=N."""
    log = root.with_name(f"{root.name}.log")
    # Without -B, compiled modules would be among what is written.
    subprocess.run(traced(log, [sys.executable, "-B", "-c", _IMPORTS + script], inject=failing), cwd=root, check=True)
    return calls_in(log)


def left_after(root: Path, *scripts: str, failing: str = "") -> Path:
    """This directory after these scripts, one process each, and a loss of power that takes all that it may."""
    root.mkdir(exist_ok=True)
    kept = root.with_name("kept")
    kept.mkdir()
    for path in root.iterdir():
        (kept / path.name).hardlink_to(path)
    disk = Disk(root, is_ordered=False, put=lambda source, to: to.hardlink_to(source))
    disk.begin(kept)
    replay(
        disk,
        [calls_of(root, script.replace("HERE", f"Path({str(root)!r})"), failing=failing) for script in scripts],
        float("inf"),
    )
    disk.lose_power(None)
    return root


def test_a_file_is_there_whole(tmp_path: Path) -> None:
    root = left_after(tmp_path / "root", "write_durably(HERE / 'a', [b'one', b'two'])")
    assert (root / "a").read_bytes() == b"onetwo"


def test_a_directory_is_there(tmp_path: Path) -> None:
    assert (left_after(tmp_path / "root", "make_directory(HERE / 'a' / 'b')") / "a" / "b").is_dir()


def test_a_directory_whose_maker_was_killed_is_there_once_it_is_held(tmp_path: Path) -> None:
    killed = "(HERE / 'state').mkdir(); (HERE / 'state' / 'jobs').mkdir()"
    root = left_after(tmp_path / "root", killed, "with state_lock(HERE / 'state'): pass")
    assert (root / "state" / "jobs").is_dir()


def test_the_folder_of_a_job_whose_maker_was_killed_is_there_when_the_state_is_opened(tmp_path: Path) -> None:
    killed = "(HERE / 'state' / 'jobs' / 'a').mkdir(parents=True)"
    opened = """
import anyio
from pipeline.edges.host import Host
from pipeline.edges.store.state import open_state
async def main():
    async with open_state(HERE / "state", "demo", Host(), min_free_bytes=0): pass
anyio.run(main)
"""
    # Without a ledger, a folder of a job is none of a new state directory.
    root = left_after(tmp_path / "root", opened, killed, opened)
    assert (root / "state" / "jobs" / "a").is_dir()


def test_a_directory_that_could_not_be_flushed_is_not_taken_for_durable(tmp_path: Path) -> None:
    twice = """
try:
    make_directory(HERE / "a")
except FatalError:
    make_directory(HERE / "a")
"""
    assert (left_after(tmp_path / "root", twice, failing="fsync:error=EIO:when=1") / "a").is_dir()


def test_rejects_are_there_once_they_are_flushed(tmp_path: Path) -> None:
    script = """
folder = JobFolder(HERE / "a").make()
folder.rejects.write_bytes(b"rejects")
folder.sync_rejects()
"""
    assert (left_after(tmp_path / "root", script) / "a" / "rejects.jsonl").read_bytes() == b"rejects"


def test_a_request_is_there_once_it_was_asked(tmp_path: Path) -> None:
    root = left_after(tmp_path / "root", "Mailbox(HERE).ask('pause', None)")
    assert len([*(root / "requests").iterdir()]) == 1


def test_a_subdirectory_from_which_all_was_taken_does_not_come_back(tmp_path: Path) -> None:
    script = """
make_directory(HERE / ".processing")
make_directory(HERE / "day")
Taking(HERE).remove_emptied("day/_SUCCESS")
"""
    assert not (left_after(tmp_path / "root", script) / "day").exists()


def test_a_file_that_is_moved_to_another_file_system_is_there_before_it_goes_here(tmp_path: Path) -> None:
    with small_disk(1 << 20) as other:
        root = tmp_path / "root"
        root.mkdir()
        (root / "a").write_bytes(b"a")
        calls = calls_of(root, f"move(os.open({str(root)!r}, os.O_RDONLY), 'a', Path({str(other / 'a')!r}))")
        names = [call.name for call in calls if call.name in ("fsync", "rename", "unlinkat")]
        assert names[: names.index("unlinkat")] == ["fsync", "rename", "fsync"]
