"""Moves a file out of a directory that is held by descriptor; it is whole in one of the two places at any time."""

import errno
import os
import shutil
from pathlib import Path
from stat import S_ISREG

from pipeline.edges.drop.processing import open_file
from pipeline.edges.durable import sync_directory
from pipeline.edges.exports import Identity

_COPY = ".profile-pipeline-copy"


def move(directory: int, name: str, to: Path) -> None:
    """Move a file durably, to another file system if need be. After a crash it is whole in one of the two places."""
    try:
        os.replace(name, to, src_dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(directory, name, to)
        os.unlink(name, dir_fd=directory)
    sync_directory(to.parent)
    os.fsync(directory)


def _copy(directory: int, name: str, to: Path) -> None:
    # A fixed name: the file's own may already have the greatest length, so nothing can be added to it.
    temporary = to.with_name(_COPY)
    source = open_file(name, directory)
    with os.fdopen(source, "rb") as reading, temporary.open("wb") as writing:
        temporary.chmod(0o600)
        info = os.fstat(source)
        if not S_ISREG(info.st_mode):
            raise OSError(errno.EBUSY, "it is no file any more", name)
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
        if Identity.of(os.fstat(source)) != Identity.of(info):
            raise OSError(errno.EBUSY, "it was changed while it was copied", name)
    temporary.replace(to)
    # Before the other one goes: on two file systems, nothing else keeps the order of the two.
    sync_directory(to.parent)


def put_back(folder: int, file: str, directory: int, name: str) -> None:
    """Give a file that was taken its old name back, unless another file has it by now: nothing is ever overwritten."""
    try:
        os.link(file, name, src_dir_fd=folder, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        one = os.stat(file, dir_fd=folder, follow_symlinks=False)
        if not os.path.samestat(one, os.stat(name, dir_fd=directory, follow_symlinks=False)):
            return
    except PermissionError:
        # A directory cannot have a second name.
        os.rename(file, name, src_dir_fd=folder, dst_dir_fd=directory)
        return
    os.unlink(file, dir_fd=folder)
