"""Exports: read in blocks with their digest, and everything that is no readable file said in words."""

import asyncio
import bz2
import gc
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import re
import socket
import zipfile
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from threading import Semaphore
from typing import Any
from zipfile import ZipFile

import anyio
import pytest
from backports import zstd

from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.core.formats.framing import BOM
from pipeline.edges.exports import (
    BLOCK_BYTES,
    PIECE_BYTES,
    ExportFile,
    Identity,
    digest,
    find_parts,
    identify,
    open_export,
)
from pipeline.edges.exports.reader import PartsReader, Source
from tests.tools.drawn import share
from tests.tools.support import as_nobody, small_disk

AROUND_PIECES = [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 3 * BLOCK_BYTES + 7]


async def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        async with open_export(path):
            pass
    assert caught.value.exit_code is ExitCode.EXPORT_MISSING
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, *AROUND_PIECES])
async def test_blocks_and_digest(tmp_path: Path, size: int) -> None:
    content = bytes(n * n % 251 for n in range(size))
    path = tmp_path / "export.csv"
    path.write_bytes(content)
    read = b""
    async with open_export(path) as export:
        assert (export.path, export.bytes_read) == (path, 0)
        assert export.identity == await identify(path) == Identity.of(path.stat())
        while block := await export.read_block():
            assert len(block) <= BLOCK_BYTES
            read += block
            assert len(read) <= export.bytes_read < len(read) + PIECE_BYTES
            assert export.sha256 == hashlib.sha256(content[: export.bytes_read]).hexdigest()
        assert await export.read_block() == b""
    assert read == content
    assert export.sha256 == await digest(path, open_export) == hashlib.sha256(content).hexdigest()


class TestChanges:
    """A file that changes while it is read is told of at its end: what was read of it is no export."""

    def append(self, path: Path) -> None:
        with path.open("ab") as more:
            more.write(b"two")

    def overwrite(self, path: Path) -> None:
        """In place, and to the same length."""
        path.write_bytes(b"two")
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    def cut(self, path: Path) -> None:
        os.truncate(path, 1)

    def touch(self, path: Path) -> None:
        os.utime(path, ns=(0, 1))

    async def read_all(self, export: ExportFile) -> None:
        while await export.read_block():
            pass

    @pytest.mark.parametrize("change", ["append", "overwrite", "cut", "touch"])
    async def test_behind_what_was_read(self, tmp_path: Path, change: str) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(b"one")
        async with open_export(path) as export:
            assert await export.read_block() == b"one"
            getattr(self, change)(path)
            with pytest.raises(InputError, match="was changed while it was being loaded") as caught:
                await self.read_all(export)
        assert caught.value.exit_code is ExitCode.EXPORT_UNUSABLE
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("change", ["append", "overwrite", "cut", "touch"])
    async def test_before_anything_was_read(self, tmp_path: Path, change: str) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(b"one")
        async with open_export(path) as export:
            getattr(self, change)(path)
            with pytest.raises(InputError, match="was changed while it was being loaded"):
                await self.read_all(export)

    async def test_another_in_its_place_is_not_noticed(self, tmp_path: Path) -> None:
        """What was opened is read to its end, which is the whole of one version."""
        path = tmp_path / "export.csv"
        path.write_bytes(b"one")
        async with open_export(path) as export:
            (tmp_path / "new.csv").write_bytes(b"another")
            (tmp_path / "new.csv").replace(path)
            assert await export.read_block() == b"one"
            assert await export.read_block() == b""


def reading(path: Path, file: FileIO) -> ExportFile:
    """An export that is this file."""
    reader = PartsReader([Source(path, "", None, lambda: file)], None)
    return ExportFile(path, reader.identity, reader)


