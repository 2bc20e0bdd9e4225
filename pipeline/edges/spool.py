"""The spool: the bodies of sealed batches, one file each, so that every attempt sends the same bytes.

`NUMBER.body` is what is posted, `batch=` and header row included. `NUMBER.lines` tells for each of its rows in order
the line of the export it came from (int64, little endian). Both are durable before the batch counts as sealed.
All methods block: call them from a worker thread.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch, BatchContent
from pipeline.edges.durable import disk_error, free_bytes, make_directory, write_durably


class Spool:
    """The spool of one job, made where it is not there yet.

    `min_free_bytes` must stay free on its file system; below that nothing more is written.
    """

    def __init__(self, directory: Path, *, min_free_bytes: int) -> None:
        make_directory(directory)
        self._directory = directory
        self._min_free_bytes = min_free_bytes

    def body(self, number: int) -> Path:
        """The file to post for a batch."""
        return self._directory / f"{number:06d}.body"

    def write(self, number: int, content: BatchContent) -> Batch:
        """Seal a batch. Raises `FatalError` (74) where there is no room, and leaves nothing of it then."""
        free = free_bytes(self._directory)
        if free - content.size_bytes < self._min_free_bytes:
            raise FatalError(
                f"{self._directory} has {free:,} bytes free, and [state] min_free_bytes = {self._min_free_bytes:,} "
                f"must stay free beside the next batch of {content.size_bytes:,}: make room and run again.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            )
        digest = hashlib.sha256()
        write_durably(self._lines(number), [content.lines.astype("<i8").tobytes()])
        write_durably(self.body(number), _through(content.pieces, digest.update))
        return Batch(number, content.rows, content.size_bytes, digest.hexdigest())

    def find_rows(self, number: int, profile_ids: set[bytes]) -> dict[bytes, bytes]:
        """The encoded rows (line feed included) of those encoded ids that the batch holds."""
        return {profile_id: row for _, profile_id, row in self._rows(number) if profile_id in profile_ids}

    def find_lines(self, number: int, profile_ids: set[bytes]) -> dict[bytes, int]:
        """The lines of the export that those encoded ids came from, as far as the batch holds them."""
        lines = np.fromfile(self._lines(number), dtype="<i8")
        return {
            profile_id: int(lines[index]) for index, profile_id, _ in self._rows(number) if profile_id in profile_ids
        }

    def remove(self, number: int) -> None:
        """Forget a batch that nothing will ask for again."""
        self.body(number).unlink(missing_ok=True)
        self._lines(number).unlink(missing_ok=True)

    def remove_if_empty(self) -> None:
        """Remove the directory if no batch is left in it."""
        if not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _lines(self, number: int) -> Path:
        return self._directory / f"{number:06d}.lines"

    def _rows(self, number: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, encoded id and row of each row of a batch."""
        try:
            with self.body(number).open("rb", buffering=1 << 20) as body:
                next(body)
                for index, row in enumerate(body):
                    yield index, row.partition(b",")[0], row
        except OSError as error:
            raise disk_error(error, f"cannot read the batch {self.body(number)}") from error


def _through(
    pieces: list[bytes | memoryview], look: Callable[[bytes | memoryview], None]
) -> Iterator[bytes | memoryview]:
    """The pieces, each shown to `look` as it passes."""
    for piece in pieces:
        look(piece)
        yield piece
