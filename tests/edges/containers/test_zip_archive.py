"""Zip archives: their parts are what is in them, and nothing that is not as their directory says is read to its end."""

import bz2
import io
import lzma
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.edges.containers import members_of
from pipeline.edges.containers.zip_archive import MAX_DIRECTORY_BYTES, MAX_MEMBERS

TEXT = b"".join(b"C-%d,%d\n" % (n, n * n % 9_973) for n in range(20_000))
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def archive_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def streamed(content: bytes) -> bytes:
    """As a program writes it that cannot go back: sizes stand behind the content, in 64 bits."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    file = Pipe()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w", force_zip64=True) as out,
    ):
        out.write(content)
    return file.getvalue()


def by_hand(method: int, packed: bytes, content: bytes) -> bytes:
    """An archive of one member that was packed otherwise."""
    whole = bytearray(archive_of({"a.csv": packed}, zipfile.ZIP_STORED))
    directory = whole.rindex(b"PK\x01\x02")
    for place in (8, directory + 10):
        struct.pack_into("<H", whole, place, method)
    for place in (14, directory + 16):
        struct.pack_into("<LLL", whole, place, zlib.crc32(content), len(packed), len(content))
    return bytes(whole)


def read(path: Path, archive: bytes) -> dict[str, bytes]:
    """The parts of an archive, twice: they can be read again."""
    path.write_bytes(archive)
    with FileIO(path) as file:
        members = members_of(file, archive[:65_536])
        assert members is not None
        found = [(member.name, b"".join(member.blocks()), member.size_bytes) for member in members]
        assert [(member.name, b"".join(member.blocks()), member.size_bytes) for member in members] == found
        assert file.tell() == 0, "what reads the file in order is not disturbed"
    assert all(len(content) == size for _, content, size in found)
    assert len({name for name, _, _ in found}) == len(found)
    return {name: content for name, content, _ in found}


def refusal(path: Path, archive: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(path, archive)
    return str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_content(tmp_path: Path, method: str) -> None:
    members = {"b.csv": TEXT, "a.csv": b"", "dir/c.csv": b"id\n"}
    found = read(tmp_path / "x.zip", archive_of(members, METHODS[method], b"made by hand"))
    assert list(found.items()) == [("a.csv", b""), ("b.csv", TEXT), ("dir/c.csv", b"id\n")], "in the order of names"


@pytest.mark.parametrize(
    "archive",
    [
        streamed(TEXT),
        by_hand(93, zstd.compress(TEXT), TEXT),
        by_hand(95, lzma.compress(TEXT, preset=0), TEXT),
        by_hand(8, (lambda packer: packer.compress(TEXT) + packer.flush())(zlib.compressobj(0, wbits=-15)), TEXT),
    ],
    ids=["streamed", "zstd", "xz", "deflate that stores"],
)
def test_other_writers(tmp_path: Path, archive: bytes) -> None:
    assert read(tmp_path / "x.zip", archive) == {"a.csv": TEXT}


@settings(max_examples=30)
@given(
    members=st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=300), min_size=1),
    method=st.sampled_from(list(METHODS)),
)
def test_as_the_standard_library_reads_it(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], method: str
) -> None:
    archive = archive_of(members, METHODS[method])
    with zipfile.ZipFile(io.BytesIO(archive)) as oracle:
        expected = {name: oracle.read(name) for name in sorted(oracle.namelist())}
    assert read(tmp_path_factory.getbasetemp() / "x.zip", archive) == expected


def test_what_is_no_part(tmp_path: Path) -> None:
    names = [
        "__MACOSX/._a.csv",
        ".DS_Store",
        "d/.DS_Store",
        "_SUCCESS",
        "a.csv.tmp",
        "~$a.csv",
        ".git/a.csv",
        "empty/",
    ]
    assert list(read(tmp_path / "x.zip", archive_of({"a.csv": b"id\n", **dict.fromkeys(names, b"")}))) == ["a.csv"]
    unnamed = archive_of({"a.csv": b"id\n", "zzz": b""}).replace(b"zzz", b"\0zz")
    assert list(read(tmp_path / "x.zip", unnamed)) == ["a.csv"]
    assert "no export in it" in refusal(tmp_path / "y.zip", archive_of(dict.fromkeys(names, b"")))


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("/etc/passwd", "etc/passwd"),
        ("../../up.csv", "up.csv"),
        ("a\u202e\x1b[31m.csv", "a\\u202e\\x1b[31m.csv"),
        ("dir\\a.csv", "dir/a.csv"),
        ("x" * 9_000, "x" * 200 + "..."),
    ],
)
def test_names_are_shown_and_nothing_else(tmp_path: Path, name: str, seen: str) -> None:
    assert list(read(tmp_path / "x.zip", archive_of({name: b"id\n"}))) == [seen]


@pytest.mark.parametrize("method", METHODS)
def test_cut_off_anywhere(tmp_path: Path, method: str) -> None:
    archive = archive_of({"a": TEXT[:60], "b": b"id\n"}, METHODS[method], b"x")
    for length in range(4, len(archive)):
        assert "is cut off" in refusal(tmp_path / "x.zip", archive[:length])


def test_something_else_behind_it(tmp_path: Path) -> None:
    assert "something else stands behind its end" in refusal(tmp_path / "x.zip", archive_of({"a.csv": TEXT}) + b"?")


@pytest.mark.parametrize("method", METHODS)
def test_damaged_anywhere(tmp_path: Path, method: str) -> None:
    """Whatever is damaged: what is read is what was packed, or there is an error. A name, a date may be others."""
    archive = archive_of({"a.csv": TEXT[:3_000], "b.csv": b"id\n"}, METHODS[method])
    for place in random.Random(1).sample(range(4, len(archive)), 60):
        damaged = bytearray(archive)
        damaged[place] ^= 0x10
        try:
            found = read(tmp_path / "x.zip", bytes(damaged))
        except InputError:
            continue
        assert set(found.values()) <= {TEXT[:3_000], b"id\n"}, place


def _lying(size: int) -> bytes:
    archive = bytearray(archive_of({"a.csv": TEXT}))
    struct.pack_into("<L", archive, archive.rindex(b"PK\x01\x02") + 24, size)
    return bytes(archive)


@pytest.mark.parametrize("size", [0, len(TEXT) - 1, len(TEXT) + 1])
def test_a_size_that_is_not_true(tmp_path: Path, size: int) -> None:
    assert "it is not what was packed" in refusal(tmp_path / "x.zip", _lying(size))


def test_two_members_in_one_place(tmp_path: Path) -> None:
    """As in an archive of kilobytes that holds petabytes."""
    archive = bytearray(archive_of({"a.csv": TEXT, "b.csv": TEXT}))
    place = archive.rindex(b"PK\x01\x02") + 42
    struct.pack_into("<L", archive, place, 0)
    assert "or lies in another" in refusal(tmp_path / "x.zip", bytes(archive))


def _flagged(flag: int) -> bytes:
    archive = bytearray(archive_of({"a.csv": TEXT}))
    archive[archive.rindex(b"PK\x01\x02") + 8] |= flag
    return bytes(archive)


def _twice() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.csv", b"id\n1\n")
        archive.writestr("a.csv", b"id\n2\n")
    return file.getvalue()


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (lambda: _flagged(1), "its member a.csv is encrypted: unpack it with its password"),
    "Deflate64": (lambda: by_hand(9, TEXT, TEXT), "packed with Deflate64, as the Windows Explorer does"),
    "another method": (lambda: by_hand(97, TEXT, TEXT), r"in an unusual way (method 97): pack it with Deflate"),
    "two of one name": (_twice, "two members of one name, a.csv"),
    "a workbook": (
        lambda: archive_of({"[Content_Types].xml": b"", "xl/workbook.xml": b""}),
        "an Excel workbook (xlsx)",
    ),
    "many members": (
        lambda: archive_of({f"{at}": b"" for at in range(MAX_MEMBERS + 1)}, zipfile.ZIP_STORED),
        "more than 10,000 members",
    ),
    "long names": (
        lambda: archive_of({f"{at}" + "x" * 60_000: b"" for at in range(MAX_DIRECTORY_BYTES // 60_000 + 1)}),
        "or with very long names",
    ),
    "a bomb": (lambda: archive_of({"a.csv": bytes(70_000_000)}), "grows to more than 250 times its size"),
    "a bomb of many": (
        lambda: archive_of({f"{at}": bytes(7_000_000) for at in range(10)}),
        "grows to more than 250 times its size",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_before_anything_is_read(tmp_path: Path, kind: str) -> None:
    make, told = REFUSED[kind]
    path = tmp_path / "x.zip"
    path.write_bytes(archive := make())
    with FileIO(path) as file, pytest.raises(InputError) as caught:
        members_of(file, archive[:65_536])
    assert told in str(caught.value)


def test_what_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bz2.compress(b"id\n"))
    with FileIO(tmp_path / "x.csv") as file:
        assert members_of(file, b"BZh9") is None
