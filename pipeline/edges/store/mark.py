"""The mark: a small file in the spool that says which ledger belongs to it, and how far that ledger had come.

Each transaction of a ledger has a number. It stands in the ledger, written in that transaction, and then in the mark,
written when the transaction is on the disk and before anything follows from it. So a ledger may be ahead of its mark by
the transaction that a crash came behind, and is never behind it: one that is has been replaced by an older one, or has
lost the end of its write-ahead log, which SQLite ends without a word at the first bit that is wrong.

The mark is written in place: 60 bytes, in one block of the disk. It survives the end of the process always, and a loss
of power where it was written durably, as each seal does.

Format: a line of text with the ledger's identity, the number, and the CRC-32 of both.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.durable import disk_errors, make_directory, read_file, write_durably

#: What to do about a ledger and a spool that do not belong together. Nothing was changed yet.
APART = (
    "Nothing was changed. Put back the ledger that belongs to this spool (ledger.db and, if there is one, "
    "ledger.db-wal), or restore the whole state directory, its spool with it, from one backup. How to begin anew "
    "without either is in docs/service.md, under Backup."
)


#: Bytes; a mark has some fifty, and one that is longer is damaged.
_MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Mark:
    """A ledger, by its identity, and the number of its latest transaction that anything may have followed from."""

    ledger: str
    number: int

    def as_bytes(self) -> bytes:
        """The content of the file; its length is always the same."""
        text = f"{self.ledger} {self.number:020d}"
        return f"{text} {crc32(text.encode()):08x}\n".encode()


def identity_of(salt: str) -> str:
    """The identity of a ledger. It is worked out of its salt, which is random, and does not tell the salt."""
    return sha256(f"ledger {salt}".encode()).hexdigest()[:16]


def mark_of(ledger: Path) -> Path:
    """The file of the mark of the ledger in this file."""
    return ledger.parent / "spool" / "mark"


def read_mark(path: Path) -> Mark | None:
    """The mark in this file; None if there is no file. Raises `FatalError` (74) if it is damaged."""
    with disk_errors(f"cannot read {path}"):
        try:
            content = read_file(path, max_bytes=_MAX_BYTES)
        except FileNotFoundError:
            return None
    ledger, _, rest = content.decode(errors="replace").partition(" ")
    number = rest.partition(" ")[0]
    found = Mark(ledger, int(number) if number.isascii() and number.isdecimal() else 0)
    if found.as_bytes() != content:
        raise FatalError(
            f"{path} is damaged: it is to say which ledger belongs to this spool. {APART}",
            exit_code=ExitCode.DISK_OR_LEDGER,
        )
    return found


class MarkFile:
    """The mark of a ledger, for the process that writes it; made if there is none yet."""

    def __init__(self, path: Path, mark: Mark) -> None:
        self._path = path
        self._ledger = mark.ledger
        if read_mark(path) is None:
            make_directory(path.parent)
            write_durably(path, [mark.as_bytes()])
        #: The latest number that it was to have, while the disk did not take it.
        self._missed: int | None = None
        with disk_errors(f"cannot open {path}"):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def note(self, number: int, *, is_durable: bool) -> None:
        """Write the number of a transaction that is on the disk. `is_durable`: over a loss of power too.

        Where the disk refuses, that is not said of this transaction, which has happened: see `catch_up`.
        """
        try:
            self._write(number, is_durable=is_durable)
        except OSError:
            self._missed = number
        else:
            self._missed = None

    def catch_up(self) -> None:
        """Write what the disk did not take. Raises `FatalError` (74) if it still does not: nothing more may happen.

        A mark that is behind is no harm; it only says less of a ledger that loses its end.
        """
        if self._missed is None:
            return
        with disk_errors(f"cannot write {self._path}"):
            self._write(self._missed, is_durable=True)
        self._missed = None

    def _write(self, number: int, *, is_durable: bool) -> None:
        os.pwrite(self._descriptor, Mark(self._ledger, number).as_bytes(), 0)
        if is_durable:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
