"""The service as its overview has it: client codes with their routes, jobs, and what sending waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core.expectations.calendar import CalendarDay


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know.

    `is_urgent`: somebody has to act, or rows are late. Otherwise it goes on by itself, or is good to know.
    `told`: a sentence. `to_do`: what to do, with commands in backquotes; empty if there is nothing to do.
    """

    told: str
    to_do: str = ""
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job in a list. `state`: as in `JobView`. Times are None if not known.

    `rows`: by class, with `read`; empty if they are not known.
    `is_sent_again`: the rows that it lost were sent by a retry that is done.
    `oldest_accepted`: when Target accepted the oldest batch that it has not applied yet; None if there is none.
    """

    job: str
    state: str
    export: str
    client_code: str = ""
    route: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float = 0.0
    rows: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    waits_for: tuple[str, ...] = ()
    is_sent_again: bool = False
    oldest_accepted: datetime | None = None

    @property
    def read(self) -> int:
        """The rows read."""
        return self.rows.get("read", 0)

    @property
    def lost(self) -> int:
        """The rows that should have reached Target and may not have."""
        return self.rows.get("failed", 0) + self.rows.get("unconfirmed", 0)


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route. `name` is empty if its client code has one only. `lying`: what lies in its drop directory, in words."""

    client_code: str
    name: str = ""
    directory: str = ""
    days: tuple[CalendarDay, ...] = ()
    latest: JobLine | None = None
    lying: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantView:
    """A client code. `facts`: terms and what is told of them, such as the token, the memory and the status window."""

    client_code: str
    notices: tuple[Notice, ...] = ()
    routes: tuple[RouteView, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The whole. `jobs`: those that have not ended in their order, then those that have, the latest first.

    `older_jobs`, `waiting_jobs`: the jobs that are not in `jobs`.
    """

    now: datetime
    version: str = ""
    tenants: tuple[TenantView, ...] = ()
    jobs: tuple[JobLine, ...] = ()
    older_jobs: int = 0
    waiting_jobs: int = 0
    notices: tuple[Notice, ...] = ()
