"""One process, from its start to its crash: drives the core as producer, courier, recovery and report do.

Each task is a generator that stops wherever the real one awaits: before each durable step (`Step`), for an answer of
Target (`Posting`, `Asking`) or for something to happen (`Until`). Whoever drives it may go on with any task, and may
drop everything at any stop: that is a crash. Where a name of `pipeline` is given, what is done here mirrors it.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.chunker import Chunker
from pipeline.core.batches.in_flight import Due, InFlight, JobView
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    Life,
    Phase,
    RefusedAs,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    after_restart,
    fold,
    release_at,
    seen_complete,
    settlement,
)
from pipeline.core.batches.placer import Placer
from pipeline.core.batches.progress import Progress
from pipeline.core.batches.retry_policy import RetryPolicy, attempt_fact
from pipeline.core.batches.splitting import any_row, first_half, split
from pipeline.core.batches.tracker import NO_CHANGES, Tracker
from pipeline.core.errors import InputError
from pipeline.core.model import Batch, BatchState, Flags, Hashes, Rows
from pipeline.core.rows.encoding import encoded_forms, merge, rearrange
from pipeline.core.rows.framing import Position, Record
from pipeline.core.rows.mapping import RowMapper, pack_rows, plan_columns
from pipeline.core.target.replies import Complete, Incomplete, PostOutcome, StatusLost, StatusOutcome, Stuck
from tests.core.promise import DEADLINE_S, HOLD_S, SALT, Export, Guards, World, hashes_of

CONCURRENCY = 2
ATTEMPTS = 3
MAX_EXTRA_POSTS = 6
BLOCK_ROWS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """The task can go on; a durable step of that kind comes next."""

    kind: str


@dataclass(frozen=True, slots=True)
class Until:
    """The task can go on as soon as `ready()`."""

    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Posting:
    """An attempt is on the wire."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Asking:
    """The status of an accepted attempt is asked for."""

    batch: Batch
    status_url: str


FACT, SEAL, SPLIT, REMOVAL, FINISH = (Step(kind) for kind in ("fact", "seal", "split", "removal", "finish"))
STEPS = (FACT, SEAL, SPLIT, REMOVAL, FINISH)
Stop = Step | Until | Posting | Asking
#: What a task is given to go on with.
Answer = PostOutcome | StatusOutcome | None
Steps = Generator[Stop, Answer, None]


class Blind(Tracker):
    """A tracker with guards taken out."""

    guards = Guards()

    def is_in_flight(self, hashes: Hashes) -> Flags:
        found = super().is_in_flight(hashes)
        return found if self.guards.held_back else found & False

    def must_wait(self, hashes: Hashes) -> Flags:
        return super().must_wait(hashes) if self.guards.behind_loose else self.is_in_flight(hashes)

    def cannot_carry(self, earlier: dict[bytes, bytes]) -> set[bytes]:
        """Ids of which the held row would fit in no batch with what it is to carry."""
        numbers = {name: self._held.find(name, int(hashes_of([name])[0])) for name in earlier}
        sizes = {name: len(merge(text, self._held.text(numbers[name]))) for name, text in earlier.items()}
        return {name for name, size in sizes.items() if size > self._max_row_bytes}

    def elsewhere(self, batch_id: int, ids: list[bytes]) -> set[bytes]:
        """Which of these ids of a batch are in flight otherwise too."""
        found = self._in_flight.contain(hashes_of(ids), but=batch_id)
        return {name for name, is_found in zip(ids, found, strict=True) if is_found}

    def waiting_for(self, batch_id: int, hashes_of: Callable[[int], Hashes] | None = None) -> set[bytes]:
        if self.guards.carry_newest:
            return super().waiting_for(batch_id, hashes_of)
        return set(self._held.ids(self._held_for(batch_id)))


