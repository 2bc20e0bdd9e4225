"""`.processing` is held by descriptor: what is put in its place, or into it, is neither followed nor touched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.edges.drop.held_drops import HeldDrops
from pipeline.edges.drop.processing import Processing
from pipeline.edges.drop.taking import TakeResult, Taking, hold_drop
from pipeline.edges.exports import Identity
from tests.tools.support import names_in

CONTENT = "id,tier\na,gold\n"
JOB = "20261123T021400Z-a-3f2a"


def put(directory: Path, name: str = "a.csv") -> Identity:
    file = directory / name
    file.write_text(CONTENT)
    return Identity.of(file.stat())


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    directory = tmp_path / "drop"
    directory.mkdir()
    return directory


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The directory of jobs, with one of the same name."""
    folder = tmp_path / "state" / "jobs" / JOB
    folder.mkdir(parents=True)
    for name in ("a.csv", "report.json"):
        (folder / name).write_text("kept")
    return folder.parent


def everything(directory: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in directory.rglob("*") if path.is_file()}


IN_ITS_PLACE: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda place, outside: place.symlink_to(outside),
    "a directory": lambda place, outside: outside.rename(place),
    "a file": lambda place, _: place.write_text("kept"),
    "nothing": lambda _place, _outside: None,
}
Use = Callable[[Taking, Path], None]


def _take(taking: Taking, drop: Path) -> None:
    assert taking.take("another", "b.csv", put(drop, "b.csv")) is TakeResult.TAKEN
    assert names_in(drop / ".old" / "another") == ["b.csv"]


def _give_back(taking: Taking, drop: Path) -> None:
    assert taking.give_back(JOB, "a.csv")
    assert (drop / "a.csv").read_text() == CONTENT


def _move_out(taking: Taking, drop: Path) -> None:
    taking.move_out(JOB, drop.parent / "kept")
    assert (drop.parent / "kept" / "a.csv").read_text() == CONTENT
    assert names_in(drop / ".old") == ["lock"]


def _open(taking: Taking, _: Path) -> None:
    descriptor = taking.open(JOB, "a.csv")
    try:
        assert os.read(descriptor, 100).decode() == CONTENT
    finally:
        os.close(descriptor)


def _jobs(taking: Taking, _: Path) -> None:
    assert taking.jobs() == taking.jobs([JOB, "20261123T021400Z-other-0000"]) == [JOB]


USES = {"take": _take, "give_back": _give_back, "move_out": _move_out, "open": _open, "jobs": _jobs}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", IN_ITS_PLACE)
def test_what_is_in_its_place_is_never_touched(drop: Path, outside: Path, kind: str, use: str) -> None:
    with hold_drop(drop) as taking:
        assert taking.take(JOB, "a.csv", put(drop)) is TakeResult.TAKEN
        (drop / ".processing").rename(drop / ".old")
        IN_ITS_PLACE[kind](drop / ".processing", outside)
        before = everything(outside), everything(drop / ".processing")
        with pytest.raises(FatalError, match=r"\.processing is .*/\.old back to that name") as caught:
            taking.renew()
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        USES[use](taking, drop)
        assert (everything(outside), everything(drop / ".processing")) == before
        # Back in its place, all is as before.
        if (drop / ".processing").is_dir() and not (drop / ".processing").is_symlink():
            (drop / ".processing").rename(drop.parent / "attack")
        else:
            (drop / ".processing").unlink(missing_ok=True)
        (drop / ".old").rename(drop / ".processing")
        assert taking.renew() is None


def test_what_cannot_be_held(drop: Path, outside: Path) -> None:
    for kind, said in {"a link": "it is a symbolic link", "a file": "it is no directory", "nothing": "No such"}.items():
        IN_ITS_PLACE[kind](drop / ".processing", outside)
        with pytest.raises(OSError, match=said):
            Processing(drop)
        (drop / ".processing").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["a link", "a pipe", "a directory", "gone", "unreadable"])
