"""What a signal may say, and that nothing is half understood."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.drop.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from pipeline.core.errors import InputError

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t", b"\xef\xbb\xbf", b"# nothing\n\n", b"{}"])
def test_nothing_is_said(content: bytes) -> None:
    assert parse_manifest(content) == Manifest()


FULL = Manifest(("a.csv", "b.csv"), 12, 345, DIGEST, ("id", "tier"), dry_run=True, sequence=7, again=False)


def test_json() -> None:
    said = {
        "files": ["a.csv", "b.csv"],
        "rows": 12,
        "bytes": 345,
        "sha256": DIGEST.upper(),
        "columns": ["id", "tier"],
        "dry_run": True,
        "sequence": 7,
        "again": False,
    }
    assert parse_manifest(json.dumps(said).encode()) == FULL
    assert parse_manifest(b"\xef\xbb\xbf" + json.dumps(said, indent=2).encode()) == FULL


def test_lines() -> None:
    text = f"""
    # written by the nightly job
    files = a.csv, b.csv
    rows=12
    bytes=345
    sha256={DIGEST}
    columns=id,tier
    dry_run=true
    sequence=7
    again = false
    """
    assert parse_manifest(text.encode()) == FULL
    assert parse_manifest(text.replace("\n", "\r\n").encode()) == FULL


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"row=12", "key number 1 is unknown; did you mean rows?"),
        (b'{"Rows": 12}', "key number 1 is unknown; did you mean rows?"),
        (b"rows=12\nrows=12", "rows is said twice"),
        (b'{"rows": 12, "rows": 13}', "rows is said twice"),
        (b"rows", "line 1 is not key=value"),
        (b"id,tier\n1,gold\n", "is not key=value"),
        (b'{"rows": 12', "is none: is it complete"),
        (b"{" * 60_000, "is none: is it complete"),
        (b"[12]", "must be a JSON object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "more than 65,536 bytes"),
        (b"rows=-1", "rows must be a whole number from 0 on"),
        (b"rows=1.5", "must be a whole number"),
        (b"rows=", "must be a whole number"),
        (b'{"rows": true}', "must be a whole number"),
        (b'{"rows": 1.0}', "must be a whole number"),
        (b'{"rows": 9223372036854775808}', "must be a whole number"),
        ("rows=١".encode(), "must be a whole number"),
        (b"dry_run=yes", "must be true or false"),
        (b'{"dry_run": 1}', "must be true or false"),
        (b"sha256=abc", "must be 64 hexadecimal digits"),
        (b'{"sha256": 5}', "must be 64 hexadecimal digits"),
        (b'{"columns": []}', "must be a list of texts"),
        (b'{"columns": [1]}', "must be a list of texts"),
        (b'{"columns": {"id": 1}}', "must be a list of texts"),
        (b"columns=id,,tier", "must be a list of texts"),
        (b"files=a.csv,a.csv", "named twice"),
        (b"files=../secret.csv", "'../secret.csv' is not the plain name of a file"),
        (b"files=/etc/passwd", "is not the plain name"),
        (b'{"files": ["a\\nb"]}', "holds a line break"),
        (b"files=.processing", "hidden or a temporary name"),
        (b"files=a.tmp", "hidden or a temporary name"),
        (b"files=a.csv,b.csv.filepart", "hidden or a temporary name"),
    ],
)
def test_nonsense(content: bytes, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_manifest(content)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_it_is_it_is_understood_or_refused(content: bytes) -> None:
    try:
        parse_manifest(content)
    except InputError as error:
        assert "\n" not in str(error)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "rows": st.integers(0, 2**63 - 1),
    "bytes": st.integers(0, 2**63 - 1),
    "sequence": st.integers(0, 2**63 - 1),
    "dry_run": st.booleans(),
    "again": st.booleans(),
    "sha256": st.just(DIGEST),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_both_forms_say_the_same(said: dict[str, Any]) -> None:
    lines = "\n".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in said.items()
    )
    manifest = parse_manifest(json.dumps(said).encode())
    assert parse_manifest(lines.encode()) == manifest
    assert (manifest.rows, manifest.size_bytes) == (said.get("rows"), said.get("bytes"))
