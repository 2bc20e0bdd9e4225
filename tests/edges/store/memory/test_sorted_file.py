"""A sorted file: what is read is what was written, or it is told that it is not."""

import hashlib
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal.isal_zlib import crc32

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.texts import TextList, Texts, joined_texts
from pipeline.core.model import Hashes
from pipeline.edges.store.memory.sorted_file import (
    BLOCK_BYTES,
    Column,
    DamagedFileError,
    FileFacts,
    ReadSlice,
    Slice,
    SortedFile,
    partition_of,
    write_slices,
    write_sorted,
)
from tests.tools.support import names_in, small_disk

WHOLES = np.dtype(np.uint32)


def keys_of(*keys: int) -> Hashes:
    return np.array(sorted(keys), dtype=np.uint64)


def texts_of(texts: list[bytes]) -> Texts:
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return Texts(TextList.of([b"".join(texts)]), ends - np.array([len(text) for text in texts], dtype=np.int64), ends)


def written(path: Path, *, rows: int = 40, text: bytes = b"id%03d,cell\n") -> FileFacts:
    """A small file of two columns and texts, in four slices."""
    keys = np.random.default_rng(3).integers(0, 2**64, rows, dtype=np.uint64)
    keys = np.sort(keys & np.uint64(0xC0FF_FFFF_FFFF_FFFF))
    columns: dict[str, Column] = {
        "at": np.arange(rows, dtype=np.uint32) + 7_000,
        "source": np.full(rows, 3, dtype=np.uint16),
    }
    return write_sorted(path, keys, columns, texts_of([text % row for row in range(rows)]), notes={"shapes": [["a"]]})


def text_of(file: SortedFile, partition: int) -> bytes:
    """All texts of a slice, one behind the other."""
    rows = file.rows_of(partition)
    return file.texts(partition, rows, np.arange(len(rows)))


def starts_of(rows: ReadSlice) -> list[int]:
    """Where each text of a slice begins in all of them, and where the last ends."""
    assert rows.sizes is not None
    return [0, *np.cumsum(rows.sizes.at(slice(None))).tolist()]


def read_all(path: Path, facts: FileFacts) -> list[tuple[int, int, int, bytes]]:
    """All that a file holds, row by row."""
    file, found = SortedFile.open(path, facts), []
    for partition in file.partitions:
        rows, text = file.rows_of(partition), text_of(file, partition)
        starts = starts_of(rows)
        for index, key in enumerate(rows.keys.tolist()):
            at, source = int(rows.columns["at"][index]), int(rows.columns["source"][index])
            found.append((key, at, source, text[starts[index] : starts[index + 1]]))
    return found


@given(
    rows=st.dictionaries(
        st.integers(0, 2**64 - 1),
        st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=40) | st.just(bytes(3 * BLOCK_BYTES))),
        max_size=60,
    ),
    wanted=st.data(),
)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[int, tuple[int, bytes]], wanted: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sorted") / "file"
    keys = keys_of(*rows)
    numbers = np.array([rows[key][0] for key in keys.tolist()], dtype=np.uint32)
    facts = write_sorted(path, keys, {"number": numbers}, texts_of([rows[key][1] for key in keys.tolist()]))
    assert (facts.rows, facts.size_bytes) == (len(rows), path.stat().st_size)
    file = SortedFile.open(path, facts)
    found: dict[int, tuple[int, bytes]] = {}
    for partition, count in file.partitions.items():
        part, text = file.rows_of(partition), text_of(file, partition)
        assert len(part) == count
        assert set(partition_of(part.keys).tolist()) == {partition}
        assert part.columns["number"].dtype == WHOLES
        starts = starts_of(part)
        for index, key in enumerate(part.keys.tolist()):
            found[key] = (int(part.columns["number"][index]), text[starts[index] : starts[index + 1]])
        some = sorted(wanted.draw(st.sets(st.integers(0, count - 1))))
        assert file.texts(partition, part, np.array(some, dtype=np.int64)) == b"".join(
            rows[int(part.keys[index])][1] for index in some
        )
    assert found == rows


