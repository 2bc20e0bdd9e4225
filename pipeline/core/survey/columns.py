"""The columns of an export, looked at by the first of its records: how full they are, what shapes their values have.

Nothing here keeps a value beyond the sample; what is told of one is masked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.formats.framing import Record
from pipeline.core.rows.cells import INVISIBLE, CellRules
from pipeline.core.survey.masks import mask
from pipeline.core.survey.personal import Kind, kind_by_name, kind_by_values

#: Values of a column that are looked at for personal data, and masks of it that are shown. Ours.
_JUDGED, _MASKS_SHOWN = 1_000, 3


@dataclass(frozen=True, slots=True)
class ColumnSurvey:
    """A column, by a sample of the records.

    `filled`, `of`: the records in which it holds a value, and all of the sample.
    `masks`: of different values, the first ones.
    `distinct`: its different values.
    `by_name`, `by_values`: the kind of personal data that it seems to hold; `share` of its values look like it.
    `longest`: the characters of its longest value.
    """

    name: str
    filled: int
    of: int
    masks: tuple[str, ...]
    distinct: int
    by_name: Kind | None
    by_values: Kind | None
    share: float
    longest: int = 0

    @property
    def is_key(self) -> bool:
        """True if it is filled in each record of the sample, and with another value in each."""
        return bool(self.of) and self.filled == self.distinct == self.of

    @property
    def fill_rate(self) -> float:
        """The share of the records in which it holds a value."""
        return self.filled / self.of if self.of else 0.0


def survey_columns(names: Sequence[str], records: Sequence[Record], rules: CellRules) -> list[ColumnSurvey]:
    """Look at the columns of these records; those with another number of fields than names are left out."""
    whole = [record.fields for record in records if len(record.fields) == len(names)]
    columns = zip(*whole, strict=True) if whole else [()] * len(names)
    return [_survey(name, cells, rules) for name, cells in zip(names, columns, strict=True)]


def _survey(name: str, cells: Sequence[bytes], rules: CellRules) -> ColumnSurvey:
    values = [cell for cell in cells if (bare := cell.strip()) and bare not in rules.nulls]
    texts = [value.decode(errors="replace").strip(INVISIBLE) for value in values[:_JUDGED]]
    found = kind_by_values(texts) if texts else None
    masks = dict.fromkeys(map(mask, texts))
    return ColumnSurvey(
        name=name,
        filled=len(values),
        of=len(cells),
        masks=tuple(masks)[:_MASKS_SHOWN],
        distinct=len({*values}),
        by_name=kind_by_name(name),
        by_values=found[0] if found else None,
        share=found[1] if found else 0.0,
        longest=max(map(len, texts), default=0),
    )
