"""The story of one id: its rows in each job, and the conclusion of all of them."""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.core.explain.fates import RowFate
from pipeline.core.plain import plain, written

#: `whole`: each row is known. `partly`: rows of it may lack. `nothing`: there is no index of it. `unread`: the job has
#: not read its export yet.
Known = Literal["whole", "partly", "nothing", "unread"]


@dataclass(frozen=True, slots=True)
class JobStory:
    """The rows of an id in one job.

    `state`: that of the job; `unfinished` while it is, or `quarantined`. `known`: see `Known`. `note`: why not more.
    `read_to_line`: how far an unfinished job has read; None at the end of the export.
    `nameless`: rejected rows of the job that have no id that can be told, so that any may be of this one.
    `is_hashed`: [mapping] hashes the ids of its export, so that the id was hashed to be found.
    """

    job: str
    state: str
    export: str
    id_kind: str
    started_at: str
    finished_at: str | None
    known: Known
    rows: tuple[RowFate, ...] = ()
    note: str = written(default="", if_default=False)
    read_to_line: int | None = written(default=None, if_default=False)
    retry_of: str | None = written(default=None, if_default=False)
    nameless: int = written(default=0, if_default=False)
    is_hashed: bool = written(default=False, if_default=False)
    rejects_table: str | None = written(default=None, if_default=False)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A conclusion in words, and the command to type next: its words, `ID` for the id that was asked for.

    `job`: the one that decides. `id_kind`: that of the id; empty if no job had it.
    """

    told: str
    command: tuple[str, ...] = ()
    job: str | None = None
    id_kind: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The entry of the memory for the id. `sent_at`: its last sending for certain, UTC in ISO 8601; None if never."""

    id_kind: str
    sent_at: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of an id of one client code; the jobs in the order in which they were entered."""

    client_code: str
    conclusions: tuple[Conclusion, ...]
    jobs: tuple[JobStory, ...]
    remembered: tuple[Remembered, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; the id itself is not among them."""
        values: dict[str, Any] = plain(self)
        return values
