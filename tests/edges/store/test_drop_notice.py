"""The notice of drops that wait or cannot be taken: a file that other versions read too."""

from pathlib import Path

import orjson
import pytest

from pipeline.edges.store.drop_notice import DropNotice, NotTaken, WaitingDrop, put_up_drops, read_drops

SINCE = "2026-11-24T10:00:00+00:00"
DROPS = DropNotice(
    (WaitingDrop("a.ready", "without a.csv", SINCE, "2026-11-24T10:15:00+00:00"),),
    (NotTaken("b.ready", "cannot be taken: it is immutable", SINCE),),
)


def test_it_is_read_as_it_was_put_up_until_there_is_nothing_to_tell(tmp_path: Path) -> None:
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
def test_what_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "drops.json").write_text(content)
    assert read_drops(tmp_path) == DropNotice()
