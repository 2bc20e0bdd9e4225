"""The spool: what is posted is what was sealed, byte for byte, and a batch is in it whole or not at all."""

import hashlib
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, SupportsIndex

import numpy as np
import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchContent
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.store.spool import Spool
from tests.tools.support import names_in, read_only, small_disk

SALT = 5
FILES_OF_ONE = ["00000001.body", "00000001.ids", "00000001.lines"]
BODY = b"batch=thirdPartyId,tier\na,1\nb%20c,\nd,%2C\n"
LINES = [2, 5_000_000_000, 4]


def content(body: bytes = BODY, lines: list[int] | None = None, *, pieces: int = 1) -> BatchContent:
    rows = lines or LINES
    texts = body.splitlines(keepends=True)[1 : len(rows) + 1]
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    lengths = np.array([len(text.rstrip(b"\n").partition(b",")[0]) for text in texts], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    hashes = hash_ids(b"".join(texts), starts, lengths, SALT)
    order = np.argsort(hashes)
    step = max(1, len(body) // pieces)
    parts: list[bytes | memoryview] = [
        memoryview(body)[start : start + step] if start else body[:step] for start in range(0, len(body), step)
    ]
    return BatchContent(
        pieces=parts,
        rows=len(rows),
        size_bytes=len(body),
        hashes=hashes[order],
        order=order.astype(np.uint32),
        sizes=sizes.astype(np.uint32),
        lines=np.array(rows, dtype=np.int64),
    )


def overflowing() -> BatchContent:
    """A batch larger than the disk, and than it was thought to be: as if another filled the disk meanwhile."""
    return replace(content(BODY + b"e,5\n" * 80_000), size_bytes=len(BODY))


def spool_in(directory: Path, *, min_free_bytes: int = 0) -> Spool:
    return Spool(directory / "state" / "spool", min_free_bytes=min_free_bytes)


class TestWrite:
    @pytest.mark.parametrize("pieces", [1, 2, 7, 40])
    def test_bytes_and_facts(self, tmp_path: Path, pieces: int) -> None:
        spool = spool_in(tmp_path)
        batch = spool.write(12, 3, content(pieces=pieces))
        assert spool.body(12).read_bytes() == BODY
        digests = [
            hashlib.sha256((spool.body(12).parent / f"00000012.{kind}").read_bytes()).hexdigest()
            for kind in ("ids", "lines")
        ]
        assert batch == Batch(12, 3, 3, len(BODY), hashlib.sha256(BODY).hexdigest(), None, *digests)

    def test_pieces_are_let_go_as_they_are_written(self, tmp_path: Path) -> None:
        segments = [np.frombuffer(bytes([letter]) * 2_000_000, dtype=np.uint8).copy() for letter in b"abc"]
        alive = [weakref.ref(segment) for segment in segments]
        seen: list[int] = []

        class Watched(list[bytes | memoryview]):
            def pop(self, index: SupportsIndex = -1) -> bytes | memoryview:
                seen.append(sum(segment() is not None for segment in alive))
                return super().pop(index)

        sealed = replace(content(), pieces=Watched(segment.data for segment in segments))
        del segments
        spool_in(tmp_path).write(12, 3, sealed)
        # The one that is being written is there until the next one is asked for.
        assert seen == [3, 3, 2]
        assert not sealed.pieces

    def test_larger_than_any_buffer(self, tmp_path: Path) -> None:
        body = BODY + b"e,5\n" * 1_000_000
        spool = spool_in(tmp_path)
        batch = spool.write(1, 1, content(body, pieces=3))
        assert spool.body(1).read_bytes() == body
        assert batch.sha256 == hashlib.sha256(body).hexdigest()

    def test_for_the_owner_only_and_without_temporary_names(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        directory = spool.body(1).parent
        assert names_in(directory) == FILES_OF_ONE
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}

    def test_lines_are_little_endian_and_64_bits(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        raw = (spool.body(1).parent / "00000001.lines").read_bytes()
        assert [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)] == LINES

    def test_what_must_stay_free(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path, min_free_bytes=2**60)
        with pytest.raises(FatalError, match=r"min_free_bytes = 1,152,921,504,606,846,976 must stay free") as caught:
            spool.write(1, 1, content())
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert names_in(spool.body(1).parent) == []

    def test_what_must_stay_free_counts_the_batch(self) -> None:
        with small_disk(1_048_576) as disk:
            spool = spool_in(disk, min_free_bytes=800_000)
            spool.write(1, 1, content())
            with pytest.raises(FatalError, match="make room"):
                spool.write(2, 2, content(BODY + b"e,5\n" * 80_000))
            assert names_in(spool.body(1).parent) == FILES_OF_ONE


class TestFailedWrites:
    def test_on_a_full_disk_leaves_nothing_of_the_body(self) -> None:
        with small_disk(262_144) as disk:
            spool = spool_in(disk)
            spool.write(1, 1, content())
            with pytest.raises(FatalError, match="The disk is full: make room and run again") as caught:
                spool.write(2, 2, overflowing())
            assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
            left = names_in(spool.body(1).parent)
            assert "00000002.body" not in left
            assert not [name for name in left if name.startswith(".")]
            assert spool.body(1).read_bytes() == BODY

    def test_on_a_full_disk_leaves_nothing_at_all(self) -> None:
        with small_disk(262_144) as disk:
            spool = spool_in(disk)
            with pytest.raises(FatalError):
                spool.write(2, 2, overflowing())
            assert names_in(spool.body(1).parent) == []

    def test_on_a_disk_that_turned_read_only(self) -> None:
        """As ext4 does after an error of the disk."""
        with small_disk(1_048_576) as disk:
            spool = spool_in(disk)
            with read_only(disk), pytest.raises(FatalError) as caught:
                spool.write(1, 1, content())
            assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER

    def test_in_a_directory_that_is_gone(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.body(1).parent.rmdir()
        with pytest.raises(FatalError) as caught:
            spool.write(1, 1, content())
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestFind:
    def test_rows(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        assert spool.find_rows(1, {b"a", b"d", b"nobody"}, SALT) == {b"a": b"a,1\n", b"d": b"d,%2C\n"}
        assert spool.find_rows(1, set(), SALT) == {}
        # The header row is none of them.
        assert spool.find_rows(1, {b"batch=thirdPartyId", b"thirdPartyId"}, SALT) == {}

    def test_lines(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        assert spool.find_lines(1, {b"b%20c", b"d", b"nobody"}) == {b"b%20c": 5_000_000_000, b"d": 4}

    def test_a_prefix_of_an_id_is_another_id(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content(b"batch=thirdPartyId,tier\naa,1\na,2\n", [2, 3]))
        assert spool.find_rows(1, {b"a"}, SALT) == {b"a": b"a,2\n"}
        assert spool.find_lines(1, {b"a"}) == {b"a": 3}

    def test_rows_of_any_length_to_the_last_one(self, tmp_path: Path) -> None:
        rows = [b"u%d,%s\n" % (size, b"x" * size) for size in (0, 1, 500, 508, 509, 510, 5_000, 100_000, 3)]
        spool = spool_in(tmp_path)
        spool.write(1, 1, content(b"batch=thirdPartyId,tier\n" + b"".join(rows), list(range(2, len(rows) + 2))))
        ids = [row.partition(b",")[0] for row in rows]
        assert spool.find_rows(1, {*ids}, SALT) == dict(zip(ids, rows, strict=True))

    @pytest.mark.parametrize("one_of", [1, 2, 30, 999, 3_000])
    def test_many_rows_or_few(self, tmp_path: Path, one_of: int) -> None:
        """Read in large pieces or in small ones, some rows are cut by the end of a piece, and found all the same."""
        spool = spool_in(tmp_path)
        rows = [b"u%d,%s\n" % (number, b"x" * (number * 7919 % 301)) for number in range(3_000)]
        spool.write(1, 1, content(b"batch=thirdPartyId,tier\n" + b"".join(rows), list(range(2, len(rows) + 2))))
        asked = {row.partition(b",")[0]: row for row in rows[::one_of]}
        assert spool.find_rows(1, {*asked, b"nobody"}, SALT) == asked

    def test_another_id_with_the_same_hash_is_another_id(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        whole = content()
        spool.write(1, 1, whole)
        (other,) = content(b"batch=thirdPartyId,tier\nother,1\n", [2]).hashes
        whole.hashes[1] = other
        spool.write(1, 1, replace(whole, hashes=np.sort(whole.hashes)))
        assert spool.find_rows(1, {b"other"}, SALT) == {}

    def test_in_a_batch_that_is_gone(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        with pytest.raises(FatalError, match="cannot read batch 1 in the spool") as caught:
            spool.find_rows(1, {b"a"}, SALT)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER

    def test_lines_of_a_batch_that_is_gone(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        with pytest.raises(FatalError, match="cannot read batch 1 in the spool"):
            spool.find_lines(1, {b"a"})


def test_remove(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    directory = spool.body(1).parent
    spool.write(1, 1, content())
    spool.write(2, 2, content())
    spool.remove(1)
    spool.remove(1)
    assert names_in(directory) == ["00000002.body", "00000002.ids", "00000002.lines"]
    assert spool.batch_ids() == {2}
    spool.remove(2)
    assert names_in(directory) == []


def test_remove_on_a_disk_that_turned_read_only() -> None:
    with small_disk(1_048_576) as disk:
        spool = spool_in(disk)
        spool.write(1, 1, content())
        with read_only(disk), pytest.raises(FatalError, match="cannot remove batch 1") as caught:
            spool.remove(1)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestSweep:
    def test_keeps_what_is_wanted_and_nothing_half_done(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        directory = spool.body(1).parent
        for batch_id in (1, 2, 3):
            spool.write(batch_id, batch_id, content())
        (directory / ".00000004.body.tmp").write_bytes(b"half")
        # A crash between the files of a batch.
        (directory / "00000005.lines").write_bytes(b"")
        (directory / "notes.txt").write_bytes(b"somebody's")
        assert spool.batch_ids() == {1, 2, 3, 5}
        spool.sweep(lambda batch_id: batch_id == 2)
        assert names_in(directory) == ["00000002.body", "00000002.ids", "00000002.lines", "notes.txt"]

    def test_files_of_others_stay_and_are_no_batches(self, tmp_path: Path) -> None:
        spool, directory = spool_in(tmp_path), tmp_path / "state" / "spool"
        names = ["1.body.bak", "-1.body", "x.body", "0000000001", "9223372036854775808.body"]
        for name in names:
            (directory / name).write_bytes(b"x")
        (directory / "lost+found").mkdir()
        assert spool.batch_ids() == set(), "no ledger can be asked for a larger number either"
        spool.sweep(lambda _: False)
        assert {*names, "lost+found"} <= {each.name for each in directory.iterdir()}

    def test_is_asked_for_each_batch_once(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        for batch_id in (7, 123_456_789):
            spool.write(batch_id, 1, content())
        asked: list[int] = []
        spool.sweep(lambda batch_id: not asked.append(batch_id))  # type: ignore[func-returns-value]
        assert sorted(asked) == [7, 123_456_789]
        assert spool.batch_ids() == {7, 123_456_789}


class TestRead:
    def test_rows(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        assert list(spool.rows(1)) == [(0, b"a", b"a,1\n"), (1, b"b%20c", b"b%20c,\n"), (2, b"d", b"d,%2C\n")]

    def test_hashes_are_as_written(self, tmp_path: Path) -> None:
        """Mapped from a file of 64-bit numbers, little endian, the largest among them."""
        spool = spool_in(tmp_path)
        hashes = [3, 2**63, 2**64 - 1]
        spool.write(1, 1, replace(content(), hashes=np.array(hashes, dtype=np.uint64)))
        assert spool.hashes(1).tolist() == hashes
        assert isinstance(spool.hashes(1), np.memmap)
        raw = (spool.body(1).parent / "00000001.ids").read_bytes()
        assert [int.from_bytes(raw[at : at + 8], "little") for at in range(0, 24, 8)] == hashes

    def test_lines(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        assert spool.lines(1).tolist() == LINES

    def test_parameters(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        spool.write(2, 2, content(b"batch=thirdPartyId,tier,ltv\na,1,2\n", [2]))
        spool.write(3, 3, content(b"batch=thirdPartyId\na\n", [2]))
        assert [spool.parameters(number) for number in (1, 2, 3)] == [("tier",), ("tier", "ltv"), ()]

    @pytest.mark.parametrize("what", ["hashes", "lines", "parameters", "rows"])
    def test_a_batch_that_is_gone(self, tmp_path: Path, what: str) -> None:
        spool = spool_in(tmp_path)
        with pytest.raises(FatalError, match="cannot read batch 1 in the spool") as caught:
            list(getattr(spool, what)(1))
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER

    @pytest.mark.parametrize("left", [b"", b"12345"])
    def test_hashes_that_are_damaged(self, tmp_path: Path, left: bytes) -> None:
        spool = spool_in(tmp_path)
        spool.write(1, 1, content())
        (spool.body(1).parent / "00000001.ids").write_bytes(left)
        with pytest.raises(FatalError, match=r"(?s)is damaged .*Restore the whole state directory") as caught:
            spool.hashes(1)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestHalves:
    def split(self, directory: Path, rows: int) -> tuple[Spool, bytes, tuple[BatchContent, BatchContent]]:
        body = b"batch=thirdPartyId,tier\n" + b"".join(b"u%d,%%2C%d\n" % (n, n) for n in range(rows))
        whole = replace(content(body, [10 * n for n in range(rows)]), hashes=np.zeros(rows, dtype=np.uint64))
        spool = spool_in(directory)
        spool.write(1, 1, whole)
        return spool, body, spool.split(1, SALT, range(rows // 2))

    @pytest.mark.parametrize("rows", [2, 3, 10, 101])
    def test_hold_the_rows_of_the_whole_between_them(self, tmp_path: Path, rows: int) -> None:
        spool, body, parts = self.split(tmp_path, rows)
        written = [spool.write(number, number, part, parent=1) for number, part in enumerate(parts, 2)]
        assert [batch.parent for batch in written] == [1, 1]
        assert [batch.size_bytes for batch in written] == [spool.body(2).stat().st_size, spool.body(3).stat().st_size]
        header, *lines = body.splitlines(keepends=True)
        both = [spool.body(number).read_bytes().splitlines(keepends=True) for number in (2, 3)]
        assert [part[0] for part in both] == [header, header]
        assert both[0][1:] + both[1][1:] == lines
        assert [len(part) - 1 for part in both] == [batch.rows for batch in written]
        assert abs(written[0].rows - written[1].rows) <= 1
        assert [*spool.lines(2), *spool.lines(3)] == [10 * n for n in range(rows)]

    def test_hashes_are_those_of_the_ids_and_sorted(self, tmp_path: Path) -> None:
        _, _, parts = self.split(tmp_path, 9)
        for part, ids in zip(parts, (range(4), range(4, 9)), strict=True):
            names = [b"u%d" % n for n in ids]
            lengths = np.array([len(name) for name in names], dtype=np.int64)
            expected = hash_ids(b"".join(names), np.cumsum(lengths) - lengths, lengths, SALT)
            assert part.hashes.tolist() == sorted(expected.tolist())

    def test_a_batch_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(FatalError, match="cannot read batch 1 in the spool") as caught:
            spool_in(tmp_path).split(1, SALT, range(1))
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestWhatIsReadBack:
    """What is read is what was written, or nothing is."""

    READING: ClassVar[dict[str, Callable[[Spool], object]]] = {
        "to be sent": lambda spool: spool.checked_body(1),
        "split": lambda spool: spool.split(1, SALT, range(1)),
        "carried": lambda spool: spool.find_rows(1, {b"a"}, SALT),
        "named": lambda spool: spool.find_lines(1, {b"a"}),
        "all rows": lambda spool: [*spool.rows(1)],
        "by hash": lambda spool: [*spool.rows_by_hash(1, spool.hashes(1))],
        "hashes": lambda spool: spool.hashes(1),
        "lines": lambda spool: spool.lines(1),
        "header": lambda spool: spool.parameters(1),
    }

    @pytest.mark.parametrize("reading", READING)
    @pytest.mark.parametrize("kind", ["body", "ids", "lines"])
    @pytest.mark.parametrize("is_same_process", [True, False])
    def test_an_altered_file_is_never_read(
        self, tmp_path: Path, reading: str, kind: str, is_same_process: bool
    ) -> None:
        spool = spool_in(tmp_path)
        batch = spool.write(1, 1, content())
        file = spool.body(1).with_suffix(f".{kind}")
        if not is_same_process:
            spool = spool_in(tmp_path)
            spool.expect(batch)
        self.READING[reading](spool)
        times_before = file.stat()
        octets = bytearray(file.read_bytes())
        octets[-2] ^= 1
        file.write_bytes(bytes(octets))
        # As whoever hides it would.
        os.utime(file, ns=(times_before.st_atime_ns, times_before.st_mtime_ns))
        with pytest.raises(FatalError, match=rf"00000001.{kind} is not what was written") as caught:
            self.READING[reading](spool)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        octets[-2] ^= 1
        file.write_bytes(bytes(octets))
        self.READING[reading](spool)


@pytest.mark.parametrize("kind", ["body", "ids", "lines"])
@pytest.mark.parametrize("octets", [b"", b"x" * 12, None])
def test_sizes_are_compared_where_an_earlier_version_noted_no_digest(
    tmp_path: Path, kind: str, octets: bytes | None
) -> None:
    batch = replace(spool_in(tmp_path).write(1, 1, content()), ids_sha256="", lines_sha256="", sha256="")
    spool = spool_in(tmp_path)
    spool.expect(batch)
    file = spool.body(1).with_suffix(f".{kind}")
    if octets is None:
        file.unlink()
    else:
        file.write_bytes(octets)
    with pytest.raises(FatalError, match=rf"00000001.{kind} (has [0-9]+ bytes|is missing)"):
        spool.lines(1)


class TestErasure:
    """Rows of a batch are erased in steps between which a crash may come; the ledger says which files are right."""

    ERASED = b"batch=thirdPartyId,tier\na,1\nd,%2C\n"

    def begun(self, directory: Path) -> tuple[Spool, Batch, Batch]:
        spool = spool_in(directory)
        batch = spool.write(1, 3, content())
        erased = spool.begin_erasure(batch, {b"b%20c", b"x"}, SALT)
        assert erased is not None
        return spool, batch, erased

    def test_the_ledger_has_the_result(self, tmp_path: Path) -> None:
        spool, _, erased = self.begun(tmp_path)
        assert (erased.number, erased.rows, erased.size_bytes) == (3, 2, len(self.ERASED))
        assert spool.erasures() == {1}
        again = spool_in(tmp_path)
        again.end_erasure(erased)
        assert again.body(1).read_bytes() == self.ERASED
        assert again.lines(1).tolist() == [LINES[0], LINES[2]]
        assert again.find_rows(1, {b"a", b"b%20c", b"d"}, SALT) == {b"a": b"a,1\n", b"d": b"d,%2C\n"}
        assert names_in(again.body(1).parent) == FILES_OF_ONE
        assert again.erasures() == set()

    def test_a_crash_before_the_ledger_had_it(self, tmp_path: Path) -> None:
        _, batch, _ = self.begun(tmp_path)
        again = spool_in(tmp_path)
        again.end_erasure(batch)
        assert again.body(1).read_bytes() == BODY
        assert names_in(again.body(1).parent) == FILES_OF_ONE

    def test_a_crash_between_two_renames(self, tmp_path: Path) -> None:
        spool, _, erased = self.begun(tmp_path)
        body = spool.body(1)
        body.with_name("00000001.body.new").replace(body)
        again = spool_in(tmp_path)
        again.end_erasure(erased)
        assert len(again.rows_by_key(1)[1]) == 2
        assert names_in(body.parent) == FILES_OF_ONE

    def test_all_rows(self, tmp_path: Path) -> None:
        spool = spool_in(tmp_path)
        assert spool.begin_erasure(spool.write(1, 3, content()), {b"a", b"b%20c", b"d"}, SALT) is None
        assert names_in(spool.body(1).parent) == FILES_OF_ONE
