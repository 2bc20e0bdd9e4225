"""The section [expect]: the days and the time by which an export has to be done."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from pipeline.core.expectations.days import Expectation
from pipeline.settings.sections.base import Section
from pipeline.settings.sections.windows import DAYS, checked_days, minutes_of, time_up_to, zone_name


class ExpectSettings(Section):
    """The days and the time by which an export has to be done."""

    by: Annotated[str, time_up_to("23:59", may_be_empty=True)] = Field(
        "",
        description="Time by which an export of the route has to be done on each of its days, by the clocks of "
        "time_zone: 05:00. Empty: none is expected.",
    )
    time_zone: Annotated[str, AfterValidator(zone_name)] = Field(
        "UTC",
        description="Name of the time zone in the IANA database, as Europe/Berlin: its clock changes are followed.",
    )
    days: Annotated[tuple[str, ...], AfterValidator(checked_days)] = Field(
        DAYS, description="Days on which it has to be done: mon, tue, wed, thu, fri, sat, sun."
    )

    @property
    def expectation(self) -> Expectation | None:
        """The same as a value that knows the clock changes of its zone; None if nothing is expected."""
        if not self.by:
            return None
        days = frozenset(DAYS.index(day) for day in self.days)
        return Expectation(days=days, by=minutes_of(self.by), zone=ZoneInfo(self.time_zone))

    @property
    def words(self) -> str:
        """The same as a text by which a change is noticed."""
        return f"{self.by} {self.time_zone} {','.join(sorted(self.days, key=DAYS.index))}"
