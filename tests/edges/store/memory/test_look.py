"""A look beside the process that writes the memory finds what that process would say, and changes nothing."""

from pathlib import Path
from typing import cast

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.memory.catalog import Catalog, MemoryCatalog
from pipeline.edges.store.memory.look import facts_beside
from pipeline.edges.store.memory.memory import Memory, MemoryFacts
from pipeline.edges.store.memory.sorted_file import PARTITIONS
from pipeline.edges.store.memory.upkeep import merge_partition
from tests.edges.store.memory.builders import Released, asked


def rows(first: int, count: int) -> dict[str, str]:
    return {f"u{number}": f"{number},x" for number in range(first, first + count)}


def beside(released: Released) -> MemoryFacts:
    return facts_beside(released.directory / "memory", released.catalog.memory_catalog)


@pytest.mark.parametrize("with_values", [False, True])
def test_it_finds_the_same_as_the_memory_before_and_after_merges(tmp_path: Path, with_values: bool) -> None:
    released = Released(tmp_path, with_values=with_values)
    assert beside(released) == MemoryFacts(0, 0, None, 0)
    for first, at in ((0, 1_000), (500, 2_000), (400, 3_000)):
        released.remember(rows(first, 500), at=at)
        assert beside(released) == released.memory.facts()
    # An id of which there is a newer entry that is not merged yet counts twice.
    assert beside(released).ids == 1_500
    released.memory.expire(1_001)
    assert beside(released) == released.memory.facts()
    assert beside(released).ids == 600


def test_a_file_that_was_merged_meanwhile_is_not_missed(tmp_path: Path) -> None:
    released = Released(tmp_path)
    released.remember(rows(0, 50))
    before = released.catalog.memory_catalog()
    released.remember(rows(50, 50), at=2_000)
    released.memory.expire(1_001)
    asked = iter([before, released.catalog.memory_catalog()])
    assert facts_beside(tmp_path / "memory", lambda: next(asked)).ids == 50


@pytest.mark.parametrize("with_values", [False, True])
def test_whoever_only_asks_goes_on_with_the_files_of_now(tmp_path: Path, with_values: bool) -> None:
    released = Released(tmp_path, with_values=with_values)
    released.remember(rows(0, 50))
    catalog = cast("Catalog", released.catalog)
    reader = Memory(tmp_path / "memory", None, catalog, with_values=with_values)
    asks = asked([f"u{number},{number},x" for number in range(60)])
    assert int(reader.find(asks.hashes, asks).is_known.sum()) == 50
    for partition in range(PARTITIONS):
        released.memory.enter_merge(merge_partition(released.memory._files, partition))
    assert int(reader.find(asks.hashes, asks).is_known.sum()) == 50
    assert int(reader.knows(asks.hashes).sum()) == 50
    reader.check()
    for file in (tmp_path / "memory").iterdir():
        file.unlink()
    # The catalog says the same as before: it is not a merge for which they have gone.
    with pytest.raises(FatalError, match="is missing"):
        Memory(tmp_path / "memory", None, catalog, with_values=with_values).check()


@pytest.mark.parametrize("with_values", [False, True])
def test_whoever_only_asks_goes_on_where_a_file_has_the_number_of_one_that_was_emptied(
    tmp_path: Path, with_values: bool
) -> None:
    released = Released(tmp_path, with_values=with_values)
    released.remember(rows(0, 50))
    reader = Memory(tmp_path / "memory", None, cast("Catalog", released.catalog), with_values=with_values)
    asks = asked([f"u{number},{number},x" for number in range(60)])
    assert int(reader.find(asks.hashes, asks).is_known.sum()) == 50
    released.memory.rebuild()
    released.restart()
    released.remember(rows(20, 20))
    assert [*released.catalog.files] == [1]
    # Behind a question of nobody, nothing is kept that was read before.
    reader.find(asks.hashes[:0])
    # It comes upon the other file here; what it asked before that is answered as of before.
    assert int(reader.find(asks.hashes, asks).is_known.sum()) >= 20
    assert int(reader.find(asks.hashes, asks).is_known.sum()) == 20


@pytest.mark.parametrize("damage", ["lost", "cut", "older"])
def test_damage_is_told_of(tmp_path: Path, damage: str) -> None:
    released = Released(tmp_path)
    released.remember(rows(0, 50))
    (file,) = (tmp_path / "memory").iterdir()
    content = file.read_bytes()
    if damage == "lost":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-1])
    else:
        other = Released(tmp_path / "other")
        other.remember(rows(0, 50), at=999)
        file.write_bytes(next((tmp_path / "other" / "memory").iterdir()).read_bytes())
    names = released.names()
    with pytest.raises(FatalError, match=r"(?s)is damaged.*`profile-pipeline memory rebuild`") as caught:
        beside(released)
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert released.names() == names, "nothing is changed by a look"


def test_no_memory_is_an_empty_one(tmp_path: Path) -> None:
    assert facts_beside(tmp_path / "none", MemoryCatalog) == MemoryFacts(0, 0, None, 0)
    assert not (tmp_path / "none").exists()
