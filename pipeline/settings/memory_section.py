"""The [memory] section: what is remembered of the rows that were sent, and what is done with it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings.section_base import Section


class MemorySettings(Section):
    """What is remembered of each id."""

    remember: Literal["nothing", "digests", "values"] = Field(
        "nothing",
        description="What is kept of each row that was sent: nothing; digests, by which a row that was sent already is "
        "told; or values, with which a later row is filled in too, so that a later batch never drops an attribute.",
    )
    send: Literal["all", "changes"] = Field(
        "all",
        description="all: each row of an export; changes: only rows that say something that is not remembered as sent. "
        "It needs remember.",
    )
    refresh_days: float = Field(
        10.0,
        ge=0,
        le=10_000,
        description="Days after which a row is sent again although it says nothing new: Target forgets a profile after "
        "14 days of inactivity.",
    )
    keep_days: int = Field(
        400,
        ge=1,
        le=100_000,
        description="Days for which an id is remembered that no export has any more.",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.send == "changes" and self.remember == "nothing":
            raise ValueError('send = "changes" needs remember = "digests" or "values"')
        return self