class BlindInFlight(InFlight):
    """A lane with guards taken out."""

    guards = Guards()

    def add(self, job: int, batch_id: int, hashes: Hashes, parameters: tuple[str, ...], due: Due | None = None) -> None:
        super().add(job, batch_id, hashes, parameters, due)
        if not self.guards.earlier_in_view:
            self._flights[batch_id].awaited_by &= {job}

    def join(self, job: int, tracker: Tracker) -> JobView:
        if not self.guards.earlier_in_view:
            for flight in self._flights.values():
                flight.awaited_by -= {job} if flight.due is None else set()
        return super().join(job, tracker)

    def split(self, batch_id: int, children: dict[int, Hashes]) -> None:
        if not self.guards.split_in_views:
            self._flights[batch_id].awaited_by &= {self._jobs[0]}
            for job, view in self._views.items():
                if job != self._jobs[0]:
                    view.tracker.forget(batch_id)
        super().split(batch_id, children)

    def hold(self, job: int, hashes: Hashes, parameters: tuple[str, ...]) -> None:
        super().hold(job, hashes if self.guards.held_ahead else hashes[:0], parameters)

    def leave(self, job: int) -> None:
        super().leave(job)
        if not self.guards.held_until_ended and job in self._holding:
            self.hold(job, np.empty(0, dtype=np.uint64), ())

    def closing(self, job: int, batch_ids: Iterable[int]) -> list[int]:
        if self.guards.body_until_all_seal:
            return super().closing(job, batch_ids)
        return self._take([each for each in batch_ids if each in self._flights])


@dataclass(frozen=True, slots=True)
class Recovered:
    """`recovery.Recovered`, and what is settled."""

    to_deliver: tuple[tuple[Batch, Life], ...]
    due: tuple[Due, ...]
    parameters: tuple[str, ...]


@dataclass(slots=True)
class Task:
    """A generator and what it waits for; 0 is no job's."""

    steps: Steps
    job: int = 0
    stop: Stop = FACT

    @property
    def can_go_on(self) -> bool:
        """Whether it waits for nobody."""
        return isinstance(self.stop, Step) or (isinstance(self.stop, Until) and self.stop.ready())


@dataclass(slots=True)
class Job:
    """`job.Job`, and what the tasks of one share."""

    seq: int
    progress: Progress
    is_recovered: bool = False
    is_stopped: bool = False
    never_begun: set[int] = field(default_factory=set)
    extra_posts: int = 0


