"""How far the end of a process, of a client code in it and of each of its jobs has come: one value that only rises.

    SIGTERM, SIGINT, --wait    process   LET_POSTS_END, at the second signal NOW
    a job cannot be finished   tenant    LET_POSTS_END: the jobs beside it stop too, the next run goes on with all
    an error ends the job      job       LET_POSTS_END
    abandoned                  job       NO_ATTEMPTS
    the export is unusable     job       NO_FIRST_ATTEMPTS

What ends a process ends its tenants, and what ends a tenant ends its jobs. Tasks read the stage, or wait for it; nobody
is called. The one task that carries an end out is `end_when_due`, which runs beside each job.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import PipelineError, most_telling
from pipeline.edges.changed import Changed


class Ending:
    """The end of a process, or with a `parent` of a part of it.

    `changed` is told of each rise; all parts share it. POSTs under way get `grace_s` seconds to come to their end.
    """

    def __init__(self, *, grace_s: float = 0.0, parent: "Ending | None" = None) -> None:
        self.changed: Changed = Changed() if parent is None else parent.changed
        self._grace_s = grace_s
        self._parent = parent
        self._stage = EndStage.NONE
        self._errors: list[tuple[EndStage, PipelineError]] = []

    def child(self) -> "Ending":
        """The end of a part, which comes with this one at the latest."""
        return Ending(parent=self)

    @property
    def grace_s(self) -> float:
        """Seconds that POSTs under way get to come to their end: the process says so."""
        return self._grace_s if self._parent is None else self._parent.grace_s

    @grace_s.setter
    def grace_s(self, seconds: float) -> None:
        self._grace_s = seconds

    @property
    def stage(self) -> EndStage:
        """How far it has come."""
        above = self._parent.stage if self._parent else EndStage.NONE
        return max(self._stage, above)

    @property
    def is_due(self) -> bool:
        """Does it end unfinished, as soon as no POST is under way?"""
        return self.stage >= EndStage.LET_POSTS_END

    @property
    def error(self) -> PipelineError | None:
        """The most telling of the errors with which it ends unfinished; else of those that ended it early."""
        return _most_telling(self._all_errors())

    @property
    def own_error(self) -> PipelineError | None:
        """The same, of its own errors: what is complete is not ended by what ends the process."""
        return _most_telling(self._errors)

    def raise_to(self, stage: EndStage, error: PipelineError | None = None) -> None:
        """Let the end come at least so far, because of this error."""
        self._stage = max(self._stage, stage)
        if error is not None:
            self._errors.append((stage, error))
        self.changed.tell()

    def hasten(self, error: PipelineError) -> None:
        """Somebody wants it to end: POSTs under way come to their end first; asked for once more, they are cut off."""
        self.raise_to(EndStage.NOW if self.is_due else EndStage.LET_POSTS_END, error)

    async def until(self, stage: EndStage) -> None:
        """Return when it has come so far."""
        await self.changed.until(lambda: self.stage >= stage)

    @contextmanager
    def by_errors(self) -> Iterator[None]:
        """An error from inside ends it: nothing else begins, and POSTs under way come to their end first."""
        try:
            yield
        except* PipelineError as errors:
            self.raise_to(EndStage.LET_POSTS_END, most_telling(errors))

    def _all_errors(self) -> list[tuple[EndStage, PipelineError]]:
        return [*self._errors, *(self._parent._all_errors() if self._parent else [])]


def _most_telling(every: list[tuple[EndStage, PipelineError]]) -> PipelineError | None:
    final = [error for stage, error in every if stage >= EndStage.LET_POSTS_END]
    errors = final or [error for _, error in every]
    return most_telling(BaseExceptionGroup("", errors)) if errors else None
