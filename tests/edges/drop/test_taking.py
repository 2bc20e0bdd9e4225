"""Taking files from a drop directory, and bringing them to where they stay."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.drop.listing import opened
from pipeline.edges.drop.moving import move
from pipeline.edges.drop.taking import CannotTakeError, TakeResult, Taking, hold_drop
from pipeline.edges.drop.writers import is_local
from pipeline.edges.exports import Identity
from tests.tools.fixed import APPEND_ONLY, IMMUTABLE, fixed
from tests.tools.support import NOBODY, as_nobody, names_in, small_disk
from tests.tools.writing import writing


@pytest.fixture
def processing(tmp_path: Path) -> Taking:
    (tmp_path / "drop" / ".processing").mkdir(parents=True)
    return Taking(tmp_path / "drop")


def put(processing: Taking, path: str, content: str = "id\n") -> Identity:
    file = processing.drop / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    return identity_of(file)


def identity_of(file: Path) -> Identity:
    info = file.stat()
    return Identity.of(info)


@pytest.mark.parametrize("source", ["a.csv", "day/a.csv"])
def test_taking(processing: Taking, source: str) -> None:
    identity = put(processing, source)
    assert processing.take("j1", source, identity) is TakeResult.TAKEN
    assert not (processing.drop / source).exists()
    assert processing.taken("j1", source).read_text() == "id\n"
    assert processing.jobs() == ["j1"]
    # Once more, as after a crash.
    assert processing.take("j1", source, identity) is TakeResult.TAKEN
    put(processing, source, "new\n")
    assert processing.take("j1", source, identity) is TakeResult.TAKEN
    assert (processing.drop / source).read_text() == "new\n", "what came later is another drop"


def test_what_is_gone(processing: Taking) -> None:
    assert processing.take("j1", "a.csv", Identity(3, 0)) is TakeResult.GONE
    assert processing.take("j1", "day/a.csv", Identity(3, 0)) is TakeResult.GONE


def test_what_was_replaced_stays(processing: Taking) -> None:
    identity = put(processing, "a.csv")
    put(processing, "a.csv", "longer\n")
    assert processing.take("j1", "a.csv", identity) is TakeResult.REPLACED
    assert (processing.drop / "a.csv").read_text() == "longer\n"
    assert not processing.taken("j1", "a.csv").exists()


def replaced_behind_our_back(processing: Taking, how: str) -> Identity:
    """What is taken already is another file than was seen, as if it came in the moment before the rename."""
    identity = put(processing, "a.csv")
    (processing.drop / "a.csv").unlink()
    folder = processing.directory / "j1"
    folder.mkdir()
    if how == "another file":
        (folder / "a.csv").write_text("longer\n")
    elif how == "a link":
        (folder / "a.csv").symlink_to("/etc/passwd")
    elif how == "a directory":
        (folder / "a.csv").mkdir()
    else:
        # Put back, and killed before the second name was removed.
        (folder / "a.csv").write_text("longer\n")
        (processing.drop / "a.csv").hardlink_to(folder / "a.csv")
    return identity


@pytest.mark.parametrize("how", ["another file", "a link", "a directory", "half put back"])
def test_what_was_replaced_in_the_last_moment_is_put_back(processing: Taking, how: str) -> None:
    identity = replaced_behind_our_back(processing, how)
    assert processing.take("j1", "a.csv", identity) is TakeResult.REPLACED
    assert names_in(processing.directory / "j1") == []
    back = processing.drop / "a.csv"
    assert os.path.lexists(back)
    assert back.lstat().st_nlink == (2 if how == "a directory" else 1)
    if how == "a link":
        assert back.readlink() == Path("/etc/passwd")


def test_nothing_is_put_back_over_something(processing: Taking) -> None:
    identity = replaced_behind_our_back(processing, "another file")
    put(processing, "a.csv", "the latest\n")
    assert processing.take("j1", "a.csv", identity) is TakeResult.REPLACED
    assert (processing.drop / "a.csv").read_text() == "the latest\n"
    assert processing.taken("j1", "a.csv").read_text() == "longer\n"


def test_a_subdirectory_that_became_a_link_is_not_followed(processing: Taking, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("secret\n")
    (processing.drop / "day").symlink_to(outside)
    assert processing.take("j1", "day/a.csv", identity_of(outside / "a.csv")) is TakeResult.GONE
    assert (outside / "a.csv").read_text() == "secret\n"


def test_the_disk_refuses() -> None:
    # Not below pytest's own directory, which only its owner may enter.
    with TemporaryDirectory() as place:
        (Path(place) / ".processing" / "j1").mkdir(parents=True)
        processing = Taking(Path(place))
        identity = put(processing, "a.csv")
        for directory in (processing.drop, processing.directory):
            directory.chmod(0o755)
        with as_nobody(), pytest.raises(FatalError, match="cannot take a") as caught:
            processing.take("j1", "a.csv", identity)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert (processing.drop / "a.csv").exists()


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o755, "its directory may not be written to"), (0o1777, "with the sticky bit"), (0o777, None)],
)
def test_what_may_not_be_taken(mode: int, problem: str | None) -> None:
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        (Path(place) / ".processing").mkdir()
        processing = Taking(Path(place))
        put(processing, "day/a.csv")
        (processing.drop / "day").chmod(mode)
        with as_nobody():
            said = processing.obstacle("day/a.csv")
        assert (said is None) == (problem is None)
        assert (problem or "") in (said or "")
        assert processing.obstacle("day/nothing.csv") is None


def test_what_is_on_another_file_system_may_not_be_taken(processing: Taking) -> None:
    with small_disk(100_000) as disk:
        (processing.drop / "day").mkdir()
        (disk / "a.csv").write_text("id\n")
        subprocess.run(["mount", "--bind", disk, processing.drop / "day"], check=True)
        try:
            assert "on another file system" in (processing.obstacle("day/a.csv") or "")
        finally:
            subprocess.run(["umount", processing.drop / "day"], check=True)


class TestSettling:
    def test_kept(self, processing: Taking, tmp_path: Path) -> None:
        for name in ("a.csv", "a.csv.ready"):
            processing.take("j1", name, put(processing, name))
        processing.move_out("j1", tmp_path / "jobs" / "j1" / "drop")
        assert names_in(tmp_path / "jobs" / "j1" / "drop") == ["a.csv", "a.csv.ready"]
        assert processing.jobs() == []

    def test_not_kept(self, processing: Taking, tmp_path: Path) -> None:
        processing.take("j1", "a.csv", put(processing, "a.csv"))
        processing.move_out("j1", None)
        assert names_in(processing.directory) == []
        assert names_in(tmp_path) == ["drop"]

    def test_nothing_but_files_is_kept(self, processing: Taking, tmp_path: Path) -> None:
        (processing.directory / "j1").mkdir()
        (processing.directory / "j1" / "a.csv").symlink_to("/etc/passwd")
        processing.move_out("j1", tmp_path / "kept")
        assert processing.jobs() == []
        assert not (tmp_path / "kept").exists()

    def test_an_emptied_subdirectory_goes(self, processing: Taking) -> None:
        put(processing, "day/_SUCCESS")
        processing.remove_emptied("day/_SUCCESS")
        assert (processing.drop / "day").exists(), "something is in it"
        (processing.drop / "day" / "_SUCCESS").unlink()
        processing.remove_emptied("day/_SUCCESS")
        assert not (processing.drop / "day").exists()
        processing.remove_emptied("a.csv.ready")
        assert processing.drop.exists()


def move_out_of(directory: Path, name: str, to: Path) -> None:
    with opened(directory) as descriptor:
        move(descriptor, name, to)


class TestMoving:
    def test_to_another_file_system(self, tmp_path: Path) -> None:
        with small_disk(1_000_000) as disk:
            (tmp_path / "a.csv").write_text("id\n")
            (disk / ".profile-pipeline-copy").write_text("what an earlier copy left, longer")
            move_out_of(tmp_path, "a.csv", disk / "a.csv")
            assert (disk / "a.csv").read_text() == "id\n"
            assert names_in(disk) == ["a.csv"]
            assert names_in(tmp_path) == []
            assert (disk / "a.csv").stat().st_mode & 0o777 == 0o600

    def test_with_as_long_a_name_as_can_be(self, tmp_path: Path) -> None:
        with small_disk(1_000_000) as disk:
            name = "n" * 251 + ".csv"
            (tmp_path / name).write_text("id\n")
            move_out_of(tmp_path, name, disk / name)
            assert names_in(disk) == [name]

    def test_to_a_full_one(self, tmp_path: Path) -> None:
        with small_disk(8_192) as disk:
            (tmp_path / "a.csv").write_bytes(b"x" * 100_000)
            with pytest.raises(OSError, match="No space"):
                move_out_of(tmp_path, "a.csv", disk / "a.csv")
            assert (tmp_path / "a.csv").stat().st_size == 100_000
            assert not (disk / "a.csv").exists()


def test_a_drop_directory_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="cannot look into") as caught:
        Taking(tmp_path / "away").jobs()
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestHolding:
    def test_leaves_only_what_it_needs(self, tmp_path: Path) -> None:
        with hold_drop(tmp_path):
            assert names_in(tmp_path) == [".processing"]
            assert names_in(tmp_path / ".processing") == ["lock"]
            assert (tmp_path / ".processing").stat().st_mode & 0o777 == 0o700

    def test_by_another_process(self, tmp_path: Path) -> None:
        held = "import sys; from pathlib import Path; from pipeline.edges.drop.taking import hold_drop\n"
        held += "with hold_drop(Path(sys.argv[1])): print('held', flush=True); input()"
        command = [sys.executable, "-c", held, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stdout.readline() == "held\n"
            with pytest.raises(FatalError, match=rf"drop directory .* is in use by process {process.pid}") as caught:
                hold_drop(tmp_path).__enter__()
            process.kill()
        assert caught.value.exit_code is ExitCode.ALREADY_RUNNING

    def test_what_cannot_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / ".processing").symlink_to(tmp_path)
        for name in ("file", "missing", "linked"):
            with pytest.raises(FatalError) as caught:
                hold_drop(tmp_path / name).__enter__()
            assert caught.value.exit_code is ExitCode.CONFIGURATION, name

    def test_where_nothing_may_be_written(self) -> None:
        with TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            with as_nobody(), pytest.raises(FatalError, match="Permission denied") as caught:
                hold_drop(Path(place)).__enter__()
        assert caught.value.exit_code is ExitCode.CONFIGURATION

    def test_two_file_systems(self, tmp_path: Path) -> None:
        with small_disk(100_000) as disk:
            (tmp_path / ".processing").mkdir()
            subprocess.run(["mount", "--bind", str(disk), str(tmp_path / ".processing")], check=True)
            try:
                with pytest.raises(FatalError, match="must be one file system") as caught:
                    hold_drop(tmp_path).__enter__()
            finally:
                subprocess.run(["umount", str(tmp_path / ".processing")], check=True)
        assert caught.value.exit_code is ExitCode.CONFIGURATION
        assert names_in(tmp_path) == [".processing"]


@pytest.mark.parametrize("attribute", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("what", ["day/a.csv", "day"])
def test_what_is_immutable_may_not_be_taken(processing: Taking, what: str, attribute: int) -> None:
    identity = put(processing, "day/a.csv")
    with fixed(processing.drop / what, attribute):
        said = processing.obstacle("day/a.csv") or ""
        # An immutable directory may not even be written to.
        assert "is immutable or append-only" in said or "may not be written to" in said
        with pytest.raises(CannotTakeError, match="Operation not permitted") as caught:
            processing.take("j1", "day/a.csv", identity)
        assert caught.value.why.startswith("cannot be taken: Operation not permitted (look at")
        assert processing.jobs() == [], "nothing is left behind"
    assert processing.obstacle("day/a.csv") is None
    assert processing.take("j1", "day/a.csv", identity) is TakeResult.TAKEN


_OBSTACLE = """
import sys
from pathlib import Path
from pipeline.edges.drop.taking import Taking
print(Taking(Path(sys.argv[1])).obstacle("a.csv"))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("capsh"), reason="needs root, and capsh to lose its powers")
@pytest.mark.parametrize(("lost", "said"), [("cap_fowner", "with the sticky bit"), ("cap_chown", "None")])
def test_root_without_its_powers_is_bound_by_the_sticky_bit(lost: str, said: str) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / ".processing").mkdir()
        processing = Taking(Path(place))
        put(processing, "a.csv")
        os.chown(processing.drop / "a.csv", NOBODY, -1)
        os.chown(processing.drop, NOBODY, -1)
        processing.drop.chmod(0o1777)
        program = shlex.join([sys.executable, "-c", _OBSTACLE, place])
        told = subprocess.run(
            ["capsh", f"--drop={lost}", "--", "-c", program], capture_output=True, text=True, check=True
        )
        assert said in told.stdout


