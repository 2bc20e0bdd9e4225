"""The progress of a job whose rows are gathered before they are placed, in the order of the hashes of their ids."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Run:
    """A file of gathered rows. `checksum`: of what it says of itself, by which another file is told from it."""

    rows: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """The gathered rows of a job; none, if its rows are placed as they are read.

    `runs`: the files that hold them.
    `rows`: of all of them.
    `done`: the rows that are placed, left out, or merged into one that is, in the order of the sorted rows.
    `is_whole`: the whole export is gathered.
    """

    runs: tuple[Run, ...] = ()
    rows: int = 0
    done: int = 0
    is_whole: bool = False

    @property
    def left(self) -> int:
        """The rows that are still to be placed."""
        return self.rows - self.done

    def behind(self, rows: int) -> "Gathered":
        """The same when so many rows more are done."""
        return replace(self, done=self.done + rows)


NONE_GATHERED = Gathered()
