"""The notices of a process that waits: files whose form other versions read too."""

from pathlib import Path

import orjson
import pytest

from pipeline.edges.store.notices import (
    DropNotice,
    NotTaken,
    Pause,
    WaitingDrop,
    put_up_drops,
    put_up_pause,
    read_drops,
    read_pause,
    take_down_pause,
)

PAUSE = Pause(74, "The disk is full.", "2026-11-24T10:00:00+00:00", "20261123T021400Z-customers-3f2a")


def test_a_pause_is_read_as_it_was_put_up_until_it_is_taken_down(tmp_path: Path) -> None:
    assert read_pause(tmp_path) is None
    put_up_pause(tmp_path, PAUSE)
    assert read_pause(tmp_path) == PAUSE
    assert orjson.loads((tmp_path / "service.json").read_bytes()) == {
        "paused": {"exit_code": 74, "why": PAUSE.why, "since": PAUSE.since, "job": PAUSE.job}
    }
    take_down_pause(tmp_path)
    take_down_pause(tmp_path)
    assert read_pause(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"paused": null}', '{"paused": {}}', '{"paused": [1]}', "\xff"])
def test_a_pause_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "service.json").write_text(content)
    assert read_pause(tmp_path) is None


SINCE = "2026-11-24T10:00:00+00:00"
DROPS = DropNotice(
    (WaitingDrop("a.ready", "without a.csv", SINCE, "2026-11-24T10:15:00+00:00"),),
    (NotTaken("b.ready", "cannot be taken: it is immutable", SINCE),),
)


def test_drops_are_read_as_they_were_put_up_until_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert read_drops(tmp_path) == DropNotice()
    put_up_drops(tmp_path, DROPS)
    assert read_drops(tmp_path) == DROPS
    assert orjson.loads((tmp_path / "drops.json").read_bytes())["drops_not_taken"] == [
        {"name": "b.ready", "why": "cannot be taken: it is immutable", "since": SINCE}
    ]
    for _ in range(2):
        put_up_drops(tmp_path, DropNotice())
        assert not (tmp_path / "drops.json").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "7", '{"drops_waiting": [1]}', '{"drops_not_taken": [{"name": 1}]}', "\xff", "{}"]
)
def test_drops_that_cannot_be_read_say_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "drops.json").write_text(content)
    assert read_drops(tmp_path) == DropNotice()
