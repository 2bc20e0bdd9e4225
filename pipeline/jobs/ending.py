"""The end of a process, of each tenant in it and of each job: one stage that only rises.

    SIGTERM, SIGINT, --wait    process   LET_POSTS_END, at the second signal NOW
    a job cannot be finished   tenant    LET_POSTS_END: the jobs beside it stop too, the next run goes on with all
    an error ends the job      job       LET_POSTS_END
    set aside because of a bug job       NO_ATTEMPTS
    abandoned                  job       NO_ATTEMPTS
    the export is unusable     job       NO_FIRST_ATTEMPTS

The stage of a process holds for its tenants, and that of a tenant for its jobs. Tasks read the stage or wait for it;
there are no callbacks. One task beside each job acts on it: `load` cancels what is left of the job when it is due.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import InputError, PipelineError, UnexpectedError, most_telling, unexpected
from pipeline.edges.changed import Changed

log = structlog.get_logger()


class Ending:
    """The end of a process, or with a `parent` of a part of it.

    `changed` is told of each rise; all parts share it. POSTs under way get `grace_s` seconds to finish.
    """

    def __init__(self, *, grace_s: float = 0.0, parent: "Ending | None" = None) -> None:
        self.changed: Changed = Changed() if parent is None else parent.changed
        self._grace_s = grace_s
        self._parent = parent
        self._stage = EndStage.NONE
        self._errors: list[tuple[EndStage, PipelineError]] = []

    def child(self) -> "Ending":
        """The end of a part: its stage is never below this one's."""
        return Ending(parent=self)

    @property
    def grace_s(self) -> float:
        """Seconds that POSTs under way get to finish; one value for the whole process."""
        return self._grace_s if self._parent is None else self._parent.grace_s

    @grace_s.setter
    def grace_s(self, seconds: float) -> None:
        self._grace_s = seconds

    @property
    def stage(self) -> EndStage:
        """The highest stage reached, here or in a parent."""
        above = self._parent.stage if self._parent else EndStage.NONE
        return max(self._stage, above)

    @property
    def own_stage(self) -> EndStage:
        """The same without the parents' stages: a job that is complete is not ended by what ends the process."""
        return self._stage

    @property
    def is_due(self) -> bool:
        """True if it ends unfinished as soon as no POST is under way."""
        return self.stage >= EndStage.LET_POSTS_END

    @property
    def error(self) -> PipelineError | None:
        """The most telling error that leaves it unfinished; if none, that cuts it short. Parents' errors count too."""
        return _most_telling(self._all_errors())

    @property
    def own_error(self) -> PipelineError | None:
        """The same without the parents' errors: a job that is complete is not ended by what ends the process."""
        return _most_telling(self._errors)

    def raise_to(self, stage: EndStage, error: PipelineError | None = None) -> None:
        """Raise the stage to at least this one, because of `error`."""
        self._stage = max(self._stage, stage)
        if error is not None:
            self._errors.append((stage, error))
        self.changed.tell()

    def hasten(self, error: PipelineError) -> None:
        """End it as somebody asked: at the first call POSTs under way may finish, at the next they are cut off."""
        self.raise_to(EndStage.NOW if self.is_due else EndStage.LET_POSTS_END, error)

    async def until(self, stage: EndStage) -> None:
        """Wait until the stage is at least this one."""
        await self.changed.until(lambda: self.stage >= stage)

    @contextmanager
    def by_errors(self) -> Iterator[None]:
        """Let an error in the body end it: nothing else begins, and POSTs under way may finish."""
        try:
            yield
        except* PipelineError as errors:
            self.raise_to(EndStage.LET_POSTS_END, most_telling(errors))
        except* Exception as errors:  # noqa: BLE001 - whatever it is, it is the end of this part only
            self.raise_to(EndStage.LET_POSTS_END, tell_unexpected(errors))

    def _all_errors(self) -> list[tuple[EndStage, PipelineError]]:
        return [*self._errors, *(self._parent._all_errors() if self._parent else [])]


def tell_unexpected(error: Exception) -> UnexpectedError:
    """Log an error that nobody expected, and return it in our words. Called where the error is handled."""
    told = unexpected(error)
    log.exception("unexpected_error", why=str(told))
    return told


def _most_telling(every: list[tuple[EndStage, PipelineError]]) -> PipelineError | None:
    final = [error for stage, error in every if stage >= EndStage.LET_POSTS_END]
    errors = final or [error for _, error in every]
    return most_telling(BaseExceptionGroup("", errors)) if errors else None


def abandoned() -> InputError:
    """The error that ends an abandoned job."""
    return InputError("abandoned by request: what was sent was followed to its end, the rest is unsent.")


def is_abandoned(ending: Ending) -> bool:
    """True if a job is given up. What goes on with the next run, because the process ends, is not."""
    return ending.stage is EndStage.NO_ATTEMPTS