def test_what_was_taken_is_given_back(processing: Taking) -> None:
    identity = put(processing, "day/a.csv")
    assert processing.take("j1", "day/a.csv", identity) is TakeResult.TAKEN
    for _ in range(2):
        assert processing.give_back("j1", "day/a.csv")
        assert identity_of(processing.drop / "day" / "a.csv") == identity
        assert processing.jobs() == []


def test_nothing_is_given_back_over_another_file(processing: Taking) -> None:
    identity = put(processing, "a.csv")
    processing.take("j1", "a.csv", identity)
    put(processing, "a.csv", "newer\n")
    assert not processing.give_back("j1", "a.csv")
    assert (processing.drop / "a.csv").read_text() == "newer\n"
    assert identity_of(processing.taken("j1", "a.csv")) == identity


def test_a_file_of_the_same_size_and_time_that_took_the_place_is_not_taken(processing: Taking) -> None:
    identity = put(processing, "a.csv", "one\n")
    put(processing, "b.csv", "two\n")
    os.utime(processing.drop / "b.csv", ns=(identity.mtime_ns, identity.mtime_ns))
    (processing.drop / "b.csv").replace(processing.drop / "a.csv")
    assert processing.take("j1", "a.csv", identity) is TakeResult.REPLACED
    assert (processing.drop / "a.csv").read_text() == "two\n"


def test_writers_of_dropped_files(processing: Taking) -> None:
    put(processing, "day/a.csv")
    put(processing, "b.csv")
    told = is_local(processing.drop) or None
    with writing(processing.drop / "day" / "a.csv"):
        assert processing.writers(["day/a.csv", "b.csv", "no.csv", "no/no.csv"]) == {
            "day/a.csv": told,
            "b.csv": told and False,
            "no.csv": None,
            "no/no.csv": None,
        }
