"""`.processing` of a drop directory, and the files in it: held by descriptor, and reached without following a link.

Whoever may write to the drop directory may rename `.processing` and put something else in its place, a link to the
state directory, say. So it is opened once; what is in it is reached from there, and what took its place is not touched.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISLNK

from pipeline.edges.drop.listing import opened
from pipeline.edges.lock import Lock

NAME = ".processing"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Processing:
    """A drop directory and its `.processing`, as they were when this was made, wherever they are moved to.

    `root`, `descriptor`: of the two. All methods block and raise `OSError`.
    """

    def __init__(self, drop: Path, *, is_made: bool = False) -> None:
        """Open both. `is_made`: make `.processing` if there is none."""
        self.root = self.descriptor = -1
        self._lock: Lock | None = None
        self.root = os.open(drop, _FLAGS)
        try:
            if is_made:
                with suppress(FileExistsError):
                    os.mkdir(NAME, 0o700, dir_fd=self.root)
                    os.fsync(self.root)
            self.descriptor = os.open(NAME, _FLAGS | os.O_NOFOLLOW, dir_fd=self.root)
            self._check_owner()
        except OSError as error:
            # Linux says of a link that it is no directory.
            what = _in_words(self.root) if error.errno in (errno.ENOTDIR, errno.ELOOP) else error.strerror
            self.close()
            raise OSError(error.errno, what, str(drop / NAME)) from error

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it: its lock too."""
        if self._lock is not None:
            self._lock.close()
        for descriptor in (self.root, self.descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock, self.root, self.descriptor = None, -1, -1

    def _check_owner(self) -> None:
        owner, of_drop = os.fstat(self.descriptor).st_uid, os.fstat(self.root).st_uid
        if owner not in (os.geteuid(), of_drop, 0):
            raise OSError(errno.EPERM, f"it belongs to user {owner}, who may change what is in it")

    @property
    def is_locked(self) -> bool:
        """True if this process has locked it."""
        return self._lock is not None

    def lock(self, what: str) -> None:
        """Lock it against other processes. `what`: the drop directory, in words. Raises the errors of `Lock`."""
        self._lock = Lock(self.descriptor, what)

    def renew_lock(self) -> bool:
        """Lock it again if its lock was removed or replaced, see `Lock.renew`."""
        return self._lock is not None and self._lock.renew()

    def is_of(self, drop: os.stat_result) -> bool:
        """True if this is the drop directory that was held."""
        return _is_same(self.root, drop)

    @property
    def is_gone(self) -> bool:
        """True if `.processing` was removed, with all that was in it."""
        return not os.fstat(self.descriptor).st_nlink

    @property
    def in_its_place(self) -> str | None:
        """The thing at the path of `.processing` now, in words; None if it is this one."""
        try:
            info = os.stat(NAME, dir_fd=self.root, follow_symlinks=False)
        except FileNotFoundError:
            return "is not there any more"
        return None if _is_same(self.descriptor, info) else f"is {_kind_of(info)} now"

    def jobs(self) -> list[str]:
        """The names of the directories of jobs; links are none."""
        with opened(".", within=self.descriptor) as directory, os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def has(self, job_id: str) -> bool:
        """True if there is a directory for this job."""
        try:
            return S_ISDIR(os.stat(job_id, dir_fd=self.descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def make_folder(self, job_id: str) -> None:
        """Make the directory of a job, durably, if it is not there."""
        with suppress(FileExistsError):
            os.mkdir(job_id, 0o700, dir_fd=self.descriptor)
            os.fsync(self.descriptor)

    def remove_folder(self, job_id: str) -> None:
        """Remove the empty directory of a job."""
        os.rmdir(job_id, dir_fd=self.descriptor)

    @contextmanager
    def folder(self, job_id: str) -> Iterator[int]:
        """A descriptor of the directory of a job."""
        with opened(job_id, within=self.descriptor) as folder:
            yield folder

    @contextmanager
    def parent(self, source: str) -> Iterator[tuple[int, str]]:
        """A descriptor of the directory of a file that was dropped, and the file's name in it."""
        with opened(".", within=self.root) as root:
            subdirectory, _, name = source.rpartition("/")
            if not subdirectory:
                yield root, name
                return
            with opened(subdirectory, within=root) as directory:
                yield directory, name


def open_file(name: str, directory: int) -> int:
    """A descriptor of a file for reading; a link is not followed, and a pipe not waited for."""
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)


def lies_in(file: str, directory: int) -> bool:
    """True if there is something of this name, a link too."""
    try:
        os.stat(file, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_same(descriptor: int, info: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), info)
    except OSError as error:
        # On a network file system, what was opened before it was mounted anew is nothing any more.
        if error.errno != errno.ESTALE:
            raise
        return False


def _in_words(root: int) -> str:
    try:
        return f"it is {_kind_of(os.stat(NAME, dir_fd=root, follow_symlinks=False))}"
    except OSError as error:
        return str(error.strerror)


def _kind_of(info: os.stat_result) -> str:
    if S_ISLNK(info.st_mode):
        return "a symbolic link"
    return "another directory" if S_ISDIR(info.st_mode) else "no directory"
