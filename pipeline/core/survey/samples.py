"""Samples of what [mapping] makes of rows: masked before and after, so that only shapes and changes can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.formats.framing import Record
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.outcome import Fate, RowOutcome, outcome_of
from pipeline.core.survey.masks import mask
from pipeline.core.values.column_steps import ColumnSteps

#: Rows that are shown, and rows among which they are looked for. Ours.
_SHOWN, _LOOKED_AT = 3, 1_000
#: What is shown for a hash: its signs alone would tell whose it is, to somebody who has the values and can hash them.
HASHED = "(hash)"


@dataclass(frozen=True, slots=True)
class SampleCell:
    """A cell of a sample.

    `column`: of the export, or None for a value that is the same in all rows, which is shown as it is.
    `before`, `after`: masked; None where there is none.
    `is_changed`: true if what is sent is not what the export has.
    """

    column: str | None
    sent_as: str
    before: str | None
    after: str | None
    is_changed: bool


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row before and after [mapping].

    `reason`: why it is rejected. `excluded_by`: the column for which it is left out.
    """

    line: int
    fate: Fate
    reason: str | None
    excluded_by: str | None
    cells: tuple[SampleCell, ...]


def sample_rows(mapper: RowMapper, names: Sequence[str], records: Sequence[Record]) -> tuple[SampleRow, ...]:
    """Three of the first rows: the first of each fate, as far as there are any, and then the first of all.

    `names`: of the columns of the export. Raises `InputError` (65) for the header in another order.
    """
    found = [(record, outcome_of(mapper, record)) for record in records[:_LOOKED_AT]]
    found = [(record, outcome) for record, outcome in found if outcome.fate != "blank"]
    of_a_fate: dict[str, int] = {}
    for place, (_, outcome) in enumerate(found):
        of_a_fate.setdefault(outcome.fate, place)
    wanted = [*dict.fromkeys([*of_a_fate.values(), *range(len(found))])][:_SHOWN]
    return tuple(_sample(mapper, names, *found[place]) for place in sorted(wanted))


def _sample(mapper: RowMapper, names: Sequence[str], record: Record, outcome: RowOutcome) -> SampleRow:
    plan, is_sent = mapper.plan, outcome.fate == "sent"
    texts = [field.decode(errors="replace") for field in record.fields]
    places = [(plan.id_index, plan.id_kind, plan.steps.id_steps, outcome.profile_id)]
    steps = plan.steps.cell_steps or (None,) * len(plan.cell_indexes)
    # Constants have no column; their parameters are the last.
    for index, parameter, of_cell in zip(plan.cell_indexes, plan.parameters, steps, strict=False):
        places.append((index, parameter, of_cell, outcome.values.get(parameter, "")))
    cells = [
        SampleCell(
            column=names[index],
            sent_as=sent_as,
            before=mask(texts[index], with_case=True) if index < len(texts) else None,
            after=_after(value, of_cell) if is_sent else None,
            is_changed=is_sent and value != texts[index],
        )
        for index, sent_as, of_cell, value in places
    ]
    constants = plan.parameters[len(plan.cell_indexes) :] if is_sent else ()
    cells += [SampleCell(None, name, None, outcome.values[name], is_changed=True) for name in constants]
    reason = outcome.reason.value if outcome.reason else None
    return SampleRow(record.line, outcome.fate, reason, outcome.excluded_by or None, tuple(cells))


def _after(value: str, steps: ColumnSteps | None) -> str:
    return HASHED if value and steps is not None and steps.hash else mask(value, with_case=True)
