"""The files of an export: one, or those of a directory that is one export."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK

import aiofiles.os

from pipeline.core.drop.manifest import Manifest, parse_manifest
from pipeline.core.drop.signals import GROUP_SIGNAL, is_ignored, shown
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.printable import printable
from pipeline.edges.exports.faults import readable
from pipeline.edges.exports.identity import Identity, PartFile
from pipeline.edges.exports.part_lists import Listed, content_of, listed_in

#: The files of an export in the order in which they are read; none where it is one file.
Parts = Sequence[PartFile]


@dataclass(frozen=True, slots=True)
class FoundParts:
    """The parts of an export that is a directory.

    `beside`: the names of the lists in it that say which files are parts; none if every file is one.
    `unlisted`: the names of the files that are in none of those lists.
    `manifest`: the content of its `_SUCCESS`.
    """

    parts: tuple[PartFile, ...] = ()
    beside: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    manifest: Manifest = field(default_factory=Manifest)


async def identify(path: Path) -> Identity:
    """The identity of this file.

    Raises `InputError` (66) if there is no regular file, or its name is not UTF-8, and `FatalError` (74) for the disk.
    """
    _check_name(path)
    with readable(path):
        info = await aiofiles.os.stat(path)
    return _of_regular(path, info)


def identity_at(path: Path) -> Identity:
    """The same as `identify`. Blocks."""
    _check_name(path)
    with readable(path):
        info = path.stat()
    return _of_regular(path, info)


def _check_name(path: Path) -> None:
    if not _is_utf8(path):
        text = (
            f"{ascii(str(path))[1:-1]} is not UTF-8, and ledger and reports have to name it: rename it, then load it."
        )
        raise InputError(text, exit_code=ExitCode.EXPORT_MISSING)


def _of_regular(path: Path, info: os.stat_result) -> Identity:
    if not S_ISREG(info.st_mode):
        raise InputError(f"{printable(str(path))} is {_kind_of(info.st_mode)}.", exit_code=ExitCode.EXPORT_MISSING)
    return Identity.of(info)


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading. Blocks. Raises the errors of `identify`."""
    # Before it is opened: to open a device or a pipe may do something.
    identity_at(path)
    with readable(path):
        # Not waiting: a pipe may have taken its place. Unbuffered: a buffer would only copy every block once more.
        return FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def is_directory(path: Path) -> bool:
    """True for a directory, False also where there is nothing. Blocks. Raises the errors of `identify`."""
    with readable(path):
        return path.is_dir()


def path_of(directory: Path) -> Path:
    """The path that the export of a directory goes by: its name within it, so that its parts lie beside that."""
    absolute = directory.resolve() if ".." in directory.parts else directory.absolute()
    return absolute / absolute.name


def find_parts(directory: Path) -> FoundParts:
    """The files of a directory that is one export, in the order of their names, or of the list in it. Blocks.

    Hidden files, temporary ones, and those that begin with `_`, are none of them; nor are files that a manifest in
    `_SUCCESS`, or a list of a warehouse, does not name.

    Raises `InputError`: 65 for a directory within it, or files that are not as its list says; 66 if it holds no file,
    not one that its list names, or one that cannot be read.
    """
    names, listed, manifest = _look_into(directory)
    if not listed.files:
        raise InputError(
            f"{printable(str(directory))} holds no file that is part of an export: those that begin with _ or a dot, "
            "and temporary ones, are none.",
            exit_code=ExitCode.EXPORT_MISSING,
        )
    parts = []
    for file in listed.files:
        if file.name not in names:
            raise InputError(
                f"{printable(str(directory / file.name))} is not there, and a list in that directory names it: bring "
                "all files of the export, or export it anew.",
                exit_code=ExitCode.EXPORT_MISSING,
            )
        identity = identity_at(directory / file.name)
        if file.size_bytes not in (None, identity.size_bytes):
            raise InputError(
                f"{printable(str(directory / file.name))} has {identity.size_bytes:,} bytes, and a list in that "
                f"directory says {file.size_bytes:,}: bring the whole file, or export it anew."
            )
        parts.append(PartFile(file.name, identity))
    return FoundParts(tuple(parts), listed.beside, listed.unlisted, manifest)


def _look_into(directory: Path) -> tuple[list[str], Listed, Manifest]:
    """The names of the files that may be parts, which of them are, and the manifest that is there.

    Raises `InputError` where nothing tells it.
    """
    with readable(directory):
        found = sorted(path.name for path in directory.iterdir())
    names = [name for name in found if not (name.startswith("_") or is_ignored(name))]
    for name in names:
        if (directory / name).is_dir():
            raise InputError(
                f"{printable(str(directory))} holds the directory {shown(name)}: the files of an export lie in "
                "one directory. Load the directories one by one, or put the files into one."
            )
    with readable(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        manifest = _manifest_in(directory, descriptor) if GROUP_SIGNAL in found else Manifest()
        listed = listed_in(descriptor, manifest, names, [name for name in found if name.startswith("_")])
    finally:
        os.close(descriptor)
    if listed.problem:
        raise InputError(f"{printable(str(directory))} cannot be loaded: {listed.problem}")
    if listed.awaited:
        raise InputError(
            f"{printable(str(directory))} cannot be loaded: {shown(listed.awaited)}, the list that says which of its "
            "files are parts, is not there, or not whole. Wait until the export is written, or bring that list too."
        )
    return names, listed, manifest


def _manifest_in(directory: Path, descriptor: int) -> Manifest:
    try:
        return parse_manifest(content_of(descriptor, GROUP_SIGNAL))
    except InputError as error:
        path = printable(str(directory / GROUP_SIGNAL))
        raise InputError(f"the manifest in {path} cannot be used: {error}", exit_code=error.exit_code) from error


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind_of(mode: int) -> str:
    if S_ISDIR(mode):
        return "a directory; name an export file"
    if S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode):
        kind = "a pipe" if S_ISFIFO(mode) else "a socket" if S_ISSOCK(mode) else "a terminal or another device"
        return f"{kind}, and not a regular file. An export must be readable twice: write it to a file, and load that"
    return "not a regular file; name an export file"
