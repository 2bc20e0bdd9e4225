"""The gathered rows of a job: one row of each id, slice by slice, from any number of rows on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.keyed_rows import Digested, KeyedRows, one_of_each_id
from pipeline.core.memory.texts import TextList
from pipeline.core.model import Flags, Offsets
from pipeline.edges.durable import disk_errors
from pipeline.edges.process.heap import give_back
from pipeline.edges.store.job_rows.gathered_run import RECORD, GatheredRun
from pipeline.edges.store.memory.sorted_file import PARTITIONS, DamagedFileError
from pipeline.jobs.gathering.runs import open_run

#: Rows that are placed at once, of a slice that may hold many more.
_AT_ONCE = 16_384
#: Rows that take so much memory that it is given back when they are placed.
_MANY_ROWS = 100_000


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

    `max_row_bytes`: the most that a row of a batch may take. `digested`: as for `write_run`.
    """

    def __init__(self, directory: Path, gathered: Gathered, max_row_bytes: int, digested: Digested) -> None:
        self._directory = directory
        self._max_row_bytes = max_row_bytes
        self._digested = digested
        self._pieces = self._read_all(gathered.runs, gathered.done)

    def read(self) -> Piece | None:
        """The next rows; None at the end. Raises `FatalError` (74) if the runs are not what was written.

        So does what reads the texts of a piece then.
        """
        with _reading(self._directory):
            return next(self._pieces, None)

    def _read_all(self, runs: Sequence[Run], done: int) -> Iterator[Piece]:
        files = [open_run(self._directory, number, run) for number, run in enumerate(runs)]
        rows = sum((file.rows for file in files), np.zeros(PARTITIONS, dtype=np.int64))
        for first, stop in _together(rows.tolist()):
            count = int(rows[first:stop].sum())
            if count <= done:
                done -= count
                continue
            rows_of_all = _rows_of(files, first, stop, self._directory)
            merged = one_of_each_id(rows_of_all, self._max_row_bytes, self._digested)
            del rows_of_all
            begin = _take_up(merged.records, done)
            done = 0
            for start in range(begin, len(merged.rows), _AT_ONCE):
                some = slice(start, start + _AT_ONCE)
                yield Piece(merged.rows.between(some), merged.records[some])
            # Texts that were read must not stand beside those of the next partitions.
            del merged
            if count >= _MANY_ROWS:
                give_back()


def _take_up(records: Offsets, done: int) -> int:
    """The index of the first row of which any of its gathered rows is still to be placed; `done` of all of them are.

    Of that row's records only those that are left stay. Some may be done where rows merge now that did not before,
    since [batch] max_bytes was raised meanwhile.
    """
    totals = np.cumsum(records)
    first = int(np.searchsorted(totals, done, side="right"))
    records[first] = totals[first] - done
    return first


def _together(rows: list[int]) -> Iterator[tuple[int, int]]:
    """The partitions that are read together, as their first and stop: few rows are asked for as often as one row is.

    `rows`: those of each partition.
    """
    first = together = 0
    for partition, count in enumerate(rows):
        if together and together + count > _AT_ONCE:
            yield first, partition
            first, together = partition, 0
        together += count
    yield first, len(rows)


@contextmanager
def _reading(directory: Path) -> Iterator[None]:
    """Raise `FatalError` (74) where the body cannot read a run, or finds it damaged."""
    try:
        with disk_errors(f"cannot read the rows gathered in {directory}"):
            try:
                yield
            except FileNotFoundError as error:
                raise DamagedFileError(f"{Path(error.filename).name} is missing") from error
    except DamagedFileError as error:
        raise FatalError(
            f"{error}, in {directory}: give the job up with `abandon`, and load its export again.",
            exit_code=ExitCode.DISK_OR_LEDGER,
        ) from error


def _rows_of(files: Sequence[GatheredRun], first: int, stop: int, directory: Path) -> KeyedRows:
    """The rows of some partitions; nothing of their texts is read before it is asked for."""
    counts = [int(file.rows[first:stop].sum()) for file in files]
    records, begin = np.empty(sum(counts), dtype=RECORD), 0
    for file, count in zip(files, counts, strict=True):
        file.read_records(first, stop, records[begin : begin + count].view(np.uint8).data)
        begin += count
    ends = np.cumsum(records["sizes"], dtype=np.int64)
    hashes = np.ascontiguousarray(records["hashes"])
    order = np.argsort(hashes, kind="stable")
    sizes, ends, records = records["sizes"][order], ends[order], records[order]
    return KeyedRows(
        _Texts.of(files, first, stop, directory),
        ends - sizes,
        ends,
        records["id_lengths"].astype(np.int64),
        np.ascontiguousarray(records["lines"]),
        hashes[order],
        np.ascontiguousarray(records["digests"]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """The texts of some partitions of several runs, run by run; those of a run are read when one of them is asked for.

    `begins`: where those of each run begin, and the end of the last. `is_there`: set for each run that was read.
    """

    files: Sequence[GatheredRun]
    first: int
    stop: int
    directory: Path
    begins: Offsets
    buffer: memoryview
    is_there: Flags

    @classmethod
    def of(cls, files: Sequence[GatheredRun], first: int, stop: int, directory: Path) -> Self:
        """Those of the partitions from `first` to `stop`; nothing is read yet."""
        begins = np.append(0, np.cumsum([int(file.text_bytes[first:stop].sum()) for file in files]))
        # Memory that nothing was written to takes none.
        buffer = np.empty(int(begins[-1]), dtype=np.uint8).data
        return cls(files, first, stop, directory, begins, buffer, np.zeros(len(files), dtype=np.bool_))

    @property
    def size_bytes(self) -> int:
        """The bytes of all of them."""
        return len(self.buffer)

    def with_rows(self, starts: Offsets) -> TextList:
        """The texts, in which those of all runs are there of which a row begins at one of these offsets."""
        wanted = np.zeros(len(self.files), dtype=np.bool_)
        wanted[np.searchsorted(self.begins, starts, side="right") - 1] = True
        for number in np.flatnonzero(wanted & ~self.is_there).tolist():
            of_run = self.buffer[int(self.begins[number]) : int(self.begins[number + 1])]
            with _reading(self.directory):
                self.files[number].read_texts(self.first, self.stop, of_run)
            self.is_there[number] = True
        return TextList.of([self.buffer])
