"""What must hold where something is remembered: each row in its order, compared with what is remembered of its id.

A model of the memory goes through the jobs: what each row says, what was sent of it, and what became of that. With
values, every row that is sent has all that is remembered of its id. A row is left out only if it says nothing new.
At the end Target has of each id what its rows said last, on all days; where values are remembered, under both readings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core.batches.lifecycle import (
    Failed,
    GivenUp,
    InDoubt,
    NeverSent,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    Taken,
)
from pipeline.edges.store.records import BatchRecord, JobRecord
from tests.simulation.client import Client, is_lost
from tests.simulation.process import BEGAN_AT
from tests.simulation.target import Cells

#: The clock of the memory counts minutes.
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a job says of an id, and the batch in which it is sent; None if it is left out.

    `is_cut_short`: the job ended before all its rows were sent.
    """

    job: JobRecord
    cells: Cells
    batch: BatchRecord | None
    is_cut_short: bool


@dataclass(slots=True)
class Remembered:
    """The memory of one id, and what its rows said last.

    `cells`, `is_sent`, `sent_at`: what is remembered, whether it counts as sent, and when it was accepted (seconds).
    `said`: of each parameter the last value. `sure`: those of them that Target has for certain. `taken`: of each
    parameter the last value of rows that Target did not reject, with which a lost row may have been filled in.
    `lost`: by job what was lost of it, but for what rows of later jobs say anew.
    `is_whole`: nothing was left out for want of room, and the memory was not emptied.
    """

    profile_id: bytes
    client: Client
    cells: Cells = field(default_factory=dict)
    is_sent: bool = False
    sent_at: float = 0.0
    said: Cells = field(default_factory=dict)
    sure: dict[str, bytes] = field(default_factory=dict)
    taken: Cells = field(default_factory=dict)
    lost: dict[str, Cells] = field(default_factory=dict)
    is_whole: bool = True
    is_lossy: bool = False
    released_at: float = 0.0
    _is_lost: bool = False

    def take(self, said: Said) -> None:
        """Go on with what the next job says."""
        self._check_order(said)
        if said.batch is None:
            self._leave_out(said)
            return
        body = self.client.bodies[said.batch.batch.batch_id]
        cells = body.cells(self.profile_id)
        self._check_cells(said, cells)
        self.said |= said.cells
        if not isinstance(said.batch.latest, RowRejected):
            self.taken |= said.cells
        self._remember(said.batch, cells, said.cells)
        # Without values a row carries what the row has for which it waited, and that counts as its own.
        own = said.cells if self.client.remembers == "values" else cells
        if said.job.retry_of is None:
            self._overtake(own)
        if self._is_lost:
            self.lost[said.job.job_id] = own

    def _overtake(self, cells: Cells) -> None:
        """A later row says something: whatever becomes of it, what was lost before of the same does not come back."""
        for job_id, lost in self.lost.items():
            self.lost[job_id] = {name: value for name, value in lost.items() if name not in cells}

    def _leave_out(self, said: Said) -> None:
        """Left out is what says nothing new, was sent for certain, and not long ago."""
        if said.is_cut_short or not said.cells:
            # It was never sent, or says nothing new: nobody can tell.
            return
        settings = self.client.tenant.settings.memory
        what = f"{self.profile_id!r} of job {said.job.seq} is left out"
        assert said.job.retry_of is None, f"{what}, and was to be sent again"
        assert settings.send == "changes", f"{what}, and all is to be sent"
        assert self.is_sent, f"{what}, and what is remembered of it does not count as sent"
        assert self._says_nothing_new(said.cells), f"{what}: {said.cells} says more than {self.cells}"
        dropped_at = self.client.dropped_at.get(said.job.export, 0.0)
        fresh_since = dropped_at - settings.refresh_days * 86_400 - _MINUTE_S
        assert self.sent_at >= fresh_since, f"{what}, and was sent too long ago, at {self.sent_at}"
        assert not self._is_forgotten(said), f"{what}, and nothing is remembered of it"

    def _says_nothing_new(self, cells: Cells) -> bool:
        return all(self.cells.get(name) == value for name, value in cells.items())

    def _is_forgotten(self, said: Said) -> bool:
        """Whether the memory was emptied behind all that was sent, and before the export of a job came."""
        rebuilt_at = self.client.rebuilt_at
        if rebuilt_at is None:
            return False
        return self.released_at < rebuilt_at <= self.client.dropped_at.get(said.job.export, 0.0)

    def _check_order(self, said: Said) -> None:
        """What is sent again is all that was lost and that no later row says; nothing that is older."""
        if said.job.retry_of is None:
            return
        left = self.lost.get(said.job.retry_of, {})
        if not said.is_cut_short:
            self.lost.pop(said.job.retry_of, None)
            assert left.items() <= said.cells.items(), f"{self.profile_id!r}: {left} is lost, and not sent again"
        for name, value in said.cells.items():
            is_newest = left.get(name, self.taken.get(name)) == value
            assert is_newest, f"{self.profile_id!r}: {name} is sent again, {value!r}, and is older"

    def _check_cells(self, said: Said, cells: Cells) -> None:
        """With values a row has what is remembered, unless it does not fit; with digests it may carry it."""
        filled = self.cells | said.cells
        name = f"{self.profile_id!r} of job {said.job.seq}"
        if self._is_forgotten(said):
            assert cells == said.cells, f"{name}: {cells} has more than {said.cells}, and nothing is remembered"
            self.is_whole = False
        elif self.client.rebuilt_at is not None:
            assert said.cells.items() <= cells.items() <= filled.items(), f"{name}: {cells} of {filled}"
            self.is_whole &= cells == filled
        elif self.client.remembers == "digests" or not self._fits(said, filled):
            assert cells in (said.cells, filled), f"{name}: {cells} is neither {said.cells} nor {filled}"
            self.is_whole &= cells == filled
        else:
            assert cells == filled, f"{name}: {cells} is not {filled}"

    def _fits(self, said: Said, cells: Cells) -> bool:
        parameters = said.job.checkpoint.parameters
        row = len(self.profile_id) + sum(1 + len(cells.get(name, b"")) for name in parameters) + len("\n")
        header = f"batch={','.join(('thirdPartyId', *parameters))}\n"
        return len(header) + row <= self.client.tenant.settings.batch.max_bytes

    def _remember(self, batch: BatchRecord, cells: Cells, own: Cells) -> None:
        """Note what became of a row."""
        fate = _fate(self.client, batch, self.profile_id)
        self._is_lost = is_lost(batch, self.profile_id)
        self.is_lossy |= fate != "sent"
        if fate != "refused":
            self.cells = cells
        self.is_sent = fate == "sent" and not _has_unnamed(batch)
        self.sent_at = _time_of(batch, Taken)
        self.released_at = _time_of(batch, Released)
        if fate == "sent":
            self.sure |= {name: value for name, value in cells.items() if self.said.get(name) == value}
        else:
            for name in own:
                self.sure.pop(name, None)

    def check_profiles(self) -> None:
        """Target has what was said last, but for what was lost and not said since."""
        if not self.is_lossy:
            assert self.sure == self.said, f"{self.profile_id!r}: {self.said} is said, {self.sure} sent"
        target = self.client.target
        profiles = {"merged": target.merged.get(self.profile_id, {})}
        if self.client.remembers == "values" and self.is_whole:
            profiles["replaced"] = target.replaced.get(self.profile_id, {})
        for how, profile in profiles.items():
            has = {name: profile.get(name) for name in self.sure}
            assert has == self.sure, f"{self.profile_id!r}, {how}: it has {has}, and {self.sure} was sent last"


