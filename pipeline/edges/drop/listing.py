"""Lists a drop directory: its signals, their exports, and the files that must not be trusted.

Whoever may write there need not be trusted. So everything is examined and opened relative to a descriptor of its
directory, and no link is ever followed. An export counts only if it is a plain file with one name: under a second name
it could change behind our back. Listing changes nothing; `taking` takes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from pipeline.core.drop.file_lists import MAX_LIST_BYTES, ListedFile
from pipeline.core.drop.manifest import Manifest, is_whole, parse_manifest
from pipeline.core.drop.signals import GROUP_SIGNAL, exports_for, is_ignored, is_temporary, name_problem, shown, stem_of
from pipeline.core.errors import InputError
from pipeline.edges.exports import Identity
from pipeline.edges.exports.part_lists import Listed, listed_in

_NEVER_TAKEN = "it is hidden, temporary, or named by [drop] ignore, and never taken"
_NO_SIGNAL = "is a directory with the name of a signal; a signal is a file"
_KINDS = (
    (S_ISLNK, "is a symbolic link"),
    (S_ISDIR, "is a directory"),
    (S_ISFIFO, "is a FIFO"),
    (S_ISSOCK, "is a socket"),
    (S_ISCHR, "is a device"),
    (S_ISBLK, "is a device"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A name in the drop directory.

    `path`: relative to the drop directory.
    `problem`: the reason why it must not be taken, or None.
    """

    path: str
    identity: Identity
    problem: str | None = None
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A signal with the export that it stands for.

    `files`: the file of the export, or its parts in their order.
    `parts_of`: the path that an export of parts goes by, `DIRECTORY/NAME` or `NAME`; None if it is one file.
    `missing`: the files that are not there as they should be, perhaps not yet, in words.
    `may_be_cut`: True if the content of the signal may be the beginning of a longer one.
    `changed_ns`: the time of the last change of the subdirectory that it stands for, in nanoseconds since 1970.
    `left_out`: temporary files in that subdirectory.
    `beside`: the names of the lists in it that say which files are parts.
    `unlisted`: the files in it that are in none of these lists; they stay where they are.
    `problem`: the reason why the drop fails however long one waits, or None.
    """

    signal: Seen
    files: tuple[Seen, ...] = ()
    parts_of: str | None = None
    missing: tuple[str, ...] = ()
    manifest: Manifest = field(default_factory=Manifest)
    may_be_cut: bool = False
    changed_ns: int | None = None
    left_out: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def directory(self) -> str | None:
        """The subdirectory that it stands for, with a slash behind it; None if it stands for files in the root."""
        return None if self.changed_ns is None or self.parts_of is None else self.parts_of.rpartition("/")[0] + "/"


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a drop directory.

    `found`: the signals with their exports.
    `refused`: files that must not be taken; they stay where they are.
    `unsignalled`: files that no signal stands for.
    """

    found: tuple[Found, ...]
    refused: tuple[Seen, ...]
    unsignalled: tuple[Seen, ...]


def look(directory: Path, suffixes: tuple[str, ...], ignore: tuple[str, ...] = ()) -> Listing:
    """The present content of a drop directory. Blocks; raises `OSError` if it cannot be read.

    `suffixes`: how names of signals end. `ignore`: patterns of names that are never exports.
    """
    with opened(directory) as root:
        return look_at(root, suffixes, ignore)


def look_at(root: int, suffixes: tuple[str, ...], ignore: tuple[str, ...] = ()) -> Listing:
    """The same of a directory that is open. Blocks; raises `OSError` if it cannot be read."""
    entries = _entries(root, ignore)
    signals = {
        name: stem
        for name, seen in entries.items()
        if not seen.is_directory and (stem := stem_of(name, suffixes)) is not None
    }
    found, refused = [], [seen for name, seen in entries.items() if seen.problem and not seen.is_directory]
    exports = {name: seen for name, seen in entries.items() if name not in signals}
    directories = {
        name: group
        for name, seen in entries.items()
        if seen.is_directory and not name_problem(name) and (group := _look_into(root, name, ignore)) is not None
    }
    for name, stem in signals.items():
        if (
            not entries[name].problem
            and (one := _of_signal(root, entries[name], stem, exports, directories, ignore)) is not None
        ):
            found.append(one)
    loose = [seen for seen in exports.values() if not seen.is_directory]
    for name, group in directories.items():
        if (signal := group.entries.get(GROUP_SIGNAL)) is not None:
            found += filter(None, [_of_subdirectory(root, group, signal, ignore)])
        elif name == GROUP_SIGNAL or stem_of(name, suffixes) is not None:
            refused.append(replace(entries[name], problem=_NO_SIGNAL))
        loose += group.parts.values()
    meant = {file.path for each in found for file in each.files}
    unsignalled = [seen for seen in loose if seen.path not in meant and not seen.problem]
    return Listing(tuple(_each_by_one_signal(found)), tuple(refused), tuple(unsignalled))


