"""Accepted batches: they wait, are applied in any order, are asked about, and are forgotten.

    accept --> waiting --(due)--> applied   shown as incomplete, then complete
                       `--(due)--> stuck    shown as incomplete, then stuck; applied or not

A batch is applied at the first call (`apply_due`) after its due time, in due order. So nobody can see a batch complete
before its rows are in the profiles, and no task runs in the background. There is no I/O, clock or lock here: times are
seconds since the sandbox started, and one thread at a time calls.

**Order of sending.** In a stale overwrite, an older version replaces a newer one. Batches are numbered in the order in
which their bytes first arrived, answered or not. The same bytes again keep that number as long as their sender can
still be in doubt (no answer, stuck), or a copy of them waits to be applied. After that they get a new number: then they
are a new statement that happens to equal an old one. So copies that wait together always have one number: none of them
is older than another, and each is older than what was sent between them. With `says_all_once` they keep it for ever.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from pipeline.sandbox.batch import Batch
from pipeline.sandbox.faults import TAKEN_UNKNOWN, Fault
from pipeline.sandbox.mistakes import Mistake, MistakeKind, Mistakes, examples
from pipeline.sandbox.options import SandboxOptions
from pipeline.sandbox.profiles import Applied, Profiles

ApiVersion = Literal["v1", "v2"]


class BatchState(StrEnum):
    """The state of an accepted batch."""

    WAITING = "waiting"
    APPLIED = "applied"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One readable batch as it was sent.

    `fault`: the fault that it meets, or None.
    `failing`: ids that fail on Target's side.
    `applies`: False for a stuck batch that is never applied.
    """

    batch: Batch
    sha256: str
    size_bytes: int
    api_version: ApiVersion
    fault: Fault | None = None
    failing: frozenset[str] = frozenset()
    applies: bool = True


@dataclass(slots=True, kw_only=True)
class Accepted:
    """One accepted batch; only `AcceptedBatches` changes it. `submission` holds its rows until they are applied."""

    batch_id: str
    sequence: int
    order: int
    due_s: float
    accepted_s: float
    submission: Submission
    failed_ids: tuple[str, ...]
    state: BatchState = BatchState.WAITING
    applied: Applied | None = None
    applied_s: float | None = None
    lost: bool = False

    @property
    def rows(self) -> int:
        """Its data rows."""
        return self.submission.batch.rows

    @property
    def node(self) -> str:
        """The edge node that knows the batch, a parameter of its status URL."""
        return f"mboxedge{10 + self.sequence % 90}"

    @property
    def failed(self) -> int:
        """Rows that failed, once applied."""
        done = self.applied
        return self.rows - self.submission.batch.empty - done.successful - done.not_found if done else 0

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.batch_id,
            "api_version": self.submission.api_version,
            "rows": self.rows,
            "bytes": self.submission.size_bytes,
            "sha256": self.submission.sha256,
            "state": self.state,
            "accepted_s": self.accepted_s,
            "due_s": self.due_s,
            "applied_s": self.applied_s,
            "fault": self.submission.fault,
        }


@dataclass(slots=True)
class _Statement:
    """Bytes that keep their place in the order of sending, see above.

    `waiting`: copies of them that are accepted and not yet applied. `is_known`: since they were last sent, a copy whose
    POST was answered was applied.
    """

    order: int
    waiting: int = 0
    is_known: bool = False


