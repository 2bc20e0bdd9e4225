"""Tells the parts of an export from what else lies in its directory: by a manifest, or by the lists of warehouses.

Those lie beside the parts, see `core.drop.file_lists`.

A list that is not whole yet is awaited, like a part that is not there.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.core.drop.file_lists import (
    MAX_LIST_BYTES,
    ListedFile,
    begun_commits,
    committed_files,
    is_commit_list,
    may_be_unload_list,
    uncommitted,
    unload_list,
)
from pipeline.core.drop.manifest import Manifest
from pipeline.core.drop.signals import shown
from pipeline.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Listed:
    """The parts of an export by what lies in its directory.

    `files`: the parts, in their order.
    `beside`: the names of the lists that say so; none if every file is a part.
    `awaited`: the name of a list that is not there, or not whole; None without one.
    `unlisted`: the names of the files that are in none of the lists.
    `problem`: the reason why this can be no export however long one waits, or None.
    """

    files: tuple[ListedFile, ...] = ()
    beside: tuple[str, ...] = ()
    awaited: str | None = None
    unlisted: tuple[str, ...] = ()
    problem: str | None = None


def listed_in(directory: int, manifest: Manifest, parts: Collection[str], others: Collection[str]) -> Listed:
    """The parts in a directory that is open: all files, or those that the manifest, or the lists in it, name. Blocks.

    `manifest`: the content of its signal.
    `parts`: the names of the files that may be parts, in name order. `others`: those that begin with an underscore.
    """
    listed = Listed(manifest.listed) if manifest.files else _by_lists(directory, parts, others)
    unlisted = sorted({*parts} - {file.name for file in listed.files} - {*listed.beside})
    # A manifest of ours has to name them all; a warehouse may leave others behind.
    if unlisted and manifest.files and not manifest.file_bytes:
        return Listed(problem=f"its manifest does not name {shown(unlisted[0])}, which is there.")
    return replace(listed, unlisted=tuple(unlisted))


def content_of(directory: int, name: str) -> bytes:
    """The content of a list, one byte more than one may have at most; nothing if it cannot be read. Blocks."""
    with suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MAX_LIST_BYTES + 1)
    return b""


def _by_lists(directory: int, parts: Collection[str], others: Collection[str]) -> Listed:
    if missing := uncommitted(others):
        return Listed(awaited=missing)
    if commits := [name for name in others if is_commit_list(name)]:
        return _by_commits(directory, [*commits, *begun_commits(others)], commits)
    found: dict[str, ListedFile] = {}
    lists = []
    for name in parts:
        if may_be_unload_list(name):
            try:
                files = unload_list(content_of(directory, name))
            except InputError:
                return Listed(awaited=name)
            if files is not None:
                lists.append(name)
                found |= {file.name: file for file in files}
    return Listed(tuple(found.values()) if lists else tuple(map(ListedFile, parts)), tuple(lists))


def _by_commits(directory: int, lists: list[str], commits: list[str]) -> Listed:
    contents = []
    for name in commits:
        contents.append(content_of(directory, name))
        try:
            committed_files(contents[-1:])
        except InputError:
            return Listed(awaited=name)
    return Listed(tuple(map(ListedFile, sorted(committed_files(contents)))), tuple(lists))