@pytest.mark.parametrize("has_texts", [False, True], ids=["columns", "texts"])
def test_a_slice_that_comes_in_parts_is_the_same(tmp_path: Path, has_texts: bool) -> None:
    keys = np.arange(100, dtype=np.uint64)
    columns: dict[str, Column] = {"at": np.arange(100, dtype=np.uint32) + 7_000, "one": np.ones(100, dtype=np.uint16)}
    texts = texts_of([b"text of %d" % row * row for row in range(100)])
    facts = []
    for cuts in ([0, 100], [0, 0, 1, 40, 40, 99, 100]):
        parts = [slice(*cut) for cut in pairwise(cuts)]
        slices = [
            (3, Slice(keys[some], {name: column[some] for name, column in columns.items()}), texts.of(some))
            for some in parts
        ]
        kinds = {name: column.dtype.str for name, column in columns.items()}
        file = tmp_path / str(len(cuts))
        some = [(*each[:2], each[2] if has_texts else None) for each in slices]
        facts.append(write_slices(file, kinds, some, has_texts=has_texts))
    assert facts[0] == facts[1]
    assert (tmp_path / "2").read_bytes() == (tmp_path / "7").read_bytes()


def test_a_slice_without_rows(tmp_path: Path) -> None:
    file = SortedFile.open(tmp_path / "file", write_sorted(tmp_path / "file", keys_of(1), {}, texts_of([b"a"])))
    empty = file.rows_of(7)
    assert (len(empty), text_of(file, 7), file.texts(7, empty, np.zeros(0, dtype=np.int64))) == (0, b"", b"")


def test_a_column_takes_what_its_values_need(tmp_path: Path) -> None:
    keys = np.arange(10_000, dtype=np.uint64)
    same = write_sorted(tmp_path / "same", keys, {"at": np.full(10_000, 29_000_000, dtype=np.uint32)})
    near = write_sorted(tmp_path / "near", keys, {"at": 29_000_000 + np.arange(10_000, dtype=np.uint32)})
    assert same.size_bytes < 8 * 10_000 + 300
    assert near.size_bytes < 10 * 10_000 + 300
    assert SortedFile.open(tmp_path / "near", near).least_in(0, "at") == 29_000_000


def test_notes_are_kept(tmp_path: Path) -> None:
    facts = written(tmp_path / "file")
    assert SortedFile.open(tmp_path / "file", facts).notes == {"shapes": [["a"]]}


def test_each_byte_that_differs_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    facts = written(path, rows=8)
    whole, content = read_all(path, facts), path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(DamagedFileError, match="file"):
            read_all(path, facts)
    path.write_bytes(content)
    assert read_all(path, facts) == whole


def test_a_file_that_was_cut_off_or_grew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    facts = written(path, rows=8)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(DamagedFileError, match=f"has {size:,} bytes and was written with {len(content):,}"):
            SortedFile.open(path, facts)
        with pytest.raises(DamagedFileError):
            SortedFile.open(path, FileFacts(facts.rows, size, facts.checksum))
    path.write_bytes(content + b"\n")
    with pytest.raises(DamagedFileError, match="bytes and was written with"):
        SortedFile.open(path, facts)


def test_an_older_file_under_the_same_name(tmp_path: Path) -> None:
    old = written(tmp_path / "old", text=b"id%03d,gold\n")
    new = replace(written(tmp_path / "file"), size_bytes=old.size_bytes)
    (tmp_path / "old").rename(tmp_path / "file")
    with pytest.raises(DamagedFileError, match="another file than was written, an older one perhaps"):
        SortedFile.open(tmp_path / "file", new)


def test_single_rows_are_checked_by_their_block(tmp_path: Path) -> None:
    path, keys = tmp_path / "file", np.arange(3, dtype=np.uint64)
    facts = write_sorted(path, keys, {}, texts_of([b"a" * 3 * BLOCK_BYTES, b"b" * 3 * BLOCK_BYTES, b"c" * 10]))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"aaaa", b"aaxa", 1))
    file = SortedFile.open(path, facts)
    rows = file.rows_of(0)
    assert file.texts(0, rows, np.array([1, 2])) == b"b" * 3 * BLOCK_BYTES + b"c" * 10
    with pytest.raises(DamagedFileError, match="damaged in the text of slice 0"):
        file.texts(0, rows, np.array([0]))
    with pytest.raises(DamagedFileError, match="damaged in the text of slice 0"):
        text_of(file, 0)


