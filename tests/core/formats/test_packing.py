"""Archives of every kind and shape give their content, block by block; what is not whole never looks as if it were."""

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.formats.gzip_member import MAX_HEADER_BYTES
from pipeline.core.formats.packing import (
    BLOCK_BYTES,
    BZIP2,
    GZIPPED,
    WINDOW_LOG_MAX,
    XZ,
    ZSTD,
    Growth,
    Packing,
    packing_of,
    unpack,
)

TEXT = b"".join(b"C-%d,%d\n" % (n, n * n % 9_973) for n in range(20_000))
ZEROS = bytes(4_096)
SKIPPED = b"\x5e\x2a\x4d\x18\x04\0\0\0note"
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),
}
#: The oracle: the standard library, of which the last is a copy.
READ: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}
PACKED = {name: pack(TEXT) for name, pack in PACK.items()}
PACKINGS = {packing.name: packing for packing in (GZIPPED, ZSTD, BZIP2, XZ)}


def with_checksum(text: bytes) -> bytes:
    """A frame as the program `zstd` writes it; the library's default is without."""
    return zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1})


def cut(archive: bytes, size: int) -> Iterator[bytes]:
    return (archive[start : start + size] for start in range(0, len(archive), size))


def unpacked(archive: bytes, packing: Packing, size: int = 4_096) -> bytes:
    return b"".join(unpack(cut(archive, size), packing))


def shapes(name: str) -> dict[str, tuple[bytes, bytes]]:
    pack = PACK[name]
    return {
        "one": (PACKED[name], TEXT),
        "members": (PACKED[name] + pack(b"") + pack(TEXT[:9]), TEXT + TEXT[:9]),
        "padded": (PACKED[name] + ZEROS, TEXT),
        "padded within": (pack(b"a") + ZEROS + pack(b"b") + ZEROS, b"ab"),
        "empty": (pack(b""), b""),
        "all the same": (pack(b"x" * 3_000_000), b"x" * 3_000_000),
        "many members": (b"".join(pack(TEXT[at : at + 300]) for at in range(0, 9_000, 300)), TEXT[:9_000]),
    }


ARCHIVES: dict[str, tuple[Packing, bytes, bytes]] = {
    **{
        f"{name} {shape}": (PACKINGS[name], archive, text)
        for name in PACK
        for shape, (archive, text) in shapes(name).items()
    },
    "gzip stored": (GZIPPED, gzip.compress(TEXT, compresslevel=0), TEXT),
    "zstd checked": (ZSTD, with_checksum(TEXT), TEXT),
    "zstd skipping": (ZSTD, SKIPPED + PACKED["zstd"] + SKIPPED + zstd.compress(TEXT[:9]) + SKIPPED, TEXT + TEXT[:9]),
    "bzip2 small blocks": (BZIP2, bz2.compress(TEXT, 1), TEXT),
    "xz of the best": (XZ, lzma.compress(TEXT[:999], preset=9), TEXT[:999]),
    "xz unchecked": (XZ, lzma.compress(TEXT[:999], check=lzma.CHECK_NONE), TEXT[:999]),
}


@pytest.mark.parametrize("size", [97, 10_000_000])
@pytest.mark.parametrize("name", ARCHIVES)
def test_content(name: str, size: int) -> None:
    packing, archive, text = ARCHIVES[name]
    assert packing_of(archive[:100]) is packing
    blocks = list(unpack(cut(archive, size), packing))
    assert b"".join(blocks) == text
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)
    assert len(blocks) <= len(archive) // size + 1 + 2 * len(text) // BLOCK_BYTES, "small pieces are joined"


@settings(max_examples=25)
@pytest.mark.parametrize("name", PACK)
@given(texts=st.lists(st.binary(max_size=200), min_size=1, max_size=4), sizes=st.lists(st.integers(1, 60), min_size=1))
def test_as_the_standard_library_reads_it(name: str, texts: list[bytes], sizes: list[int]) -> None:
    archive, at = b"".join(map(PACK[name], texts)), 0
    blocks: list[bytes] = []
    while at < len(archive):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(archive[at : at + size])
        at += size
    assert b"".join(unpack(iter(blocks), PACKINGS[name])) == READ[name](archive) == b"".join(texts)


@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize("flags", range(32))
def test_headers_of_gzip(flags: int, size: int) -> None:
    """With a field, a name, a comment and a checksum of the header, wherever a block ends."""
    packed = gzip.compress(TEXT[:500])
    header = packed[:3] + bytes([flags]) + packed[4:10]
    header += (b"\x05\0extra" if flags & 4 else b"") + (b"a.csv\0" if flags & 8 else b"")
    header += b"made by hand\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    archive = header + packed[10:]
    assert unpacked(archive * 2, GZIPPED, size) == gzip.decompress(archive) * 2


@pytest.mark.parametrize(
    "header",
    [
        b"\x1f\x8b\x07" + bytes(20),
        b"\x1f\x8b\x08\x80" + bytes(20),
        b"\x1f\x8b\x08\x02" + bytes(20),
        b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (MAX_HEADER_BYTES + 5_000),
    ],
    ids=["method", "flag", "checksum", "name without end"],
)
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(InputError, match="is damaged within"):
        unpacked(header, GZIPPED)


