"""The judgement of an export before any of it is sent: by limits, and by what is usual of the exports before it.

An export that is cut off, or lost a column on its way, loads without an error. What gives it away is that it is unlike
the ones before it. All that is compared is in the report of a job: rows, rejected rows, and of each parameter the rows
that have a value for it. Usual is the median, so one odd export among the latest changes little.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median_low

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report
from pipeline.core.model import NO_FAULTS, Warnings
from pipeline.core.plural import counted
from pipeline.core.rows.allowance import Allowance

#: The jobs of which the median is taken: the latest that are done. Ours: a week of daily exports.
LOOKED_AT = 7
#: Jobs below which nothing is called usual. Ours: of two that differ nobody can say which is the odd one.
KNOWN_FROM = 3
#: Standard deviations by which chance alone does not change the number of filled cells. Ours.
_CHANCE = 4
#: Columns that a message names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of an export by which it is judged.

    `rows`: the records of the export, rejected ones too.
    `rejected`: those that were rejected, before anything was sent.
    `mapped`: those that were neither rejected nor left out, so that each could have a value for any parameter.
    `filled`: parameter -> those of them that have a value for it.
    """

    rows: int
    rejected: int
    mapped: int
    filled: Mapping[str, int]

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> "Numbers":
        """Those of an export that was read to its end, and of which nothing was sent."""
        return _numbers(
            checkpoint.read,
            checkpoint.empty,
            checkpoint.excluded,
            checkpoint.by_reason,
            checkpoint.columns_sent,
            checkpoint.warnings.ids_gone,
            checkpoint.warnings.empty_cells,
        )

    @classmethod
    def of_report(cls, report: Report) -> "Numbers":
        """Those of the export of a job that is done."""
        warnings = Warnings.from_dict(dict(report.warnings))
        return _numbers(
            report.rows.read,
            report.rows.empty,
            report.rows.excluded,
            report.rejects.by_reason,
            report.columns_sent,
            warnings.ids_gone,
            warnings.empty_cells,
        )

    def share_filled(self, parameter: str) -> Fraction:
        """The share of its rows that have a value for a parameter; 0 if it has none at all."""
        return Fraction(self.filled.get(parameter, 0), self.mapped) if self.mapped else Fraction(0)


def _numbers(
    read: int,
    empty: int,
    excluded: int,
    by_reason: Mapping[str, int],
    parameters: Iterable[str],
    gone: int,
    empty_cells: Mapping[str, int],
) -> Numbers:
    # Rows of ids that a snapshot no longer has are in no line of it, and what Target rejects came out later.
    rows = read - gone
    local = {reason: count for reason, count in by_reason.items() if reason.startswith("local.")}
    mapped = max(0, rows - sum(local.values()) - excluded)
    filled = {name: max(0, mapped - empty - empty_cells.get(name, 0)) for name in parameters}
    return Numbers(rows, sum(count for reason, count in local.items() if reason not in NO_FAULTS), mapped, filled)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an export; None, and 0 rows, mean that there is none.

    `min_rows`: the least rows.
    `max_rows_change`: rows more or fewer than usual, of the usual number.
    `max_fill_drop`: values of a parameter fewer than usual, of those that are usual for so many rows.
    `max_rejects_change`: rejected rows more than usual, of all rows.
    """

    min_rows: int = 0
    max_rows_change: Allowance | None = None
    max_fill_drop: Allowance | None = None
    max_rejects_change: Allowance | None = None

    @property
    def compare(self) -> bool:
        """True if one of them needs to know what is usual."""
        return any(limit is not None for limit in (self.max_rows_change, self.max_fill_drop, self.max_rejects_change))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of an export.

    `breaches`: in words, each limit that it breaks, what was found, and what is usual.
    `to_learn`: the jobs that have still to be done before it can be compared with what is usual; 0 if it was.
    """

    breaches: tuple[str, ...] = ()
    to_learn: int = 0


def judged(export: Numbers, before: Sequence[Numbers], limits: Limits) -> Verdict:
    """Judge an export. `before`: those of the latest done jobs of its route, the latest first; at most `LOOKED_AT`."""
    breaches = list[str]()
    if export.rows < limits.min_rows:
        breaches.append(f"it has {counted(export.rows, 'row')}, fewer than [guard] min_rows = {limits.min_rows:,}")
    if not limits.compare:
        return Verdict(tuple(breaches))
    if len(before) < KNOWN_FROM:
        return Verdict(tuple(breaches), to_learn=KNOWN_FROM - len(before))
    known = before[:LOOKED_AT]
    breaches += _rows_changed(export, known, limits.max_rows_change)
    breaches += _more_rejected(export, known, limits.max_rejects_change)
    breaches += _less_filled(export, known, limits.max_fill_drop)
    return Verdict(tuple(breaches))


def _rows_changed(export: Numbers, known: Sequence[Numbers], limit: Allowance | None) -> list[str]:
    usual = median_low(each.rows for each in known)
    # Of nothing there is no share: where exports without rows are usual, one with rows is no cause for alarm.
    if limit is None or not (usual or limit.percent is None):
        return []
    if not limit.is_exceeded(abs(export.rows - usual), usual, final=True):
        return []
    return [
        f"it has {counted(export.rows, 'row')}, where {usual:,} are usual: a change by more than [guard] "
        f"max_rows_change = {limit}"
    ]


def _more_rejected(export: Numbers, known: Sequence[Numbers], limit: Allowance | None) -> list[str]:
    share = median_low(Fraction(each.rejected, each.rows) if each.rows else Fraction(0) for each in known)
    more = export.rejected - share * export.rows
    if limit is None or more <= 0 or not limit.is_exceeded(more, export.rows, final=True):
        return []
    return [
        f"{export.rejected:,} of its {counted(export.rows, 'row')} {'is' if export.rejected == 1 else 'are'} rejected, "
        f"where {_percent(share)} is usual: more by more than [guard] max_rejects_change = {limit}"
    ]


def _less_filled(export: Numbers, known: Sequence[Numbers], limit: Allowance | None) -> list[str]:
    if limit is None:
        return []
    fallen = list[tuple[Fraction, str, Fraction]]()
    # A parameter that the latest job did not have was given up by then.
    for parameter in known[0].filled:
        shares = [each.share_filled(parameter) for each in known if parameter in each.filled and each.mapped]
        if len(shares) < KNOWN_FROM:
            continue
        usual, found = median_low(shares), export.share_filled(parameter)
        expected = usual * export.mapped
        fewer = expected - export.filled.get(parameter, 0)
        is_by_chance = fewer <= 0 or fewer**2 <= _CHANCE**2 * expected
        if not is_by_chance and limit.is_exceeded(fewer, expected, final=True):
            fallen.append((found / usual, parameter, usual))
    if not fallen:
        return []
    fallen.sort()
    named = [
        f"{parameter} in {_percent(export.share_filled(parameter))} of the rows, where {_percent(usual)} is usual"
        for _, parameter, usual in fallen[:_NAMED]
    ]
    more = f" (and {counted(len(fallen) - _NAMED, 'more parameter')})" if len(fallen) > _NAMED else ""
    return [f"fewer values than usual, by more than [guard] max_fill_drop = {limit}: {', '.join(named)}{more}"]


def _percent(share: Fraction) -> str:
    return f"{float(share):.1%}".replace(".0%", "%").replace("%", " %")