SIZES = st.lists(st.sampled_from([0, 1, 10, BLOCK_BYTES, 2 * BLOCK_BYTES + 1, 30_000]), min_size=1, max_size=7)


@settings(max_examples=50)
@given(SIZES, st.data())
def test_rows_are_read_and_each_of_their_bytes_is_checked_wherever_they_are(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sorted") / "file"
    texts = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    facts = write_sorted(path, np.arange(len(texts), dtype=np.uint64), {}, texts_of(texts))
    file = SortedFile.open(path, facts)
    rows, wanted = file.rows_of(0), sorted(data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1)))
    assert file.texts(0, rows, np.array(wanted)) == b"".join(texts[index] for index in wanted)
    filled = [index for index in wanted if sizes[index]]
    if not filled:
        return
    altered = data.draw(st.sampled_from(filled))
    place = path.read_bytes().index(texts[altered]) + data.draw(st.integers(0, sizes[altered] - 1))
    with path.open("r+b") as content:
        content.seek(place)
        content.write(b"\xff")
    with pytest.raises(DamagedFileError, match="damaged in the text of slice 0"):
        file.texts(0, rows, np.array(wanted))


@pytest.mark.parametrize("before", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_a_row_in_the_last_block_of_a_text_is_checked(tmp_path: Path, before: int) -> None:
    path = tmp_path / "file"
    facts = write_sorted(path, np.arange(2, dtype=np.uint64), {}, texts_of([b"a" * before, b"bbbb"]))
    path.write_bytes(path.read_bytes().replace(b"bbbb", b"bbxb"))
    file = SortedFile.open(path, facts)
    with pytest.raises(DamagedFileError, match="damaged in the text of slice 0"):
        file.texts(0, file.rows_of(0), np.array([1]))


def test_rows_of_several_blocks_that_are_far_apart_are_read(tmp_path: Path) -> None:
    path, texts = tmp_path / "file", [b"a" * 9_000, b"b" * 30_000, b"c" * 10]
    file = SortedFile.open(path, write_sorted(path, np.arange(3, dtype=np.uint64), {}, texts_of(texts)))
    assert file.texts(0, file.rows_of(0), np.array([0, 2])) == texts[0] + texts[2]


def test_a_file_in_which_texts_are_behind_the_columns(tmp_path: Path) -> None:
    """As an earlier version wrote it."""
    facts = written(tmp_path / "now", text=b"id%03d," + b"x" * 300 + b"\n")
    now = SortedFile.open(tmp_path / "now", facts)
    content = (tmp_path / "now").read_bytes()
    trailer = struct.Struct("<IQ8s")
    _, length, _ = trailer.unpack(content[-trailer.size :])
    footer = orjson.loads(content[-trailer.size - length : -trailer.size])
    slices = [b"PPSORT1\n"]
    for each in footer["index"]:
        _, offset, _, columns_bytes, text_bytes, *_ = each
        each[1] = sum(map(len, slices))
        slices += [content[offset : offset + columns_bytes], content[offset - text_bytes : offset]]
    end = orjson.dumps(footer)
    path = tmp_path / "before"
    path.write_bytes(b"".join([*slices, end, trailer.pack(crc32(end), len(end), b"PPSORT1\n")]))
    of_before = FileFacts(facts.rows, path.stat().st_size, hashlib.sha256(end).hexdigest())
    assert read_all(path, of_before) == read_all(tmp_path / "now", facts)
    before = SortedFile.open(path, of_before)
    for partition in now.partitions:
        rows = before.rows_of(partition)
        assert before.texts(partition, rows, np.array([1])) == now.texts(
            partition, now.rows_of(partition), np.array([1])
        )


def test_a_full_disk_leaves_nothing() -> None:
    with small_disk(1 << 20) as disk:
        keys = np.arange(100_000, dtype=np.uint64) << np.uint64(40)
        with pytest.raises(FatalError, match="The disk is full") as caught:
            write_sorted(disk / "file", keys, {"number": keys})
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert "file" not in "".join(names_in(disk))


def test_texts_that_lie_anywhere_are_put_in_order() -> None:
    starts, ends = np.array([6, 0, 3, 3]), np.array([9, 3, 6, 3])
    assert joined_texts(b"onetwosix", starts, ends) == b"sixonetwo"
    assert joined_texts(b"", np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)) == b""
