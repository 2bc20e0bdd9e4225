"""The fate of a single row, for people: what is sent of it, or why nothing is.

It is what `RowMapper` makes of the row, taken apart again; so it tells of no other mapping than that of a load.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.core.formats.framing import BrokenLine, Record
from pipeline.core.model import Reason
from pipeline.core.rows.mapping import RowMapper

Fate = Literal["sent", "rejected", "excluded", "empty", "blank"]
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The fate of a row, and what is sent of it.

    `profile_id`, `values`: what is sent, decoded, the values by parameter, empty ones too; empty unless it is sent.
    `reason`: why it is rejected. `excluded_by`: the column of the condition that leaves it out.
    `noted`: the warnings that it gives cause to, with their number.
    """

    fate: Fate
    profile_id: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    reason: Reason | None = None
    excluded_by: str = ""
    noted: Mapping[str, int] = field(default_factory=dict)


def outcome_of(mapper: RowMapper, record: Record | BrokenLine) -> RowOutcome:
    """The outcome for a record. Raises `InputError` (65) for the header in another order."""
    mapped = mapper.map([record])
    if mapped.rejects:
        return RowOutcome("rejected", reason=mapped.rejects[0].reason)
    if mapped.excluded:
        return RowOutcome("excluded", excluded_by=next(iter(mapped.excluded)))
    if not len(mapped.rows):
        return RowOutcome("empty" if mapped.empty else "blank")
    profile_id, *cells = (_decoded(cell) for cell in mapped.rows.text(0)[:-1].split(b","))
    values = dict(zip(mapper.plan.parameters, cells, strict=True))
    noted = {name: count for name, count in mapped.warnings.as_dict().items() if isinstance(count, int)}
    return RowOutcome("sent", profile_id, values, noted=noted)


def _decoded(cell: bytes) -> str:
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), cell).decode()
