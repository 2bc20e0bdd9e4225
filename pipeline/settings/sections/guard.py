"""The section [guard]: the limits by which an export is judged before any of it is sent."""

from pydantic import Field

from pipeline.core.expectations.guard import Limits
from pipeline.settings.sections.base import OptionalAllowanceText, Section


class GuardSettings(Section):
    """What holds an export back before its first row is sent, until somebody approves it; all is off by default."""

    min_rows: int = Field(
        0,
        ge=0,
        le=10**12,
        description="Rows that an export has at least; 0: any number.",
    )
    max_rows_change: OptionalAllowanceText = Field(
        None,
        description="Rows that an export may have more or fewer than usual: a percentage of the usual number, or a "
        "count; empty: any. Usual is the median of the last 7 done jobs of the route, from 3 on.",
    )
    max_fill_drop: OptionalAllowanceText = Field(
        None,
        description="Values of a column that may be missing of those that are usual for so many rows: a percentage of "
        "these, or a count; empty: any. What chance alone explains holds nothing back.",
    )
    max_rejects_change: OptionalAllowanceText = Field(
        None,
        description="Rows that may be rejected beyond the usual share: a percentage of all rows, or a count; empty: "
        "as [export] max_rejects says.",
    )

    @property
    def limits(self) -> Limits:
        """The limits, for the core."""
        return Limits(self.min_rows, self.max_rows_change, self.max_fill_drop, self.max_rejects_change)

    @property
    def is_on(self) -> bool:
        """True if any limit is set: exports are read to their ends before anything is sent."""
        return self.limits != Limits()
