"""Counts what a load of an export would come to, from the same mapped blocks that a load places."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.parts import Part
from pipeline.core.batches.placer import Placer
from pipeline.core.batches.tracker import Tracker
from pipeline.core.model import RowCounts
from pipeline.core.rows.allowance import Allowance
from pipeline.core.rows.frequency import MANY_OF_ALL
from pipeline.core.rows.mapping import ColumnPlan, Mapped
from pipeline.core.survey.ids import IdCount
from pipeline.core.survey.naive import NaiveSender
from pipeline.core.survey.placement import Placement

#: Lines of the first rejects that are told for each reason. Ours.
_FIRST_LINES = 3


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits of [batch] and [tracker], and how many batches may be sealed and not complete."""

    max_batch_bytes: int
    max_batch_rows: int
    max_held_rows: int
    max_held_bytes: int
    most_under_way: int


@dataclass(slots=True)
class TooMany:
    """The rejects, and the rows read by then, at which a load would give an export up."""

    rejected: int
    read: int


@dataclass(slots=True)
class Tally:
    """The counts of an export, fed block by block as a load is.

    `too_many`: set once a load would have stopped for its rejects; what is counted goes on all the same.
    `first_lines`: reason -> the lines of the first rows that are rejected for it.
    """

    placement: Placement
    allowed: Allowance
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    ids: IdCount = field(default_factory=IdCount)
    naive: NaiveSender = field(default_factory=NaiveSender)
    first_lines: dict[str, list[int]] = field(default_factory=dict)
    too_many: TooMany | None = None

    def add(self, mapped: Mapped, begins: Sequence[Part] = ()) -> None:
        """Count a block of records, and place its rows; `begins`: the parts that begin before them."""
        self.note(mapped, begins)
        merged = self.placement.superseded
        self.placement.place(mapped.rows)
        if self.placement.superseded - merged >= MANY_OF_ALL * len(mapped.rows) > 0:
            self.checkpoint.note_repeated(mapped.rows)

    def note(self, mapped: Mapped, begins: Sequence[Part] = ()) -> None:
        """Count a block of records, whose rows are placed later."""
        checkpoint = self.checkpoint
        if begins:
            checkpoint.begin(begins)
        checkpoint.note(mapped)
        for reject in mapped.rejects:
            lines = self.first_lines.setdefault(reject.reason.value, [])
            if len(lines) < _FIRST_LINES:
                lines.append(reject.line)
        self._judge(is_final=False)
        self.ids.add(mapped.rows.hashes)
        self.naive.send(mapped.rows)

    def finish(self) -> None:
        """Count what only the end of the export decides."""
        self._judge(is_final=True)
        self.placement.finish()

    def _judge(self, *, is_final: bool) -> None:
        faulty, read = self.checkpoint.faulty, self.checkpoint.read
        if self.too_many is None and self.allowed.is_exceeded(faulty, read, final=is_final):
            self.too_many = TooMany(faulty, read)

    def rows(self) -> RowCounts:
        """The classes of the rows, if Target applies all that it is sent. Raises `FatalError` unless they add up."""
        checkpoint, placement = self.checkpoint, self.placement
        rows = RowCounts(
            read=checkpoint.read,
            confirmed=sum(batch.rows for batch in placement.batches),
            superseded=checkpoint.superseded + placement.superseded,
            unchanged=checkpoint.unchanged,
            excluded=checkpoint.excluded,
            rejected=checkpoint.rejected,
            empty=checkpoint.empty,
        )
        rows.check()
        return rows


def tally_of(plan: ColumnPlan, caps: Caps, allowed: Allowance, salt: int) -> Tally:
    """A tally for an export of which these columns are sent."""
    placer = Placer(
        Chunker(plan.body_start, max_bytes=caps.max_batch_bytes, max_rows=caps.max_batch_rows),
        Tracker(
            max_held_rows=caps.max_held_rows,
            max_held_bytes=caps.max_held_bytes,
            max_row_bytes=caps.max_batch_bytes - len(plan.body_start),
            salt=salt,
        ),
    )
    return Tally(Placement(placer, caps.most_under_way), allowed)
