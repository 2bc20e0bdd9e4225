"""The spool: the bodies of sealed batches, so that every attempt sends the same bytes.

Files are named by `batch_id`:

`ID.body`: the body to POST, with `batch=` and the header row.
`ID.lines`: the line in the export of each row, in the order of the body (int64, little endian).
`ID.ids`: the sorted hashes of the ids (uint64), and behind them, in the same order, the offset of each row in the body
(uint32).

All are durable before the batch counts as sealed. What is read back is what was written: the size and the digest of
each file are in the ledger (`Batch`). The files of a batch are compared with them when this process first reads one of
them, and again when one has changed since. All methods block: call them from a worker thread.

Rows are erased from a released batch only. Its new files are `ID.body.new` and so on, until the ledger has their
digests (`begin_erasure`, `end_erasure`); after a crash between, the ledger says which of the two are right.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.core.batches.splitting import split
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchContent, Hashes, Offsets, Starts
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.durable import Version, disk_errors, free_bytes, make_directory, sync_directory, write_durably

_KINDS = ("body", "lines", "ids")
_NEW = ".new"
_ID_BYTES = 12
_LINE_BYTES = 8
#: The largest integer of SQLite, and so of a ledger.
_MAX_BATCH_ID = 2**63 - 1
#: Bytes read at once to find a row: `_ROW_BYTES`, as most rows are shorter. If there is a row to find in every
#: `_FEW_BYTES` on average, `_PIECE_BYTES`: such a piece has many of them.
_ROW_BYTES, _PIECE_BYTES = 512, 65_536
_FEW_BYTES = 4_096


class Spool:
    """The spool of a state directory; made if it does not exist.

    `min_free_bytes`: the bytes that must stay free on its file system; the spool writes nothing that would take them.
    """

    def __init__(self, directory: Path, *, min_free_bytes: int) -> None:
        make_directory(directory)
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        #: The batches of which the files are known, and the files that were found to be as written, as they were then.
        self._batches: dict[int, Batch] = {}
        self._found: dict[Path, Version] = {}

    def body(self, batch_id: int) -> Path:
        """The file to POST for a batch."""
        return self._file(batch_id, "body")

    def expect(self, batch: Batch) -> None:
        """Compare the files of this batch with what the ledger says of them, from now on."""
        self._batches[batch.batch_id] = batch

    def checked_body(self, batch_id: int) -> Version:
        """The version of a body that was found to be what was sealed.

        Raises `FatalError` (74) if it is not, or a file beside it is not: they say which rows it has.
        """
        with self._reading(batch_id):
            return Version.of(self._checked(batch_id, "body").stat())

    def write(
        self,
        batch_id: int,
        number: int,
        content: BatchContent,
        *,
        parent: int | None = None,
        when_written: Callable[[], None] = lambda: None,
    ) -> Batch:
        """Make the content of a batch durable, and release the memory of its pieces.

        `when_written`: called when the body is written and all pieces are released.

        Raises `FatalError` (74) if there is no room.
        """
        free = free_bytes(self._directory)
        # Line, hash and offset take 20 bytes for each row.
        if free - content.size_bytes - 20 * content.rows < self._min_free_bytes:
            raise FatalError(
                f"{self._directory} has {free:,} bytes free, and [state] min_free_bytes = {self._min_free_bytes:,} "
                f"must stay free beside the next batch of {content.size_bytes:,}: make room and run again.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            )
        try:
            batch = self._write_files(batch_id, number, content, parent, when_written)
        except FatalError:
            # This may fail for the same reason; the next start of the process removes the files.
            with suppress(FatalError):
                self.remove(batch_id)
            raise
        self.expect(batch)
        with self._reading(batch_id):
            self._found |= {file: Version.of(file.stat()) for file in self._files(batch_id)}
        return batch

    def _write_files(
        self,
        batch_id: int,
        number: int,
        content: BatchContent,
        parent: int | None,
        when_written: Callable[[], None] = lambda: None,
        suffix: str = "",
    ) -> Batch:
        of_body, of_lines, of_ids = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        lines = content.lines.astype("<i8", copy=False)
        body, of_rows, ids = (self._file(batch_id, f"{kind}{suffix}") for kind in _KINDS)
        write_durably(body, _taken_out(content.pieces, of_body.update, when_written))
        write_durably(of_rows, _shown([lines.data.cast("B")], of_lines.update))
        hashes, starts = content.hashes.astype("<u8", copy=False), content.starts.astype("<u4", copy=False)
        write_durably(ids, _shown([hashes.data.cast("B"), starts.data.cast("B")], of_ids.update))
        digests = (of_body.hexdigest(), parent, of_ids.hexdigest(), of_lines.hexdigest())
        return Batch(batch_id, number, content.rows, content.size_bytes, *digests)

    def begin_erasure(self, batch: Batch, profile_ids: Collection[bytes], salt: int) -> Batch | None:
        """Write the files of a batch anew, without the rows of these encoded ids; return what it is then.

        None if no row would be left: then `remove` it. Else the ledger must have the result before `end_erasure`.
        """
        wanted = [index for index, each, _ in self.rows(batch.batch_id) if each in profile_ids]
        if len(wanted) == batch.rows:
            return None
        taken = tuple(range(index, index + 1) for index in wanted)
        with self._reading(batch.batch_id):
            body = self._checked(batch.batch_id, "body").read_bytes()
        _, kept = split(body, self.lines(batch.batch_id), salt, taken)
        return self._write_files(batch.batch_id, batch.number, kept, batch.parent, suffix=_NEW)

    def end_erasure(self, batch: Batch) -> None:
        """Put the new files of a batch in place of the old ones, as far as the ledger knows them; remove the others."""
        digests = zip(_KINDS, (batch.sha256, batch.lines_sha256, batch.ids_sha256), strict=True)
        with disk_errors(f"cannot erase rows in the spool {self._directory}"):
            for kind, digest in digests:
                new = self._file(batch.batch_id, f"{kind}{_NEW}")
                if new.exists() and _digest_of(new) == digest:
                    new.replace(self._file(batch.batch_id, kind))
                new.unlink(missing_ok=True)
            sync_directory(self._directory)
        self.expect(batch)

    def erasures(self) -> set[int]:
        """The ids of the batches with new files: a crash came between `begin_erasure` and `end_erasure`."""
        return {int(file.name.partition(".")[0]) for file in self._directory.glob(f"[0-9]*{_NEW}")}

    def hashes(self, batch_id: int) -> Hashes:
        """The sorted hashes of a batch's ids, mapped from the file."""
        return self._ids(batch_id)[0]

    def _ids(self, batch_id: int) -> tuple[Hashes, Starts]:
        """The sorted hashes of a batch's ids, and the offset of each row in the body; both mapped from the file."""
        with self._reading(batch_id):
            octets = np.memmap(self._checked(batch_id, "ids"), dtype=np.uint8, mode="r")
            rows, rest = divmod(len(octets), _ID_BYTES)
            if rest:
                raise ValueError(f"{len(octets)} bytes are no whole number of ids")
            return octets[: 8 * rows].view("<u8"), octets[8 * rows :].view("<u4")

    def rows_by_key(self, batch_id: int) -> tuple[int, Hashes, Starts]:
        """The bytes of a batch's body, the sorted hashes of its ids, and the offset of the row of each in the body."""
        with self._reading(batch_id):
            size_bytes = self._checked(batch_id, "body").stat().st_size
        hashes, starts = self._ids(batch_id)
        return size_bytes, np.array(hashes), np.array(starts)

    def read_body(self, batch_id: int, begin: int, end: int) -> bytes:
        """The bytes of a batch's body from an offset to another."""
        with self._open_body(batch_id) as body:
            return os.pread(body.fileno(), end - begin, begin)

    def lines(self, batch_id: int) -> Offsets:
        """The lines of the export from which the rows of a batch came."""
        with self._reading(batch_id):
            return np.fromfile(self._checked(batch_id, "lines"), dtype="<i8")

    def split(self, batch_id: int, salt: int, taken: range | tuple[range, ...]) -> tuple[BatchContent, BatchContent]:
        """The contents of the two batches into which a refused batch is split: its rows `taken`, and the rest."""
        with self._reading(batch_id):
            body = self._checked(batch_id, "body").read_bytes()
        return split(body, self.lines(batch_id), salt, taken)

    def parameters(self, batch_id: int) -> tuple[str, ...]:
        """The parameter names in the header row of a batch."""
        with self._open_body(batch_id) as body:
            return tuple(next(body).decode().rstrip("\n").split(",")[1:])

    def find_rows(self, batch_id: int, profile_ids: set[bytes], salt: int) -> dict[bytes, bytes]:
        """The encoded rows, with line feed, of those encoded ids that the batch holds. `salt`: of the ids' hashes."""
        ids = list(profile_ids)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        asked = hash_ids(b"".join(ids), np.cumsum(lengths) - lengths, lengths, salt)
        hashes, starts = self._ids(batch_id)
        places = np.minimum(np.searchsorted(hashes, asked), len(hashes) - 1)
        known = np.flatnonzero(hashes[places] == asked)
        begins = starts[places[known]]
        in_order = np.argsort(begins)
        found = {}
        with self._open_body(batch_id) as body:
            rows = _rows_at(body.fileno(), begins[in_order].tolist())
            for place, row in zip(known[in_order].tolist(), rows, strict=True):
                # A different id may have the same hash.
                if row.partition(b",")[0] == ids[place]:
                    found[ids[place]] = row
        return found

    def rows_by_hash(self, batch_id: int, asked: Hashes) -> Iterator[tuple[int, bytes]]:
        """The encoded rows, with line feed, of the ids with these hashes, each with its hash."""
        hashes, starts = self._ids(batch_id)
        places = np.flatnonzero(np.isin(hashes, asked))
        in_order = places[np.argsort(starts[places])]
        with self._open_body(batch_id) as body:
            rows = _rows_at(body.fileno(), starts[in_order].tolist())
            yield from zip(hashes[in_order].tolist(), rows, strict=True)

    def find_lines(self, batch_id: int, profile_ids: set[bytes]) -> dict[bytes, int]:
        """The lines of the export from which these encoded ids came, as far as the batch holds them."""
        lines = self.lines(batch_id)
        return {
            profile_id: int(lines[index]) for index, profile_id, _ in self.rows(batch_id) if profile_id in profile_ids
        }

    def rows(self, batch_id: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, encoded id and encoded row of each row of a batch."""
        with self._open_body(batch_id, buffering=1 << 20) as body:
            next(body)
            for index, row in enumerate(body):
                yield index, row.partition(b",")[0], row

    def remove(self, batch_id: int) -> None:
        """Remove a batch that nothing will need again."""
        self._batches.pop(batch_id, None)
        for file in self._files(batch_id):
            self._found.pop(file, None)
            with disk_errors(f"cannot remove batch {batch_id} from the spool {self._directory}"):
                file.unlink(missing_ok=True)

    def batch_ids(self) -> set[int]:
        """The ids of the batches that have any file here."""
        names = (file.name.partition(".") for file in self._directory.glob("[0-9]*.*"))
        found = {int(stem) for stem, _, kind in names if stem.isdecimal() and kind in _KINDS}
        # No ledger has a number above; such a file is somebody else's.
        return {batch_id for batch_id in found if batch_id <= _MAX_BATCH_ID}

    def sweep(self, keep: Callable[[int], bool]) -> None:
        """Remove the remains of a crash: unfinished files, and batches for which `keep` is False."""
        for file in self._directory.glob(".*.tmp"):
            file.unlink()
        for batch_id in self.batch_ids():
            if not keep(batch_id):
                self.remove(batch_id)

    def _file(self, batch_id: int, kind: str) -> Path:
        return self._directory / f"{batch_id:08d}.{kind}"

    def _files(self, batch_id: int) -> list[Path]:
        return [self._file(batch_id, kind) for kind in _KINDS]

    def _checked(self, batch_id: int, kind: str) -> Path:
        """A file of a batch. Raises `ValueError` if any of its files is not what was written: they belong together."""
        batch = self._batches.get(batch_id)
        if batch is not None:
            self._check(self._file(batch_id, "body"), batch.size_bytes, batch.sha256)
            self._check(self._file(batch_id, "ids"), _ID_BYTES * batch.rows, batch.ids_sha256)
            self._check(self._file(batch_id, "lines"), _LINE_BYTES * batch.rows, batch.lines_sha256)
        return self._file(batch_id, kind)

    def _check(self, file: Path, size_bytes: int, digest: str) -> None:
        try:
            found = Version.of(file.stat())
        except FileNotFoundError:
            raise ValueError(f"{file.name} is missing") from None
        if found == self._found.get(file):
            return
        if found.size_bytes != size_bytes:
            raise ValueError(f"{file.name} has {found.size_bytes:,} bytes and was written with {size_bytes:,}")
        # An earlier version noted the digest of the body only.
        if digest and _digest_of(file) != digest:
            raise ValueError(f"{file.name} is not what was written: it was altered, or the disk is failing")
        self._found[file] = found

    @contextmanager
    def _open_body(self, batch_id: int, *, buffering: int = -1) -> Iterator[BinaryIO]:
        with self._reading(batch_id), self._checked(batch_id, "body").open("rb", buffering=buffering) as body:
            yield body

    @contextmanager
    def _reading(self, batch_id: int) -> Iterator[None]:
        """Raise `FatalError` (74) where the body cannot read a file of the batch, or finds it damaged."""
        try:
            with disk_errors(f"cannot read batch {batch_id} in the spool {self._directory}"):
                yield
        except ValueError as error:
            raise FatalError(
                f"batch {batch_id} in the spool {self._directory} is damaged ({error}). Nothing is sent of it. "
                "Restore the whole state directory from a backup; without one, see docs/service.md, under Backup.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from error


def _rows_at(descriptor: int, starts: list[int]) -> Iterator[bytes]:
    """The rows that begin at these offsets of a body, which ascend, with their line feeds."""
    is_crowded = len(starts) > 1 and len(starts) * _FEW_BYTES > starts[-1] - starts[0]
    least = _PIECE_BYTES if is_crowded else _ROW_BYTES
    text, text_at = b"", 0
    for start in starts:
        place, size = start - text_at, least
        end = text.find(b"\n", place) + 1
        while not end:
            text, text_at, place = os.pread(descriptor, size, start), start, 0
            end = text.find(b"\n") + 1
            if len(text) < size:
                break
            size *= 8
        yield text[place:end]


def _digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _shown(pieces: list[memoryview], look: Callable[[memoryview], None]) -> Iterator[memoryview]:
    """The pieces in order; each is shown to `look`."""
    for piece in pieces:
        look(piece)
        yield piece


def _taken_out(
    pieces: list[bytes | memoryview], look: Callable[[bytes | memoryview], None], when_written: Callable[[], None]
) -> Iterator[bytes | memoryview]:
    """The pieces in order; each is shown to `look` and released: the next batch needs its memory."""
    pieces.reverse()
    while pieces:
        look(pieces[-1])
        yield pieces.pop()
    when_written()
