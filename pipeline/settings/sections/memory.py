"""The section [memory]: the memory of the rows that were sent, and what follows from it."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.settings.sections.base import Section, not_below
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import MappingSettings

#: Days without activity after which Target forgets a profile, unless an account has another time; Adobe's
#: documentation.
PROFILE_DAYS = 14

Remember = Literal["nothing", "digests", "values"]


class MemorySettings(Section):
    """The memory of what was sent of each id, over all jobs of a client code, and what follows from it."""

    remember: Remember = Field(
        "nothing",
        description="What is kept of each row that was sent: nothing; digests, by which a row that was sent already is "
        "told; or values, with which a later row is filled up too, so that no later batch drops an attribute.",
    )
    send: Literal["all", "changes"] = Field(
        "all",
        description="Rows of an export that are sent: all; or changes, those that say something that is not remembered "
        "as sent. Needs remember.",
    )
    refresh_days: float = Field(
        10.0,
        ge=0,
        le=10_000,
        description="Days after which a row is sent again though it says nothing new, with send = changes: Target "
        "forgets a profile after 14 days without activity, unless your account has another time.",
    )
    keep_days: Annotated[int, not_below("refresh_days")] = Field(
        400,
        ge=1,
        le=100_000,
        description="Days for which an id is remembered of which nothing is sent any more; with values it is personal "
        "data. At least refresh_days.",
    )

    @field_validator("send")
    @classmethod
    def _check_send(cls, send: str, info: ValidationInfo) -> str:
        if send == "changes" and info.data.get("remember") == "nothing":
            raise ValueError('needs remember = "digests" or "values": a change is told by what is remembered')
        return send

    def problems(self, export: ExportSettings, mapping: MappingSettings) -> list[str]:
        """The contradictions between it and what is said of the export, in words."""
        found = []
        if export.gone and self.remember != "values":
            found.append(
                '[export] gone needs remember = "values": by what is remembered it is told which ids a snapshot no '
                "longer has, and what else is sent of them"
            )
        sent = {*export.columns.values(), *mapping.parameters}
        if export.unlisted != "send" and (unsent := [name for name in export.gone if name not in sent]):
            found.append(f"[export] gone has {unsent[0]!r}, and no column is sent as that parameter")
        return found
