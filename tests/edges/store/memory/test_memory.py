"""The memory: what was last sent of each id is found, whatever came in between."""

from pathlib import Path

from pipeline.core.memory.digest import digest_rows
from pipeline.core.model import Rows
from pipeline.edges.store.memory.memory import Memory
from tests.core.builders import SALT
from tests.edges.store.memory.builders import GIVEN_UP, Released, asked, losing


def unchanged(memory: Memory, rows: Rows, parameters: tuple[str, ...] = ("a", "b")) -> dict[str, bool]:
    """By id of some rows, if their digest is remembered as sent."""
    found = memory.find(rows.hashes)
    digests = digest_rows(rows.body, rows.starts, rows.ends, parameters, SALT)
    same = (found.digests == digests) & (found.sent_at > 0)
    ids = [rows.text(index)[:length].decode() for index, length in enumerate(rows.id_lengths.tolist())]
    return dict(zip(ids, same.tolist(), strict=True))


def test_what_was_sent_is_found(tmp_path: Path) -> None:
    state = Released(tmp_path)
    state.remember({"ann": "1,2", "bob": "3,4", "eve": "5,6"})
    state.remember({"bob": "7,8"})
    rows = asked(["ann,1,2", "bob,3,4", "eve,5,0", "joe,1,2"])
    assert unchanged(state.memory, rows) == {"ann": True, "bob": False, "eve": False, "joe": False}
    assert unchanged(state.restart(), asked(["bob,7,8"])) == {"bob": True}


def test_what_is_lost_is_forgotten(tmp_path: Path) -> None:
    state = Released(tmp_path)
    state.remember({"ann": "1,2", "bob": "3,4", "eve": "5,6"})
    state.remember({"ann": "1,2", "bob": "3,4", "eve": "5,6"}, losing(failed=["ann"], unconfirmed=["bob"]))
    rows = asked(["ann,1,2", "bob,3,4", "eve,5,6"])
    assert unchanged(state.memory, rows) == {"ann": False, "bob": False, "eve": True}
    state.remember({"eve": "5,6"}, GIVEN_UP)
    assert unchanged(state.memory, rows) == {"ann": False, "bob": False, "eve": False}
