"""The checkpoint of a job: its progress at its latest seal.

A new process goes on from it, and from the facts of the job's batches.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from pipeline.core.batches.gathered import NONE_GATHERED, Gathered
from pipeline.core.batches.parts import Part, Places
from pipeline.core.formats.framing import START, Position
from pipeline.core.model import NO_FAULTS, Reject, Rows, Warnings
from pipeline.core.plain import of_plain, plain, written
from pipeline.core.rows import frequency
from pipeline.core.rows.mapping import Mapped

#: Rejects that are named if their number stops a job.
_FIRST_REJECTS = 3


@dataclass(slots=True)
class Checkpoint:
    """The progress of a job at a seal.

    `position`: in the part that is read last, its line counted through all parts.
    `parts`: those begun, the last of which is being read; none where the export is one file.

    Every row before `position` is in a sealed batch, held, superseded, unchanged, excluded, rejected or empty, and is
    counted here.

    `digest`: the SHA-256 of the first `digest_bytes` bytes of the export, of all its files one after the other.
    `excluded_by`: the rows left out, by the column of the condition.
    `rejects_bytes`: the length of the rejects file. `index_bytes`: that of the index of rows; -1 if it has none.
    `has_ended`: the whole export was read.
    `turn`: the place of the job among unfinished ones, in the order in which they began.
    `parameters`: those of the header row.
    `first_rejects`: line and reason of the first rejects that count against `max_rejects`.
    `first_lines`: reason of rejects -> line of the first of them.
    `frequent_ids`: the counters of `frequency`.
    `seconds`, `calls`: the duration of all runs up to this seal, and the calls to Target in them.
    `salt`: the digest of the salt of hashes; empty if there are none.
    `sending`: the digest of the settings that decide what is sent; empty if unknown, or if it was not always the same.
    `gathered`: the rows of a job that gathers them on the disk before it places any.
    `quarantine`: the reason, in words, for which nothing of the job may be sent before it is approved; empty if none.
    `guard_learns`: the jobs that had still to be done when it was judged, before anything could be called usual.
    """

    position: Position = START
    digest_bytes: int = 0
    digest: str = ""
    read: int = 0
    superseded: int = 0
    unchanged: int = 0
    excluded: int = 0
    excluded_by: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    empty: int = 0
    rejects_bytes: int = 0
    has_ended: bool = False
    turn: int = 0
    parameters: tuple[str, ...] = ()
    columns_sent: tuple[str, ...] = ()
    warnings: Warnings = field(default_factory=Warnings)
    by_reason: Counter[str] = field(default_factory=Counter)
    first_rejects: list[tuple[int, str]] = field(default_factory=list)
    first_lines: dict[str, int] = field(default_factory=dict)
    frequent_ids: list[tuple[int, int, int]] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    sending: str = ""
    salt: str = ""
    parts: tuple[Part, ...] = ()
    gathered: Gathered = written(default=NONE_GATHERED, if_default=False)  # noqa: RUF009 - a field
    quarantine: str = written(default="", if_default=False)
    guard_learns: int = written(default=0, if_default=False)
    index_bytes: int = written(default=-1, if_default=False)

    def begin(self, parts: Sequence[Part]) -> None:
        """Go on to these parts, the last of which is read from now on."""
        self.parts = (*self.parts, *parts)

    def note(self, mapped: Mapped) -> None:
        """Count rows that were read and placed."""
        self.read += mapped.read
        if self.parts and mapped.read:
            *before, last = self.parts
            self.parts = (*before, replace(last, rows=last.rows + mapped.read))
        self.empty += mapped.empty
        self.excluded += sum(mapped.excluded.values())
        self.excluded_by.update(mapped.excluded)
        self.warnings.add(mapped.warnings)
        self.note_rejects(mapped.rejects)

    def note_repeated(self, rows: Rows) -> None:
        """Look for ids on very many rows among these, of which some repeat an id."""
        self.frequent_ids = frequency.with_rows(self.frequent_ids, rows)

    @property
    def part(self) -> int:
        """The number of the part that is being read, from 0."""
        return max(0, len(self.parts) - 1)

    def places(self, export: str) -> Places:
        """Finds the places of lines in an export of this name."""
        return Places(export, self.parts)

    @property
    def all_warnings(self) -> Warnings:
        """The warnings so far, with the one about an id on very many rows."""
        warnings = deepcopy(self.warnings)
        if found := frequency.most_frequent(self.frequent_ids, self.read):
            warnings.note("rows_of_one_id", found[1], found[0])
        return warnings

    def warnings_told(self, export: str) -> dict[str, Any]:
        """The warnings so far as a report has them. Lines are those of parts, named in `first_parts`, if there are any.

        `export`: the name of the export.
        """
        warnings = self.all_warnings.as_dict()
        if not self.parts or "first_lines" not in warnings:
            return warnings
        places = self.places(export)
        first = {name: places.of(line) for name, line in warnings["first_lines"].items()}
        return warnings | {
            "first_lines": {name: place.line for name, place in first.items()},
            "first_parts": {name: place.file for name, place in first.items()},
        }

    @property
    def faulty(self) -> int:
        """The number of rejected rows that count against `max_rejects`."""
        return self.rejected - sum(self.by_reason[reason.value] for reason in NO_FAULTS)

    def note_rejects(self, rejects: Iterable[Reject]) -> None:
        """Count rejected rows by reason, and keep the first of them."""
        for reject in rejects:
            self.rejected += 1
            self.by_reason[reject.reason.value] += 1
            self.first_lines.setdefault(reject.reason.value, reject.line)
            if len(self.first_rejects) < _FIRST_REJECTS and reject.reason not in NO_FAULTS:
                self.first_rejects.append((reject.line, reject.reason.value))

    def as_dict(self) -> dict[str, Any]:
        """This checkpoint as plain values, for the ledger."""
        return {**plain(self), "position": [*astuple(self.position)], "warnings": self.warnings.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Checkpoint":
        """Rebuild a checkpoint from the values of `as_dict`."""
        return replace(of_plain(cls, values | {"position": {}}), position=Position(*values["position"]))