def test_an_export_that_became_something_else(drop: Path, outside: Path, how: str) -> None:
    with hold_drop(drop) as taking:
        taking.take(JOB, "a.csv", put(drop))
        export = taking.taken(JOB, "a.csv")
        export.unlink()
        if how == "a link":
            export.symlink_to(outside / JOB / "a.csv")
        elif how == "a pipe":
            os.mkfifo(export)
        elif how == "a directory":
            export.mkdir()
        elif how == "unreadable":
            export.symlink_to(export)
        with pytest.raises(InputError, match="cannot read the export") as caught:
            taking.open(JOB, "a.csv")
        assert caught.value.exit_code is ExitCode.EXPORT_MISSING


@pytest.mark.parametrize("is_link", [True, False])
def test_a_directory_of_a_job_that_is_not_there_may_come_back(drop: Path, outside: Path, is_link: bool) -> None:
    folder = drop / ".processing" / JOB
    with hold_drop(drop) as taking:
        taking.take(JOB, "a.csv", put(drop))
    (drop / ".away").mkdir()
    folder.rename(drop / ".away" / JOB)
    with hold_drop(drop) as taking:
        if is_link:
            folder.symlink_to(outside / JOB)
        with pytest.raises(FatalError, match="cannot be reached") as caught:
            taking.open(JOB, "a.csv")
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert is_link or f"it is in {drop / '.away'}" in str(caught.value)
        if is_link:
            folder.unlink()
        (drop / ".away" / JOB).rename(folder)
        _open(taking, drop)


def test_a_directory_of_a_job_that_was_removed_is_gone(drop: Path) -> None:
    with hold_drop(drop) as taking:
        taking.take(JOB, "a.csv", put(drop))
        taking.taken(JOB, "a.csv").unlink()
        (drop / ".processing" / JOB).rmdir()
        with pytest.raises(InputError, match="cannot read the export"):
            taking.open(JOB, "a.csv")


def test_a_drop_directory_that_was_made_anew_is_locked(drop: Path) -> None:
    """What was taken before is read from where it is, and one that comes back is held again."""
    with hold_drop(drop) as taking:
        taking.take(JOB, "a.csv", put(drop))
        drop.rename(drop.parent / "away")
        with pytest.raises(FileNotFoundError):
            taking.renew()
        _open(taking, drop)
        drop.mkdir()
        assert "made anew" in (taking.renew() or "")
        assert taking.renew() is None
        with pytest.raises(FatalError) as caught:
            hold_drop(drop).__enter__()
        assert caught.value.exit_code is ExitCode.ALREADY_RUNNING
        assert taking.take("another", "b.csv", put(drop, "b.csv")) is TakeResult.TAKEN
        _open(taking, drop)
        drop.rename(drop.parent / "second")
        (drop.parent / "away").rename(drop)
        assert taking.renew() is not None
        assert taking.jobs() == [JOB, "another"]
        _open(taking, drop)


@pytest.mark.parametrize("what", [".processing", "lock"])
def test_what_was_removed_is_made_anew_and_locked(drop: Path, what: str) -> None:
    with hold_drop(drop) as taking:
        (drop / ".processing" / "lock").unlink()
        if what == ".processing":
            (drop / ".processing").rmdir()
        assert "was removed" in (taking.renew() or "")
        with pytest.raises(FatalError) as caught:
            hold_drop(drop).__enter__()
        assert caught.value.exit_code is ExitCode.ALREADY_RUNNING


def test_exports_of_drop_directories_that_nobody_holds(drop: Path, outside: Path, tmp_path: Path) -> None:
    """A `load` goes on with what a service has taken."""
    drops = HeldDrops()
    with drops.hold(drop) as taking:
        taking.take(JOB, "a.csv", put(drop))
        export = taking.taken(JOB, "a.csv")
        os.close(drops.open(export))
    os.close(drops.open(export))
    (drop / ".processing").rename(drop / ".old")
    (drop / ".processing").symlink_to(outside)
    with pytest.raises(FatalError, match="it is a symbolic link"):
        drops.open(export)
    drop.rename(tmp_path / "away")
    with pytest.raises(FatalError, match="cannot look into"):
        drops.open(export)
