"""Takes dropped files out of everybody's reach, and moves them to where a job's files are kept.

`DROP/.processing/JOB/` holds the files that a job has taken, under their own names. Taking is a rename within one file
system, so a file is in the drop directory or taken, never both and never neither. The protocol, which survives a crash
at any point:

1. One transaction enters the jobs of a drop in the ledger, with size and time of last change of each export and of the
   signal. Before that, nothing has happened: after a crash the signal is found anew.
2. The signal is renamed, then each export. Until the ledger says that all are taken, a new process repeats this step
   before it looks for signals: a file that is taken stays taken, a file that is still there is taken.
3. A file that is not the one in the ledger arrived in between: it is put back, and the job fails and says so. If that
   file is the signal, nothing else is taken, and the files that are there now are found anew, with jobs of their own.
   If a file may not be taken at all, those that are taken are put back, and the jobs of the drop are withdrawn.
4. When the ledger says that a job has ended, its files are moved to its folder or removed. A new process begins with
   that.

So a drop has exactly one set of jobs, and a file that a writer puts under a name that is being taken is never lost.
"""

import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from stat import S_ISREG, S_ISVTX

from pipeline.core.errors import ConfigurationError, ExitCode, FatalError
from pipeline.edges.drop.listing import opened, problem_of
from pipeline.edges.drop.writers import is_local, is_open_for_writing
from pipeline.edges.durable import disk_error, disk_errors, make_directory, sync_directory
from pipeline.edges.exports import Identity
from pipeline.edges.lock import lock

_PROBE = ".profile-pipeline-probe"
_COPY = ".profile-pipeline-copy"
#: Errors of a rename that concern this file or its directory, and no other drop.
_OF_THIS_FILE = frozenset((errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EXDEV))
#: Linux: reads the attributes that `chattr` sets; and those that forbid a rename (immutable, append-only).
_GET_ATTRIBUTES, _FIXED = 0x80086601, 0x10 | 0x20
#: Linux: the capability to rename files of others in a directory with the sticky bit.
_CAP_FOWNER = 3
_PROCESS = Path("/proc/self/status")


