"""The files of an export: one, or those of a directory that is one export."""

import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from stat import S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK

import aiofiles.os

from pipeline.core.drop.signals import is_ignored, shown
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.printable import printable
from pipeline.edges.exports.faults import readable
from pipeline.edges.exports.identity import Identity, PartFile

#: The files of an export in the order in which they are read; none where it is one file.
Parts = Sequence[PartFile]


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


def find_parts(directory: Path) -> tuple[PartFile, ...]:
    """The files of a directory that is one export, in the order of their names. Blocks.

    Hidden files, temporary ones, and those that begin with `_`, are none of them.

    Raises `InputError`: 65 for a directory within it, 66 if it holds no file, or one that cannot be read.
    """
    with readable(directory):
        names = sorted(path.name for path in directory.iterdir())
    paths = [directory / name for name in names if not (name.startswith("_") or is_ignored(name))]
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{printable(str(directory))} holds the directory {shown(path.name)}: the files of an export lie in "
                "one directory. Load the directories one by one, or put the files into one."
            )
    if not paths:
        raise InputError(
            f"{printable(str(directory))} holds no file that is part of an export: those that begin with _ or a dot, "
            "and temporary ones, are none.",
            exit_code=ExitCode.EXPORT_MISSING,
        )
    return tuple(PartFile(path.name, identity_at(path)) for path in paths)


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
