"""The world around the core, in memory: exports, what is durable, a model of Target, and the guards to take out.

Times are whole seconds, so that nothing is rounded. A `Version` is the place of a row among all rows of its id.
"""

from dataclasses import dataclass, field, fields, replace

import numpy as np
import orjson

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.fact_codec import fact_detail, fact_kind, make_fact
from pipeline.core.batches.lifecycle import Fact, NeverSent, Released, SplitUp
from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.model import Batch, BatchContent, Hashes
from pipeline.core.rows.framing import Record
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.target.replies import Complete
from tests.core.builders import rows_by_id

SALT = 42
HOLD_S = 100
DEADLINE_S = 1_000

#: The job, counted as they begin, then line in its export.
Version = tuple[int, int]
Cells = dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What keeps the promise; each is in force unless it is taken out.

    Where the name in brackets is one of `Courier`, `Producer`, `Ledger` or `recover`, the guard is the orchestration's
    own: `promise_process` mirrors it, so the machine shows that it is needed, not that it is there.
    """

    #: Rows of an id in flight are held (`Tracker`).
    held_back: bool = True
    #: A later row of an id waits behind one that was freed and found no room (`Tracker.must_wait`).
    behind_loose: bool = True
    #: `Begun` is durable before the first byte leaves (`Courier._attempt`).
    intent: bool = True
    #: An attempt that a crash cut off becomes ambiguous (`after_restart`).
    cut_off_is_ambiguous: bool = True
    #: And it is written down that it did, so that it is known when the next process starts (`recover`).
    cut_off_is_recorded: bool = True
    #: Ids are free only `ambiguous_hold_s` after the end of every open attempt (`release_at`).
    hold: bool = True
    #: The hold begins anew with a new process (`after_restart`).
    hold_after_restart: bool = True
    #: A stuck attempt is open (`fold`).
    stuck_is_open: bool = True
    #: An attempt whose status is lost, or whose deadline passed, is open (`fold`).
    given_up_is_open: bool = True
    #: The two that a batch is split into have its open attempts (`Courier._split`, `recover`).
    split_inherits: bool = True
    #: Held rows carry what the earlier row of their id had (`Tracker.carry`, called by `Producer._release`).
    carry: bool = True
    #: What a held row carries comes under the header of its own job (`rearrange`, called by `Producer._carried`).
    rearranged: bool = True
    #: A body is removed only after the first durable seal behind its release (`Producer._seal`).
    body_until_seal: bool = True
    #: Both children are sealed and the parent closed in one transaction (`Ledger.split`).
    split_in_one_step: bool = True
    #: Should they not be in one: the children are sealed before the parent is closed.
    split_children_first: bool = True
    #: Changes of held rows are in the seal transaction (`Ledger.seal`).
    held_in_seal: bool = True
    #: The next job begins only when the end of the one before is durable (`Runner`).
    next_when_read: bool = True
    #: The ids that a job holds when it is read are in flight for later jobs (`Lane.hold`).
    held_ahead: bool = True
    #: They stay so until its end is durable, should it be abandoned (`Lane.finish`).
    held_until_ended: bool = True
    #: What earlier jobs have in flight is so for later ones (`Lane.join`, `Lane.add`).
    earlier_in_view: bool = True
    #: The children of a split batch are so too (`Lane.split`).
    split_in_views: bool = True
    #: A body stays until the last job that awaits its batch has sealed (`Lane.closing`).
    body_until_all_seal: bool = True
    #: But the release is written down with the first of these seals (`Ledger.seal`).
    release_in_first_seal: bool = True
    #: A row carries from the newest batch of its id only (`Tracker.waiting_for`).
    carry_newest: bool = True
    #: In which order jobs began is durable (`Checkpoint.turn`).
    turn: bool = True

    @classmethod
    def names(cls) -> list[str]:
        """The guards there are."""
        return [each.name for each in fields(cls)]

    @classmethod
    def without(cls, name: str) -> "Guards":
        """All guards but one."""
        # In which order the steps of a split come matters only where there are several.
        also = {"split_in_one_step": False} if name == "split_children_first" else {}
        return cls(**{name: False} | also)


@dataclass(slots=True)
class Export:
    """A file that is still read as it grows: as if the reader were slow; `is_complete`: nothing is added any more."""

    columns: tuple[str, ...]
    records: list[Record] = field(default_factory=list)
    is_complete: bool = False
    is_gone: bool = False

    def add(self, profile_id: bytes, cells: Cells) -> None:
        """One more record."""
        values = [profile_id, *(cells.get(name, b"") for name in self.columns)]
        self.records.append(Record(2 + len(self.records), b",".join(values), values, has_bare_quote=False))


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A batch in the spool, and the rows of it by id: the line each came from, and the encoded row."""

    text: bytes
    lines: tuple[int, ...]
    parameters: tuple[str, ...]
    rows: dict[bytes, tuple[int, bytes]]
    hashes: Hashes

    @classmethod
    def of(cls, content: BatchContent) -> "Body":
        """The body of a batch, with its facts read from the text alone."""
        text = b"".join(content.pieces)
        assert len(text) == content.size_bytes
        lines = content.lines.tolist()
        header, *rows = text.splitlines(keepends=True)
        ids = [row.partition(b",")[0] for row in rows]
        assert len(set(ids)) == len(rows) == content.rows, "an id stands in a batch at most once"
        by_id = {profile_id: (line, row) for profile_id, line, row in zip(ids, lines, rows, strict=True)}
        assert np.array_equal(content.hashes, np.sort(hashes_of(ids)))
        parameters = tuple(header.decode().rstrip("\n").split(",")[1:])
        return cls(text, tuple(lines), parameters, by_id, content.hashes)

    def cells(self, profile_id: bytes) -> Cells:
        """The non-empty cells of an id."""
        cells = self.rows[profile_id][1].rstrip(b"\n").split(b",")[1:]
        assert len(cells) <= len(self.parameters)
        return {name: cell for name, cell in zip(self.parameters, cells, strict=False) if cell}