class SlowFile(FileIO):
    """A file of which a block is read for each permit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.permits = Semaphore(0)

    def read(self, size: int | None = -1, /) -> bytes:
        assert self.permits.acquire(timeout=10)
        return super().read(size)


class TestStopped:
    """A thread that reads cannot be stopped: it is waited for, and what it reads is not lost."""

    CONTENT = bytes(n * n % 251 for n in range(2 * PIECE_BYTES + 5))

    async def test_what_was_being_read_when_it_was_cancelled_comes_next(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(self.CONTENT)
        with SlowFile(path) as file:
            export = reading(path, file)
            with anyio.move_on_after(0.01):
                await export.read_block()
            assert export.bytes_read == 0
            file.permits.release(100)
            read = b""
            while block := await export.read_block():
                read += block
            assert read == self.CONTENT
            assert export.sha256 == hashlib.sha256(self.CONTENT).hexdigest()

    async def test_a_file_is_not_closed_while_a_thread_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(self.CONTENT)
        with SlowFile(path) as file:
            export = reading(path, file)
            with anyio.move_on_after(0.01):
                await export.read_block()
            with anyio.move_on_after(0.01) as waiting:
                await export.stop_reading()
            assert waiting.cancelled_caught
            file.permits.release(100)
            await export.stop_reading()
            assert file.tell() >= PIECE_BYTES

    async def test_an_error_ahead_is_nobodys_if_reading_has_stopped(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(self.CONTENT)
        heard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        with SlowFile(path) as file:
            export = reading(path, file)
            file.permits.release(PIECE_BYTES // BLOCK_BYTES)
            assert await export.read_block() == self.CONTENT[:BLOCK_BYTES]
            directory = os.open(tmp_path, os.O_RDONLY)
            os.dup2(directory, file.fileno())
            os.close(directory)
            file.permits.release(100)
            await export.stop_reading()
            del export
            gc.collect()
        assert heard == []


class TestSkipTo:
    CONTENT = bytes(n * n % 251 for n in range(3 * BLOCK_BYTES))
    LATE = 2 * BLOCK_BYTES + 17

    @pytest.mark.parametrize("digest_bytes", [0, 5, BLOCK_BYTES, LATE, 3 * BLOCK_BYTES])
    @pytest.mark.parametrize("behind", [0, 1, 5, BLOCK_BYTES])
    async def test_goes_on(self, tmp_path: Path, digest_bytes: int, behind: int) -> None:
        """All from the offset on is given once, and the digest at the end is that of the whole."""
        offset = max(0, digest_bytes - behind)
        path = tmp_path / "export.csv"
        path.write_bytes(self.CONTENT)
        head = hashlib.sha256(self.CONTENT[:digest_bytes]).hexdigest()
        async with open_export(path) as export:
            read = await export.skip_to(0, offset, digest_bytes=digest_bytes, digest=head)
            assert export.bytes_read == digest_bytes
            while block := await export.read_block():
                read += block
            assert export.sha256 == hashlib.sha256(self.CONTENT).hexdigest()
        assert read == self.CONTENT[offset:]

    @pytest.mark.parametrize("changed_at", [0, 9])
    async def test_what_was_read_is_another_now(self, tmp_path: Path, changed_at: int) -> None:
        path = tmp_path / "export.csv"
        head = hashlib.sha256(self.CONTENT[:10]).hexdigest()
        path.write_bytes(self.CONTENT[:changed_at] + b"!" + self.CONTENT[changed_at + 1 :])
        async with open_export(path) as export:
            with pytest.raises(InputError, match="was changed") as caught:
                await export.skip_to(0, 5, digest_bytes=10, digest=head)
        assert caught.value.exit_code is ExitCode.EXPORT_UNUSABLE

    async def test_it_is_shorter_now(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(self.CONTENT[:9])
        async with open_export(path) as export:
            with pytest.raises(InputError, match="was changed"):
                await export.skip_to(0, 5, digest_bytes=10, digest=hashlib.sha256(self.CONTENT[:10]).hexdigest())


TEXT = "".join(f"C-{number},München {number * number % 9_973}\n" for number in range(60_000))


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


FORMS = {
    "utf-8": (TEXT.encode(), "auto"),
    "gzip": (gzip.compress(TEXT.encode()), "auto"),
    "gzip of one value": (gzip.compress(b"x" * 9_000_000), "utf-8"),
    "members": (gzip.compress(TEXT[:9_000].encode()) + gzip.compress(TEXT[9_000:].encode()) + bytes(512), "auto"),
    "zstd": (zstd.compress(TEXT.encode()), "auto"),
    "bzip2": (bz2.compress(TEXT[:9_000].encode()) + bz2.compress(TEXT[9_000:].encode()), "auto"),
    "xz": (lzma.compress(TEXT.encode(), preset=0), "auto"),
    "zip": (zipped({"a.csv": TEXT.encode()}), "auto"),
    "utf-16": (TEXT.encode("utf-16"), "auto"),
    "windows-1252": (TEXT.encode("windows-1252"), "windows-1252"),
    "gzip of utf-16": (gzip.compress(TEXT.encode("utf-16-be")), "auto"),
}


class TestText:
    """The text of an export is UTF-8, whatever the file is; its digest and its size are those of the file."""

    @pytest.mark.parametrize("form", FORMS)
    async def test_all_of_it(self, tmp_path: Path, form: str) -> None:
        content, encoding = FORMS[form]
        path = tmp_path / "export.csv"
        path.write_bytes(content)
        read = b""
        async with open_export(path, encoding) as export:
            while block := await export.read_block():
                assert len(block) <= BLOCK_BYTES
                read += block
            assert (export.bytes_read, export.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert read.removeprefix(BOM) == (TEXT.encode() if form != "gzip of one value" else b"x" * 9_000_000)
        assert await digest(path, open_export) == export.sha256

    @pytest.mark.parametrize("form", FORMS)
    async def test_from_anywhere(self, tmp_path: Path, form: str) -> None:
        """The place is one in the text, the digest one of the file; and what a thread read ahead is not lost."""
        content, encoding = FORMS[form]
        path = tmp_path / "export.csv"
        path.write_bytes(content)
        read, places = b"", []
        async with open_export(path, encoding) as export:
            while block := await export.read_block():
                read += block
                places.append((len(read), export.bytes_read, export.sha256))
        for end, digest_bytes, sha256 in [places[0], *share(places[1:-1], 2), places[-1]]:
            for offset in (0, end - min(end, 70_000), end):
                async with open_export(path, encoding) as export:
                    rest = await export.skip_to(0, offset, digest_bytes=digest_bytes, digest=sha256)
                    while block := await export.read_block():
                        rest += block
                    assert rest == read[offset:]
                    assert export.sha256 == places[-1][2]

    async def test_what_was_read_is_another_now(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv.gz"
        path.write_bytes(gzip.compress(TEXT.encode(), mtime=1))
        other = hashlib.sha256(gzip.compress(TEXT.encode(), mtime=2)).hexdigest()
        async with open_export(path, "auto") as export:
            with pytest.raises(InputError, match="was changed"):
                await export.skip_to(0, 9, digest_bytes=path.stat().st_size, digest=other)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "is an Excel workbook"),
            (gzip.compress(b"PK\x03\x04"), "is a zip archive"),
            (gzip.compress(gzip.compress(b"id\n")), "a gzip archive within a gzip archive"),
            (bz2.compress(zstd.compress(b"id\n")), "a zstd archive within a bzip2 archive"),
            (zipped({"a.csv.gz": gzip.compress(b"id\n")}), "a gzip archive within a zip archive"),
            # A block of bzip2 gives nothing before its end.
            (bz2.compress(b"PAR1\0" + random.Random(1).randbytes(300_000)), "a Parquet file"),
            (TEXT.encode("utf-8-sig"), r"\[export\] encoding is 'utf-16'"),
        ],
        ids=["xlsx", "zip in gzip", "gzip in gzip", "zstd in bzip2", "gzip in zip", "a large block", "utf-8"],
    )
    async def test_what_is_none_is_said_at_once(self, tmp_path: Path, content: bytes, told: str) -> None:
        path = tmp_path / "export.csv"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path}(/a.csv.gz)? cannot be loaded: it .*{told}") as caught:
            async with open_export(path, "utf-16"):
                pass
        assert caught.value.exit_code is ExitCode.EXPORT_UNUSABLE

    async def test_the_end_of_what_failed_is_no_end(self, tmp_path: Path) -> None:
        path = tmp_path / "export.csv.gz"
        path.write_bytes(gzip.compress(os.urandom(3_000_000))[:-5])
        async with open_export(path, "latin-1") as export:
            for _ in range(2):
                with pytest.raises(InputError, match="cut off") as caught:
                    while await export.read_block():
                        pass
                assert str(path) in str(caught.value)


async def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_bytes(b"content")
    (tmp_path / "link.csv").symlink_to("export.csv")
    async with open_export(tmp_path / "link.csv") as export:
        assert await export.read_block() == b"content"


async def test_missing(tmp_path: Path) -> None:
    assert "No such file or directory" in await refusal(tmp_path / "none.csv")
    (tmp_path / "link.csv").symlink_to("none.csv")
    assert "No such file or directory" in await refusal(tmp_path / "link.csv")


async def test_a_directory(tmp_path: Path) -> None:
    assert "holds no file that is part of an export" in await refusal(tmp_path)


async def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in await refusal(tmp_path / "pipe")
    assert "readable twice: write it to a file" in await refusal(tmp_path / "pipe")


async def test_a_socket_and_a_device(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        assert "is a socket" in await refusal(tmp_path / "s")
    assert "readable twice" in await refusal(Path("/dev/null"))


async def test_forbidden() -> None:
    with small_disk(65_536) as disk:
        path = disk / "export.csv"
        path.write_bytes(b"content")
        path.chmod(0o000)
        with as_nobody():
            message = await refusal(path)
    assert "Permission denied" in message


async def test_an_error_while_reading() -> None:
    """The memory of a process cannot be read from its first byte."""
    path = Path("/proc/self/mem")
    async with open_export(path) as export:
        with pytest.raises(FatalError, match="Input/output error") as caught:
            await export.read_block()
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER, "the export may be whole"


class TestIdentity:
    """A file is told from another one by all that is known of both."""

    ONE = Identity(5, 6, 7, 8)

    @pytest.mark.parametrize(
        ("other", "agrees"),
        [
            (Identity(5, 6, 7, 8), True),
            (Identity(5, 6), True),
            (Identity(5, 6, 7), True),
            (Identity(4, 6, 7, 8), False),
            (Identity(5, 5, 7, 8), False),
            (Identity(5, 6, 9, 8), False),
            (Identity(5, 6, 9), False),
            (Identity(5, 6, 7, 9), False),
        ],
    )
    def test_what_is_not_known_of_one_tells_nothing(self, other: Identity, agrees: bool) -> None:
        assert self.ONE.agrees_with(other) == other.agrees_with(self.ONE) == agrees

    def test_numbers_of_a_file_that_no_ledger_can_hold(self) -> None:
        fields = (0o100600, 2**64 - 1, 3, 1, 0, 0, 5, 0, 0, 0)
        numbers = os.stat_result(fields, {"st_mtime_ns": 2**70})
        assert Identity.of(numbers).mtime_ns == 2**63 - 1
        assert Identity.of(numbers).inode == -1
        assert Identity.of(numbers).device == 3

    async def test_a_file_that_took_the_place_of_another(self, tmp_path: Path) -> None:
        path, other = tmp_path / "e.csv", tmp_path / "other.csv"
        for each in (path, other):
            each.write_bytes(b"id\na\n")
            os.utime(each, ns=(5, 5))
        seen = await identify(path)
        other.replace(path)
        assert not (await identify(path)).agrees_with(seen)


class TestLookOnly:
    """Beginnings of parts cost no more than a block each."""

    async def test_of_files_a_block_is_read(self, tmp_path: Path) -> None:
        for number in range(3):
            (tmp_path / f"part-{number}").write_bytes(b"id,a\n" + b"x" * 2 * PIECE_BYTES)
        async with open_export(tmp_path, "auto") as export:
            export.look_only()
            while await export.next_part():
                assert (await export.read_block()).startswith(b"id,a\n")
            assert export.bytes_read == 2 * BLOCK_BYTES

    async def test_of_an_archive_no_more_than_the_beginnings_of_its_members_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "export.zip"
        with ZipFile(path, "w") as archive:
            for number in range(3):
                archive.writestr(f"part-{number}", b"id,a\n" + b"x" * 2 * PIECE_BYTES)
        async with open_export(path, "auto") as export:
            export.look_only()
            while await export.next_part():
                assert (await export.read_block()).startswith(b"id,a\n")
            assert export.bytes_read == 0


class TestListsInADirectory:
    """What `load DIRECTORY` takes is what a drop of the same files would."""

    @staticmethod
    def put(directory: Path, **files: str) -> None:
        for name, content in files.items():
            (directory / name).write_text(content)

    @staticmethod
    def entries(**sizes: int) -> str:
        return json.dumps(
            {"entries": [{"url": f"s3://b/{n}", "meta": {"content_length": s}} for n, s in sizes.items()]}
        )

    def taken(self, directory: Path) -> tuple[list[str], tuple[str, ...]]:
        found = find_parts(directory)
        return [part.name for part in found.parts], found.unlisted

    def test_without_one_every_file_is_a_part(self, tmp_path: Path) -> None:
        self.put(tmp_path, b="id\n1\n", a="id\n2\n", _SUCCESS="", _other="x")
        assert self.taken(tmp_path) == (["a", "b"], ())

    def test_of_databricks(self, tmp_path: Path) -> None:
        self.put(tmp_path, a="id\n1\n", b="id\n2\n", c="id\n3\n", _started_1="", _committed_1='{"added": ["c", "a"]}')
        assert self.taken(tmp_path) == (["a", "c"], ("b",))

    def test_of_redshift(self, tmp_path: Path) -> None:
        self.put(tmp_path, a="id\n1\n", b="id\n2\n", c="id\n3\n", manifest=self.entries(c=5, a=5))
        assert self.taken(tmp_path) == (["c", "a"], ("b",))

    def test_of_ours(self, tmp_path: Path) -> None:
        self.put(tmp_path, a="id\n1\n", b="id\n2\n", _SUCCESS='{"files": ["b", "a"], "rows": 2}')
        assert self.taken(tmp_path) == (["b", "a"], ())
        assert find_parts(tmp_path).manifest.rows == 2

    @pytest.mark.parametrize(
        ("files", "code", "words"),
        [
            ({"_committed_1": '{"added": ["a", "z"]}'}, 66, "z is not there, and a list in that directory names it"),
            ({"_committed_1": '{"added": ['}, 65, "_committed_1, the list that says which of its files are parts"),
            ({"_started_1": ""}, 65, "_committed_1, the list that says which of its files are parts"),
            ({"manifest": entries(a=7, b=5)}, 65, "a has 5 bytes, and a list in that directory says 7"),
            ({"manifest": '{"entries": [{"url": "s3://b/a"'}, 65, "manifest, the list that says"),
            ({"_SUCCESS": '{"files": ["a"]}'}, 65, "its manifest does not name b, which is there"),
            ({"_SUCCESS": '{"files": ["a", "b", "z"]}'}, 66, "z is not there"),
            ({"_SUCCESS": "what is this"}, 65, "its line 1 is not key=value"),
        ],
    )
    def test_what_is_not_as_a_list_says_is_refused(
        self, tmp_path: Path, files: dict[str, str], code: int, words: str
    ) -> None:
        self.put(tmp_path, a="id\n1\n", b="id\n2\n", **files)
        with pytest.raises(InputError, match=re.escape(words)) as raised:
            find_parts(tmp_path)
        assert raised.value.exit_code == code
