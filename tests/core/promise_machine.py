"""Any schedule of rows, answers, applies, time and crashes, as a state machine that checks the promise (I1 to I6)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.core.batches.lifecycle import Fact, Failed, GivenUp, NeverSent, RowRejected, SeenComplete, Taken
from pipeline.core.errors import FatalError
from pipeline.core.rows.framing import Record
from pipeline.core.target.replies import (
    Accepted,
    Ambiguous,
    Incomplete,
    PostOutcome,
    Refused,
    StatusLost,
    StatusOutcome,
    Stuck,
    Throttled,
)
from tests.core.promise import DEADLINE_S, HOLD_S, Cells, Export, Guards, Version, World
from tests.core.promise_process import STEPS, Asking, Posting, Process, Recovered, Step

Item = TypeVar("Item")

#: Some are met more often than others.
IDS = [b"u1", b"u1", b"u2", b"u2", b"u3", b"u4"]
COLUMN_SETS = [("a", "b"), ("b", "c"), ("c",), ("a", "b", "c")]
#: Target refuses every batch that holds it; `encode` leaves it as it is.
POISON = b"POISON"
#: Two long values do not fit in one batch of the smaller size.
LONG_BYTES = 40
MAX_BYTES = [100, 100, 400]
MAX_EXPORTS = 3
MIN_ROWS = 5
MAX_ROWS = 16
#: More steps than any run to the end takes.
MAX_STEPS = 5_000

#: What the cells of a row are, column by column: a value, a long value, nothing (`-`), or poison. `bad`: its id.
KINDS = (*["vvv"] * 6, *["v-v", "-v-"] * 2, *["vl-", "lv-", "l-v", "-lv", "-vl"] * 5, "---", "bad", "vpv")
ROWS = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(KINDS)), min_size=2, max_size=6)
SECONDS = [1, 1, HOLD_S // 2, HOLD_S // 2, HOLD_S, HOLD_S, DEADLINE_S]
SEED = st.integers(0, 2**32 - 1)
#: In one storm.
MAX_ACTIONS = 60
NUMBER = st.integers(0, 7)
CLOCK = st.integers(-5_000, 5_000)
OUTCOMES = (*["taken"] * 6, "failed", "not consumed", "lost", *["lost after"] * 3, "not taken", *["refused"] * 3)
WORDS = [*["complete"] * 5, *["stuck"] * 2, *["status lost"] * 2, "incomplete"]
ANSWERS = st.lists(st.tuples(NUMBER, st.sampled_from(OUTCOMES), st.sampled_from(WORDS)), min_size=1, max_size=6)


#: How often each comes in a storm.
ACTIONS = [
    *["grow"] * 6,
    *["answer"] * 10,
    *["go_on"] * 2,
    *["apply"] * 2,
    *["wait"] * 2,
    *["crash"] * 3,
    *["calm"] * 1,
    *["end_export"] * 2,
    *["next_export"] * 3,
    *["abandon"] * 1,
]
SEQUENCES = [0, 0, -1]


@dataclass(frozen=True, slots=True)
class Climate:
    """What storms are made of: kinds of rows, outcomes of POSTs, steps before which the process dies."""

    kinds: Sequence[str] = KINDS
    outcomes: Sequence[str] = OUTCOMES
    crash_before: Sequence[Step] = STEPS


class Draw:
    """The arguments of each rule, from a seed; `climate` says of some what they are drawn from."""

    def __init__(self, seed: int, climate: "Climate") -> None:
        self._climate = climate
        self._random = Random(seed)
        self.one = self._random.choice
        self.number = partial(self._random.randrange, 8)

    def rows(self) -> list[tuple[bytes, str]]:
        return [(self.one(IDS), self.one(self._climate.kinds)) for _ in range(2 + self.number() // 2)]

    def grow(self) -> dict[str, Any]:
        return {"rows": self.rows()}

    def end_export(self) -> dict[str, Any]:
        return {}

    def next_export(self) -> dict[str, Any]:
        return {"columns": self.one(COLUMN_SETS), "rows": self.rows(), "sequence": self.one(SEQUENCES)}

    def go_on(self) -> dict[str, Any]:
        return {"steps": 1 + self.number(), "first": self.number()}

    def answer(self) -> dict[str, Any]:
        return {
            "answers": [
                (self.number(), self.one(self._climate.outcomes), self.one(WORDS))
                for _ in range(1 + self.number() // 2)
            ]
        }

    def apply(self) -> dict[str, Any]:
        return {"which": self.number()}

    def wait(self) -> dict[str, Any]:
        return {"seconds": self.one(SECONDS)}

    def calm(self) -> dict[str, Any]:
        return {"steps": 1 + self.number() // 3}

    def crash(self) -> dict[str, Any]:
        return {
            "before": self.one(self._climate.crash_before),
            "after": self.number(),
            "is_taken": self.one([True, False]),
            "clock": self._random.randint(-5_000, 5_000),
            "in_recovery": self.number() // 2,
        }

    def abandon(self) -> dict[str, Any]:
        return {"is_gone": self.one([True, False]), "sure": self.number(), "which": self.number()}


class Promise(RuleBasedStateMachine):
    """`guards` is overridden by a machine that is to fail, and `climate` by one that should do so soon.

    With `checks_poison` it also looks at why rows were rejected.
    """

    guards = Guards()
    climate = Climate()
    checks_poison = False

    # What happens.

    @initialize(
        max_rows=st.sampled_from([2, 3]),
        max_bytes=st.sampled_from(MAX_BYTES),
        max_held_rows=st.sampled_from([2, 100]),
        is_eager=st.sampled_from([True, True, True, False]),
        columns=st.sampled_from(COLUMN_SETS),
        rows=ROWS,
        seed=SEED,
        actions=st.integers(0, MAX_ACTIONS),
    )
    def start(
        self,
        max_rows: int,
        max_bytes: int,
        max_held_rows: int,
        is_eager: bool,
        columns: tuple[str, ...],
        rows: list[tuple[bytes, str]],
        seed: int,
        actions: int,
    ) -> None:
        self.is_eager = is_eager
        self.fuse: list[Step] = []
        self.values = 0
        self.turn = 0
        self.crash_answers: tuple[bool, int] = (False, 0)
        self.world = World(self.guards, max_bytes=max_bytes, max_rows=max_rows, max_held_rows=max_held_rows)
        self.process = Process(self.world, 0)
        self.new_export(columns)
        self.grow(rows)
        self.storm(seed, actions)

    def new_export(self, columns: tuple[str, ...], sequence: int = 0) -> None:
        """An export is dropped."""
        self.world.exports.append(Export(columns))
        self.world.store.begin_job(sequence)
        self.settle_down()

    @property
    def export(self) -> Export:
        """The one that is still written."""
        return self.world.exports[-1]

    @precondition(lambda self: not self.export.is_complete and len(self.export.records) < MAX_ROWS)
    @rule(rows=ROWS)
    def grow(self, rows: list[tuple[bytes, str]]) -> None:
        """Rows are read: new ids and known ones, empty cells, and now and then one that is rejected."""
        for profile_id, kinds in rows:
            cells: Cells = {}
            for name, kind in zip(self.export.columns, kinds, strict=False):
                self.values += 1
                value = f"{name}{self.values}".encode()
                cells[name] = {"v": value, "l": value.ljust(LONG_BYTES, b"."), "p": POISON + value}.get(kind, b"")
            self.export.add(profile_id + b"/" * (kinds == "bad"), cells)
        self.settle_down()

    @precondition(lambda self: not self.export.is_complete and len(self.export.records) >= MIN_ROWS)
    @rule()
    def end_export(self) -> None:
        """The last row was read."""
        self.export.is_complete = True
        self.settle_down()

    @precondition(lambda self: self.export.is_complete and len(self.world.exports) < MAX_EXPORTS)
    @rule(columns=st.sampled_from(COLUMN_SETS), rows=ROWS, sequence=st.sampled_from(SEQUENCES))
    def next_export(self, columns: tuple[str, ...], rows: list[tuple[bytes, str]], sequence: int) -> None:
        """Another one comes, and may be before those that wait."""
        self.new_export(columns, sequence)
        self.grow(rows)

    @rule(steps=st.integers(1, 12), first=NUMBER)
    def go_on(self, steps: int, first: int) -> None:
        """Some tasks go on."""
        self.turn = first
        self.run(steps)

    @rule(answers=ANSWERS)
    def answer(self, answers: list[tuple[int, str, str]]) -> None:
        """Target answers some of what it was asked; to a POST, or to the question for a status."""
        for which, outcome, word in answers:
            waiting = self.process.waiting()
            if not waiting:
                break
            name = _nth(waiting, which)
            is_posting = isinstance(self.process.tasks[name].stop, Posting)
            told = self.post_outcome(name, outcome) if is_posting else self.status_outcome(name, word)
            self.advance(name, told)
            self.settle_down()

    @rule(which=NUMBER)
    def apply(self, which: int) -> None:
        """Target applies a copy it has."""
        if pending := self.world.target.pending(self.world.now):
            self.world.target.apply(_nth(pending, which))

    @rule(seconds=st.sampled_from(SECONDS))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.world.now += seconds
        self.settle_down()

    @rule(steps=st.integers(1, 3))
    def calm(self, steps: int) -> None:
        """For a while all goes well."""
        for _ in range(steps):
            self.run(MAX_STEPS)
            if not self.answer_kindly():
                break
        self.settle_down()

    @rule(
        before=st.sampled_from(STEPS),
        after=st.integers(0, 7),
        is_taken=st.booleans(),
        clock=CLOCK,
        in_recovery=st.integers(0, 4),
    )
    def crash(self, before: Step, after: int, is_taken: bool, clock: int, in_recovery: int) -> None:
        """The process is killed and starts again: at once, or before the nth of such steps, which may be in recovery.

        `is_taken`: Target has what was on the wire. `clock` is what the monotonic clock of the next process begins at.
        """
        self.crash_answers = is_taken, clock
        self.check_recovery(clock, in_recovery)
        self.fuse = [before] * after
        if not after:
            self.restart()
        self.settle_down()

    @rule(is_gone=st.booleans(), sure=st.integers(0, 7), which=NUMBER)
    def abandon(self, is_gone: bool, sure: int, which: int) -> None:
        """Seldom, a job is dropped: by request, or because its export is gone at the next start."""
        if sure != 7 or not self.process.jobs:
            return
        job = _nth(list(self.process.jobs.values()), which)
        if is_gone:
            self.world.exports[job.seq - 1].is_gone = True
            self.restart()
        else:
            self.world.store.abandon(job.seq)
            job.progress.is_abandoned = True
        self.settle_down()

    @rule(seed=SEED, actions=st.integers(1, MAX_ACTIONS))
    def storm(self, seed: int, actions: int) -> None:
        """Many of these at once, drawn more evenly than rule by rule; a note tells them when it fails."""
        draw = Draw(seed, self.climate)
        for _ in range(actions):
            action = draw.one(ACTIONS)
            arguments = getattr(draw, action)()
            if action == "end_export" and (self.export.is_complete or len(self.export.records) < MIN_ROWS):
                continue
            if action == "grow" and (self.export.is_complete or len(self.export.records) >= MAX_ROWS):
                continue
            if action == "next_export" and not (self.export.is_complete and len(self.world.exports) < MAX_EXPORTS):
                continue
            note(f"    {action}(**{arguments})")
            getattr(self, action)(**arguments)

    # How it goes on.

    def settle_down(self) -> None:
        """Unless tasks go on only when told: run them up to where they wait for Target."""
        if self.is_eager:
            self.run(MAX_STEPS)

    def run(self, steps: int) -> None:
        """Let tasks go on, each in its turn."""
        for _ in range(steps):
            ready = self.process.ready()
            if not ready:
                return
            self.turn += 1
            name = ready[self.turn % len(ready)]
            self.advance(name)

    def advance(self, name: str, answer: PostOutcome | StatusOutcome | None = None) -> None:
        """Let a task go on to its next stop, which may be where a crash comes."""
        process = self.process
        process.go_on(name, answer)
        self.check_count()
        if name in process.tasks and process.tasks[name].stop in self.fuse:
            self.fuse.pop()
            if not self.fuse:
                self.restart()

    def restart(self) -> None:
        """The process dies where it stands, and another one starts."""
        is_taken, clock = self.crash_answers
        self.fuse = []
        if is_taken:
            for name in self.process.waiting():
                if isinstance(self.process.tasks[name].stop, Posting):
                    self.post_outcome(name, "lost after")
        store = self.world.store
        latest = [store.latest(batch_id) for batch_id in store.batches]
        self.world.target.forget_all_but({fact.status_url for fact in latest if isinstance(fact, Taken)})
        self.process = Process(self.world, clock)

    def post_outcome(self, name: str, outcome: str) -> PostOutcome:
        """What Target makes of an attempt, and what of that is heard."""
        stop = self.process.tasks[name].stop
        assert isinstance(stop, Posting)
        world, batch_id = self.world, stop.batch.batch_id
        body, job = world.store.body(batch_id), world.store.place_of(world.store.job_of[batch_id])
        # One row is refused for its poison only: a row rejected for nothing would say nothing about its id.
        is_refused = POISON in body.text or (outcome == "refused" and len(body.rows) > 1)
        match outcome:
            case "not taken":
                return Throttled()
            case "lost":
                return Ambiguous("lost before it was taken")
            case "lost after":
                if not is_refused:
                    world.target.accept(batch_id, job, body, world.now, is_followed=False)
                return Ambiguous("lost after it was taken")
        if is_refused:
            return Refused("no")
        status_url = world.target.accept(batch_id, job, body, world.now, is_followed=True)
        copy = world.target.copy_at(status_url)
        first = frozenset([min(body.rows)])
        copy.failed = first if outcome == "failed" else frozenset()
        copy.not_consumed = first if outcome == "not consumed" else frozenset()
        return Accepted(status_url)

    def status_outcome(self, name: str, word: str) -> StatusOutcome:
        """What Target says of a batch it accepted."""
        stop = self.process.tasks[name].stop
        assert isinstance(stop, Asking)
        target = self.world.target
        match word:
            case "complete":
                return target.complete(target.copy_at(stop.status_url))
            case "stuck":
                return Stuck()
            case "status lost":
                return StatusLost("forgotten")
        return Incomplete()

    def answer_kindly(self) -> bool:
        """Answer everything that waits for Target as if nothing were ever wrong; whether anything did."""
        waiting = self.process.waiting()
        for name in waiting:
            if name not in self.process.waiting():
                # Another process started meanwhile.
                break
            is_posting = isinstance(self.process.tasks[name].stop, Posting)
            self.advance(
                name, self.post_outcome(name, "taken") if is_posting else self.status_outcome(name, "complete")
            )
        return bool(waiting)

    def teardown(self) -> None:
        """No more faults: everything comes to its end, and is compared with what was promised."""
        if not hasattr(self, "process") or self.process.is_broken:
            return
        self.fuse = []
        self.export.is_complete = True
        for _ in range(MAX_STEPS):
            self.run(MAX_STEPS)
            if not self.answer_kindly():
                if not self.process.jobs and not self.process.ready():
                    break
                self.world.now += HOLD_S
        else:
            raise AssertionError("it never ends")
        self.sendable_rows: dict[int, dict[int, tuple[bytes, Cells]]] = {}
        target = self.world.target
        for copy in target.pending(self.world.now):
            target.apply(copy)
        self.check_classes()
        self.check_profiles()

    # What must hold.

    @invariant()
    def ids_in_flight(self) -> None:
        """I1: at most one batch in flight holds an id, as far as is durable; and its body is there."""
        if not hasattr(self, "world"):
            return
        store = self.world.store
        in_flight = [batch_id for batch_id in store.open_ids if not store.is_released(batch_id)]
        ids = Counter(name for batch_id in in_flight for name in store.body(batch_id).rows)
        for batch_id in store.open_ids:
            store.body(batch_id)
        assert all(count == 1 for count in ids.values()), f"in flight in two batches: {ids}"

    def check_count(self) -> None:
        """I4, at any moment: every row read is in exactly one class, should the run end here."""
        for job in self.process.jobs.values():
            if job.is_recovered:
                try:
                    job.progress.close()
                except FatalError as error:
                    raise AssertionError(str(error)) from error

    def check_recovery(self, clock: int, crashed_after: int) -> None:
        """I6: to recover, having crashed in a recovery any number of times, is to recover."""
        once, again = self.world.copy(), self.world.copy()
        recovered = _recover(once, clock, 0)
        _recover(again, clock, crashed_after)
        assert _recover(again, clock, 0) == recovered
        assert once.store == again.store

    def check_classes(self) -> None:
        """I4 at the end, from batches and exports alone: each row read is somewhere, and nowhere twice."""
        store = self.world.store
        for job in store.jobs.values():
            assert job.report, "every job has ended"
            rows, sent = job.report, [each for each in self.sent() if self.job_of(each) == job.seq]
            lines = Counter(each.version for each in sent)
            assert all(count == 1 for count in lines.values()), f"rows in two batches: {lines}"
            counts = Counter(self.class_of(each) for each in sent)
            read = {line: row for line, row in self.sendable(job.seq).items() if line < 2 + rows["read"]}
            in_batches = {each.version[1] for each in sent if each.outcome != "dropped"}
            rest = [line for line in read if line not in in_batches]
            unsent = [line for line in rest if not any(line < at and read[line][0] == read[at][0] for at in in_batches)]
            local = self.local_rejects(job.seq, rows["read"])
            assert rows["rejected"] == local + counts["rejected"]
            assert rows["empty"] == rows["read"] - local - len(read)
            assert rows["confirmed"] == counts["confirmed"]
            assert rows["failed"] + rows["unconfirmed"] == counts["lost"]
            assert rows["superseded"] + rows["unsent"] == len(rest)
            is_cut_short = job.is_abandoned or self.world.exports[job.seq - 1].is_gone
            assert is_cut_short or not (unsent or rows["unsent"]), f"lines {unsent} were never sent"

    def check_profiles(self) -> None:
        """I5, under both readings of "override"; and only a row that holds poison itself is rejected for it."""
        versions: dict[bytes, list[Sent]] = {}
        for each in self.sent():
            if each.outcome != "dropped":
                versions.setdefault(each.profile_id, []).append(each)
        for profile_id, sent in versions.items():
            parts = [self.cells_since(each, before) for each, before in zip(sent, [None, *sent], strict=False)]
            if self.checks_poison:
                for each, before, part in zip(sent, [None, *sent], parts, strict=False):
                    self.check_rejected(each, before, part)
            if any(self.class_of(each) != "confirmed" for each in sent):
                continue
            assert self.world.target.merged.get(profile_id, {}) == _merged(parts), f"{profile_id!r}, merged"
            breaks = [number for number in range(1, len(sent)) if not self.waited(sent[number], sent[number - 1])]
            chain = _merged(parts[max(breaks, default=0) :])
            assert self.world.target.replaced.get(profile_id, {}) == chain, f"{profile_id!r}, replaced"

    def check_rejected(self, each: "Sent", before: "Sent | None", cells: Cells) -> None:
        """A row is not rejected for what it carries from a row that was rejected for the same."""
        latest = self.world.store.latest(each.batch_id)
        is_poisoned = isinstance(latest, RowRejected) and POISON.decode() in latest.row
        if is_poisoned and not any(POISON in cell for cell in cells.values()):
            assert before and before.outcome != "rejected", f"{each} is rejected for what {before} held"

    def sent(self) -> list["Sent"]:
        """All rows in batches that stand for themselves (not split ones), in the order of their versions."""
        store = self.world.store
        found = [
            Sent((store.place_of(store.job_of[batch_id]), line), batch_id, name, _outcome(store.latest(batch_id), name))
            for batch_id in store.batches
            if not store.is_split(batch_id)
            for name, (line, _) in store.ever_sealed[batch_id].rows.items()
        ]
        return sorted(found, key=lambda each: each.version)

    def job_of(self, each: "Sent") -> int:
        """The job of a row in a batch."""
        return self.world.store.job_of[each.batch_id]

    def class_of(self, each: "Sent") -> str:
        """The class of a row in a batch."""
        if each.outcome != "not consumed":
            return each.outcome
        return "lost" if each.profile_id == min(self.world.store.ever_sealed[each.batch_id].rows) else "confirmed"

    def sendable(self, job: int) -> dict[int, tuple[bytes, Cells]]:
        """By line the rows of an export that are to be sent: id and cells."""
        if job not in self.sendable_rows:
            export, found = self.world.exports[job - 1], {}
            max_bytes = self.max_row_bytes(job)
            for record in export.records:
                profile_id, *values = record.fields
                cells = {name: value for name, value in zip(export.columns, values, strict=True) if value}
                if cells and not _is_rejected(record, max_bytes):
                    found[record.line] = profile_id, cells
            self.sendable_rows[job] = found
        return self.sendable_rows[job]

    def max_row_bytes(self, job: int) -> int:
        """What fits in a batch of its own, under the header of a job that has ended."""
        header = ",".join(("thirdPartyId", *self.world.store.checkpoint(job).parameters))
        return self.world.max_bytes - len(f"batch={header}\n")

    def local_rejects(self, job: int, read: int) -> int:
        """How many of the first rows of an export are rejected."""
        max_bytes = self.max_row_bytes(job)
        return sum(_is_rejected(record, max_bytes) for record in self.world.exports[job - 1].records[:read])

    def cells_since(self, each: "Sent", before: "Sent | None") -> Cells:
        """What the rows of an id say between two versions of it: behind the one and up to the other."""
        place, last = each.version
        first = before.version[1] + 1 if before and before.version[0] == place else 0
        rows = self.sendable(self.job_of(each))
        return _merged(
            [rows[line][1] for line in range(first, last + 1) if line in rows and rows[line][0] == each.profile_id]
        )

    def waited(self, each: "Sent", before: "Sent") -> bool:
        """Whether the first row of a version was read before the batch with the version before was released."""
        (place, last), job = each.version, self.job_of(each)
        behind = before.version[1] if before.version[0] == place else 0
        rows = self.sendable(job)
        first = min(line for line in range(behind + 1, last + 1) if line in rows and rows[line][0] == each.profile_id)
        return first <= self.world.read_at_release.get((before.batch_id, each.profile_id, job), 0)


@dataclass(frozen=True, slots=True)
class Sent:
    """A row in a batch, and the class of it, or `dropped`."""

    version: Version
    batch_id: int
    profile_id: bytes
    outcome: str


def _outcome(latest: Fact | None, profile_id: bytes) -> str:
    match latest:
        case SeenComplete(unconfirmed=0, failed_ids=failed_ids):
            return "lost" if profile_id.decode() in failed_ids else "confirmed"
        case SeenComplete(failed=0):
            # Which rows were not consumed is not told; here it is the first, by id.
            return "not consumed"
        case GivenUp() | Failed():
            return "lost"
        case RowRejected():
            return "rejected"
        case NeverSent():
            return "dropped"
    raise AssertionError(f"a batch has no outcome: {latest}")


def _is_rejected(record: Record, max_row_bytes: int) -> bool:
    """Whether a row must not be sent: for its id, or because it fits in no batch."""
    return b"/" in record.fields[0] or len(record.raw) + 1 > max_row_bytes


def _merged(parts: list[Cells]) -> Cells:
    """Per attribute the last value."""
    merged: Cells = {}
    for part in parts:
        merged |= part
    return merged


def _recover(world: World, clock: int, crashed_after: int) -> Recovered | None:
    """Start a process and let it recover; with `crashed_after` only so many steps of it."""
    process = Process(world, clock)
    for _ in range(crashed_after or MAX_STEPS):
        if process.recovered or "main" not in process.ready():
            break
        process.go_on("main")
    return process.recovered


def _nth(items: list[Item], number: int) -> Item:
    return items[number % len(items)]