class CannotTakeError(FatalError):
    """A file that this process may not take from its place, for the reason `why`; other files are not concerned."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"cannot take {source}: it {why}", exit_code=ExitCode.DISK_OR_LEDGER)
        self.why = why


class TakeResult(Enum):
    """The result of taking a file. `REPLACED`: it is not the file that was seen, and was put back."""

    TAKEN = "taken"
    GONE = "gone"
    REPLACED = "replaced"


class Taking:
    """The files taken from a drop directory. All methods block, and raise `FatalError` (74) if the disk refuses."""

    def __init__(self, drop: Path) -> None:
        self.drop = drop
        self.directory = drop / ".processing"
        #: By number of a file system: whether it tells of writers.
        self._tells: dict[int, bool] = {}

    def taken(self, job_id: str, source: str) -> Path:
        """The place at which a job finds the file that it took from this path in the drop directory."""
        return self.directory / job_id / Path(source).name

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        """Take a file if it is still the one that was seen. Repeating this after a crash changes nothing.

        Raises `CannotTakeError` if this process may not take it; it is still in its place then.
        """
        there = self.taken(job_id, source)
        make_directory(there.parent)
        try:
            with _parent(self.drop, source) as (directory, name):
                if not os.path.lexists(there):
                    if not _is_the_one(os.stat(name, dir_fd=directory, follow_symlinks=False), identity):
                        return TakeResult.REPLACED
                    # A rename moves a link itself, never its target.
                    os.rename(name, there, src_dir_fd=directory)
                is_taken = _is_the_one(there.lstat(), identity)
                if not is_taken:
                    _put_back(there, directory, name)
                sync_directory(there.parent)
                os.fsync(directory)
        except (FileNotFoundError, NotADirectoryError):
            return TakeResult.TAKEN if _is_there(there, identity) else TakeResult.GONE
        except OSError as error:
            if error.errno in _OF_THIS_FILE and not os.path.lexists(there):
                with suppress(OSError):
                    there.parent.rmdir()
                raise CannotTakeError(source, f"cannot be taken: {error.strerror} ({_advice(error)})") from error
            raise disk_error(error, f"cannot take {source} from {self.drop}") from error
        return TakeResult.TAKEN if is_taken else TakeResult.REPLACED

    def give_back(self, job_id: str, source: str) -> bool:
        """Put a file that was taken back into its place. False if another one has its name by now; then it stays."""
        there = self.taken(job_id, source)
        with disk_errors(f"cannot put {source} back into {self.drop}"):
            if os.path.lexists(there):
                # A subdirectory from which the last file was taken is still there: it goes later.
                with _parent(self.drop, source) as (directory, name):
                    _put_back(there, directory, name)
                    os.fsync(directory)
            if os.path.lexists(there):
                return False
            with suppress(OSError):
                there.parent.rmdir()
            return True

    def writers(self, sources: Iterable[str]) -> dict[str, bool | None]:
        """For each file in the drop directory: True if a process has it open for writing, None if nobody can tell."""
        found: dict[str, bool | None] = {}
        for source in sources:
            try:
                with _parent(self.drop, source) as (directory, name):
                    device = os.fstat(directory).st_dev
                    if device not in self._tells:
                        self._tells[device] = is_local((self.drop / source).parent)
                    found[source] = is_open_for_writing(name, within=directory) if self._tells[device] else None
            except OSError:
                found[source] = None
        return found

    def obstacle(self, source: str) -> str | None:
        """The reason why this process may not take any file from this place, or None."""
        try:
            with _parent(self.drop, source) as (directory, name):
                info, owner = os.fstat(directory), os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
                    return "cannot be taken: its directory may not be written to by this process"
                if info.st_mode & S_ISVTX and os.geteuid() not in (info.st_uid, owner) and not _may_override():
                    return "cannot be taken: it is another user's, in a directory with the sticky bit"
                if _is_fixed(directory) or _is_fixed_file(name, directory):
                    return "cannot be taken: it or its directory is immutable or append-only (see lsattr)"
                if info.st_dev != self.directory.stat().st_dev:
                    return "cannot be taken: it is on another file system than the drop directory"
        except OSError:
            # Taking the file will meet the same error, and report it.
            pass
        return None

    def jobs(self, among: Collection[str] | None = None) -> list[str]:
        """The ids of the jobs that have taken something: of all jobs, or of those in `among`."""
        with disk_errors(f"cannot look into {self.directory}"):
            if among is not None:
                return sorted(job_id for job_id in among if (self.directory / job_id).is_dir())
            return sorted(entry.name for entry in self.directory.iterdir() if entry.is_dir() and not entry.is_symlink())

    def move_out(self, job_id: str, keep_in: Path | None) -> None:
        """Move the files that a job has taken into the directory `keep_in`, or remove them if that is None."""
        folder = self.directory / job_id
        with disk_errors(f"cannot clear {folder}"):
            for file in sorted(folder.iterdir()):
                if keep_in is not None and S_ISREG(file.lstat().st_mode):
                    make_directory(keep_in)
                    move(file, keep_in / file.name)
                else:
                    file.unlink()
            folder.rmdir()
            sync_directory(self.directory)

    def remove_emptied(self, source: str) -> None:
        """Remove the subdirectory from which the last file was taken, unless it holds something else."""
        if "/" in source:
            directory = (self.drop / source).parent
            with suppress(OSError):
                directory.rmdir()
                sync_directory(directory.parent)


@contextmanager
def hold_drop(drop: Path) -> Iterator[Taking]:
    """Hold the drop directory. Raises `FatalError`: 73 if another process holds it, 78 if no file can be taken."""
    directory = drop / ".processing"
    try:
        if not drop.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no directory", str(drop))
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link", str(directory))
        _probe(drop, directory)
    except OSError as error:
        advice = ": the two must be one file system" if error.errno == errno.EXDEV else ""
        raise ConfigurationError(
            f"[drop] directory {drop} cannot be used: nothing can go to {directory} ({error.strerror}){advice}."
        ) from error
    with lock(directory, f"the drop directory {drop}"):
        yield Taking(drop)


def _probe(drop: Path, directory: Path) -> None:
    """Rename a test file in the way in which exports are taken."""
    probe, taken = drop / _PROBE, directory / _PROBE
    with suppress(FileExistsError):
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        probe.replace(taken)
    finally:
        for file in (probe, taken):
            file.unlink(missing_ok=True)


@contextmanager
def _parent(drop: Path, source: str) -> Iterator[tuple[int, str]]:
    """A descriptor of a source's directory, opened without following links, and the source's name in it."""
    with opened(drop) as root:
        subdirectory, _, name = source.rpartition("/")
        if not subdirectory:
            yield root, name
            return
        with opened(subdirectory, within=root) as directory:
            yield directory, name


def _may_override() -> bool:
    """True if this process may rename files of others whatever their directory says (CAP_FOWNER)."""
    try:
        lines = _PROCESS.read_text().splitlines()
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
        return bool(int(effective, 16) >> _CAP_FOWNER & 1)
    except (OSError, StopIteration, ValueError):
        return os.geteuid() == 0


def _is_fixed(descriptor: int) -> bool:
    try:
        told = fcntl.ioctl(descriptor, _GET_ATTRIBUTES, bytes(8))
    except OSError:
        # Not every file system has attributes.
        return False
    return bool(struct.unpack_from("i", told)[0] & _FIXED)


def _is_fixed_file(name: str, directory: int) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return _is_fixed(descriptor)
    finally:
        os.close(descriptor)


def _advice(error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return "it is on another file system than the drop directory"
    if error.errno in (errno.EBUSY, errno.ETXTBSY):
        return "something is mounted there, or it runs as a program"
    return "look at its owner and attributes and those of its directory: ls -la, lsattr"


def _is_the_one(info: os.stat_result, identity: Identity) -> bool:
    return problem_of(info) is None and Identity.of(info).agrees_with(identity)


def _is_there(file: Path, identity: Identity) -> bool:
    return os.path.lexists(file) and _is_the_one(file.lstat(), identity)


def _put_back(file: Path, directory: int, name: str) -> None:
    """Give a file its old name back, unless another file has it by now: nothing is ever overwritten."""
    try:
        os.link(file, name, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        info, other = file.lstat(), os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (info.st_dev, info.st_ino) != (other.st_dev, other.st_ino):
            return
    except PermissionError:
        # A directory cannot have a second name.
        os.rename(file, name, dst_dir_fd=directory)
        return
    file.unlink()


def move(file: Path, to: Path) -> None:
    """Move a file durably, to another file system if need be. After a crash it is whole in one of the two places."""
    try:
        file.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(file, to)
        file.unlink()
    sync_directory(to.parent)
    sync_directory(file.parent)


def _copy(file: Path, to: Path) -> None:
    # A fixed name: the file's own may already have the greatest length, so nothing can be added to it.
    temporary = to.with_name(_COPY)
    source = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(source, "rb") as reading, temporary.open("wb") as writing:
        temporary.chmod(0o600)
        before = Identity.of(os.fstat(source))
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
        if Identity.of(os.fstat(source)) != before:
            raise OSError(errno.EBUSY, "it was changed while it was copied", str(file))
    temporary.replace(to)
    # Before the other one goes: on two file systems, nothing else keeps the order of the two.
    sync_directory(to.parent)
