"""Lists a drop directory: its signals, their exports, and the files that must not be trusted.

Whoever may write there need not be trusted. So everything is examined and opened relative to a descriptor of its
directory, and no link is ever followed. An export counts only if it is a plain file with one name: under a second name
it could change behind our back. Listing changes nothing; `taking` takes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from pipeline.core.drop.manifest import MAX_MANIFEST_BYTES, Manifest, is_whole, parse_manifest
from pipeline.core.drop.signals import GROUP_SIGNAL, exports_for, is_ignored, is_temporary, name_problem, shown, stem_of
from pipeline.core.errors import InputError
from pipeline.edges.exports import Identity

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
    """A signal with the exports that it stands for, in their order.

    `missing`: the names of exports that are not there, perhaps not yet.
    `may_be_cut`: True if the content of the signal may be the beginning of a longer one.
    `changed_ns`: the time of the last change of the subdirectory that it stands for, in nanoseconds since 1970.
    `left_out`: temporary files in that subdirectory.
    `problem`: the reason why the drop fails however long one waits, or None.
    """

    signal: Seen
    exports: tuple[Seen, ...] = ()
    missing: tuple[str, ...] = ()
    manifest: Manifest = field(default_factory=Manifest)
    may_be_cut: bool = False
    changed_ns: int | None = None
    left_out: tuple[str, ...] = ()
    problem: str | None = None


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
    files = {name: seen for name, seen in exports.items() if not seen.is_directory}
    for name, stem in signals.items():
        if (
            not entries[name].problem
            and (one := _of_signal(root, entries[name], stem, files, exports, ignore)) is not None
        ):
            found.append(one)
    loose = [seen for seen in exports.values() if not seen.is_directory]
    for name in [name for name, seen in entries.items() if seen.is_directory and not name_problem(name)]:
        group, others = _of_subdirectory(root, name, ignore)
        if not group and (name == GROUP_SIGNAL or stem_of(name, suffixes) is not None):
            refused.append(replace(entries[name], problem=_NO_SIGNAL))
        found += group
        loose += others
    meant = {export.path for each in found for export in each.exports}
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


def _of_signal(
    root: int,
    signal: Seen,
    stem: str,
    files: Mapping[str, Seen],
    exports: Mapping[str, Seen],
    ignore: tuple[str, ...],
) -> Found | None:
    """The drop of a signal that lies in the drop directory itself; None if the signal is gone.

    `files`: those of the `exports` that are no directories.
    """
    said = _read_signal(root, signal.path, signal, ignore)
    if said is None or said.problem:
        return said
    if not said.manifest.files and is_ignored(stem, ignore):
        return replace(said, problem=f"it stands for {shown(stem)}: {_NEVER_TAKEN}.")
    if said.manifest.files:
        return _with_exports(said, list(said.manifest.files), exports)
    # A signal stands for a directory only if it can stand for no file.
    names = exports_for(stem, files.keys()) or exports_for(stem, exports.keys())
    if len(names) > 1:
        many = " and ".join(map(shown, names))
        return replace(said, problem=f"it may mean {many}: name the signal after the whole name of the export.")
    return _with_exports(said, names or [stem], exports)


def _of_subdirectory(root: int, name: str, ignore: tuple[str, ...]) -> tuple[list[Found], list[Seen]]:
    """The drop of `_SUCCESS` in a subdirectory, if there is one, and the files of that subdirectory."""
    try:
        with opened(name, within=root) as directory:
            # Before the files in it: what comes in between has changed it.
            changed_ns = os.fstat(directory).st_mtime_ns
            entries = _entries(directory, ignore, f"{name}/")
            names = sorted(os.listdir(directory))  # noqa: PTH208 - of a descriptor
            left_out = tuple(f"{name}/{each}" for each in names if is_temporary(each))
            signal = entries.get(GROUP_SIGNAL)
            parts = {part: seen for part, seen in entries.items() if not part.startswith("_") and not seen.is_directory}
            if signal is None:
                return [], list(parts.values())
            if signal.problem:
                return [Found(signal, problem=f"{signal.path} {signal.problem}.")], list(parts.values())
            said = _read_signal(directory, GROUP_SIGNAL, signal, ignore)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return [], []
    if said is None or said.problem:
        return [said] if said else [], list(parts.values())
    said = replace(said, changed_ns=changed_ns, left_out=left_out)
    unnamed = sorted(parts.keys() - set(said.manifest.files)) if said.manifest.files else []
    if unnamed:
        return [replace(said, problem=f"its manifest does not name {shown(unnamed[0])}, which is there.")], []
    if not parts and not said.manifest.files:
        return [replace(said, missing=(f"{name}/*",))], []
    return [_with_exports(said, list(said.manifest.files or parts), parts, f"{name}/")], list(parts.values())


def _with_exports(said: Found, names: list[str], entries: Mapping[str, Seen], prefix: str = "") -> Found:
    exports = tuple(entries[name] for name in names if name in entries)
    bad = next((f"{shown(export.path)} {export.problem}: refused." for export in exports if export.problem), None)
    missing = tuple(prefix + name for name in names if name not in entries)
    return replace(said, exports=() if bad else exports, missing=missing, problem=bad)


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
        content = os.read(descriptor, MAX_MANIFEST_BYTES + 1)
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
    """The same drops; but if several signals stand for one export, each of these drops fails."""
    signals: dict[str, list[str]] = {}
    for each in found:
        for export in each.exports:
            signals.setdefault(export.path, []).append(each.signal.path)
    for each in found:
        shared = next((export.path for export in each.exports if len(signals[export.path]) > 1), None)
        if shared is None:
            yield each
        else:
            named = " and ".join(map(shown, signals[shared]))
            yield replace(each, exports=(), problem=f"{shown(shared)} has several signals: {named}. Leave one of them.")