class Process:
    """The tasks of one process; `clock_offset` is what its monotonic clock was at the beginning of the world."""

    def __init__(self, world: World, clock_offset: int) -> None:
        self.world = world
        self.store = world.store
        #: Those that run, in their order.
        self.jobs: dict[int, Job] = {}
        #: What the first job of this process took up.
        self.recovered: Recovered | None = None
        self.in_flight = BlindInFlight(self._hashes_of)
        self.unsent = 0
        #: Whether a task raised, after which nothing more can be said.
        self.is_broken = False
        self._clock_offset = clock_offset
        self._policy = RetryPolicy(attempts=ATTEMPTS, backoff_s=1, backoff_max_s=1, give_up_after_s=1)
        self.lost: set[int] = set()
        self._next_batch_id = self.store.next_batch_id()
        self.tasks: dict[str, Task] = {"main": Task(self._main())}

    def go_on(self, name: str, answer: Answer = None) -> None:
        """Let a task run up to its next stop."""
        task = self.tasks[name]
        self.is_broken = True
        try:
            task.stop = task.steps.send(answer)
        except StopIteration:
            del self.tasks[name]
        self.is_broken = False

    def ready(self) -> list[str]:
        """The tasks that can go on by themselves."""
        return [name for name, task in self.tasks.items() if task.can_go_on]

    def waiting(self) -> list[str]:
        """The tasks that wait for Target."""
        return [name for name, task in self.tasks.items() if isinstance(task.stop, Posting | Asking)]

    @property
    def clock(self) -> float:
        """The monotonic clock of this process."""
        return float(self.world.now + self._clock_offset)

    @property
    def _guards(self) -> Guards:
        return self.world.guards

    def _hashes_of(self, batch_id: int) -> Hashes:
        return self.store.body(batch_id).hashes

    @property
    def _hold_s(self) -> float:
        return HOLD_S if self._guards.hold else 0.0

    # load.py, recovery.py, report.py

    def _main(self) -> Steps:
        """`Runner.run_jobs`."""
        self._tidy()
        self.in_flight = BlindInFlight(self._hashes_of, [seq for seq in self._order() if seq in self.store.begun])
        self.in_flight.guards = self._guards
        for batch_id in sorted(self.store.open_ids):
            # `recover_lane`
            if self.store.jobs[self.store.job_of[batch_id]].report is not None:
                life, _ = self._life_now(batch_id)
                assert life.phase is Phase.SETTLED, f"batch {batch_id} of an ended job is unsettled"
                self._take_up(batch_id, self._due(batch_id, life))
        while True:
            yield Until(lambda: self._next() is not None)
            seq = self._next()
            assert seq is not None
            self.in_flight.enter(seq)
            job = self.jobs[seq] = Job(seq, Progress(checkpoint=self.store.checkpoint(seq)))
            if seq not in self.store.begun:
                turns = [each.progress.checkpoint.turn for each in self.jobs.values()]
                job.progress.checkpoint.turn = 1 + max(turns)
                # Whatever an earlier process read of it is read anew.
                noted = self.world.read_at_release
                self.world.read_at_release = {key: line for key, line in noted.items() if key[2] != seq}
            self.tasks[f"job {seq}"] = Task(self._run(job), seq)

    def _order(self) -> list[int]:
        return self.store.unfinished(by_turn=self._guards.turn)

    def _next(self) -> int | None:
        """The next job, if it may begin."""
        may_begin = not self._guards.next_when_read or all(self.in_flight.is_read(seq) for seq in self.jobs)
        return next((seq for seq in self._order() if seq not in self.jobs), None) if may_begin else None

    def _take_up(self, batch_id: int, due: Due | None) -> None:
        """`recovery._take_up`."""
        body = self.store.body(batch_id)
        self.in_flight.add(self.store.job_of[batch_id], batch_id, body.hashes, body.parameters, due)

    def _tidy(self) -> None:
        """`state._tidy`."""
        for batch_id in list(self.store.spool):
            if batch_id in self.store.batches:
                self._note_lost(batch_id, self.store.latest(batch_id))
            if batch_id not in self.store.open_ids and batch_id not in self.lost:
                self.store.remove(batch_id)

    def _note_lost(self, batch_id: int, latest: Fact | None) -> None:
        if isinstance(latest, GivenUp | Failed) or (isinstance(latest, SeenComplete) and latest.failed_ids):
            self.lost.add(batch_id)

    def _run(self, job: Job) -> Steps:
        """`Runner._run_job`."""
        seq = job.seq
        job.progress.is_abandoned = self.store.jobs[seq].is_abandoned
        # So that rows held since an earlier process are counted before the producer has them.
        job.progress.unplaced_rows = sum(len(rows) for rows in self.store.held[seq].values())
        recovered = yield from self._recover(job)
        self.recovered = self.recovered or recovered
        job.is_recovered = True
        self.tasks[f"producer {seq}"] = Task(self._produce(job), seq)
        for batch, life in recovered.to_deliver:
            self._spawn(job, batch, life)
        yield Until(lambda: [task.job for task in self.tasks.values()].count(seq) == 1)
        yield from self._put_away(job)
        del self.jobs[seq]

    def _recover(self, job: Job) -> Generator[Stop, Answer, Recovered]:
        """`recover`."""
        own = yield from self._lives(
            [batch_id for batch_id in sorted(self.store.batches) if self.store.job_of[batch_id] == job.seq]
        )
        to_deliver: list[tuple[Batch, Life]] = []
        settled: list[Due] = []
        for batch_id, life in own.items():
            batch, due = self.store.batches[batch_id], None
            job.progress.sealed[batch_id] = batch
            job.progress.last_number = max(job.progress.last_number, batch.number)
            if life.phase is not Phase.SETTLED:
                to_deliver.append((batch, life))
                if life.may_be_applied:
                    job.progress.possibly_taken.add(batch_id)
            elif not life.is_never_sent:
                job.progress.settled[batch_id] = settlement(batch, life, now=self.clock, hold_s=self._hold_s)
                due = self._due(batch_id, life)
            if batch_id in self.store.open_ids:
                self._take_up(batch_id, due)
                settled += [due] if due else []
        return Recovered(tuple(to_deliver), tuple(settled), self.in_flight.parameters(job.seq))

    def _lives(self, batch_ids: list[int]) -> Generator[Stop, Answer, dict[int, Life]]:
        lives: dict[int, Life] = {}
        for batch_id in batch_ids:
            life, fact = self._life_now(batch_id)
            if fact and self._guards.cut_off_is_recorded:
                yield FACT
                self.store.add_fact(batch_id, fact)
            lives[batch_id] = life
        return lives

    def _life_now(self, batch_id: int) -> tuple[Life, Fact | None]:
        """`recovery._lives` and `_inherited` for one batch."""
        parent = self.store.batches[batch_id].parent
        inherits = parent is not None and self._guards.split_inherits
        life = Life(open_since=self._life_now(parent)[0].open_since if inherits and parent is not None else ())
        for fact in self.store.facts[batch_id]:
            life = self._fold(life, fact, 0.0)
        if life.phase is Phase.POSTING and not self._guards.cut_off_is_ambiguous:
            life = replace(life, phase=Phase.READY)
        life, cut_off = after_restart(life, self.clock)
        if not self._guards.hold_after_restart:
            life = replace(life, open_since=(self.clock - HOLD_S,) * len(life.open_since))
        return life, cut_off

    def _due(self, batch_id: int, life: Life) -> Due:
        at = release_at(life, settled_at=self.clock, hold_s=self._hold_s)
        at = float("-inf") if self.store.is_released(batch_id) else at
        return Due(at, batch_id, life.may_be_applied, getattr(life.last, "failed_ids", ()))

    def _put_away(self, job: Job) -> Steps:
        """`put_away`."""
        progress = job.progress
        rows = progress.close()
        never_sent = [batch_id for batch_id in progress.sealed if batch_id not in progress.settled]
        over = [*never_sent, *self.in_flight.take_over(job.seq, self.clock)]
        yield FINISH
        report = {name: getattr(rows, name) for name in type(rows).__slots__}
        self.store.finish_job(job.seq, report, never_sent=never_sent, released=over)
        self.in_flight.finish(job.seq, never_sent)
        for batch_id in over:
            if batch_id not in self.lost:
                yield FINISH
                self.store.remove(batch_id)

    # producer.py

    def _produce(self, job: Job) -> Steps:
        """`produce`."""
        export = self.world.exports[job.seq - 1]
        checkpoint = job.progress.checkpoint
        try:
            if checkpoint.has_ended:
                producer = Producer(self, job, checkpoint.parameters)
                yield from producer.begin()
            else:
                if export.is_gone:
                    raise InputError("the export is gone")
                plan = plan_columns(
                    ["id", *export.columns], id_column="id", id_kind="thirdPartyId", columns={}, unlisted="send"
                ).carrying(checkpoint.parameters or self.in_flight.parameters(job.seq))
                checkpoint.parameters = (*plan.parameters, *plan.carried)
                mapper = RowMapper(
                    plan,
                    delimiter=b",",
                    on_delimiter="encode",
                    replacement=" ",
                    max_row_bytes=self.world.max_bytes - len(plan.body_start),
                    salt=SALT,
                )
                producer = Producer(self, job, checkpoint.parameters)
                yield from producer.begin()
                yield from producer.read(mapper)
            yield from producer.end()
        except InputError as error:
            job.progress.error = error
            job.is_stopped = True
        self.in_flight.leave(job.seq)

    def allot_batch_id(self) -> int:
        """`Ledger.allot_batch_id`."""
        self._next_batch_id += 1
        return self._next_batch_id - 1

    # delivery.py

    def deliver_new(self, job: Job, batch: Batch) -> None:
        """`Courier.deliver_new`."""
        job.never_begun.add(batch.batch_id)
        self._spawn(job, batch, Life())

    def _spawn(self, job: Job, batch: Batch, life: Life) -> None:
        self.tasks[f"batch {batch.batch_id}"] = Task(self._deliver(job, batch, life), job.seq)

    def _deliver(self, job: Job, batch: Batch, life: Life) -> Steps:
        """`Courier.deliver`."""
        while life.phase is not Phase.SETTLED:
            if life.phase is Phase.REFUSED:
                life = yield from self._close_in(job, batch, life)
            elif life.phase is Phase.FOLLOWING:
                life = yield from self._follow(batch, life)
            elif given_up := self._policy.giving_up(life):
                life = yield from self._record(batch, life, given_up)
            elif (job.is_stopped or job.progress.is_abandoned) and not life.open_since:
                self._has_begun(job, batch)
                return
            else:
                life = yield from self._attempt(job, batch, life)
        settled = settlement(batch, life, now=self.clock, hold_s=self._hold_s)
        self._note_lost(batch.batch_id, life.last)
        job.progress.settled[batch.batch_id] = settled
        self._has_begun(job, batch)
        if settled.state is not BatchState.SPLIT:
            self.in_flight.settle(Due(settled.release_at, batch.batch_id, settled.may_be_applied, settled.failed_ids))

    def _attempt(self, job: Job, batch: Batch, life: Life) -> Generator[Stop, Answer, Life]:
        """`Courier._attempt`."""
        begun = Begun(self.store.next_post_number())
        if self._guards.intent:
            life = yield from self._record(batch, life, begun)
        else:
            life = self._fold(life, begun, self.clock)
        job.progress.possibly_taken.add(batch.batch_id)
        self._has_begun(job, batch)
        place = self.store.place_of(job.seq)
        self.world.target.begin_post(batch.batch_id, place, self.store.body(batch.batch_id), self.world.now)
        outcome = yield Posting(batch)
        life = yield from self._record(batch, life, attempt_fact(outcome))  # type: ignore[arg-type]
        if not life.may_be_applied:
            job.progress.possibly_taken.discard(batch.batch_id)
        return life

    def _follow(self, batch: Batch, life: Life) -> Generator[Stop, Answer, Life]:
        """`Courier._follow`."""
        while self.clock < life.posted_at + DEADLINE_S:
            match (yield Asking(batch, life.status_url)):
                case Complete() as complete:
                    return (yield from self._record(batch, life, seen_complete(batch.rows, complete)))
                case Stuck():
                    return (yield from self._record(batch, life, SeenStuck()))
                case StatusLost(why):
                    return (yield from self._record(batch, life, GivenUp(why)))
                case Incomplete():
                    continue
        return (yield from self._record(batch, life, GivenUp("deadline")))

    def _close_in(self, job: Job, batch: Batch, life: Life) -> Generator[Stop, Answer, Life]:
        """`Courier._close_in`."""
        message = life.last.message if isinstance(life.last, RefusedAs) else ""
        if batch.rows == 1:
            body = self.store.body(batch.batch_id)
            [(line, row)] = body.rows.values()
            return (yield from self._record(batch, life, RowRejected(message, line, row.decode())))
        if job.extra_posts + 2 > MAX_EXTRA_POSTS:
            return (yield from self._record(batch, life, Failed(message)))
        job.extra_posts += 2
        return (yield from self._split(job, batch, life))

    def _split(self, job: Job, batch: Batch, life: Life) -> Generator[Stop, Answer, Life]:
        """`Courier._split`."""
        body = self.store.body(batch.batch_id)
        # Which of the two ways it is hangs on the refusals of the run: here on chance.
        taken = any_row(batch.rows, batch.number) if batch.number % 2 else first_half(batch.rows)
        contents = split(body.text, np.array(body.lines, dtype=np.int64), SALT, taken)
        written = []
        for content in contents:
            number, batch_id = job.progress.allot_number(), self.allot_batch_id()
            yield SPLIT
            written.append(self.store.write(batch_id, number, content, batch.batch_id))
        children = written[0], written[1]
        yield SPLIT
        if self._guards.split_in_one_step:
            self.store.split(batch, children)
        else:
            steps: list[Callable[[], None]] = [
                lambda: self.store.insert_batch(children[0], job.seq),
                lambda: self.store.insert_batch(children[1], job.seq),
            ]
            steps.insert(2 * self._guards.split_children_first, lambda: self.store.close_split(batch, children))
            for step in steps:
                step()
                yield SPLIT
        hashes = {child.batch_id: content.hashes for child, content in zip(children, contents, strict=True)}
        self.in_flight.split(batch.batch_id, hashes)
        life = self._fold(life, SplitUp((children[0].batch_id, children[1].batch_id)), self.clock)
        yield SPLIT
        self.store.remove(batch.batch_id)
        inherited = life.open_since if self._guards.split_inherits else ()
        for child in children:
            job.progress.sealed[child.batch_id] = child
            if life.open_since:
                job.progress.possibly_taken.add(child.batch_id)
            self._spawn(job, child, Life(open_since=inherited))
        return life

    def _record(self, batch: Batch, life: Life, fact: Fact) -> Generator[Stop, Answer, Life]:
        """`Courier._record`."""
        yield FACT
        self.store.add_fact(batch.batch_id, fact)
        if isinstance(fact, GivenUp | SeenStuck) and life.phase is Phase.FOLLOWING:
            self.world.target.leave_open(self.world.target.copy_at(life.status_url))
        return self._fold(life, fact, self.clock)

    def _fold(self, life: Life, fact: Fact, at: float) -> Life:
        after = fold(life, fact, at)
        is_ignored = (isinstance(fact, SeenStuck) and not self._guards.stuck_is_open) or (
            isinstance(fact, GivenUp) and not self._guards.given_up_is_open
        )
        return replace(after, open_since=life.open_since) if is_ignored else after

    def _has_begun(self, job: Job, batch: Batch) -> None:
        if batch.batch_id in job.never_begun:
            job.never_begun.discard(batch.batch_id)
            self.unsent -= 1