class AcceptedBatches:
    """Every batch ever accepted, in order of acceptance, and the profiles they are applied to."""

    def __init__(self, options: SandboxOptions, mistakes: Mistakes, delays: random.Random, started_ms: int) -> None:
        self.profiles = Profiles(options.override, keep=options.keep_profiles)
        self.all: list[Accepted] = []
        self.repeats: list[tuple[str, str]] = []
        self._options = options
        self._mistakes = mistakes
        self._delays = delays
        self._started_ms = started_ms
        self._by_id: dict[str, Accepted] = {}
        self._first_of: dict[str, str] = {}
        self._due: list[tuple[float, int, Accepted]] = []
        self._statements: dict[str, _Statement] = {}
        self._last_order = 0

    def order_of(self, sha256: str) -> int:
        """The place of these bytes in the order of sending; ask for every POST that may have been taken."""
        return self._sent(sha256).order

    def accept(self, submission: Submission, now_s: float) -> Accepted:
        """Queue a batch, to be applied after a random delay."""
        self.apply_due(now_s)
        batch = submission.batch
        sequence = len(self.all) + 1
        statement = self._sent(submission.sha256)
        statement.waiting += 1
        accepted = Accepted(
            batch_id=f"{self._options.client_code}-{self._ms(now_s)}-{10_000_000 + sequence}",
            sequence=sequence,
            order=statement.order,
            accepted_s=now_s,
            due_s=now_s + self._delays.uniform(self._options.apply_min_s, self._options.apply_max_s),
            submission=submission if self._options.keep_profiles else _counts_only(submission),
            failed_ids=(*batch.failed_ids, *sorted(submission.failing))[: self._options.failed_rows_listed],
            lost=submission.fault is Fault.STATUS_LOST,
        )
        self._note_arrival(accepted, batch)
        self.all.append(accepted)
        self._by_id[accepted.batch_id] = accepted
        heapq.heappush(self._due, (accepted.due_s, sequence, accepted))
        return accepted

    def apply_due(self, now_s: float) -> None:
        """Apply every batch that is due, in due order."""
        while self._due and self._due[0][0] <= now_s:
            due_s, _, accepted = heapq.heappop(self._due)
            self._apply(accepted, due_s)

    def apply_all(self, now_s: float) -> None:
        """Apply all waiting batches at once, in due order."""
        self.apply_due(now_s)
        while self._due:
            self._apply(heapq.heappop(self._due)[2], now_s)

    def find(self, batch_id: str, now_s: float) -> Accepted | None:
        """The batch whose status can be asked for; None if it is unknown or forgotten."""
        accepted = self._by_id.get(batch_id)
        if accepted is None or accepted.lost:
            return None
        kept, kept_s = self._options.statuses_kept, self._options.statuses_kept_s
        if kept is not None and accepted.sequence <= len(self.all) - kept:
            return None
        if kept_s is not None and now_s - accepted.accepted_s > kept_s:
            return None
        return accepted

    def forget(self, batch_id: str) -> None:
        """Lose the status of a batch; the batch itself is applied as before."""
        if batch_id in self._by_id:
            self._by_id[batch_id].lost = True

    def _apply(self, accepted: Accepted, at_s: float) -> None:
        submission, accepted.submission = accepted.submission, _counts_only(accepted.submission)
        if submission.applies:
            accepted.applied = self.profiles.apply(
                submission.batch,
                order=accepted.order,
                at_ms=self._ms(at_s),
                creates=submission.api_version == "v2",
                failing=submission.failing,
            )
            accepted.applied_s = at_s
            self._note_stale(accepted, accepted.applied.stale)
        accepted.state = BatchState.STUCK if submission.fault is Fault.STUCK else BatchState.APPLIED
        statement = self._statements[submission.sha256]
        statement.waiting -= 1
        if submission.fault not in TAKEN_UNKNOWN and accepted.state is BatchState.APPLIED:
            statement.is_known = True
        if statement.is_known and not statement.waiting and not self._options.says_all_once:
            del self._statements[submission.sha256]

    def _sent(self, sha256: str) -> _Statement:
        """These bytes, which are sent once more or for the first time."""
        statement = self._statements.get(sha256)
        if statement is None:
            self._last_order += 1
            statement = self._statements[sha256] = _Statement(self._last_order)
        statement.is_known = False
        return statement

    def _note_arrival(self, accepted: Accepted, batch: Batch) -> None:
        for mistake in batch.mistakes:
            self._mistakes.note(mistake.of(accepted.batch_id))
        first = self._first_of.setdefault(accepted.submission.sha256, accepted.batch_id)
        if first != accepted.batch_id:
            self.repeats.append((accepted.batch_id, first))
        for other, shared in self._shared(accepted, batch):
            detail = f"{len(shared)} ids are also in {other.batch_id}, not yet applied: {examples(shared)}"
            self._mistakes.note(Mistake(MistakeKind.CLASH, detail, accepted.batch_id, len(shared)))

    def _shared(self, accepted: Accepted, batch: Batch) -> Iterator[tuple[Accepted, frozenset[str]]]:
        """The waiting batches of other bytes that share ids with this one, and those ids."""
        for _, _, other in sorted(self._due, key=lambda entry: entry[1]):
            theirs, is_repeated = other.submission.batch, other.submission.sha256 == accepted.submission.sha256
            if not is_repeated and theirs.id_kind == batch.id_kind and not theirs.ids.isdisjoint(batch.ids):
                yield other, theirs.ids & batch.ids

    def _note_stale(self, accepted: Accepted, ids: tuple[str, ...]) -> None:
        if ids:
            detail = f"{len(ids)} ids had been written by a batch sent later: {examples(set(ids))}"
            self._mistakes.note(Mistake(MistakeKind.STALE_OVERWRITE, detail, accepted.batch_id, len(ids)))

    def _ms(self, now_s: float) -> int:
        return self._started_ms + round(now_s * 1000)


def _counts_only(submission: Submission) -> Submission:
    return replace(submission, batch=replace(submission.batch, text="", ids=frozenset()))
