"""A file system of which only that is kept for sure what was flushed: what a loss of power may leave of a directory.

A file's content is durable when the file was flushed, a name (new, renamed, removed) when its directory was. What was
not flushed may be there or not, in any order: of a file any of its sectors, older or newer, and any length that it had.
A rename is there as a whole or not at all, as on every file system with a journal. `is_ordered`: names change on the
disk in the order of the calls, and a flush of anything is one of all names so far, as on ext4 and XFS.

Flags and modes are not modelled, and no file that is written only through a mapping.
"""

import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from tests.tools.faults.file_log import Call

#: Bytes that a disk writes whole or not at all.
_SECTOR_BYTES = 512
#: SQLite writes its index through a mapping, and makes it anew after a crash.
_MAPPED = "-shm"


@dataclass(slots=True, eq=False)
class File:
    """A file. `changes`: what was done since it was flushed: where, and which bytes; None: its new length."""

    content: bytearray
    durable: bytes = b""
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)
    #: The file of which this is one, unless it was changed.
    origin: Path | None = None

    def change(self, at: int, data: bytes | None) -> None:
        """Write bytes at a place, or cut the file there."""
        self.changes.append((at, data))
        _apply(self.content, at, data)
        self.origin = None

    def flush(self) -> None:
        """All of it is durable."""
        if self.changes:
            self.durable, self.changes = bytes(self.content), []

    def left(self, draw: random.Random | None) -> bytes:
        """What a loss of power leaves, by a draw or the least."""
        if draw is None or not self.changes:
            return self.durable
        kind = draw.choice(("nothing", "all", "first", "sectors", "sectors"))
        if kind == "nothing":
            return self.durable
        if kind == "all":
            return bytes(self.content)
        versions = [self.durable]
        last = bytearray(self.durable)
        for at, data in self.changes:
            _apply(last, at, data)
            versions.append(bytes(last))
        if kind == "first":
            return draw.choice(versions)
        length = len(draw.choice(versions))
        sectors = (draw.choice(versions)[at : at + _SECTOR_BYTES] for at in range(0, length, _SECTOR_BYTES))
        return b"".join(each.ljust(_SECTOR_BYTES, b"\0") for each in sectors)[:length]


@dataclass(slots=True, eq=False)
class Directory:
    """A directory: what is in it, and what of that is durable, with the number of the operation that made it so."""

    entries: dict[str, "Node"] = field(default_factory=dict)
    durable: dict[str, tuple[int, "Node | None"]] = field(default_factory=dict)


Node = Union[File, Directory]  # noqa: UP007 - a name in quotes


@dataclass(slots=True)
class _Change:
    """Names that change as one: directory, name, and what it stands for then."""

    number: int
    names: list[tuple[Directory, str, "Node | None"]]

    def make_durable(self) -> None:
        for directory, name, node in self.names:
            if directory.durable.get(name, (-1, None))[0] < self.number:
                directory.durable[name] = self.number, node


@dataclass(slots=True)
class _Open:
    """An open file and where its next write goes."""

    node: Node
    at: int = 0
    appends: bool = False


