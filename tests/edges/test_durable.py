"""Files that are there whole or not at all: on real file systems, full and forbidden ones among them."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_error, free_bytes, make_directory, sync_directory, write_durably
from tests.tools.support import as_nobody, names_in, read_only, small_disk


def written(path: Path, *pieces: bytes) -> FatalError:
    with pytest.raises(FatalError) as caught:
        write_durably(path, pieces)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert str(path) in str(caught.value)
    return caught.value


class TestWriteDurably:
    def test_content_and_mode(self, tmp_path: Path) -> None:
        write_durably(tmp_path / "file", [b"one", memoryview(b"two"), b""])
        assert (tmp_path / "file").read_bytes() == b"onetwo"
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
        write_durably(tmp_path / "open", [], mode=0o640)
        assert (tmp_path / "open").stat().st_mode & 0o777 == 0o640
        assert names_in(tmp_path) == ["file", "open"]

    def test_takes_the_place_of_another(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        write_durably(file, [b"a long first content"])
        write_durably(file, [b"short"])
        assert file.read_bytes() == b"short"

    def test_what_a_crash_left_is_in_nobodys_way(self, tmp_path: Path) -> None:
        (tmp_path / ".file.tmp").write_bytes(b"half of what was to be writt")
        write_durably(tmp_path / "file", [b"new"])
        assert (tmp_path / "file").read_bytes() == b"new"
        assert names_in(tmp_path) == ["file"]

    def test_full_disk(self) -> None:
        with small_disk(65_536) as disk:
            write_durably(disk / "file", [b"old"])
            error = written(disk / "file", b"x" * 50_000, b"x" * 50_000)
            assert "The disk is full: make room and run again." in str(error)
            assert (disk / "file").read_bytes() == b"old"
            assert names_in(disk) == ["file"]

    def test_forbidden(self) -> None:
        with small_disk(65_536) as disk:
            directory = disk / "sealed"
            directory.mkdir(mode=0o555)
            with as_nobody():
                error = written(directory / "file", b"x")
        assert "Permission denied: check the directory's file system and permissions" in str(error)

    def test_no_such_directory(self, tmp_path: Path) -> None:
        assert "No such file or directory" in str(written(tmp_path / "none" / "file", b"x"))

    def test_read_only(self) -> None:
        with small_disk(65_536) as disk, read_only(disk):
            assert "Read-only file system" in str(written(disk / "file", b"x"))

    def test_a_file_for_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "Not a directory" in str(written(tmp_path / "file" / "below", b"x"))

    def test_pieces_that_end_badly_leave_nothing(self, tmp_path: Path) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"one"
            raise RuntimeError("no more")

        with pytest.raises(RuntimeError):
            write_durably(tmp_path / "file", pieces())
        assert names_in(tmp_path) == []


class TestMakeDirectory:
    def test_makes_parents_and_takes_what_is_there(self, tmp_path: Path) -> None:
        directory = tmp_path / "a" / "b"
        make_directory(directory)
        make_directory(directory)
        assert directory.stat().st_mode & 0o777 == 0o700

    def test_parents_are_for_the_owner_only(self, tmp_path: Path) -> None:
        (tmp_path / "shared").mkdir(mode=0o755)
        (tmp_path / "shared").chmod(0o755)
        make_directory(tmp_path / "shared" / "a" / "b")
        assert (tmp_path / "shared" / "a").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755, "what was there stays as it is"

    def test_forbidden(self) -> None:
        with small_disk(65_536) as disk:
            parent = disk / "sealed"
            parent.mkdir(mode=0o555)
            with (
                as_nobody(),
                pytest.raises(FatalError, match=r"cannot make the directory .*: Permission denied") as caught,
            ):
                make_directory(parent / "state")
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        with pytest.raises(FatalError, match="Not a directory") as caught:
            make_directory(tmp_path / "state")
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_free_bytes_are_those_of_the_file_system_below() -> None:
    with small_disk(65_536) as disk:
        before = free_bytes(disk)
        assert 0 < before <= 65_536
        (disk / "file").write_bytes(b"x" * 16_384)
        assert free_bytes(disk) == before - 16_384


def test_free_bytes_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="No such file or directory") as caught:
        free_bytes(tmp_path / "none")
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def test_sync_directory_wants_a_directory(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_told_from_other_trouble(number: int) -> None:
    assert "make room" in str(disk_error(OSError(number, os.strerror(number)), "cannot write"))
    assert "make room" not in str(disk_error(OSError(errno.EIO, "Input/output error"), "cannot write"))
