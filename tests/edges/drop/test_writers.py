"""A file that another process has open for writing, and all of which nobody can tell."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.edges.drop.writers import is_local, is_open_for_writing
from tests.tools.support import as_nobody
from tests.tools.writing import writing

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="this system has no leases")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    if not is_local(tmp_path):
        pytest.skip("the file system of the tests tells nothing")
    path = tmp_path / "e.csv"
    path.write_text("id\n")
    return path


@pytest.mark.parametrize("mode", ["w", "a", "r+"])
def test_a_writer_is_seen_until_it_closes_the_file(file: Path, mode: str) -> None:
    assert is_open_for_writing(file) is False
    with writing(file, mode) as writer:
        assert is_open_for_writing(file) is True
        renamed = file.rename(file.with_name("renamed.csv"))
        assert is_open_for_writing(renamed) is True, "a rename does not close it"
        writer.close()
        assert is_open_for_writing(renamed) is False


def test_a_reader_is_none(file: Path) -> None:
    with writing(file, "r"):
        assert is_open_for_writing(file) is False


def test_no_lease_stays_behind_and_nobody_is_held_up(file: Path) -> None:
    with file.open("rb"):
        for _ in range(100):
            assert is_open_for_writing(file) is False
        # This would wait, or fail, as long as there is a lease.
        descriptor = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
        os.close(descriptor)
    assert not [line for line in Path("/proc/locks").read_text().splitlines() if f" {os.getpid()} " in line]


_LOOKING = """
import sys
from pathlib import Path
from pipeline.edges.drop.writers import is_open_for_writing
print("begun", flush=True)
seen = {is_open_for_writing(Path(sys.argv[1])) for _ in range(20_000)}
print(sorted(map(str, seen)), flush=True)
"""
_OPENING = """
import sys
while True:
    open(sys.argv[1], "a").close()
"""


def test_the_signal_for_a_lease_that_is_in_the_way_kills_nobody(file: Path) -> None:
    """One process looks, while another opens the file again and again: it meets the lease now and then."""
    with subprocess.Popen([sys.executable, "-S", "-c", _OPENING, str(file)]) as opening:
        try:
            looked = subprocess.run(
                [sys.executable, "-c", _LOOKING, str(file)], capture_output=True, text=True, timeout=60.0, check=False
            )
        finally:
            opening.kill()
    assert looked.returncode == 0, looked
    assert looked.stdout == "begun\n['False', 'True']\n"


def _link(file: Path) -> Path:
    link = file.with_name("link.csv")
    link.symlink_to(file)
    return link


def _fifo(file: Path) -> Path:
    os.mkfifo(file.with_name("fifo.csv"))
    return file.with_name("fifo.csv")


@pytest.mark.parametrize("place", [_link, _fifo, lambda file: file.parent, lambda file: file.with_name("nothing")])
def test_what_is_no_file_tells_nothing(file: Path, place: Callable[[Path], Path]) -> None:
    with writing(file, "a"):
        assert is_open_for_writing(place(file)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_the_file_of_another_user_tells_nothing() -> None:
    # Not below pytest's own directory, which only its owner may enter.
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        file = Path(place) / "e.csv"
        with writing(file), as_nobody():
            file.read_text()
            assert is_open_for_writing(file) is None


def test_file_systems_that_are_believed(tmp_path: Path) -> None:
    assert not is_local(Path("/proc"))
    assert not is_local(Path("/sys/kernel"))
    assert is_local(tmp_path) == is_local(tmp_path / "not" / "there")


_ON_OVERLAY = """
import sys
from pathlib import Path
from pipeline.edges.drop.writers import is_local, is_open_for_writing
file = Path(sys.argv[1]) / "export.csv"
with file.open("w") as writer:
    told = is_open_for_writing(file)
print(is_local(file.parent), told, is_open_for_writing(file))
"""


def test_the_file_system_of_containers_tells_of_writers(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    mounted = f'mount -t overlay overlay -o {options} {tmp_path}/merged && exec "$0" "$@"'
    program = [sys.executable, "-c", _ON_OVERLAY, f"{tmp_path}/merged"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    tried = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, *program],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {tried.stderr}")
    assert tried.stdout == "True True False\n"
