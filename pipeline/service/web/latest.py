"""The status as it was read last: in a worker thread, beside the ledgers, and at most once a second for all who ask."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import anyio
import orjson
from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, FatalError, PipelineError
from pipeline.edges.clock import Clock
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.listing import JobsPage, jobs_page, listed_job
from pipeline.jobs.status.tenants import Statuses, statuses
from pipeline.service.web.readiness import unusable
from pipeline.settings.tenants import Configuration

#: Seconds for which what was read is told again. Ours.
FRESH_S = 1.0
#: Seconds that somebody waits for others who read, be it that the disk does not answer. Ours.
WAIT_S = 10.0
#: Things read that are kept at once, since each page of jobs is one of them. Ours.
_MOST_KEPT = 64
_STATUS = "status"
#: Keys whose values change by themselves, as time goes by: they are not news.
_AGES = frozenset({"age_s"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StatusTold:
    """The status of all tenants, its JSON, and a digest that differs when it shows something else."""

    statuses: Statuses
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """The result of a reading, or the error that it met, and the time by the monotonic clock."""

    at_s: float
    value: Any
    error: PipelineError | None = None


class Latest:
    """The results of the last readings. Whoever asks for one that is under way waits for it."""

    def __init__(self, configuration: Configuration, clock: Clock, *, wait_s: float = WAIT_S) -> None:
        self._configuration = configuration
        self._clock = clock
        self._wait_s = wait_s
        self._digest = ""
        self._kept: dict[Hashable, _Kept] = {}
        self._one_reads = anyio.Lock()

    def take(self, configuration: Configuration) -> None:
        """Read by this configuration from now on."""
        self._configuration = configuration
        self._kept.clear()

    async def status(self) -> StatusTold:
        """The status of all tenants. When it shows something else, whatever was read before is read anew too.

        So who is told of that by an event, and asks what it is, gets nothing from before it.
        """
        told = await self.read(_STATUS, _status)
        if told.digest != self._digest:
            self._digest = told.digest
            self._kept = {what: kept for what, kept in self._kept.items() if what == _STATUS}
        return told

    async def jobs(self, before: str | None, limit: int) -> JobsPage:
        """The latest jobs, at most so many; those before the job with this id."""
        return await self.read(("jobs", before, limit), lambda of, now: jobs_page(of, now, before=before, limit=limit))

    async def job(self, job_id: str) -> JobStatus:
        """The status of a job. Raises `PipelineError` (64) if there is none of this id."""
        return await self.read(("job", job_id), lambda of, now: listed_job(of, job_id, now))

    async def unusable(self) -> tuple[str, ...]:
        """The directories and ledgers that cannot be used, in words."""
        return await self.read("unusable", lambda of, _: unusable(of))

    async def read(self, what: Hashable, reading: Callable[[Configuration, datetime], T]) -> T:
        """The result of `reading`, a blocking function, of now or of less than a second ago.

        Raises the `PipelineError` that it met, for as long; and one (74) if its turn does not come.
        """
        try:
            with anyio.fail_after(self._wait_s):
                await self._one_reads.acquire()
        except TimeoutError:
            why = f"the state directory has not been read for {self._wait_s:g} s: its disk is slow, or does not answer."
            raise FatalError(why, exit_code=ExitCode.DISK_OR_LEDGER) from None
        try:
            kept = self._kept.get(what)
            if kept is None or self._clock.monotonic() - kept.at_s >= FRESH_S:
                self._kept.pop(what, None)
                kept = await self._read(reading)
                self._kept[what] = kept
                if len(self._kept) > _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
        finally:
            self._one_reads.release()
        if kept.error is not None:
            raise kept.error
        value: T = kept.value
        return value

    async def _read(self, reading: Callable[[Configuration, datetime], Any]) -> _Kept:
        try:
            value = await run_sync(reading, self._configuration, self._clock.utc_now())
        except PipelineError as error:
            return _Kept(self._clock.monotonic(), None, error)
        return _Kept(self._clock.monotonic(), value)


def _status(configuration: Configuration, now: datetime) -> StatusTold:
    told = statuses(configuration, None, now)
    values = told.as_json()
    return StatusTold(told, orjson.dumps(values), sha256(orjson.dumps(_without_ages(values))).hexdigest()[:16])


def _without_ages(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ages(item) for key, item in value.items() if key not in _AGES}
    return [_without_ages(item) for item in value] if isinstance(value, list) else value
