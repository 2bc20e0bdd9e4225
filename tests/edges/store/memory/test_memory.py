"""The memory: what was last sent of each id is found, whatever came in between, and nothing is believed but that."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.cells import patterns
from pipeline.core.memory.comparison import unchanged_by_digest
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.memory.row_fates import row_fates
from pipeline.edges.store.memory import upkeep
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.memory.sorted_file import PARTITIONS, partition_of
from tests.core.builders import SALT, ids_of_one_hash
from tests.edges.store.memory.builders import COMPLETE, GIVEN_UP, Released, asked, losing
from tests.tools.support import small_disk

ROWS = {"ann": "1,2", "bob": "3,4", "eve": "5,6"}


def unchanged(memory: Memory, rows: KeyedRows, id_kind: str = "thirdPartyId") -> dict[str, bool]:
    """By id of some rows, if their digest is remembered as sent."""
    found = memory.find(rows.hashes, rows, id_kind=id_kind)
    return dict(zip(ids_in(rows), unchanged_by_digest(rows.digests, found).tolist(), strict=True))


def remembered(memory: Memory, *ids: str, id_kind: str = "thirdPartyId") -> dict[str, tuple[str, bool]]:
    """By id that is known: its row, and if it counts as sent."""
    rows = asked([f"{each},1" for each in ids])
    found = memory.find(rows.hashes, rows, id_kind=id_kind)
    values = found.entries.values
    assert values is not None
    places = zip(ids_in(rows), found.indexes.tolist(), (found.sent_at > 0).tolist(), strict=True)
    return {each: (values.row(at).decode().rstrip("\n"), sent) for each, at, sent in places if at >= 0}


def ids_in(rows: KeyedRows) -> list[str]:
    texts = rows.rows()
    return [texts.text(index)[:length].decode() for index, length in enumerate(rows.id_lengths.tolist())]


def merge_all(state: Released) -> None:
    files = state.memory._files
    for partition in range(PARTITIONS):
        files.enter(upkeep.merge_partition(files, partition))


class TestRemember:
    def test_what_was_sent_is_found(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        state.remember({"bob": "7,8"})
        rows = asked(["ann,1,2", "bob,3,4", "eve,5,0", "joe,1,2"])
        assert unchanged(state.memory, rows) == {"ann": True, "bob": False, "eve": False, "joe": False}
        assert unchanged(state.restart(), asked(["bob,7,8"])) == {"bob": True}

    def test_what_is_lost_is_forgotten(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        state.remember(ROWS, losing(failed=["ann"], unconfirmed=["bob"]))
        rows = asked(["ann,1,2", "bob,3,4", "eve,5,6"])
        assert unchanged(state.memory, rows) == {"ann": False, "bob": False, "eve": True}
        sent_at = state.memory.find(rows.hashes).sent_at.tolist()
        assert {each: at > 0 for each, at in zip(ids_in(rows), sent_at, strict=True)} == unchanged(state.memory, rows)
        state.remember({"eve": "5,6"}, GIVEN_UP)
        assert unchanged(state.memory, rows) == {"ann": False, "bob": False, "eve": False}
        assert not state.memory.find(rows.hashes).sent_at.any()

    def test_of_a_refused_row_the_earlier_values_stay_and_of_a_doubtful_one_its_own(self, tmp_path: Path) -> None:
        state = Released(tmp_path, with_values=True)
        state.remember(ROWS)
        state.remember(
            {"ann": "poison,", "bob": "9,9", "joe": "1,1"}, losing(failed=["ann", "joe"], unconfirmed=["bob"])
        )
        for _ in range(2):
            assert remembered(state.memory, "ann", "bob", "eve") == {
                "ann": ("ann,1,2", False),
                "bob": ("bob,9,9", False),
                "eve": ("eve,5,6", True),
            }
            merge_all(state)
        assert remembered(state.memory, "joe") == {}

    def test_with_values_a_row_that_was_sent_is_known_by_its_digest_alone(self, tmp_path: Path) -> None:
        state = Released(tmp_path, with_values=True)
        state.remember(ROWS, losing(unconfirmed=["eve"]))
        state.remember({"bob": "7,"}, losing(failed=["bob"]))
        merge_all(state)
        rows = asked(["ann,1,2", "bob,3,4", "eve,5,6", "joe,1,2"])
        by_key = state.memory.find(rows.hashes)
        assert by_key.entries.values is None
        said = dict(zip(ids_in(rows), unchanged_by_digest(rows.digests, by_key).tolist(), strict=True))
        # Of bob and eve it is not known that Target has the row that came last.
        assert said == {"ann": True, "bob": False, "eve": False, "joe": False}
        shape, same = state.memory.shape_of(("a", "b")), rows.rows()
        same_cells = by_key.patterns == patterns(same.body, same.ends, same.id_lengths, shape, SALT)
        # Of bob, whose last row was refused, the cells are those of the row before: which, nothing tells.
        assert dict(zip(ids_in(rows), same_cells.tolist(), strict=True)) == {**said, "eve": True}
        for file in (tmp_path / "memory").iterdir():
            file.write_bytes(file.read_bytes().replace(b"ann,1,2", b"ann,1,3"))
        assert unchanged_by_digest(rows.digests, state.restart().find(rows.hashes)).any()
        assert_damaged(lambda: state.restart().find(rows.hashes, rows), "damaged in the text")

    def test_a_run_is_written_once(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        batch_id = state.seal(ROWS).batch_id
        state.memory.remember(batch_id, row_fates(COMPLETE), at_minutes=5)
        before = state.memory.pending
        state.memory.remember(batch_id, row_fates(GIVEN_UP), at_minutes=6)
        assert state.memory.pending == before
        assert state.memory.has(batch_id)
        state.catalog.enter(state.memory)
        assert not state.memory.has(batch_id)
        assert state.memory.pending == {}

    @pytest.mark.parametrize("with_values", [False, True])
    def test_two_ids_of_one_key(self, tmp_path: Path, with_values: bool) -> None:
        one, other = (each.decode() for each in ids_of_one_hash(SALT))
        state = Released(tmp_path, with_values=with_values)
        state.remember({one: "1,2", other: "3,4"})
        rows = asked([f"{one},1,2", f"{other},3,4"])
        if with_values:
            assert remembered(state.memory, one, other) == {one: (f"{one},1,2", True), other: (f"{other},3,4", True)}
        else:
            # One is sent needlessly. Never is one taken for the other.
            assert sum(unchanged(state.memory, rows).values()) == 1
            assert unchanged(state.memory, asked([f"{one},3,4", f"{other},1,2"])) == {one: False, other: False}

    @pytest.mark.parametrize("with_values", [False, True])
    def test_one_text_is_two_ids_of_two_kinds(self, tmp_path: Path, with_values: bool) -> None:
        state = Released(tmp_path, with_values=with_values)
        state.remember(ROWS)
        state.remember({"ann": "7,8"}, id_kind="pcId")
        if with_values:
            assert remembered(state.memory, "ann", "bob") == {"ann": ("ann,1,2", True), "bob": ("bob,3,4", True)}
            assert remembered(state.memory, "ann", "bob", id_kind="pcId") == {"ann": ("ann,7,8", True)}
        else:
            rows = asked(["ann,1,2", "bob,3,4"])
            assert unchanged(state.memory, rows) == {"ann": True, "bob": True}
            assert unchanged(state.memory, rows, "pcId") == {"ann": False, "bob": False}
            assert unchanged(state.memory, asked(["ann,7,8"]), "pcId") == {"ann": True}
            assert unchanged(state.memory, asked(["ann,7,8"])) == {"ann": False}
        rows = asked(["ann,1", "bob,1"])
        assert state.memory.knows(rows.hashes).tolist() == [True, True]
        assert dict(zip(ids_in(rows), state.memory.knows(rows.hashes, id_kind="pcId").tolist(), strict=True)) == {
            "ann": True,
            "bob": False,
        }
        assert state.memory.forget([b"ann"]) == 1
        assert not state.memory.knows(asked(["ann,1"]).hashes, id_kind="pcId").any()

    def test_keys_that_a_mark_puts_in_another_order(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS, id_kind="pcId")
        (hash_,) = asked(["ann,1"]).hashes.tolist()
        hashes = np.array(sorted([hash_ & ~1, hash_ | 1]), dtype=np.uint64)
        assert (state.memory.find(hashes, id_kind="pcId").indexes >= 0).tolist() == (hashes == hash_).tolist()

    def test_names_of_all_values(self, tmp_path: Path) -> None:
        state = Released(tmp_path, with_values=True)
        state.remember(ROWS)
        state.remember(ROWS, parameters="b,c")
        assert state.memory.parameters == ("a", "b", "c")
        assert state.restart().parameters == ("a", "b", "c")
        assert state.memory.shapes == [("a", "b"), ("b", "c")]


class TestMerge:
    def test_nothing_is_due_of_a_small_memory(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        for _ in range(7):
            state.remember(ROWS)
        assert not state.memory.is_merge_due()
        assert state.memory.write_merge() is None

    def test_many_small_runs_become_one(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        for number in range(60):
            state.remember({"ann": f"{number},1"})
            if state.memory.is_merge_due():
                state.memory.merge_one()
                assert not state.memory.is_merge_due()
        assert len(state.names()) < 10
        assert state.names() == state.catalogued_names()
        assert unchanged(state.memory, asked(["ann,59,1"])) == {"ann": True}

    def test_a_partition_is_merged_when_it_has_much(self, tmp_path: Path) -> None:
        state, ids = Released(tmp_path), of_one_partition(9_000)
        state.remember(dict.fromkeys(ids[:5000], "1,2"), at=10)
        assert state.memory.is_merge_due()
        state.memory.merge_one()
        assert state.names() == ["00000002.memory"] == state.catalogued_names()
        state.remember(dict.fromkeys(ids[4000:8000], "3,4"), at=20)
        assert not state.memory.is_merge_due()
        state.remember(dict.fromkeys(ids[8000:], "3,4"), at=30)
        assert state.memory.is_merge_due()
        state.memory.merge_one()
        assert len(state.names()) == 1
        facts = state.memory.facts()
        assert (facts.ids, facts.files, facts.oldest_minutes) == (9_000, 1, 10)
        assert facts.size_bytes < 20 * 9_000
        rows = asked([f"{ids[0]},1,2", f"{ids[4_500]},1,2", f"{ids[8_500]},3,4"])
        assert list(unchanged(state.restart(), rows).values()).count(True) == 2

    @pytest.mark.parametrize("is_behind", [False, True])
    def test_a_merge_passes_over_no_run_that_is_pending(self, tmp_path: Path, is_behind: bool) -> None:
        """Its batch may be released durably after that of a run with a higher number."""
        state = Released(tmp_path)
        state.remember(ROWS)
        state.release({"bob": "7,8"})
        (pending,) = state.memory.pending
        late = state.memory.pending[pending]
        if is_behind:
            state.release({"eve": "7,8"})
            of_eve = {batch_id: file for batch_id, file in state.memory.pending.items() if batch_id != pending}
            state.catalog.files |= {file.number: file for file in of_eve.values()}
            state.memory.entered(of_eve)
        merge_all(state)
        assert all(each.merged_to < late.number for each in state.catalog.partitions.values())
        state.catalog.enter(state.memory)
        merge_all(state)
        state.restart()
        rows = asked(["ann,1,2", "bob,7,8", "eve,7,8"])
        assert unchanged(state.memory, rows) == {"ann": True, "bob": True, "eve": is_behind}

    def test_runs_are_not_merged_while_one_is_pending(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        for _ in range(9):
            state.remember(ROWS)
        state.release({"bob": "7,8"})
        assert not state.memory.is_merge_due()
        state.catalog.enter(state.memory)
        assert state.memory.is_merge_due()

    def test_a_merge_that_comes_too_late_is_dropped(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        for _ in range(9):
            state.remember(ROWS)
        first, second = state.memory.write_merge(), state.memory.write_merge()
        assert first and second
        state.memory.enter_merge(first)
        state.memory.enter_merge(second)
        assert state.names() == state.catalogued_names()
        assert unchanged(state.memory, asked(["bob,3,4"])) == {"bob": True}

    def test_a_new_process_merges_runs_of_other_parameters_before_anything_else(self, tmp_path: Path) -> None:
        state = Released(tmp_path, with_values=True)
        state.remember(ROWS)
        state.remember({"joe": "7,8"}, parameters="c,d")
        files = state.restart()._files
        assert files.enter(upkeep.merge_runs(files, files.runs()))
        memory = state.restart()
        assert remembered(memory, "ann", "joe") == {"ann": ("ann,1,2", True), "joe": ("joe,7,8", True)}
        assert memory.parameters == ("a", "b", "c", "d")

    def test_a_merge_of_runs_gives_way_to_a_run_that_was_begun_before_it(self, tmp_path: Path) -> None:
        """The run has the lower number, and the newer rows."""
        state = Released(tmp_path)
        for _ in range(9):
            state.remember(ROWS)
        files = state.memory._files
        runs = upkeep.runs_to_merge(files)
        state.remember({"bob": "7,8"})
        files.enter(upkeep.merge_runs(files, runs))
        assert state.names() == state.catalogued_names()
        assert unchanged(state.memory, asked(["bob,7,8"])) == {"bob": True}
        assert unchanged(state.restart(), asked(["bob,7,8"])) == {"bob": True}

    def test_a_merge_brings_nothing_back_that_was_forgotten_meanwhile(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        files = state.memory._files
        merge = upkeep.merge_partition(files, int(partition_of(asked(["ann,1"]).hashes)[0]))
        assert state.memory.forget([b"ann"]) == 1
        state.memory.enter_merge(merge)
        assert state.names() == state.catalogued_names()
        assert unchanged(state.memory, asked(["ann,1,2", "bob,3,4"])) == {"ann": False, "bob": True}

    def test_a_crash_in_the_middle_of_a_merge(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        for _ in range(9):
            state.remember(ROWS)
        assert state.memory.write_merge()
        before = state.catalogued_names()
        assert state.names() != before
        assert unchanged(state.restart(), asked(["bob,3,4"])) == {"bob": True}
        assert state.names() == before

    def test_a_full_disk(self, tmp_path: Path) -> None:
        with small_disk(2 << 20) as disk:
            state, ids = Released(disk), of_one_partition(5_000)
            state.remember(dict.fromkeys(ids, "1,2"))
            (disk / "filler").write_bytes(bytes(1_000_000))
            with (disk / "filler").open("ab", buffering=0) as filler, pytest.raises(OSError, match="No space"):
                while filler.write(bytes(1_024)):
                    pass
            before = state.names()
            with pytest.raises(FatalError) as caught:
                state.memory.merge_one()
            assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
            assert state.names() == before == state.catalogued_names()
            (disk / "filler").unlink()
            state.memory.merge_one()
            assert unchanged(state.memory, asked([f"{ids[7]},1,2"])) == {ids[7]: True}


class TestWhatIsBelieved:
    def test_a_file_that_is_in_no_catalog_is_removed(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        state.release({"bob": "7,8"})
        (tmp_path / "memory" / ".00000003.memory.tmp").touch()
        assert len(state.names()) == 3
        assert unchanged(state.restart(), asked(["bob,3,4"])) == {"bob": True}
        assert state.names() == state.catalogued_names()

    @pytest.mark.parametrize("is_merged", [False, True], ids=["run", "base"])
    @pytest.mark.parametrize("with_values", [False, True], ids=["digests", "values"])
    def test_each_byte_that_differs_is_told(self, tmp_path: Path, with_values: bool, is_merged: bool) -> None:
        state = Released(tmp_path, with_values=with_values)
        state.remember({"ann": "1,2", "bob": "3,4"})
        if is_merged:
            merge_all(state)
        path = tmp_path / "memory" / state.names()[0]
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert_damaged(lambda: read_everything(state.restart()))
        path.write_bytes(content[:-1])
        assert_damaged(lambda: state.restart().check())

    def test_a_missing_file(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        (tmp_path / "memory" / "00000001.memory").unlink()
        assert_damaged(lambda: state.restart().check(), "00000001.memory is missing")
        assert_damaged(lambda: state.restart().find(asked(["ann,1"]).hashes), "00000001.memory is missing")

    def test_an_older_copy(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember({"ann": "1,2"})
        shutil.copytree(tmp_path / "memory", tmp_path / "copy")
        state.memory.rebuild()
        state.restart()
        state.remember({"ann": "3,4"})
        shutil.copytree(tmp_path / "copy", tmp_path / "memory", dirs_exist_ok=True)
        assert_damaged(lambda: state.restart().check())

    def test_a_damaged_memory_is_emptied_and_begins_anew(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember(ROWS)
        (tmp_path / "memory" / "00000001.memory").write_bytes(b"")
        state.restart().rebuild()
        assert state.names() == []
        assert unchanged(state.memory, asked(["ann,1,2"])) == {"ann": False}
        state.remember(ROWS)
        assert unchanged(state.restart(), asked(["ann,1,2"])) == {"ann": True}


class TestForget:
    @pytest.mark.parametrize("with_values", [False, True], ids=["digests", "values"])
    @pytest.mark.parametrize("is_merged", [False, True], ids=["runs", "base and runs"])
    def test_nothing_is_left_of_an_id(self, tmp_path: Path, with_values: bool, is_merged: bool) -> None:
        state = Released(tmp_path, with_values=with_values)
        state.remember({"ann": "first,2", "bob": "3,4"})
        if is_merged:
            merge_all(state)
        state.remember({"ann": "second,2", "eve": "5,6"})
        assert state.memory.forget([b"ann", b"nobody"]) == 1
        assert state.memory.forget([b"ann"]) == 0
        (key,) = asked(["ann,1"]).hashes.tolist()
        for file in (tmp_path / "memory").iterdir():
            content = file.read_bytes()
            assert b"ann" not in content
            assert b"first" not in content
            assert int(key).to_bytes(8, "little") not in content
        (left,) = state.memory.parts_of(int(partition_of(asked(["bob,1"]).hashes)[0]))
        assert len(left) == 1

    def test_it_is_erased_though_a_base_was_written_between(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        one, other = of_one_partition(2)
        state.remember({one: "1,2", other: "1,2"})
        merge_all(state)
        state.remember({one: "3,4", "bob": "3,4"})
        assert state.memory.forget([one.encode()]) == 1
        assert state.memory.forget([one.encode()]) == 0
        assert unchanged(state.memory, asked([f"{one},3,4", f"{other},1,2"])) == {one: False, other: True}

    def test_not_while_a_run_is_pending(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.release(ROWS)
        with pytest.raises(ValueError, match="pending"):
            state.memory.forget([b"ann"])

    def test_nothing_older_comes_back_if_it_is_cut_off(self, tmp_path: Path) -> None:
        state = Released(tmp_path)
        state.remember({"ann": "1,2"})
        merge_all(state)
        state.remember({"ann": "3,4"})
        rows = asked(["ann,1,2"])
        files = state.memory._files
        for merge in upkeep.erasure(files, [b"ann"], rows.hashes):
            assert unchanged(state.memory, rows) == {"ann": False}
            files.enter(merge)
        assert unchanged(state.memory, rows) == {"ann": False}


def test_what_is_old_goes_from_bases_and_runs(tmp_path: Path) -> None:
    state = Released(tmp_path)
    state.remember({"ann": "1,2", "bob": "3,4"}, at=100)
    merge_all(state)
    state.remember({"bob": "3,4", "eve": "5,6"}, at=200)
    state.memory.expire(100)
    assert state.memory.facts().oldest_minutes == 100
    state.memory.expire(101)
    rows = asked(["ann,1,2", "bob,3,4", "eve,5,6"])
    assert unchanged(state.memory, rows) == {"ann": False, "bob": True, "eve": True}
    assert state.memory.facts().oldest_minutes == 200
    state.memory.expire(201)
    assert state.names() == [] == state.catalogued_names()
    assert state.memory.facts().oldest_minutes is None


def of_one_partition(count: int) -> list[str]:
    """Ids whose keys begin with the same byte."""
    rows = asked([f"id{number}" for number in range(300 * count)])
    return [each for each, partition in zip(ids_in(rows), partition_of(rows.hashes), strict=True) if not partition][
        :count
    ]


def read_everything(memory: Memory) -> None:
    for partition in range(PARTITIONS):
        list(memory.parts_of(partition))


def assert_damaged(look: Callable[[], object], why: str = "") -> None:
    with pytest.raises(FatalError, match=rf"(?s)is damaged \(.*{why}.*memory rebuild`") as caught:
        look()
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
