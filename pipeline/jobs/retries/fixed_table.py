"""The table of rejected rows that somebody mended, and the export that is made of it. All of it blocks.

The export, `mended.csv`, has the columns of the table but those for people, without the apostrophes that keep
spreadsheets from running a cell, in the order of the lines in the export that the rows come from: whoever mends them
may have sorted them. A row that is as it was is written with as many cells as it had, since spreadsheets add empty ones
at its end: so it is judged as it was, and rejected again. Memory is bounded by some 100 bytes for each row.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core.batches.parts import Part, Places
from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BOM, BrokenLine, Framer, Record
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Offsets
from pipeline.core.rows.reject_table import FILE, FOR_PEOPLE, LINE, Written, table_line, unguarded
from pipeline.edges.durable import disk_errors, write_durably
from pipeline.edges.store.job_folder import JobFolder
from pipeline.jobs.retries.later_rows import NO_LINE
from pipeline.jobs.retries.rejected_rows import RejectedRows, Unfit, UnfitRows, bare

#: Delimiters that spreadsheets of some country write.
_DELIMITERS = (b",", b";", b"\t", b"|")
_BLOCK_BYTES = 262_144
#: Digits that no line has: it fits into 64 bits.
_MAX_DIGITS = 18


class Row(NamedTuple):
    """A row of a table. `at`: its line there. `line`: the one in the export that it names, or `NO_LINE`.

    `is_cut`: false if it cannot be cut into cells; then it is one.
    """

    at: int
    line: int
    cells: list[str]
    is_cut: bool = True


class MendedRows:
    """The rows of a mended table, in a file; `origins`: the line of each in the export it comes from.

    `unmended`: the number of rows that are as they were.
    """

    def __init__(self, columns: Sequence[str], path: Path) -> None:
        self._header = table_line(columns, b",")
        self._path = path
        self._starts, self._ends = array("q"), array("q")
        self._origins = array("q")
        self.unmended = 0

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._starts)

    @property
    def origins(self) -> Offsets:
        """The line of each row in the export that it comes from, in the order of the table."""
        return np.frombuffer(self._origins, dtype=np.int64)

    def take(self, rows: Iterator[tuple[int, list[str], bool]]) -> None:
        """Write rows to the file: the line of each, its cells, and if it is as it was."""
        end = 0
        with disk_errors(f"cannot write {self._path}"), self._path.open("wb") as file:
            self._path.chmod(0o600)
            for line, cells, is_as_it_was in rows:
                text = table_line(cells, b",")
                file.write(text)
                self._starts.append(end)
                end += len(text)
                self._ends.append(end)
                self._origins.append(line)
                self.unmended += is_as_it_was

    def write(self, folder: JobFolder, order: Offsets) -> Offsets:
        """Write these rows, in this order, to the export of a job; returns the line of each in it."""
        lines = array("q")

        def texts() -> Iterator[bytes]:
            line = 1 + self._header.count(b"\n")
            yield self._header
            with self._path.open("rb") as file:
                for row in order.tolist():
                    file.seek(self._starts[row])
                    text = file.read(self._ends[row] - self._starts[row])
                    lines.append(line)
                    line += text.count(b"\n")
                    yield text

        write_durably(folder.mended, texts())
        found = np.frombuffer(lines, dtype=np.int64) if lines else np.empty(0, dtype=np.int64)
        table = np.column_stack([found, self.origins[order]]) if lines else np.empty((0, 2), dtype=np.int64)
        write_durably(folder.mended_lines, [table.astype("<i8").tobytes()])
        return found

    def close(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The rows that a mended table may hold: the tables in which the job `job_id` and its retries rejected them.

    `tables`: of each the file, and how its export was written, the one that is asked for first.
    `parts`: of the export that the rows come from.
    """

    job_id: str
    tables: Sequence[tuple[Path, Written]]
    parts: Sequence[Part]

    def rows(self) -> RejectedRows:
        """The rows of all tables."""
        tables = [_Table(path, written, self.parts) for path, written in self.tables]
        return RejectedRows(((row.line, row.cells) for row in table.rows()) for table in tables)


def read_mended(given: Path, rejected: Rejected, into: Path, *, is_checked: bool) -> MendedRows:
    """The rows of the mended table `given`, written to the file `into`.

    `is_checked`: it was read before, when its job was entered.

    Raises `InputError` (65) for a file that is no such table, or has rows that are none of the rejected ones.
    """
    table = _Table(given, rejected.tables[0][1], rejected.parts)
    unfit, rows = UnfitRows(), rejected.rows()
    mended = MendedRows(table.columns, into)
    mended.take(_rows(table, rows, None if is_checked or not table.has_lines else unfit))
    unfit.refuse(rejected.job_id, has_parts=bool(rejected.parts))
    return mended


