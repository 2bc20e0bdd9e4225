"""The parts of an export, and the place of a line among them.

Within the program a line is counted through all parts. Whoever is told of it hears of the part, and of the line in that
part, as an editor shows it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from pipeline.core.plain import written


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an export that was begun.

    `size_bytes`: of its file; of a member of an archive, of its content.
    `rows`: those read of it so far.
    `lines_before`: the lines of all parts before it.
    """

    name: str = ""
    size_bytes: int = written("bytes", default=0)
    rows: int = 0
    lines_before: int = 0


class Place(NamedTuple):
    """A line as people find it: the name of the file, and the line in it, from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Places:
    """Finds the places of lines.

    `export`: the name of the export.
    `parts`: its parts in order, with the lines before each; none where it is one file.
    """

    export: str
    parts: Sequence[Part] = ()

    def of(self, line: int) -> Place:
        """The place of a line that is counted through all parts."""
        # The first part has no line before it.
        number = bisect_left(self.parts, line, key=attrgetter("lines_before"))
        if not number:
            return Place(self.export, line)
        part = self.parts[number - 1]
        return Place(part.name, line - part.lines_before)

    def told(self, line: int) -> str:
        """The same for a sentence: "line 7", or "line 7 of part-00001.csv"."""
        place = self.of(line)
        return f"line {place.line:,} of {place.file}" if self.parts else f"line {place.line:,}"
