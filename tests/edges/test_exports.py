"""Exports: read in blocks with their digest, and everything that is no readable file said in words."""

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.core.errors import ExitCode, InputError
from pipeline.edges.exports import BLOCK_BYTES, open_export
from tests.support import as_nobody, small_disk


async def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        async with open_export(path):
            pass
    assert caught.value.exit_code is ExitCode.EXPORT_MISSING
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7])
async def test_blocks_and_digest(tmp_path: Path, size: int) -> None:
    content = bytes(n * n % 251 for n in range(size))
    path = tmp_path / "export.csv"
    path.write_bytes(content)
    read = b""
    async with open_export(path) as export:
        assert (export.path, export.size_bytes, export.bytes_read) == (path, size, 0)
        while block := await export.read_block():
            assert len(block) <= BLOCK_BYTES
            read += block
            assert export.bytes_read == len(read)
            assert export.sha256 == hashlib.sha256(read).hexdigest()
        assert await export.read_block() == b""
    assert read == content
    assert export.sha256 == hashlib.sha256(content).hexdigest()


async def test_what_is_appended_while_it_is_read_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"one")
    async with open_export(path) as export:
        assert await export.read_block() == b"one"
        with path.open("ab") as more:
            more.write(b"two")
        assert await export.read_block() == b"two"
        assert (export.size_bytes, export.bytes_read) == (3, 6)


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
    assert "is a directory; name an export file" in await refusal(tmp_path)


async def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in await refusal(tmp_path / "pipe")


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
        with pytest.raises(InputError, match="Input/output error") as caught:
            await export.read_block()
    assert caught.value.exit_code is ExitCode.EXPORT_MISSING
