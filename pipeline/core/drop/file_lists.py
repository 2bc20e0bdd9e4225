"""Lists of files that warehouses write beside what they unload: which files belong to it, and which are left over.

Redshift, `UNLOAD ... MANIFEST` writes `manifest` or `customers_manifest`:

    {"entries": [{"url": "s3://bucket/path/0000_part_00", "meta": {"content_length": 5956875}}]}

Databricks writes `_started_ID` when it begins and `_committed_ID` when a write is whole; a failed task leaves
files that are in none of these:

    {"added": ["part-00000-tid-1-c000.csv"], "removed": []}
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.drop.signals import name_problem, shown
from pipeline.core.errors import InputError

#: Bytes of the largest list. Ours: some 7,000 files of a Redshift manifest.
MAX_LIST_BYTES = 1_048_576
#: How the names of Databricks' lists begin; a vacuum's list has no files.
_STARTED, _COMMITTED, _VACUUM = "_started_", "_committed_", "_committed_vacuum"
#: How the name of Redshift's list ends, in small letters.
_MANIFEST = "manifest"
#: Bytes at the beginning of a file, of which `"entries"` tells a list from an export that has such a name.
_HEAD_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file in a list. `size_bytes`: None where the list does not say it."""

    name: str
    size_bytes: int | None = None


def may_be_unload_list(name: str) -> bool:
    """True if a file of this name may be the list of an unload; its content decides, see `unload_list`."""
    return name.lower().endswith(_MANIFEST)


def is_commit_list(name: str) -> bool:
    """True if a file of this name is the list of a commit."""
    return name.startswith(_COMMITTED) and not name.startswith(_VACUUM)


def begun_commits(names: Iterable[str]) -> list[str]:
    """Those of the names by which a commit says that it has begun."""
    return [name for name in names if name.startswith(_STARTED)]


def uncommitted(names: Collection[str]) -> str | None:
    """The name of the list that is still to come, by the names in a directory; None if there is one, or none begun."""
    if any(map(is_commit_list, names)):
        return None
    begun = min(begun_commits(names), default=None)
    return None if begun is None else _COMMITTED + begun.removeprefix(_STARTED)


def unload_list(content: bytes) -> tuple[ListedFile, ...] | None:
    """The files of Redshift's list, in its order; None if this is none. Raises `InputError` (65) for half of one."""
    text = content.decode("utf-8-sig", errors="replace").strip()
    if not text.startswith("{") or '"entries"' not in text[:_HEAD_BYTES]:
        return None
    if len(content) > MAX_LIST_BYTES:
        raise InputError(f"it is a list of files of more than {MAX_LIST_BYTES:,} bytes: unload into fewer files.")
    entries = _json_object(text).get("entries")
    if not isinstance(entries, list) or not entries:
        raise InputError("its entries are no list of files.")
    files = tuple(map(_listed, entries))
    if len({file.name for file in files}) < len(files):
        raise InputError("two of its entries have the same file name.")
    return files


def committed_files(contents: Sequence[bytes]) -> frozenset[str]:
    """The names of the files that all lists of commits together leave. Raises `InputError` (65) for half of one."""
    added, removed = set[str](), set[str]()
    for content in contents:
        values = _json_object(content.decode("utf-8-sig", errors="replace"))
        added.update(_names(values, "added"))
        removed.update(_names(values, "removed"))
    return frozenset(added - removed)


def _json_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("it begins like JSON, and is none: is it complete?") from None
    if not isinstance(values, dict):
        raise InputError("it must be a JSON object.")
    return values


def _listed(entry: object) -> ListedFile:
    url = entry.get("url") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(url, str):
        raise InputError("one of its entries has no url.")
    meta = entry.get("meta")
    size = meta.get("content_length") if isinstance(meta, dict) else None
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise InputError("one of its entries has a content_length that is no number of bytes.")
    return ListedFile(_usable(url.rpartition("/")[2]), size)


def _names(values: dict[str, Any], key: str) -> list[str]:
    names = values.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"its {key} is no list of file names.")
    return [_usable(name) for name in names]


def _usable(name: str) -> str:
    if problem := name_problem(name):
        raise InputError(f"{shown(name)!r} {problem}.")
    return name