@pytest.mark.parametrize("size", [7, 262_144])
@pytest.mark.parametrize("name", PACK)
def test_cut_off_anywhere(name: str, size: int) -> None:
    archive = PACK[name](TEXT[:150])
    for length in range(1, len(archive)):
        with pytest.raises(InputError, match=r"is cut off behind its .* make or transfer the export anew"):
            unpacked(archive[:length], PACKINGS[name], size)


@settings(max_examples=25)
@pytest.mark.parametrize("name", PACK)
@given(texts=st.lists(st.binary(max_size=300), min_size=1, max_size=4), at=st.integers(min_value=1))
def test_cut_off_is_never_whole(name: str, texts: list[bytes], at: int) -> None:
    """But where the cut is between two members: such an archive is whole."""
    members = [PACK[name](text) for text in texts]
    archive = b"".join(members)
    length = at % len(archive)
    whole = {len(b"".join(members[:count])) for count in range(len(members) + 1)}
    if length in whole:
        assert texts[0].startswith(unpacked(archive[:length], PACKINGS[name])[: len(texts[0])])
        return
    with pytest.raises(InputError, match="is cut off behind its"):
        unpacked(archive[:length], PACKINGS[name])


@pytest.mark.parametrize("name", ["gzip", "zstd checked", "bzip2", "xz"])
def test_damaged_anywhere(name: str) -> None:
    """What each checksum covers. A header may also be damaged so that it says the same."""
    pack = with_checksum if name == "zstd checked" else PACK[name]
    packing, archive = PACKINGS[name.removesuffix(" checked")], pack(TEXT[:20_000])
    for place in random.Random(1).sample(range(10, len(archive)), 30):
        damaged = bytearray(archive)
        damaged[place] ^= 0x10
        with pytest.raises(InputError, match=r"is damaged within|is cut off behind|needs more than"):
            unpacked(bytes(damaged), packing)


def test_zstd_without_a_checksum_is_damaged_unseen() -> None:
    """That is why `docs/formats.md` says to write it."""
    archive = bytearray(zstd.compress(b"abcdefghijklmnop"))
    archive[-3] ^= 1
    assert unpacked(bytes(archive), ZSTD) != b"abcdefghijklmnop"


@pytest.mark.parametrize("behind", [b"what?", b"\x1f\x8b\x08", ZEROS + b"x", b"\x1f", b"B", TEXT], ids=range(6))
@pytest.mark.parametrize("name", PACK)
def test_something_else_behind_it(name: str, behind: bytes) -> None:
    with pytest.raises(InputError, match=r"or something else stands behind its end|is cut off behind"):
        unpacked(PACKED[name] + behind, PACKINGS[name])


@pytest.mark.parametrize(
    ("packing", "archive", "told"),
    [
        (
            ZSTD,
            (lambda packer: packer.compress(TEXT) + packer.flush())(
                zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: WINDOW_LOG_MAX + 1})
            ),
            r"needs more than 128 MiB of memory .* \(zstd --long=27",
        ),
        (
            XZ,
            lzma.compress(TEXT[:99], filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**28}]),
            "needs more than 128 MiB of memory",
        ),
        (
            ZSTD,
            zstd.compress(TEXT, zstd_dict=zstd.train_dict([TEXT[at : at + 90] for at in range(0, 90_000, 90)], 2_048)),
            "was packed with a dictionary of its own: pack it without one",
        ),
    ],
    ids=["window", "dictionary size", "dictionary"],
)
def test_what_takes_more_than_is_there(packing: Packing, archive: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        unpacked(archive, packing)


@pytest.mark.parametrize("name", PACK)
def test_a_bomb_ends(name: str) -> None:
    """Zeros become a thousand times smaller, and more. What is given of them meanwhile is in blocks."""
    packing = PACKINGS[name]
    megabyte = PACK[name](bytes(1_048_576))
    growth, given_bytes = Growth("it", packing.max_inflation, judged_from_bytes=10_000_000), 0
    with pytest.raises(InputError, match=r"it grows to more than .* times its size: .* unpack it"):
        for block in unpack(repeat(megabyte), packing, growth=growth):
            assert len(block) <= BLOCK_BYTES
            given_bytes += len(block)
    assert given_bytes <= 11_000_000


def test_what_is_sparse_is_no_bomb() -> None:
    text = b"".join(b"%d%s\n" % (number, b",0" * 200) for number in range(5_000))
    growth = Growth("it", GZIPPED.max_inflation, judged_from_bytes=0)
    assert b"".join(unpack(iter([gzip.compress(text)]), GZIPPED, growth=growth)) == text


def test_what_would_go_on_for_days() -> None:
    growth = Growth("it", taken=2**40, given=2**40 - 2)
    growth.give(2)
    with pytest.raises(InputError, match="it holds more than 1 TiB: write it as several exports"):
        growth.give(1)


@pytest.mark.parametrize(
    "head", [b"", b"\x1f\x8b", b"BZh,tier\n", b"BZh9,tier\n", b"P*M,tier\n", b"\x1f\x8b\x09", b"PK\x03\x04", b"id\n"]
)
def test_what_is_not_packed(head: bytes) -> None:
    assert packing_of(head) is None