def hashes_of(ids: list[bytes]) -> Hashes:
    """The hash of each id, not sorted."""
    lengths = np.array([len(profile_id) for profile_id in ids], dtype=np.int64)
    return hash_ids(b"".join(ids), np.cumsum(lengths) - lengths, lengths, SALT)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it is durable; `report` None: unfinished. Of those that wait the first is of the lowest `sequence`."""

    seq: int
    checkpoint: bytes
    sequence: int = 0
    is_abandoned: bool = False
    report: dict[str, int] | None = None


class Store:
    """What survives a crash: ledger and spool. Each method is one transaction, or one durable file."""

    def __init__(self) -> None:
        self.jobs: dict[int, StoredJob] = {}
        self.batches: dict[int, Batch] = {}
        self.job_of: dict[int, int] = {}
        self.open_ids: frozenset[int] = frozenset()
        self.facts: dict[int, tuple[Fact, ...]] = {}
        self.held: dict[int, dict[bytes, tuple[tuple[bytes, int], ...]]] = {}
        self.spool: dict[int, Body] = {}
        #: The bodies of all batches that were ever sealed, for the checks.
        self.ever_sealed: dict[int, Body] = {}
        self.post_number = 0
        #: The jobs that have sealed anything, as they came to.
        self.begun: tuple[int, ...] = ()

    def copy(self) -> "Store":
        """The same facts, to try something on."""
        twin = Store()
        for name, value in vars(self).items():
            setattr(twin, name, dict(value) if isinstance(value, dict) else value)
        twin.held = {job: dict(rows) for job, rows in self.held.items()}
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    # Ledger

    def begin_job(self, sequence: int = 0) -> int:
        """One more job, behind all others, unless by its sequence."""
        seq = len(self.jobs) + 1
        self.jobs[seq] = StoredJob(seq, orjson.dumps(Checkpoint().as_dict()), sequence)
        self.held[seq] = {}
        return seq

    def checkpoint(self, seq: int) -> Checkpoint:
        """How far a job had come at its latest seal."""
        return Checkpoint.from_dict(orjson.loads(self.jobs[seq].checkpoint))

    def unfinished(self, *, by_turn: bool) -> list[int]:
        """`claims.in_order`."""
        jobs = [job for job in self.jobs.values() if job.report is None]
        begun = [job for job in jobs if job.seq in self.begun]
        waiting = [job for job in jobs if job.seq not in self.begun]
        if by_turn:
            begun.sort(key=lambda job: self.checkpoint(job.seq).turn)
        return [job.seq for job in [*begun, *sorted(waiting, key=lambda job: job.sequence)]]

    def place_of(self, seq: int) -> int:
        """The place of a job in the order in which they began, from 1."""
        return 1 + self.begun.index(seq)

    def abandon(self, seq: int) -> None:
        """The job is to end without sending what it has not sent."""
        self.jobs[seq] = replace(self.jobs[seq], is_abandoned=True)

    def finish_job(self, seq: int, report: dict[str, int], *, never_sent: list[int], released: list[int]) -> None:
        """The job has ended for good."""
        for batch_id in never_sent:
            self.add_fact(batch_id, NeverSent())
        for batch_id in released:
            self.release(batch_id)
            self.open_ids -= {batch_id}
        self.jobs[seq] = replace(self.jobs[seq], report=report)
        self.held[seq] = {}

    def seal(
        self,
        seq: int,
        checkpoint: Checkpoint,
        batch: Batch | None,
        held: HeldChanges,
        released: list[int],
        over: list[int],
    ) -> None:
        """The seal transaction."""
        if seq not in self.begun:
            self.begun = (*self.begun, seq)
        if batch:
            self.insert_batch(batch, seq)
        self.jobs[seq] = replace(self.jobs[seq], checkpoint=orjson.dumps(checkpoint.as_dict()))
        self.change_held(seq, held)
        for batch_id in released:
            self.release(batch_id)
        self.open_ids -= frozenset(over)

    def change_held(self, seq: int, held: HeldChanges) -> None:
        """These rows wait now; a part of the seal transaction."""
        if held.is_all:
            self.held[seq].clear()
        for profile_id, rows in rows_by_id(held).items():
            self.held[seq].pop(profile_id, None)
            if rows:
                self.held[seq][profile_id] = tuple(rows)

    def split(self, parent: Batch, children: tuple[Batch, Batch]) -> None:
        """Replace a refused batch by two, in one step."""
        for child in children:
            self.insert_batch(child, self.job_of[parent.batch_id])
        self.close_split(parent, children)

    def insert_batch(self, batch: Batch, seq: int) -> None:
        """A part of the transactions that seal a batch."""
        assert batch.batch_id in self.spool, "a batch is sealed only when its body is durable"
        assert batch.batch_id not in self.batches
        self.batches[batch.batch_id] = batch
        self.ever_sealed[batch.batch_id] = self.spool[batch.batch_id]
        self.job_of[batch.batch_id] = seq
        self.facts[batch.batch_id] = ()
        self.open_ids |= {batch.batch_id}

    def close_split(self, parent: Batch, children: tuple[Batch, Batch]) -> None:
        """A part of the transaction that splits a batch."""
        self.add_fact(parent.batch_id, SplitUp((children[0].batch_id, children[1].batch_id)))
        self.open_ids -= {parent.batch_id}

    def add_fact(self, batch_id: int, fact: Fact) -> None:
        """Something happened to a batch."""
        kept = make_fact(fact_kind(fact), orjson.loads(orjson.dumps(fact_detail(fact))))
        self.facts[batch_id] = (*self.facts[batch_id], kept)

    def next_post_number(self) -> int:
        """As the ledger counts them; they mean nothing here."""
        self.post_number += 1
        return self.post_number

    def latest(self, batch_id: int) -> Fact | None:
        """The latest fact that says how a batch stands."""
        kinds = [fact for fact in self.facts[batch_id] if not isinstance(fact, Released)]
        return kinds[-1] if kinds else None

    def is_split(self, batch_id: int) -> bool:
        """Whether others stand for this batch."""
        return any(isinstance(fact, SplitUp) for fact in self.facts[batch_id])

    def is_released(self, batch_id: int) -> bool:
        """Whether the ids of a batch are free."""
        return any(isinstance(fact, Released) for fact in self.facts[batch_id])

    def release(self, batch_id: int) -> None:
        """The ids of a batch are free; a part of transactions."""
        if not self.is_released(batch_id):
            self.add_fact(batch_id, Released())

    # Spool

    def write(self, batch_id: int, number: int, content: BatchContent, parent: int | None = None) -> Batch:
        """Make a body durable."""
        assert batch_id not in self.spool and batch_id not in self.batches
        self.spool[batch_id] = Body.of(content)
        return Batch(batch_id, number, content.rows, content.size_bytes, "", parent)

    def body(self, batch_id: int) -> Body:
        """A body that must be there."""
        assert batch_id in self.spool, f"the body of batch {batch_id} is gone while it is still asked for"
        return self.spool[batch_id]

    def remove(self, batch_id: int) -> None:
        """Forget a body."""
        self.spool.pop(batch_id, None)

    def next_batch_id(self) -> int:
        """One more than any in the ledger; what lies in the spool beyond was swept before."""
        return 1 + max(self.batches, default=0)


@dataclass(slots=True, eq=False)
class Copy:
    """One accepted attempt. It may be applied `until` then, unless it was `applied`.

    `left_out` are ids that Target fails when it applies it, and names, or does not consume, and does not name.
    """

    batch_id: int
    job: int
    body: Body
    ended_at: int
    until: float
    is_applied: bool = False
    failed: frozenset[bytes] = frozenset()
    not_consumed: frozenset[bytes] = frozenset()

    def version(self, profile_id: bytes) -> Version:
        """The version of an id in it."""
        return self.job, self.body.rows[profile_id][0]


class Target:
    """What Target may do at worst within the contract, under both readings of "override".

    A copy whose `complete` will be seen may be applied at any moment before that; any other until `HOLD_S` after its
    attempt ended, or never. Raises `AssertionError` as soon as an older value could land over a newer one.
    """

    def __init__(self) -> None:
        self.copies: list[Copy] = []
        self.merged: dict[bytes, Cells] = {}
        self.replaced: dict[bytes, Cells] = {}
        self._newest: dict[bytes, Version] = {}
        self._sent: dict[int, bytes] = {}

    def begin_post(self, batch_id: int, job: int, body: Body, now: int) -> None:
        """The first byte of an attempt leaves."""
        assert self._sent.setdefault(batch_id, body.text) == body.text, "every attempt sends the same bytes"
        for profile_id, (line, _) in body.rows.items():
            version = job, line
            assert version >= self._newest.get(profile_id, version), f"{profile_id!r}: an older version is sent"
            self._newest[profile_id] = version
            for copy in self.pending(now):
                assert profile_id not in copy.body.rows or copy.version(profile_id) == version, (
                    f"{profile_id!r}: version {version} is sent while {copy.version(profile_id)} may yet be applied"
                )

    def accept(self, batch_id: int, job: int, body: Body, now: int, *, is_followed: bool) -> str:
        """Queue a copy of which the attempt ends now; where its status is asked for, if anybody does."""
        self.copies.append(Copy(batch_id, job, body, now, float("inf") if is_followed else now + HOLD_S))
        return str(len(self.copies) - 1)

    def copy_at(self, status_url: str) -> Copy:
        """The copy whose status is asked for there."""
        return self.copies[int(status_url)]

    def pending(self, now: int) -> list[Copy]:
        """Copies that may yet be applied."""
        return [copy for copy in self.copies if not copy.is_applied and now < copy.until]

    def apply(self, copy: Copy) -> None:
        """Apply all rows of a copy that Target does not fail."""
        copy.is_applied = True
        for profile_id in copy.body.rows:
            version = copy.version(profile_id)
            assert version >= self._newest[profile_id], f"{profile_id!r}: {version} is applied over a newer version"
            if profile_id not in copy.failed | copy.not_consumed:
                cells = copy.body.cells(profile_id)
                self.merged.setdefault(profile_id, {}).update(cells)
                self.replaced[profile_id] = cells

    def complete(self, copy: Copy) -> Complete:
        """The status `complete`, which is shown only after this very copy was applied."""
        if not copy.is_applied:
            self.apply(copy)
        rows = len(copy.body.rows)
        return Complete(
            batch_size=rows,
            consumed=rows - len(copy.not_consumed),
            failed=len(copy.failed),
            failed_ids=tuple(sorted(profile_id.decode() for profile_id in copy.failed)),
        )

    def leave_open(self, copy: Copy) -> None:
        """Nobody asks for the status of this copy any more."""
        copy.until = copy.ended_at + HOLD_S

    def forget_all_but(self, status_urls: set[str]) -> None:
        """Of all other copies nobody asks for the status any more."""
        for number, copy in enumerate(self.copies):
            if str(number) not in status_urls:
                self.leave_open(copy)


@dataclass(slots=True)
class World:
    """All that is not the process: it is there before, and stays after a crash."""

    guards: Guards
    max_bytes: int
    max_rows: int
    max_held_rows: int
    store: Store = field(default_factory=Store)
    target: Target = field(default_factory=Target)
    exports: list[Export] = field(default_factory=list)
    now: int = 0
    #: Per batch, id and job: up to which line rows had been read when it was released. Later ones break the chain.
    read_at_release: dict[tuple[int, bytes, int], int] = field(default_factory=dict)

    def copy(self) -> "World":
        """The same with a store of its own, to try a recovery."""
        return replace(self, store=self.store.copy(), read_at_release={})
