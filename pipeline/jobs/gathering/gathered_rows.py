"""The gathered rows of a job: one row of each id, slice by slice, from any number of rows on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.keyed_rows import Digested, KeyedRows, one_of_each_id
from pipeline.core.model import Offsets, Rows
from pipeline.edges.durable import disk_errors
from pipeline.edges.store.memory.sorted_file import PARTITIONS, DamagedFileError, FileFacts, SortedFile
from pipeline.jobs.gathering.runs import run_file

#: Rows that are placed at once, of a slice that may hold many more.
_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows to be placed: one of each id, or several where they may not be merged.

    `rows`: n rows, sorted by hash.
    `records`: (n,), the number of gathered rows that each of them stands for.
    """

    rows: KeyedRows
    records: Offsets

    def records_of(self, first: int, stop: int) -> int:
        """The number of gathered rows for which the rows from `first` to `stop` stand."""
        return int(self.records[first:stop].sum())


class GatheredRows:
    """Reads what `gather` wrote, behind the first `done` rows of it. Call `read` until it returns None; it blocks.

    `max_row_bytes`: the most that a row of a batch may take. `digested`: the digests that the rows are to have, if any.
    """

    def __init__(
        self, directory: Path, gathered: Gathered, max_row_bytes: int, digested: Digested | None = None
    ) -> None:
        self._directory = directory
        self._max_row_bytes = max_row_bytes
        self._digested = digested
        self._pieces = self._read_all(gathered.runs, gathered.done)

    def read(self) -> Piece | None:
        """The next rows; None at the end. Raises `FatalError` (74) if the runs are not what was written."""
        try:
            with disk_errors(f"cannot read the rows gathered in {self._directory}"):
                try:
                    return next(self._pieces, None)
                except FileNotFoundError as error:
                    raise DamagedFileError(f"{Path(error.filename).name} is missing") from error
        except DamagedFileError as error:
            raise FatalError(
                f"{error}, in {self._directory}: give the job up with `abandon`, and load its export again.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from error

    def _read_all(self, runs: Sequence[Run], done: int) -> Iterator[Piece]:
        files = [
            SortedFile.open(run_file(self._directory, number), FileFacts(run.rows, run.size_bytes, run.checksum))
            for number, run in enumerate(runs)
        ]
        for partitions in _together(files):
            lists = list[Rows]()
            for partition in partitions:
                of_partition = [file for file in files if partition in file.partitions]
                count = sum(file.partitions[partition] for file in of_partition)
                if not lists and count <= done:
                    done -= count
                else:
                    lists += [_rows_of(file, partition) for file in of_partition]
            if not lists:
                continue
            merged = one_of_each_id(KeyedRows.of_lists(lists, self._digested), self._max_row_bytes, self._digested)
            first, done = int(np.searchsorted(np.cumsum(merged.records), done, side="right")), 0
            for start in range(first, len(merged.rows), _AT_ONCE):
                chosen = np.arange(start, min(start + _AT_ONCE, len(merged.rows)))
                yield Piece(merged.rows.chosen(chosen), merged.records[chosen])


def _together(files: Sequence[SortedFile]) -> Iterator[list[int]]:
    """The partitions that are read together, one after the other: few rows are asked for as often as one row is."""
    together, rows = list[int](), 0
    for partition in range(PARTITIONS):
        count = sum(file.partitions.get(partition, 0) for file in files)
        if rows and rows + count > _AT_ONCE:
            yield together
            together, rows = [], 0
        together.append(partition)
        rows += count
    yield together


def _rows_of(file: SortedFile, partition: int) -> Rows:
    """The rows of a slice of a run."""
    found = file.rows_of(partition)
    if found.ends is None:
        raise DamagedFileError(f"{file.path.name} has no texts")
    lengths, lines = found.columns["id_lengths"].astype(np.int64), found.columns["lines"].astype(np.int64)
    return Rows(file.text_of(partition), found.ends, lengths, lines, found.keys)
