"""The notice of a service that waits: one file, whose form other versions read too."""

from pathlib import Path

import orjson
import pytest

from pipeline.edges.store.notice import Pause, put_up, read_pause, take_down

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