def check_remembered(client: Client, said: Mapping[bytes, Iterable[Said]]) -> None:
    """Check each id. `said`: of each what the jobs said, in their order."""
    for profile_id, jobs in said.items():
        remembered = Remembered(profile_id, client)
        for each in jobs:
            remembered.take(each)
        remembered.check_profiles()


def _fate(client: Client, batch: BatchRecord, profile_id: bytes) -> str:
    """`sent`, `doubtful` or `refused`: what became of a row."""
    rows = client.bodies[batch.batch.batch_id].rows
    match batch.latest:
        case SeenComplete(failed_ids=failed_ids) if profile_id.decode() in failed_ids:
            return "doubtful" if _is_in_doubt(client, batch) else "refused"
        case SeenComplete(unconfirmed=unconfirmed) if unconfirmed and profile_id == min(rows):
            return "doubtful"
        case SeenComplete():
            return "sent"
        case RowRejected() | Failed():
            return "refused"
        case GivenUp():
            may_be_applied = any(isinstance(fact, Taken) for fact in batch.facts) or _is_in_doubt(client, batch)
            return "doubtful" if may_be_applied else "refused"
        case NeverSent():
            # It was split from a batch that may have arrived.
            return "doubtful"
    raise AssertionError(f"a batch has no outcome: {batch.latest}")


def _is_in_doubt(client: Client, batch: BatchRecord | None) -> bool:
    """Whether Target may have an attempt of which nothing was heard: at a batch, or at one that it was split from."""
    while batch is not None:
        if any(isinstance(fact, InDoubt | SeenStuck) for fact in batch.facts):
            return True
        batch = None if batch.batch.parent is None else client.ledger.batch(batch.batch.parent)
    return False


def _has_unnamed(batch: BatchRecord) -> bool:
    """Whether Target lost rows that it did not name: none of the batch counts as sent."""
    return isinstance(batch.latest, SeenComplete) and batch.latest.unconfirmed > len(batch.latest.unconfirmed_ids)


def _time_of(batch: BatchRecord, kind: type) -> float:
    """When a fact of a batch was written down last (seconds of the world)."""
    times = [at for fact, at in zip(batch.facts, batch.times, strict=True) if isinstance(fact, kind)]
    return (datetime.fromisoformat(times[-1]) - BEGAN_AT).total_seconds() if times else 0.0
