"""The rejected rows that a mended table may hold: those of its job, and of the retries that rejected them once more.

A row of the table counts as the mended one of the row whose line it names. One that names no such line, or a line that
another row has named, is refused before anything is sent: as old as a row it never was, it might go over newer ones.
Memory is bounded by some 100 bytes for each rejected row.
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from pipeline.core.errors import InputError
from pipeline.core.plural import counted
from pipeline.jobs.retries.later_rows import NO_LINE

#: Lines that are named of each kind of refused rows.
_NAMED = 20
_ANY_NUMBER = np.iinfo(np.int64).max


class RejectedRows:
    """The rows of some tables as they were written; of each its line, and its cells. None of them is kept.

    A line may stand in each table as often as in the one where it stands most often; `NO_LINE`, if it is in any, stands
    for all the rows that came back without a line and were rejected again.
    """

    def __init__(self, tables: Iterable[Iterable[tuple[int, list[str]]]]) -> None:
        lines, digests, counts = array("q"), array("q"), array("q")
        numbers, times = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for table in tables:
            before = len(lines)
            for line, cells in table:
                lines.append(line)
                digests.append(_digest(bare(cells)))
                counts.append(len(cells))
            number, often = np.unique(np.array(lines[before:], dtype=np.int64), return_counts=True)
            numbers.append(number)
            times.append(np.where(number == NO_LINE, _ANY_NUMBER, often))
        of_lines, of_digests = np.array(lines, dtype=np.int64), np.array(digests, dtype=np.int64)
        order = np.lexsort((of_digests, of_lines))
        self._lines, self._digests = of_lines[order], of_digests[order]
        self._counts = np.array(counts, dtype=np.int64)[order]
        self._numbers = np.unique(self._lines)
        self._left = np.zeros(len(self._numbers), dtype=np.int64)
        np.maximum.at(self._left, np.searchsorted(self._numbers, np.concatenate(numbers)), np.concatenate(times))

    def cells_as_it_was(self, line: int, cells: list[str]) -> int | None:
        """The number of cells of the row of this line, if these are its cells but for empty ones at the end."""
        first, end = np.searchsorted(self._lines, [line, line + 1]).tolist()
        digest = _digest(bare(cells))
        place = first + int(np.searchsorted(self._digests[first:end], digest))
        return int(self._counts[place]) if place < end and self._digests[place] == digest else None

    def take(self, line: int) -> "Unfit | None":
        """Take the place of a rejected row; the reason why a row of this line has none, if it has none."""
        place = int(np.searchsorted(self._numbers, line))
        if place == len(self._numbers) or self._numbers[place] != line:
            return Unfit.NEW
        if not self._left[place]:
            return Unfit.AGAIN
        self._left[place] -= 1
        return None


class Unfit(Enum):
    """Why a row is none of the rejected ones: its text follows the number of such rows."""

    NEW = "named by `_line`{file} as no rejected row of job {job}"
    AGAIN = "named by the `_line`{file} of a row above"
    BROKEN = "not to be cut into cells, as a quote is not closed or text stands behind it"


_ADVICE = {
    Unfit.NEW: "rows that are new go into an export of their own, with `load`",
    Unfit.AGAIN: "keep one of each",
    Unfit.BROKEN: "mend the quotes",
}


@dataclass(slots=True)
class UnfitRows:
    """The rows of a mended table that are none of the rejected ones, counted; the lines of the first of each kind."""

    counts: dict[Unfit, int] = field(default_factory=dict)
    lines: dict[Unfit, list[int]] = field(default_factory=dict)

    def add(self, unfit: Unfit, line: int) -> None:
        """Count a row on this line of the mended table."""
        self.counts[unfit] = self.counts.get(unfit, 0) + 1
        lines = self.lines.setdefault(unfit, [])
        if len(lines) < _NAMED:
            lines.append(line)

    def refuse(self, job: str, *, has_parts: bool) -> None:
        """Raise `InputError` (65) if there is any. `job`: the id of the one that is asked for."""
        if not self.counts:
            return
        file = " and `_file`" if has_parts else ""
        told = []
        for unfit in filter(self.counts.__contains__, Unfit):
            count, lines = self.counts[unfit], self.lines[unfit]
            more = f" and {count - len(lines):,} more" if count > len(lines) else ""
            where = f"line{'s' if count > 1 else ''} {', '.join(f'{line:,}' for line in lines)}{more}"
            what = unfit.value.format(file=file, job=job)
            told.append(f"{counted(count, 'row')} {'is' if count == 1 else 'are'} {what} ({where}): {_ADVICE[unfit]}")
        raise InputError(
            f"nothing is loaded, as the file of the mended rows has others too. {'; '.join(told)}.",
            line=min(lines[0] for lines in self.lines.values()),
        )


def bare(cells: list[str]) -> list[str]:
    """The cells without empty ones at their end."""
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return cells[:count]


def _digest(cells: list[str]) -> int:
    text = "\0".join(cells).replace("\r\n", "\n").encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)