class Disk:
    """The directory `root` with what calls do to it; `begin` takes up what is there, all of it durable.

    `put`: puts a file that nothing has changed back: from where, to where.
    """

    def __init__(self, root: Path, *, is_ordered: bool, put: Callable[[Path, Path], object]) -> None:
        self._put = put
        self._root = root
        self._top = Directory()
        self._is_ordered = is_ordered
        self._open: dict[int, _Open] = {}
        self._changes: list[_Change] = []
        self._made = 0

    def begin(self, kept: Path) -> None:
        """Take up the files of `kept`, a copy of the root."""
        self._top = _taken_up(kept)

    def start_process(self) -> None:
        """Another process begins: nothing is open."""
        self._open.clear()

    def do(self, call: Call) -> None:
        """Do what a call did."""
        name = call.name
        if name in ("open", "openat", "creat"):
            self._do_open(call)
        elif name == "close":
            self._open.pop(call.number(0), None)
        elif name in ("dup", "dup2", "dup3"):
            if (known := self._open.get(call.number(0))) is not None:
                self._open[call.result] = known
        elif name == "lseek":
            if (known := self._open.get(call.number(0))) is not None:
                known.at = call.result
        elif name in ("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "writev"):
            if (known := self._open.get(call.number(0))) is not None:
                self._do_to_file(call, known)
        else:
            self._do_to_names(call)

    def _do_open(self, call: Call) -> None:
        place = int(call.name == "openat")
        flags = "O_CREAT|O_TRUNC|O_WRONLY" if call.name == "creat" else str(call.arguments[place + 1])
        found = self._look(call, place - 1 if place else None, place)
        if found is None:
            return
        directory, name = found
        node = directory if not name else directory.entries.get(name)
        if node is None:
            if "O_CREAT" not in flags:
                # Another thread is seen to make it a moment later.
                return
            node = File(bytearray())
            self._change((directory, name, node))
        if isinstance(node, File) and "O_TRUNC" in flags and node.content:
            node.change(0, None)
        self._open[call.result] = _Open(node, appends="O_APPEND" in flags)

    def _do_to_file(self, call: Call, known: _Open) -> None:
        node = known.node
        if call.name in ("fsync", "fdatasync"):
            self._flush(node)
            return
        assert isinstance(node, File)
        assert call.name != "writev", "writev is not modelled"
        if call.name == "ftruncate":
            if call.number(1) != len(node.content):
                node.change(call.number(1), None)
            return
        data = call.arguments[1]
        assert isinstance(data, bytes)
        data = data[: call.result]
        if call.name == "pwrite64":
            node.change(call.number(3), data)
            return
        at = len(node.content) if known.appends else known.at
        node.change(at, data)
        known.at = at + len(data)

    def _do_to_names(self, call: Call) -> None:
        is_at = call.name.endswith(("at", "at2")) and call.name != "truncate"
        found = self._look(call, 0 if is_at else None, int(is_at))
        if call.name == "truncate":
            if found is not None and isinstance(node := found[0].entries.get(found[1]), File):
                node.change(call.number(1), None)
            return
        if call.name.startswith(("rename", "link")):
            to = self._look(call, 2 if is_at else None, 3 if is_at else 1)
            if found is None and to is None:
                return
            assert found is not None and to is not None, f"it comes from elsewhere: {call}"
            node = found[0].entries[found[1]]
            moved = [(*found, None)] if call.name.startswith("rename") else []
            self._change(*moved, (*to, node))
        elif found is not None:
            self._change((*found, Directory() if call.name.startswith("mkdir") else None))

    def _look(self, call: Call, descriptor: int | None, place: int) -> tuple[Directory, str] | None:
        """The directory and the name in it of a path; None for one that is elsewhere. No name: the directory."""
        path = call.path(place)
        start = self._top
        if not path.startswith("/") and descriptor is not None and call.arguments[descriptor] != "AT_FDCWD":
            known = self._open.get(call.number(descriptor))
            if known is None or not isinstance(known.node, Directory):
                return None
            start = known.node
            parts = path.split("/")
        elif path == str(self._root):
            return self._top, ""
        elif path.startswith(f"{self._root}/"):
            parts = path.removeprefix(f"{self._root}/").split("/")
        else:
            return None
        for part in parts[:-1]:
            node = start.entries[part] if part else start
            assert isinstance(node, Directory), path
            start = node
        return start, "" if parts[-1] == "." else parts[-1]

    def _change(self, *names: tuple[Directory, str, Node | None]) -> None:
        self._made += 1
        self._changes.append(_Change(self._made, list(names)))
        for directory, name, node in names:
            if node is None:
                directory.entries.pop(name, None)
            else:
                directory.entries[name] = node

    def _flush(self, node: Node) -> None:
        if isinstance(node, File):
            node.flush()
        kept = []
        for change in self._changes:
            if self._is_ordered or any(directory is node for directory, _, _ in change.names):
                change.make_durable()
            else:
                kept.append(change)
        self._changes = kept

    def lose_power(self, draw: random.Random | None) -> None:
        """Leave in the root what the disk may hold now, by a draw or the least; this model is of no use any more."""
        likely = draw.choice((0.0, 0.5, 0.5, 1.0)) if draw else 0.0
        for change in self._changes:
            if draw and draw.random() < likely:
                change.make_durable()
            elif self._is_ordered:
                break
        for each in self._root.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        self._write_out(self._top, self._root, draw)

    def _write_out(self, directory: Directory, path: Path, draw: random.Random | None) -> None:
        for name, (_, node) in sorted(directory.durable.items()):
            if isinstance(node, Directory):
                (path / name).mkdir(mode=0o700)
                self._write_out(node, path / name, draw)
            elif node is not None and node.origin is not None:
                self._put(node.origin, path / name)
            elif node is not None and not name.endswith(_MAPPED):
                (path / name).write_bytes(node.left(draw))
                (path / name).chmod(0o600)


def _taken_up(kept: Path) -> Directory:
    directory = Directory()
    for path in kept.iterdir():
        if path.is_dir():
            node: Node = _taken_up(path)
        else:
            content = path.read_bytes()
            node = File(bytearray(content), content, origin=path)
        directory.entries[path.name] = node
        directory.durable[path.name] = 0, node
    return directory


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        content[at:] = bytes(max(0, at - len(content)))
        return
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def replay(disk: Disk, logs: Iterable[list[Call]], until: float) -> int:
    """Do all that these processes, one after the other, had done or begun by then; and return how many calls."""
    done = 0
    for calls in logs:
        disk.start_process()
        under_way = []
        for call in calls:
            if call.ended <= until:
                disk.do(call)
                done += 1
            elif call.began <= until and not call.name.startswith(("f", "open", "close")):
                # Its effect is there, and it is not known to anybody yet.
                under_way.append(call)
        for call in under_way:
            disk.do(call)
    return done
