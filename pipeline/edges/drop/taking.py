"""Takes dropped files out of everybody's reach, and moves them to where a job's files are kept.

`DROP/.processing/JOB/` holds the files that a job has taken, under their own names. Taking is a rename within one file
system, so a file is in the drop directory or taken, never both and never neither. The protocol, which survives a crash
at any point:

1. One transaction enters the job of a drop in the ledger, with size and time of last change of each file and of the
   signal. Before that, nothing has happened: after a crash the signal is found anew.
2. The signal is renamed, then each file, last the lists that say which files these are. Until the ledger says that all
   are taken, a new process repeats this step before it looks for signals: a file that is taken stays taken, a file that
   is still there is taken.
3. A file that is not the one in the ledger arrived in between: it is put back, and the job fails and says so. If that
   file is the signal, nothing else is taken, and the files that are there now are found anew, with jobs of their own.
   If a file may not be taken at all, those that are taken are put back, and the job of the drop is withdrawn.
4. When the ledger says that a job has ended, its files are moved to its folder or removed. A new process begins with
   that.

So a drop has exactly one job, and a file that a writer puts under a name that is being taken is never lost.

The directories are held by descriptor, see `processing`. At each look they are compared with what is at their paths:

* The drop directory was removed and made anew, or a file system was mounted: the one that is there now is locked like
  the first, before anything is taken from it. What was taken before is read from where it is.
* `.processing` is another directory, or a link: nothing is taken until the one that was held is back.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from stat import S_ISREG

from pipeline.core.errors import ConfigurationError, ExitCode, FatalError, InputError
from pipeline.edges.drop.listing import Listing, look_at, opened, problem_of
from pipeline.edges.drop.moving import move, put_back
from pipeline.edges.drop.obstacles import advice, obstacle_to
from pipeline.edges.drop.processing import NAME, Processing, lies_in, open_file
from pipeline.edges.drop.writers import is_local, is_open_for_writing
from pipeline.edges.durable import disk_errors, make_directory, sync_names
from pipeline.edges.exports import Identity

_PROBE = ".profile-pipeline-probe"
#: Errors of a rename that concern this file or its directory, and no other drop.
_OF_THIS_FILE = frozenset((errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EXDEV))
#: Errors of a file that was taken, and not of the disk: the file is not there, or nobody may read it.
_OF_THE_EXPORT = frozenset((errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO))


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

    def __init__(self, drop: Path, held: Processing | None = None) -> None:
        """`held`: the directories, locked; by default they are opened and not locked, as somebody else does that."""
        self.drop = drop
        self.directory = drop / NAME
        with disk_errors(f"cannot look into {self.directory}"):
            self._held = Processing(drop) if held is None else held
            #: The directory in which each job's files are: what was there before stays reachable.
            self._places = dict.fromkeys(self._held.jobs(), self._held)
        #: By number of a file system: whether it tells of writers.
        self._tells: dict[int, bool] = {}

    def close(self) -> None:
        """Let go of the directories."""
        for held in self._all:
            held.close()

    def renew(self) -> str | None:
        """Compare what is held with what is at its path, and hold that where it is another drop directory.

        Returns what was found and done, in words; None where all is as it was. Raises `OSError` if the drop directory
        is away, and `FatalError`: 74 if `.processing` is not the one that was held, 73 if another process has locked
        what is there.
        """
        told = None
        there = self.drop.stat()
        if not self._held.is_of(there):
            told = "the drop directory was removed and made anew, or another file system is there"
            self._go_on_with(next((each for each in self._all if each.is_of(there)), None) or self._hold_anew())
        elif self._held.is_gone:
            told = f"{NAME} was removed"
            self._go_on_with(self._hold_anew())
        if in_its_place := self._held.in_its_place:
            raise FatalError(self._replaced(in_its_place), exit_code=ExitCode.DISK_OR_LEDGER)
        return told or (self._held.renew_lock() and "its lock was removed or replaced") or None

    def look(self, suffixes: tuple[str, ...], ignore: tuple[str, ...] = ()) -> Listing:
        """The present content of the drop directory that is held, see `listing.look`. Raises `OSError`."""
        with opened(".", within=self._held.root) as root:
            return look_at(root, suffixes, ignore)

    def taken(self, job_id: str, source: str) -> Path:
        """The place at which a job finds the file that it took from this path in the drop directory."""
        return self.directory / job_id / Path(source).name

    def open(self, job_id: str, name: str) -> int:
        """A descriptor of a file that a job has taken, for reading.

        Raises `InputError` (66) if the file itself is gone or cannot be read, and `FatalError` (74) if it is away with
        its directory, or the disk fails: then it may be back later.
        """
        path = self.directory / job_id / name
        held = self._places.get(job_id)
        try:
            if held is None and not self._held.has(job_id):
                raise FileNotFoundError(errno.ENOENT, f"{path.parent} is not there{self._elsewhere(job_id)}")
            with (held or self._held).folder(job_id) as folder:
                return _open_taken(path, folder)
        except FileNotFoundError as error:
            if held is not None:
                # It was removed, from the directory that is held.
                raise _missing(path, error) from error
            raise _away(path, error) from error
        except OSError as error:
            raise _away(path, error) from error

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        """Take a file if it is still the one that was seen. Repeating this after a crash changes nothing.

        Raises `CannotTakeError` if this process may not take it; it is still in its place then.
        """
        file = Path(source).name
        with disk_errors(f"cannot make {self.directory / job_id}"):
            held = self._of(job_id)
            # Whatever is at the path later, the file was seen in this one.
            held = self._places[job_id] = self._held if held.is_gone else held
            held.make_folder(job_id)
        with disk_errors(f"cannot take {source} from {self.drop}"), held.folder(job_id) as folder:
            try:
                return _take(held, folder, source, identity)
            except (FileNotFoundError, NotADirectoryError):
                return TakeResult.TAKEN if _is_there(file, folder, identity) else TakeResult.GONE
            except OSError as error:
                if error.errno in _OF_THIS_FILE and not lies_in(file, folder):
                    with suppress(OSError):
                        held.remove_folder(job_id)
                        del self._places[job_id]
                    raise CannotTakeError(source, f"cannot be taken: {error.strerror} ({advice(error)})") from error
                raise

    def take_along(self, job_id: str, source: str) -> None:
        """Take a file that says something of others which a job has taken, whatever became of it; repeatable too.

        Left behind, it would say the same of the files of the next drop. Raises the errors of `take`.
        """
        with disk_errors(f"cannot look at {source} in {self.drop}"), suppress(FileNotFoundError, NotADirectoryError):
            with self._of(job_id).parent(source) as (directory, name):
                seen = Identity.of(os.stat(name, dir_fd=directory, follow_symlinks=False))
            self.take(job_id, source, seen)

    def give_back(self, job_id: str, source: str) -> bool:
        """Put a file that was taken back into its place. False if another one has its name by now; then it stays."""
        held, file = self._of(job_id), Path(source).name
        with disk_errors(f"cannot put {source} back into {self.drop}"):
            if not held.has(job_id):
                return True
            with held.folder(job_id) as folder:
                if lies_in(file, folder):
                    # A subdirectory from which the last file was taken is still there: it goes later.
                    with held.parent(source) as (directory, name):
                        put_back(folder, file, directory, name)
                        os.fsync(directory)
                if lies_in(file, folder):
                    return False
            with suppress(OSError):
                held.remove_folder(job_id)
                self._places.pop(job_id, None)
            return True

    def writers(self, sources: Iterable[str]) -> dict[str, bool | None]:
        """For each file in the drop directory: True if a process has it open for writing, None if nobody can tell."""
        found: dict[str, bool | None] = {}
        for source in sources:
            try:
                with self._held.parent(source) as (directory, name):
                    device = os.fstat(directory).st_dev
                    if device not in self._tells:
                        self._tells[device] = is_local((self.drop / source).parent)
                    found[source] = is_open_for_writing(name, within=directory) if self._tells[device] else None
            except OSError:
                found[source] = None
        return found

    def obstacle(self, source: str) -> str | None:
        """The reason why this process may not take any file from this place, or None."""
        return obstacle_to(self._held, source)

    def jobs(self, among: Collection[str] | None = None) -> list[str]:
        """The ids of the jobs that have taken something: of all jobs, or of those in `among`."""
        with disk_errors(f"cannot look into {self.directory}"):
            if among is not None:
                return sorted(job_id for job_id in among if self._of(job_id).has(job_id))
            return sorted({job_id for held in self._all for job_id in held.jobs()})

    def move_out(self, job_id: str, keep_in: Path | None) -> None:
        """Move the files that a job has taken into the directory `keep_in`, or remove them if that is None."""
        held = self._of(job_id)
        with disk_errors(f"cannot clear {self.directory / job_id}"):
            with held.folder(job_id) as folder:
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - of a descriptor
                    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if keep_in is not None and S_ISREG(info.st_mode):
                        make_directory(keep_in)
                        move(folder, name, keep_in / name)
                    else:
                        os.unlink(name, dir_fd=folder)
            held.remove_folder(job_id)
            os.fsync(held.descriptor)
        self._places.pop(job_id, None)

    def remove_emptied(self, source: str) -> None:
        """Remove the subdirectory from which the last file was taken, unless it holds something else."""
        if "/" in source:
            with suppress(OSError):
                os.rmdir(source.rpartition("/")[0], dir_fd=self._held.root)
                os.fsync(self._held.root)

    @property
    def _all(self) -> list[Processing]:
        return list(dict.fromkeys([self._held, *self._places.values()]))

    def _of(self, job_id: str) -> Processing:
        return self._places.get(job_id, self._held)

    def _go_on_with(self, held: Processing) -> None:
        # A directory in which no job has a file is let go of when nobody uses it any more.
        self._places.update(dict.fromkeys(held.jobs(), held))
        self._held = held

    def _hold_anew(self) -> Processing:
        with disk_errors(f"cannot hold the drop directory {self.drop}, which was replaced"):
            return _hold(self.drop, is_locked=self._held.is_locked)

    def _elsewhere(self, job_id: str) -> str:
        """The place in the drop directory where the files of a job are instead, in words; nothing if there is none."""
        with suppress(OSError), opened(".", within=self._held.root) as root:
            for name in sorted(os.listdir(root)):  # noqa: PTH208 - of a descriptor
                with suppress(OSError), opened(name, within=root) as directory, opened(job_id, within=directory):
                    return f", it is in {self.drop / name}"
        return ""

    def _replaced(self, in_its_place: str) -> str:
        name, where = _name_of(self._held), ""
        if name is not None:
            where = f", {self.drop / name}"
        return (
            f"{self.directory} {in_its_place}: somebody who may write to the drop directory moved or replaced it. "
            "Nothing is taken, and what is there is not touched. Move the directory that was there"
            f"{where} back to that name. With mode 3770 nobody else can do this."
        )


@contextmanager
def hold_drop(drop: Path) -> Iterator[Taking]:
    """Hold the drop directory. Raises `FatalError`: 73 if another process holds it, 78 if no file can be taken."""
    try:
        taking = Taking(drop, _hold(drop))
    except OSError as error:
        hint = ": the two must be one file system" if error.errno == errno.EXDEV else ""
        raise ConfigurationError(
            f"[drop] directory {drop} cannot be used: nothing can go to {drop / NAME} ({error.strerror}){hint}."
        ) from error
    try:
        yield taking
    finally:
        taking.close()


def _hold(drop: Path, *, is_locked: bool = True) -> Processing:
    """Open a drop directory, try it out, and lock it. Raises `OSError`, and the errors of `Lock`."""
    held = Processing(drop, is_made=True)
    try:
        if is_locked:
            _probe(held)
            held.lock(f"the drop directory {drop}")
            # An earlier process may have made the names and been killed before it could flush them.
            os.fsync(held.descriptor)
            sync_names(drop)
    except BaseException:
        held.close()
        raise
    return held


def _probe(held: Processing) -> None:
    """Rename a test file in the way in which exports are taken."""
    with suppress(FileExistsError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(_PROBE, flags, 0o600, dir_fd=held.root))
    try:
        os.replace(_PROBE, _PROBE, src_dir_fd=held.root, dst_dir_fd=held.descriptor)
    finally:
        for directory in (held.root, held.descriptor):
            with suppress(FileNotFoundError):
                os.unlink(_PROBE, dir_fd=directory)


def _take(held: Processing, folder: int, source: str, identity: Identity) -> TakeResult:
    with held.parent(source) as (directory, name):
        if not lies_in(name, folder):
            if not _is_the_one(os.stat(name, dir_fd=directory, follow_symlinks=False), identity):
                return TakeResult.REPLACED
            # A rename moves a link itself, never its target.
            os.rename(name, name, src_dir_fd=directory, dst_dir_fd=folder)
        is_taken = _is_the_one(os.stat(name, dir_fd=folder, follow_symlinks=False), identity)
        if not is_taken:
            put_back(folder, name, directory, name)
        os.fsync(folder)
        os.fsync(directory)
    return TakeResult.TAKEN if is_taken else TakeResult.REPLACED


def _open_taken(path: Path, folder: int) -> int:
    try:
        descriptor = open_file(path.name, folder)
    except OSError as error:
        if error.errno in _OF_THE_EXPORT:
            raise _missing(path, error) from error
        raise
    try:
        info = os.fstat(descriptor)
        if not S_ISREG(info.st_mode):
            text = f"cannot read the export {path}: it {problem_of(info)}."
            raise InputError(text, exit_code=ExitCode.EXPORT_MISSING)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _missing(path: Path, error: OSError) -> InputError:
    text = f"cannot read the export {path}: {error.strerror}."
    return InputError(text, exit_code=ExitCode.EXPORT_MISSING)


def _away(path: Path, error: OSError) -> FatalError:
    return FatalError(
        f"the export {path} cannot be reached: {error.strerror}. It is tried again until it can. Is its file system "
        "mounted, and the directory where it was? If it is lost: `abandon` the job.",
        exit_code=ExitCode.DISK_OR_LEDGER,
    )


def _name_of(held: Processing) -> str | None:
    """The name that `.processing` has now, in the drop directory; None if it is not there."""
    with suppress(OSError), opened(".", within=held.root) as root, os.scandir(root) as entries:
        there = os.fstat(held.descriptor)
        return next((entry.name for entry in entries if entry.inode() == there.st_ino), None)
    return None


def _is_the_one(info: os.stat_result, identity: Identity) -> bool:
    return problem_of(info) is None and Identity.of(info).agrees_with(identity)


def _is_there(name: str, folder: int, identity: Identity) -> bool:
    return lies_in(name, folder) and _is_the_one(os.stat(name, dir_fd=folder, follow_symlinks=False), identity)
