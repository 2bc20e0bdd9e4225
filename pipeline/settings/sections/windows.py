"""The `[[windows]]` of a configuration: hours in which less is sent, or nothing."""

import re
from difflib import get_close_matches
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from pipeline.core.target.time_windows import Limits, Schedule, Window
from pipeline.settings.sections.base import Section

#: The days as the key `days` spells them, Monday first.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def checked_days(days: tuple[str, ...]) -> tuple[str, ...]:
    """Days of the week, each once."""
    if not days or len(set(days)) < len(days) or not set(days) <= set(DAYS):
        raise ValueError(f"must be a list of days, each once, out of {', '.join(DAYS)}")
    return days


def time_up_to(latest: str, *, may_be_empty: bool = False) -> AfterValidator:
    """A check that a text is a time of day."""

    def check(text: str) -> str:
        if may_be_empty and not text:
            return text
        if text != latest and not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
            raise ValueError(f'must be a time from "00:00" to "{latest}"')
        return text

    return AfterValidator(check)


def zone_name(name: str) -> str:
    """The name of a time zone that is known here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        meant = get_close_matches(name, available_timezones(), 1)
        hint = f"did you mean {meant[0]}?" if meant else 'names are such as "Europe/Berlin" or "UTC"'
        raise ValueError(f"is no time zone that is known here; {hint}") from error
    return name


def _limit(most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": 1, "maximum": most})


class WindowSettings(Section):
    """Hours of some days of the week in which less is sent, or nothing."""

    model_config = ConfigDict(serialize_by_alias=True)

    days: Annotated[tuple[str, ...], AfterValidator(checked_days)] = Field(
        description="Required. The days on which it begins: mon, tue, wed, thu, fri, sat, sun."
    )
    begins: Annotated[str, time_up_to("23:59")] = Field(
        alias="from", description="Required. When it begins, by the clocks of its time zone: 09:00."
    )
    to: Annotated[str, time_up_to("24:00")] = Field(
        description="Required. When it ends: 18:00, at the latest 24:00; on the next day if not after `from`."
    )
    time_zone: Annotated[str, AfterValidator(zone_name)] = Field(
        description="Required. Name of the time zone in the IANA database, such as Europe/Berlin: its clock changes "
        "are followed."
    )
    calls_per_minute: Annotated[int | None, _limit(100_000)] = Field(
        None, ge=1, le=100_000, description="Calls per minute while it holds, if fewer than [target] calls_per_minute."
    )
    concurrency: Annotated[int | None, _limit(32)] = Field(
        None, ge=1, le=32, description="POSTs at once while it holds, if fewer than [upload] concurrency."
    )
    pause: bool = Field(
        False,  # noqa: FBT003
        description="Whether no call begins at all while it holds, neither a POST nor a status GET.",
    )

    @field_validator("pause", mode="before")
    @classmethod
    def _boolean(cls, value: object) -> object:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.begins == self.to:
            raise ValueError('`from` and `to` are the same; a whole day is from "00:00" to "24:00"')
        limits = (self.calls_per_minute, self.concurrency)
        if not self.pause and limits == (None, None):
            raise ValueError("nothing holds in it: give calls_per_minute, concurrency, or pause = true")
        if self.pause and limits != (None, None):
            raise ValueError("pause = true leaves nothing to limit: give it, or calls_per_minute and concurrency")
        return self

    @property
    def window(self) -> Window:
        """This window as a value that knows the clock changes of its zone."""
        return Window(
            days=frozenset(DAYS.index(day) for day in self.days),
            begins=minutes_of(self.begins),
            ends=minutes_of(self.to),
            zone=ZoneInfo(self.time_zone),
            limits=Limits(self.pause, self.calls_per_minute, self.concurrency),
        )


def minutes_of(text: str) -> int:
    """The minutes from midnight to a time of day."""
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def schedule_of(windows: tuple[WindowSettings, ...]) -> Schedule:
    """The schedule of all windows of a configuration."""
    return Schedule([each.window for each in windows])
