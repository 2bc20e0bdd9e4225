"""Sends batches one after the other while Target may be refusing everything, not only certain rows.

`core.batches.refusals` decides, and says why; here tasks wait for its decisions.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

from pipeline.core.batches.progress import Progress
from pipeline.core.batches.refusals import MAX_ROWS_REFUSED_ALIKE, Refusals
from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.batches.splitting import any_row, first_half, spread_rows
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.core.target.messages import is_about_the_client
from pipeline.jobs.ending import Ending


class Verdict(StrEnum):
    """The meaning of a refusal of a batch that is not split any further."""

    GUILTY = "it is refused for what is in it"
    TRY_AGAIN = "something was accepted since: it is to be sent once more"
    UNKNOWN = "nothing is left that could tell"


class Probing:
    """Gives each batch of a job its turn to be sent, and judges refused ones; `refusals` are those of the job."""

    def __init__(self, refusals: Refusals, progress: Progress, ending: Ending) -> None:
        self._refusals = refusals
        self._progress = progress
        self._ending = ending
        self._changed = ending.changed
        self._judged = 0
        self._splitting = 0
        self._waiting: set[Batch] = set()
        self._tried_alone: int | None = None
        self._tried_again: set[int] = set()

    @property
    def is_in_doubt(self) -> bool:
        """True if Target may well be refusing everything."""
        return self._refusals.is_in_doubt

    def probed_rows(self, batch: Batch) -> range | tuple[range, ...]:
        """The rows of a refused batch to split off: a few, to see if Target accepts anything at all, or half of it."""
        if not self.is_in_doubt or self._is_proven(batch):
            return first_half(batch.rows)
        if self._refusals.has_accepted:
            return any_row(batch.rows, batch.number)
        # So small a batch is a sample itself, and half of it a smaller one.
        is_sample = batch.rows <= 2 * MAX_ROWS_REFUSED_ALIKE
        return first_half(batch.rows) if is_sample else spread_rows(batch.rows, batch.number, MAX_ROWS_REFUSED_ALIKE)

    @contextmanager
    def splitting(self) -> Iterator[None]:
        """Try no batch while the body replaces a refused one by smaller ones."""
        self._splitting += 1
        try:
            yield
        finally:
            self._splitting -= 1
            self._changed.tell()

    @asynccontextmanager
    async def turn(self, batch: Batch) -> AsyncIterator[None]:
        """Let the body send a batch: at once, but while in doubt one at a time, the least tried and smallest first."""
        self._waiting.add(batch)
        try:
            await self._changed.until(lambda: not self.is_in_doubt or self._is_next(batch))
        finally:
            self._waiting.remove(batch)
        if self.is_in_doubt:
            self._tried_alone = batch.batch_id
        try:
            yield
        finally:
            if self._tried_alone == batch.batch_id:
                self._tried_alone = None
            self._changed.tell()

    def note_accepted(self, batch: Batch) -> None:
        """Note that a batch was accepted."""
        self._refusals.note_accepted()
        if batch.parent is not None:
            self._refusals.prove(self._progress.book.whole_of(batch))
        self._changed.tell()

    def note_refused(self, batch: Batch, message: str) -> None:
        """Note that a batch was refused. Raises `FatalError` (77) if everything is, or the client code."""
        self._refusals.note_refused(
            self._progress.book.whole_of(batch),
            tried_alone=self._tried_alone == batch.batch_id,
            message=message,
            # A batch that was sealed with one row is no sample.
            is_single_row=batch.rows == 1 and batch.parent is not None,
        )
        names_client = is_about_the_client(message) and not self._refusals.has_accepted
        if self._refusals.is_everything or names_client:
            raise _refuses_everything(message)

    def check_address(self, answer: str) -> None:
        """Raise `FatalError` (77) for an answer that is about the address, unless Target took batches there before."""
        if not self._refusals.has_accepted:
            raise _refuses_everything(answer)

    async def verdict(self, batch: Batch, message: str) -> Verdict:
        """Wait until other batches show why this one is refused, which is not split any further.

        Raises `FatalError` (77) if nothing was ever accepted, and nothing is left to try.
        """
        if batch.batch_id in self._tried_again or (self._is_proven(batch) and not self.is_in_doubt):
            return Verdict.GUILTY
        accepted = self._refusals.accepted
        self._judged += 1
        self._changed.tell()
        try:
            await self._changed.until(
                lambda: self._refusals.accepted != accepted or self._is_over or self._nothing_can_tell
            )
        finally:
            self._judged -= 1
        if self._refusals.accepted == accepted and not self._is_over:
            if not self._refusals.has_accepted:
                raise _refuses_everything(message)
            is_likely = self._refusals.are_few and (self._is_proven(batch) or accepted)
            return Verdict.GUILTY if is_likely else Verdict.UNKNOWN
        if self._is_over:
            return Verdict.UNKNOWN
        self._tried_again.add(batch.batch_id)
        return Verdict.TRY_AGAIN

    @property
    def _is_over(self) -> bool:
        """True if no more first attempts are made, but the job goes on to its end."""
        return self._ending.stage >= EndStage.NO_FIRST_ATTEMPTS and not self._ending.is_due

    @property
    def _nothing_can_tell(self) -> bool:
        """True if all unsettled batches wait for a verdict, and no other is sealed before one of them is released."""
        has_no_other = self._progress.is_all_sealed or self._progress.waiting is not None
        return self._progress.book.unsettled_count <= self._judged and has_no_other and not self._ending.is_due

    def _is_next(self, batch: Batch) -> bool:
        return not self._is_busy and min(self._waiting, key=self._rank) == batch

    def _is_proven(self, batch: Batch) -> bool:
        return self._refusals.is_proven(self._progress.book.whole_of(batch))

    def _rank(self, batch: Batch) -> tuple[int, int, int]:
        tried = self._refusals.tried(self._progress.book.whole_of(batch)) if self._refusals.has_accepted else 0
        return tried, batch.rows, batch.batch_id

    @property
    def _is_busy(self) -> bool:
        """True if a batch is on trial, or about to be replaced by smaller ones."""
        return self._tried_alone is not None or self._splitting > 0


def _refuses_everything(message: str) -> FatalError:
    return FatalError(
        f"Target refuses everything ({message}), so it is not the rows: is [target] client_code right? Check it, "
        "api_version and base_url, and that the client code takes profile updates; then run again. A job keeps the "
        "[export] settings that it began with, so mend a wrong id_kind by giving the job up with `abandon` and loading "
        "the export anew.",
        exit_code=ExitCode.REFUSED_BY_TARGET,
    )
