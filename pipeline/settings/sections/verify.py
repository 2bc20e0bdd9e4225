"""The section [verify]: rows of ended jobs that the service reads back from Target."""

from pydantic import Field

from pipeline.settings.sections.base import WEEK_S, Section

#: Ids of a job that are read back, at most. Ours: at 45 calls a minute so many take 20 minutes.
_MOST_IN_SAMPLE = 1_000


class VerifySettings(Section):
    """The sample of a job that is read back from Target once the job is done."""

    sample: int = Field(
        0,
        ge=0,
        le=_MOST_IN_SAMPLE,
        description="Ids of each job whose profiles the service reads back, each by a call of the budget; 0: none.",
    )
    after_s: float = Field(
        3_600.0,
        ge=0,
        le=WEEK_S,
        description="Seconds after the end of a job before its sample is read back: Target applies batches later.",
    )