def _rows(table: "_Table", rejected: RejectedRows, unfit: UnfitRows | None) -> Iterator[tuple[int, list[str], bool]]:
    """The rows of a table, but for empty ones: line of origin, cells, and if it is as it was.

    Those that are none of the rejected rows are added to `unfit`, if that is asked.
    """
    width = len(table.columns)
    for at, line, cells, is_cut in table.rows():
        if not any(map(str.strip, cells)):
            continue
        if unfit is not None and (why := rejected.take(line) if is_cut else Unfit.BROKEN):
            unfit.add(why, at)
            continue
        count = rejected.cells_as_it_was(line, cells)
        if count is not None:
            yield line, _padded(bare(cells), count), True
        else:
            yield line, _padded(bare(cells), width) if len(cells) > width else cells, False


def _padded(cells: list[str], count: int) -> list[str]:
    return cells + [""] * (count - len(cells))


class _Table:
    """A table as `rejects.csv` is one, whatever spreadsheet has written it since; `columns`: without those for people.

    Raises `InputError` (65) for a file that is no such table.
    """

    def __init__(self, path: Path, written: Written, parts: Sequence[Part]) -> None:
        self._path = path
        self._before = {part.name: part.lines_before for part in parts}
        self._places = Places("", parts)
        with disk_errors(f"cannot read {path}"), path.open("rb") as file:
            head = file.read(2 * 1_048_576).removeprefix(BOM)
        self._delimiter, names = _header(head, written)
        places = [names.index(name) for name in FOR_PEOPLE if names.count(name) > written.columns.count(name)]
        self._line_place = next((place for place in places if names[place] == LINE), None)
        self._file_place = next((place for place in places if names[place] == FILE), None)
        self._of_export = [place for place in range(len(names)) if place not in places]
        self._for_people = frozenset(places)
        self.columns = tuple(names[place] for place in self._of_export)

    @property
    def has_lines(self) -> bool:
        """True if there is a column for the line that a row names."""
        return self._line_place is not None

    def rows(self) -> Iterator[Row]:
        """The rows below the header, with the cells of the export's columns."""
        is_header = True
        for record in self._records():
            if not is_utf8(record.raw):
                raise _not_utf8(record.line)
            if is_header:
                is_header = False
                continue
            if not isinstance(record, Record):
                yield Row(record.line, NO_LINE, [record.raw.decode()], is_cut=False)
                continue
            cells = [field.decode() for field in record.fields]
            own = [unguarded(cell) for place, cell in enumerate(cells) if place not in self._for_people]
            yield Row(record.line, self._line_of(cells), own)

    def _line_of(self, cells: list[str]) -> int:
        """The line that a row names, counted through all parts; `NO_LINE` if it names none."""
        named, file = _named(cells, self._line_place).strip(), unguarded(_named(cells, self._file_place))
        before = self._before.get(file) if self._before else 0
        if before is None or not named.isdecimal() or len(named) >= _MAX_DIGITS:
            return NO_LINE
        line = int(named) + before
        # A line behind the last of a part is one of the next part.
        return line if not self._before or self._places.of(line).file == file else NO_LINE

    def _records(self) -> Iterator[Record | BrokenLine]:
        framer = Framer(Dialect(self._delimiter))
        with disk_errors(f"cannot read {self._path}"), self._path.open("rb") as file:
            start = BOM
            while block := file.read(_BLOCK_BYTES):
                yield from framer.feed(block.removeprefix(start))
                start = b"\xff"
            yield from framer.finish()


def _named(cells: list[str], place: int | None) -> str:
    return cells[place] if place is not None and place < len(cells) else ""


def _not_utf8(line: int) -> InputError:
    return InputError(
        f'the file of the mended rows is not UTF-8, line {line:,}: save it as "CSV UTF-8". What spreadsheets call mere '
        "CSV is in the code page of a computer, and loses letters that are not in it.",
        line=line,
    )


def _header(head: bytes, written: Written) -> tuple[bytes, list[str]]:
    """The delimiter of a table, and the names of its columns."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError('the file of the mended rows is UTF-16: save it as "CSV UTF-8".')
    found: list[tuple[int, bytes, list[str]]] = []
    for delimiter in (written.table_delimiter, *_DELIMITERS):
        framer = Framer(Dialect(delimiter))
        first = next(iter([*framer.feed(head), *framer.finish()]), None)
        if isinstance(first, Record):
            names = [unguarded(name.decode(errors="surrogateescape")) for name in first.fields]
            found.append((len({*names} & {*written.columns}), delimiter, names))
    best = max(found, key=lambda each: each[0], default=(0, b"", []))
    if not best[0]:
        raise InputError(
            "the mended rows cannot be loaded: the first line of their file has none of the columns of the export that "
            "they were rejected from. Mend the rows in rejects.csv, and leave its header as it is."
        )
    return best[1], best[2]
