"""The lists of files that warehouses write."""

import json

import pytest

from pipeline.core.drop.file_lists import (
    MAX_LIST_BYTES,
    ListedFile,
    committed_files,
    is_commit_list,
    uncommitted,
    unload_list,
)
from pipeline.core.errors import InputError

#: As Redshift writes it, with `UNLOAD ... MANIFEST VERBOSE`.
UNLOADED = b"""{
  "entries": [
    {"url":"s3://amzn-s3-demo-bucket/unload/venue_pipe_0000_part_00", "meta": { "content_length": 5956875 }},
    {"url":"s3://amzn-s3-demo-bucket/unload/venue_pipe_0001_part_00", "mandatory": true}
  ],
  "schema": {"elements": [{"name": "venueid", "type": { "base": "integer" }}]},
  "meta": {"content_length": 5956875, "record_count": 200},
  "author": {"name": "Amazon Redshift", "version": "1.0.0"}
}
"""


def test_the_files_of_an_unload_in_their_order() -> None:
    assert unload_list(b"\xef\xbb\xbf" + UNLOADED) == (
        ListedFile("venue_pipe_0000_part_00", 5956875),
        ListedFile("venue_pipe_0001_part_00"),
    )


@pytest.mark.parametrize("content", [b"", b"rows=1", b'{"rows": 1}', b'[{"entries": 1}]', b'id,"entries"\n', b"\xff"])
def test_what_is_no_list(content: bytes) -> None:
    assert unload_list(content) is None


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "no list of files"),
        ({}, "no list of files"),
        (["a"], "has no url"),
        ([{"meta": {}}], "has no url"),
        ([{"url": "s3://b/"}], "is not the plain name of a file"),
        ([{"url": "s3://b/.."}], "is not the plain name of a file"),
        ([{"url": "s3://b/one/a"}, {"url": "s3://b/two/a"}], "the same file name"),
        *[([{"url": "a", "meta": {"content_length": size}}], "no number of bytes") for size in (-1, True, "5", 1.5)],
    ],
)
def test_lists_that_cannot_be_used(entries: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        unload_list(json.dumps({"entries": entries}).encode())


@pytest.mark.parametrize("cut", range(20, len(UNLOADED.rstrip()) - 1, 37))
def test_half_a_list_is_an_error(cut: int) -> None:
    with pytest.raises(InputError, match="is it complete"):
        unload_list(UNLOADED[:cut])


def test_a_list_that_is_too_long() -> None:
    with pytest.raises(InputError, match="more than 1,048,576 bytes"):
        unload_list(UNLOADED + b" " * MAX_LIST_BYTES)


def test_what_all_commits_leave() -> None:
    lists = [
        b'{"added": ["a", "b"], "removed": []}',
        b'{"added": ["c"], "removed": ["a", "from-before"]}',
        b'{"version": 2}',
    ]
    assert committed_files(lists) == {"b", "c"}
    assert committed_files([]) == frozenset()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"added": "a"}', b'{"removed": [1]}', b'{"added": ["../a"]}'])
def test_lists_of_commits_that_cannot_be_used(content: bytes) -> None:
    with pytest.raises(InputError):
        committed_files([b'{"added": []}', content])


@pytest.mark.parametrize(
    ("names", "awaited"),
    [
        ([], None),
        (["_started_2", "_started_1"], "_committed_1"),
        (["_started_2", "_started_1", "_committed_1"], None),
        (["_started_1", "_committed_vacuum5"], "_committed_1"),
        (["_SUCCESS", "_metadata"], None),
    ],
)
def test_a_commit_that_has_begun_is_awaited(names: list[str], awaited: str | None) -> None:
    assert uncommitted(names) == awaited
    assert not is_commit_list("_committed_vacuum5")