class Producer:
    """`producer.Producer`."""

    def __init__(self, process: Process, job: Job, parameters: tuple[str, ...]) -> None:
        world = process.world
        self._process, self._job, self._world, self._store = process, job, world, world.store
        body_start = f"batch={','.join(('thirdPartyId', *parameters))}\n".encode()
        self._max_row_bytes = world.max_bytes - len(body_start)
        tracker = Blind(
            max_held_rows=world.max_held_rows, max_held_bytes=10**6, max_row_bytes=self._max_row_bytes, salt=SALT
        )
        tracker.guards = world.guards
        self._tracker = tracker
        chunker = Chunker(body_start, max_bytes=world.max_bytes, max_rows=world.max_rows)
        self._placer = Placer(chunker, tracker)
        self._view = process.in_flight.join(job.seq, tracker)

    @property
    def _checkpoint(self) -> Checkpoint:
        return self._job.progress.checkpoint

    def begin(self) -> Steps:
        """Place what was held and is free now."""
        tracker = self._placer.tracker
        held = [(name, *row) for name, rows in sorted(self._store.held[self._job.seq].items()) for row in rows]
        lengths = [len(profile_id) for profile_id, _, _ in held]
        tracker.restore(pack_rows([text for _, text, _ in held], lengths, [line for _, _, line in held], SALT))
        if self._checkpoint.has_ended:
            self._view.hold(self._placer.tracker.held_ids(), self._checkpoint.parameters)
        yield from self._place_freed(tracker.free())

    def read(self, mapper: RowMapper) -> Steps:
        """Place all rows that are not placed yet."""
        export = self._world.exports[self._job.seq - 1]
        while True:
            first = self._checkpoint.position.offset
            yield Until(partial(self._can_read, export, first))
            records = export.records[first : first + BLOCK_ROWS]
            if not records and export.is_complete:
                break
            self._check_abandoned()
            yield from self._release_what_is_due()
            yield from self._place_block(mapper, records)
            while self._view.is_full:
                yield from self._seal()
                yield from self._wait_for_release()
        self._checkpoint.has_ended = True

    def end(self) -> Steps:
        """Seal what is open, and go on until no row is held any more."""
        yield from self._seal(even_if_empty=True)
        while self._placer.tracker.held_rows:
            yield from self._wait_for_release()
            yield from self._seal()

    def _place_block(self, mapper: RowMapper, records: list[Record]) -> Steps:
        rest = records
        while rest:
            records, rest = rest, []
            mapped = mapper.map(records)
            placed = self._placer.place(mapped.rows)
            if placed.stop < len(mapped.rows):
                assert placed.stop or self._placer.open_rows, "a row fits in no batch"
                index = bisect_left(records, int(mapped.rows.lines[placed.stop]), key=lambda record: record.line)
                records, rest = records[:index], records[index:]
                mapped = mapper.map(records)
            self._checkpoint.note(mapped)
            if records:
                line = records[-1].line + 1
                self._checkpoint.position = Position(offset=line - 2, line=line)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            if placed.must_seal:
                yield from self._seal()

    def _place_freed(self, rows: Rows) -> Steps:
        while len(rows):
            placed = self._placer.place_freed(rows)
            self._checkpoint.superseded += placed.superseded
            self._count_unplaced()
            if not placed.must_seal:
                return
            yield from self._seal()
            rows = self._placer.tracker.free()
        self._count_unplaced()

    def _seal(self, *, even_if_empty: bool = False) -> Steps:
        job, store, guards = self._job, self._store, self._world.guards
        if not self._placer.open_rows and not even_if_empty:
            return
        if self._placer.open_rows:
            yield Until(lambda: self._process.unsent < CONCURRENCY)
            self._process.unsent += 1
        seal = self._placer.seal()
        batch = None
        if seal.content:
            batch_id, number = self._process.allot_batch_id(), job.progress.allot_number()
            yield SEAL
            batch = store.write(batch_id, number, seal.content)
        yield SEAL
        released = [batch_id for batch_id in seal.released if batch_id > 0]
        over = self._view.closing(released)
        written = released if guards.release_in_first_seal else over
        store.seal(job.seq, self._checkpoint, batch, seal.held if guards.held_in_seal else NO_CHANGES, written, over)
        if not guards.held_in_seal:
            yield SEAL
            store.change_held(job.seq, seal.held)
        self._view.closed(released)
        for batch_id in over:
            if batch_id not in self._process.lost:
                yield REMOVAL
                store.remove(batch_id)
        if batch and seal.content:
            self._view.add(batch.batch_id, seal.content.hashes, self._checkpoint.parameters)
        if self._checkpoint.has_ended:
            self._view.hold(self._placer.tracker.held_ids(), self._checkpoint.parameters)
        if batch:
            job.progress.sealed[batch.batch_id] = batch
            self._count_unplaced()
            self._process.deliver_new(job, batch)

    def _can_read(self, export: Export, first: int) -> bool:
        return len(export.records) > first or export.is_complete or self._has_news()

    def _has_news(self) -> bool:
        """Whether waiting for a release has an end."""
        return self._view.next_release_at <= self._process.clock or self._job.progress.is_abandoned

    def _release_what_is_due(self) -> Steps:
        while due := self._view.take_due(self._process.clock):
            yield from self._release(due)

    def _wait_for_release(self) -> Steps:
        assert self._placer.tracker.batches_in_flight, "rows are held and no batch is in flight"
        was_full = self._view.is_full
        yield Until(lambda: self._has_news() or self._view.is_full != was_full)
        self._check_abandoned()
        yield from self._release_what_is_due()

    def _check_abandoned(self) -> None:
        if self._job.progress.is_abandoned:
            raise InputError("abandoned")

    def _release(self, due: Due) -> Steps:
        waiting = self._placer.tracker.waiting_for(due.batch_id, self._view.in_flight.hashes)
        earlier: dict[bytes, bytes] = {}
        if waiting and due.may_be_applied:
            failed = encoded_forms(due.failed_ids)
            earlier = self._carried(due.batch_id, waiting - failed)
        self._note_what_was_read(due.batch_id, self._tracker.cannot_carry(earlier))
        if not self._world.guards.body_until_seal:
            self._store.remove(due.batch_id)
            yield REMOVAL
        yield from self._place_freed(self._placer.release(due.batch_id, earlier if self._world.guards.carry else {}))

    def _carried(self, batch_id: int, profile_ids: set[bytes]) -> dict[bytes, bytes]:
        body, ours = self._store.body(batch_id), self._checkpoint.parameters
        rows = {profile_id: row for profile_id, (_, row) in body.rows.items() if profile_id in profile_ids}
        if body.parameters == ours or not self._world.guards.rearranged:
            return rows
        places = [body.parameters.index(name) if name in body.parameters else None for name in ours]
        return {profile_id: rearrange(row, places) for profile_id, row in rows.items()}

    def _note_what_was_read(self, batch_id: int, cannot_carry: set[bytes]) -> None:
        """Remember which later rows waited for this batch, and so carry what was in it."""
        if batch_id < 0:
            return
        rows, noted = self._store.ever_sealed[batch_id].rows, self._world.read_at_release
        # Of these ids a newer row is on its way, and should that never be sent, nothing is carried past it.
        elsewhere = self._tracker.elsewhere(batch_id, list(rows))
        for profile_id in rows:
            key = batch_id, profile_id, self._job.seq
            if profile_id in elsewhere:
                noted.setdefault(key, 0)
            else:
                noted[key] = 0 if profile_id in cannot_carry else self._checkpoint.position.line - 1

    def _count_unplaced(self) -> None:
        progress = self._job.progress
        progress.held_rows = self._placer.tracker.held_rows
        progress.unplaced_rows = progress.held_rows + self._placer.open_rows
