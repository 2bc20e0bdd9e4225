"""Gzip archives of every shape give their content, block by block; what is not whole never looks as if it were."""

import gzip
import random
import zlib
from collections.abc import Iterator

import pytest

from pipeline.core.errors import InputError
from pipeline.core.formats import gunzip as module
from pipeline.core.formats.gunzip import gunzip

TEXT = b"".join(b"C-%d,%d\n" % (n, n * n % 9_973) for n in range(60_000))
ZEROS = bytes(4_096)


def cut(archive: bytes, size: int) -> Iterator[bytes]:
    return (archive[start : start + size] for start in range(0, len(archive), size))


def members(*texts: bytes) -> bytes:
    return b"".join(map(gzip.compress, texts))


ARCHIVES: dict[str, tuple[bytes, bytes]] = {
    "one": (gzip.compress(TEXT), TEXT),
    "stored": (gzip.compress(TEXT, compresslevel=0), TEXT),
    "members": (members(TEXT, b"", TEXT[:9]), TEXT + TEXT[:9]),
    "padded": (members(TEXT) + ZEROS, TEXT),
    "padded within": (members(b"a") + ZEROS + members(b"b") + ZEROS, b"ab"),
    "empty": (members(b""), b""),
    "all the same": (gzip.compress(b"x" * 3_000_000), b"x" * 3_000_000),
}


@pytest.mark.parametrize("size", [7, 4_096, 262_144, 10_000_000])
@pytest.mark.parametrize("name", ARCHIVES)
def test_content(name: str, size: int) -> None:
    archive, text = ARCHIVES[name]
    blocks = list(gunzip(cut(archive, size)))
    assert b"".join(blocks) == text
    assert all(0 < len(block) <= 262_144 for block in blocks)


def test_byte_by_byte() -> None:
    assert b"".join(gunzip(cut(members(b"id\n", b"C-1\n") + ZEROS, 1))) == b"id\nC-1\n"


def test_a_header_with_a_name_and_a_comment() -> None:
    packed = gzip.compress(TEXT)
    archive = packed[:3] + b"\x18" + packed[4:10] + b"export.csv\0made by hand\0" + packed[10:]
    assert b"".join(gunzip(cut(archive, 5_000))) == TEXT


@pytest.mark.parametrize("size", [64, 262_144])
def test_cut_off_anywhere(size: int) -> None:
    archive = gzip.compress(TEXT[:50_000])
    for length in [11, 50, len(archive) // 2, *range(len(archive) - 9, len(archive))]:
        with pytest.raises(InputError, match=r"is cut off behind its .* make or transfer the export anew"):
            list(gunzip(cut(archive[:length], size)))


def test_damaged_anywhere() -> None:
    archive = gzip.compress(TEXT[:50_000])
    for place in random.Random(1).sample(range(10, len(archive)), 50):
        damaged = bytearray(archive)
        damaged[place] ^= 0x10
        with pytest.raises(InputError, match=r"is damaged within|is cut off behind"):
            list(gunzip(cut(bytes(damaged), 4_096)))


@pytest.mark.parametrize("behind", [b"what?", b"\x1f\x8b\x08", ZEROS + b"x", b"\x1f"], ids=range(4))
def test_something_else_behind_it(behind: bytes) -> None:
    with pytest.raises(InputError, match=r"is damaged within|is cut off behind"):
        list(gunzip(iter([members(TEXT) + behind])))


def test_a_bomb_ends() -> None:
    """Zeros become a thousand times smaller. What is given of them meanwhile is in blocks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = bytes(1_048_576)

    def zeros() -> Iterator[bytes]:
        for _ in range(100):
            if block := packer.compress(megabyte):
                yield block

    given = 0
    with pytest.raises(InputError, match=f"more than {module.MAX_INFLATION} times its size"):
        for block in gunzip(zeros(), judged_from_bytes=10_000_000):
            assert len(block) <= 262_144
            given += len(block)
    assert given <= 11_000_000
