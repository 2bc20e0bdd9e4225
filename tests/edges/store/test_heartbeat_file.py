"""The heartbeat: who lives is told apart from who crashed and from who hangs, whatever lies in the file."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import FatalError
from pipeline.edges.store.heartbeat_file import Beat, Heart, read_beat
from tests.tools.support import small_disk

BEAT = Beat(pid=7, at_s=100.0, started_s=40.0, tasks=9, open_files=12, memory_bytes=50_000_000, job="j" * 80)


@contextmanager
def beating(state: Path) -> Iterator[Heart]:
    heart = Heart(state)
    try:
        yield heart
    finally:
        heart.stop()


def test_what_is_said_is_read(tmp_path: Path) -> None:
    with beating(tmp_path) as heart:
        heart.write(BEAT)
        assert read_beat(tmp_path) == BEAT
        shorter = replace(BEAT, job=None, at_s=105.0)
        heart.write(shorter)
        assert read_beat(tmp_path) == shorter
    assert (tmp_path / "heartbeat").stat().st_mode & 0o777 == 0o600


def test_nobody_has_ever_served(tmp_path: Path) -> None:
    assert read_beat(tmp_path) is None
    assert read_beat(tmp_path / "not-there") is None


def test_what_a_crash_left_is_no_life(tmp_path: Path) -> None:
    """However fresh it is, and whoever has its number by now: the lock went with the process."""
    with beating(tmp_path) as heart:
        heart.write(BEAT)
    assert (tmp_path / "heartbeat").exists()
    assert read_beat(tmp_path) is None


def test_looking_does_not_keep_it_from_beginning(tmp_path: Path) -> None:
    with beating(tmp_path) as heart:
        heart.write(BEAT)
    with (tmp_path / "heartbeat").open("rb"), beating(tmp_path) as heart:
        assert read_beat(tmp_path) is None
        heart.write(BEAT)
        assert read_beat(tmp_path) == BEAT


def test_two_hearts(tmp_path: Path) -> None:
    with beating(tmp_path) as first, beating(tmp_path) as second:
        first.write(BEAT)
        with pytest.raises(FatalError, match="held by another process"):
            second.write(replace(BEAT, pid=8))
        assert read_beat(tmp_path) == BEAT


def test_what_is_held_and_no_heartbeat(tmp_path: Path) -> None:
    with beating(tmp_path) as heart:
        heart.write(BEAT)
        for text in ("", "{", '{"pid": 1}', "[]", "x" * 512):
            (tmp_path / "heartbeat").write_text(text)
            with pytest.raises(FatalError, match="damaged"):
                read_beat(tmp_path)
        heart.write(BEAT)
        assert read_beat(tmp_path) == BEAT


def test_on_a_full_disk_it_beats_on() -> None:
    with small_disk(200_000) as disk, beating(disk) as heart:
        heart.write(BEAT)
        _fill(disk)
        later = replace(BEAT, at_s=105.0)
        heart.write(later)
        assert read_beat(disk) == later


def test_a_disk_that_is_full_from_the_beginning() -> None:
    with small_disk(200_000) as disk, beating(disk) as heart:
        _fill(disk)
        with pytest.raises(FatalError, match="The disk is full"):
            heart.write(BEAT)
        (disk / "ballast").unlink()
        heart.write(BEAT)
        assert read_beat(disk) == BEAT


def _fill(disk: Path) -> None:
    with closing((disk / "ballast").open("wb", buffering=0)) as ballast, pytest.raises(OSError, match="No space"):
        while True:
            ballast.write(b"x" * 4096)


def test_what_was_put_in_its_place_is_neither_waited_for_nor_followed(tmp_path: Path) -> None:
    heartbeat, elsewhere = tmp_path / "heartbeat", tmp_path / "elsewhere"
    os.mkfifo(heartbeat)
    assert read_beat(tmp_path) is None
    with beating(tmp_path) as heart, pytest.raises(FatalError, match="it is not a file"):
        heart.write(BEAT)
    heartbeat.unlink()
    elsewhere.write_text("of somebody else")
    heartbeat.symlink_to(elsewhere)
    with beating(tmp_path) as heart, pytest.raises(FatalError, match="cannot write"):
        heart.write(BEAT)
    with pytest.raises(FatalError, match="cannot open"):
        read_beat(tmp_path)
    assert elsewhere.read_text() == "of somebody else"
