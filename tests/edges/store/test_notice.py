"""The notice of a service that waits: one file, whose form other versions read too."""

from pathlib import Path

import orjson
import pytest

from pipeline.edges.store.notice import (
    DropNotice,
    NotTaken,
    Pause,
    WaitingDrop,
    put_up,
    put_up_drops,
    read_drops,
    read_pause,
    take_down,
)

PAUSE = Pause(74, "The disk is full.", "2026-11-24T10:00:00+00:00", "20261123T021400Z-customers-3f2a")


def test_it_is_read_as_it_was_put_up_until_it_is_taken_down(tmp_path: Path) -> None:
    assert read_pause(tmp_path) is None
    put_up(tmp_path, PAUSE)
    assert read_pause(tmp_path) == PAUSE
    assert orjson.loads((tmp_path / "service.json").read_bytes()) == {
        "paused": {"exit_code": 74, "why": PAUSE.why, "since": PAUSE.since, "job": PAUSE.job}
    }
    take_down(tmp_path)
    take_down(tmp_path)
    assert read_pause(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"paused": null}', '{"paused": {}}', '{"paused": [1]}', "\xff"])
def test_what_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "service.json").write_text(content)
    assert read_pause(tmp_path) is None
    assert read_drops(tmp_path) == DropNotice()


DROPS = DropNotice(
    (WaitingDrop("a.ready", "without a.csv", "2026-11-24T10:00:00+00:00", "2026-11-24T10:15:00+00:00"),),
    (NotTaken("b.ready", "cannot be taken: it is immutable", "2026-11-24T10:00:00+00:00"),),
)


def test_drops_and_a_pause_stand_side_by_side(tmp_path: Path) -> None:
    assert read_drops(tmp_path) == DropNotice()
    put_up_drops(tmp_path, DROPS)
    assert (read_drops(tmp_path), read_pause(tmp_path)) == (DROPS, None)
    put_up(tmp_path, PAUSE)
    assert (read_drops(tmp_path), read_pause(tmp_path)) == (DROPS, PAUSE)
    told = orjson.loads((tmp_path / "service.json").read_bytes())
    assert told["drops_not_taken"] == [
        {"name": "b.ready", "why": "cannot be taken: it is immutable", "since": "2026-11-24T10:00:00+00:00"}
    ]
    take_down(tmp_path)
    assert (read_drops(tmp_path), read_pause(tmp_path)) == (DROPS, None)
    put_up_drops(tmp_path, DropNotice())
    assert not (tmp_path / "service.json").exists()


@pytest.mark.parametrize("drops", ["{}", "[1]", '[{"name": 1}]', "7", '"x"'])
def test_drops_that_cannot_be_read(tmp_path: Path, drops: str) -> None:
    (tmp_path / "service.json").write_text(f'{{"drops_waiting": {drops}}}')
    assert read_drops(tmp_path) == DropNotice()