@contextmanager
def opened(directory: str | Path, *, within: int | None = None) -> Iterator[int]:
    """A descriptor of a directory. One that is opened `within` another must not be a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if within is not None else 0)
    descriptor = os.open(directory, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _entries(directory: int, ignore: tuple[str, ...], prefix: str = "") -> dict[str, Seen]:
    """The entries of a directory that are not ignored, by name, in name order. An entry that vanishes is left out."""
    entries = {}
    for name in sorted(os.listdir(directory)):
        if is_ignored(name, ignore):
            continue
        try:
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        entries[name] = Seen(
            prefix + name,
            Identity.of(info),
            name_problem(name) or problem_of(info),
            S_ISDIR(info.st_mode),
        )
    return entries


def problem_of(info: os.stat_result) -> str | None:
    """The reason why this is not a plain file with one name, or None."""
    if S_ISREG(info.st_mode):
        return "is a hard link: it has another name, under which it may change" if info.st_nlink > 1 else None
    return next((problem for test, problem in _KINDS if test(info.st_mode)), "is no plain file")


@dataclass(frozen=True, slots=True)
class _Group:
    """A subdirectory, and what is in it.

    `parts`: the files in it that may be parts, by name, in name order.
    `names`: all names in it.
    """

    name: str
    changed_ns: int
    entries: Mapping[str, Seen]
    parts: Mapping[str, Seen]
    names: tuple[str, ...]


def _look_into(root: int, name: str, ignore: tuple[str, ...]) -> _Group | None:
    """Look into a subdirectory; None if it is gone, or may not be looked into."""
    try:
        with opened(name, within=root) as directory:
            # Before the files in it: what comes in between has changed it.
            changed_ns = os.fstat(directory).st_mtime_ns
            entries = _entries(directory, ignore, f"{name}/")
            names = tuple(sorted(os.listdir(directory)))  # noqa: PTH208 - of a descriptor
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    parts = {part: seen for part, seen in entries.items() if not part.startswith("_") and not seen.is_directory}
    return _Group(name, changed_ns, entries, parts, names)


def _of_signal(
    root: int,
    signal: Seen,
    stem: str,
    exports: Mapping[str, Seen],
    directories: Mapping[str, _Group],
    ignore: tuple[str, ...],
) -> Found | None:
    """The drop of a signal that lies in the drop directory itself; None if the signal is gone.

    `exports`: what lies beside it and is no signal, subdirectories too.
    """
    said = _read_signal(root, signal.path, signal, ignore)
    if said is None or said.problem:
        return said
    if not said.manifest.files and is_ignored(stem, ignore):
        return replace(said, problem=f"it stands for {shown(stem)}: {_NEVER_TAKEN}.")
    files = {name: seen for name, seen in exports.items() if not seen.is_directory}
    # A signal stands for a directory only if it can stand for no file.
    names = [] if files.keys() & set(said.manifest.files) else exports_for(stem, directories.keys())
    if not said.manifest.files:
        names = exports_for(stem, files.keys()) or names or exports_for(stem, exports.keys())
    if len(names) > 1:
        many = " and ".join(map(shown, names))
        return replace(said, problem=f"it may mean {many}: name the signal after the whole name of the export.")
    if names and names[0] in directories:
        return _with_parts(root, said, directories[names[0]], ignore)
    if len(said.manifest.files) > 1:
        said = replace(said, parts_of=stem)
    return _with_files(said, said.manifest.listed or [ListedFile(name) for name in names or [stem]], exports)


def _of_subdirectory(root: int, group: _Group, signal: Seen, ignore: tuple[str, ...]) -> Found | None:
    """The drop of `_SUCCESS` in a subdirectory; None if the signal is gone."""
    if signal.problem:
        return Found(signal, problem=f"{signal.path} {signal.problem}.")
    try:
        with opened(group.name, within=root) as directory:
            said = _read_signal(directory, GROUP_SIGNAL, signal, ignore)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return said if said is None or said.problem else _with_parts(root, said, group, ignore)


def _with_parts(root: int, said: Found, group: _Group, ignore: tuple[str, ...]) -> Found:
    """The same drop with the files in a subdirectory as its parts: all, or those that a manifest or list names."""
    left_out = tuple(f"{group.name}/{each}" for each in group.names if is_temporary(each))
    said = replace(said, parts_of=f"{group.name}/{group.name}", changed_ns=group.changed_ns, left_out=left_out)
    if said.signal.path in group.names:
        return replace(said, problem=f"{shown(group.name)} holds a file of the signal's own name: rename one of them.")
    others = [name for name in group.entries if name.startswith("_")]
    try:
        with opened(group.name, within=root) as directory:
            listed = listed_in(directory, said.manifest, group.parts, others)
    except OSError:
        listed = Listed()
    if listed.problem:
        return replace(said, problem=listed.problem)
    found = _with_files(said, listed.files, group.parts, f"{group.name}/")
    if not listed.files:
        awaited = f"a whole {group.name}/{listed.awaited}" if listed.awaited else f"{group.name}/*"
        return replace(found, missing=(awaited,))
    return replace(found, beside=listed.beside, unlisted=tuple(f"{group.name}/{each}" for each in listed.unlisted))


def _with_files(said: Found, files: Sequence[ListedFile], entries: Mapping[str, Seen], prefix: str = "") -> Found:
    """The same drop with these files. One of another size than its list says is not whole yet."""
    seen = tuple(entries[file.name] for file in files if file.name in entries)
    bad = next((f"{shown(each.path)} {each.problem}: refused." for each in seen if each.problem), None)
    missing = []
    for file in files:
        if file.name not in entries:
            missing.append(prefix + file.name)
        elif file.size_bytes not in (None, entries[file.name].identity.size_bytes):
            missing.append(f"{prefix}{file.name} of {file.size_bytes:,} bytes")
    return replace(said, files=() if bad else seen, missing=tuple(missing), problem=bad)


def _read_signal(directory: int, name: str, signal: Seen, ignore: tuple[str, ...]) -> Found | None:
    """Read a signal: its manifest, and its identity as it was then. None if it is gone."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Found(signal, problem=f"it cannot be read: {error.strerror}.")
    try:
        info = os.fstat(descriptor)
        signal = replace(signal, identity=Identity.of(info))
        if problem := problem_of(info):
            return Found(signal, problem=f"{shown(signal.path)} {problem}.")
        content = os.read(descriptor, MAX_LIST_BYTES + 1)
        manifest = parse_manifest(content)
        if unusable := next((each for each in manifest.files if is_ignored(each, ignore)), None):
            return Found(signal, problem=f"its manifest names {shown(unusable)}: {_NEVER_TAKEN}.")
        return Found(signal, manifest=manifest, may_be_cut=bool(content.strip()) and not is_whole(content))
    except InputError as error:
        problem = f"the manifest in {shown(signal.path)} cannot be used: {error}"
        return Found(signal, may_be_cut=True, problem=problem)
    except OSError as error:
        return Found(signal, problem=f"it cannot be read: {error.strerror}.")
    finally:
        os.close(descriptor)


def _each_by_one_signal(found: list[Found]) -> Iterator[Found]:
    """The same drops; but if several signals stand for one file, each of these drops fails."""
    signals: dict[str, list[str]] = {}
    for each in found:
        for file in each.files:
            signals.setdefault(file.path, []).append(each.signal.path)
    for each in found:
        shared = next((file.path for file in each.files if len(signals[file.path]) > 1), None)
        if shared is None:
            yield each
        else:
            named = " and ".join(map(shown, signals[shared]))
            yield replace(each, files=(), problem=f"{shown(shared)} has several signals: {named}. Leave one of them.")
