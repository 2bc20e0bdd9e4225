"""What became of an export between its reading and its removal."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.edges.drop.last_look import AsRead, change_of_parts, change_since, has_writer
from pipeline.edges.drop.writers import is_local
from pipeline.edges.exports import Identity, PartFile
from tests.tools.writing import writing

CONTENT = b"id,tier\na,gold\n"


def opener(path: Path) -> Callable[[], int]:
    return lambda: os.open(path, os.O_RDONLY)


def read(path: Path) -> AsRead:
    path.write_bytes(CONTENT)
    os.utime(path, ns=(7, 7))
    return AsRead(Identity.of(path.stat()), len(CONTENT), sha256(CONTENT).hexdigest())


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"b,tin\n")


def append_and_keep_the_time(path: Path) -> None:
    append(path)
    os.utime(path, ns=(7, 7))


def truncate(path: Path) -> None:
    os.truncate(path, 3)


def rewrite_in_place(path: Path) -> None:
    path.write_bytes(CONTENT.upper())


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(CONTENT.upper())
    os.utime(other, ns=(7, 7))
    other.replace(path)


def touch(path: Path) -> None:
    path.touch()


def rewrite_the_same(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(CONTENT)
    other.replace(path)


def link(path: Path) -> None:
    path.with_name("second-name").hardlink_to(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (append, "6 bytes were added to it"),
        (append_and_keep_the_time, "6 bytes were added to it"),
        (truncate, f"it has {len(CONTENT) - 3} bytes less"),
        (rewrite_in_place, "it was written anew"),
        (replace, "it was written anew"),
        (touch, None),
        (rewrite_the_same, None),
        (link, None),
        (Path.unlink, None),
    ],
)
def test_what_is_a_change(tmp_path: Path, change: Callable[[Path], None], told: str | None) -> None:
    as_read = read(tmp_path / "e.csv")
    path = tmp_path / "e.csv"
    assert change_since(as_read, opener(path)) is None
    change(path)
    assert change_since(as_read, opener(path)) == told


def test_an_identity_of_an_earlier_version_knows_no_inode(tmp_path: Path) -> None:
    as_read = read(tmp_path / "e.csv")
    known = Identity(as_read.identity.size_bytes, as_read.identity.mtime_ns)
    assert change_since(AsRead(known, 1, ""), opener(tmp_path / "e.csv")) is None


def test_a_writer(tmp_path: Path) -> None:
    if not is_local(tmp_path):
        pytest.skip("the file system of the tests tells nothing of writers")
    path = tmp_path / "e.csv"
    with writing(path) as writer:
        assert has_writer(tmp_path, opener(path))
        writer.close()
        assert not has_writer(tmp_path, opener(path))
    path.unlink()
    assert not has_writer(tmp_path, opener(path))


PARTS_CHANGED: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "touched": (touch, None),
    "the same once more": (rewrite_the_same, None),
    "longer": (append, "b: 6 bytes were added to it"),
    "shorter": (truncate, "b: it has 12 bytes less"),
    "in place": (rewrite_in_place, "b: it was written anew"),
    "replaced": (replace, "b: it was written anew"),
    "gone": (Path.unlink, None),
}


@pytest.mark.parametrize("how", PARTS_CHANGED)
def test_of_parts_the_one_that_changed_is_named(tmp_path: Path, how: str) -> None:
    parts = [PartFile(name, read(tmp_path / name).identity) for name in ("a", "b", "c")]
    change, told = PARTS_CHANGED[how]
    change(tmp_path / "b")
    opened = {name: opener(tmp_path / name) for name in ("a", "b", "c")}
    digest = sha256(CONTENT * 3).hexdigest()
    assert change_of_parts(parts, digest, lambda name: opened[name]()) == told
    if how == "touched":
        assert change_of_parts(parts, "", lambda name: opened[name]()) == "b: it was written anew", (
            "not read to its end"
        )
