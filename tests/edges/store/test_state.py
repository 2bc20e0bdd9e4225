"""The state directory while it is held: what a crash left is swept, what may be asked for again is kept."""

import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import anyio
import numpy as np
import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.gathered import Gathered
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    Life,
    Phase,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    Taken,
)
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import BatchContent, Hashes
from pipeline.core.rows.encoding import encode
from pipeline.core.rows.mapping import pack_rows
from pipeline.edges.host import Host
from pipeline.edges.lock import holder
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.state import State, life_of, open_state
from tests.tools.support import names_in

IDS = ("u1", "u 2", "é", "50%,")


def state_in(directory: Path, *, client_code: str = "demo") -> AbstractAsyncContextManager[State]:
    return open_state(directory / "state", client_code, Host(), min_free_bytes=0)


def hashes_of(state: State, ids: Sequence[str]) -> Hashes:
    """Sorted, as in a batch."""
    encoded = [encode(each.encode()) for each in ids]
    rows = pack_rows([each + b",1\n" for each in encoded], list(map(len, encoded)), [0] * len(ids), state.ledger.salt)
    return np.sort(rows.hashes)


def content_of(state: State, ids: Sequence[str]) -> BatchContent:
    texts = [encode(each.encode()) + b",1\n" for each in ids]
    body = b"batch=thirdPartyId,a\n" + b"".join(texts)
    lines = np.arange(2, len(ids) + 2, dtype=np.int64)
    # Where its rows begin is asked by nobody here.
    order, sizes = np.arange(len(ids), dtype=np.uint32), np.array(list(map(len, texts)), dtype=np.uint32)
    return BatchContent([body], len(ids), len(body), hashes_of(state, ids), order, sizes, lines)


def begin_job(state: State, job_id: str = "j1") -> JobRecord:
    export = Path("/drop/e.csv")
    return state.ledger.begin_job(JobRecord(0, job_id, export, 1, 1, {}, "", None, Checkpoint()))


def seal(state: State, job: JobRecord, ids: Sequence[str] = IDS, *facts: Fact, released: bool = False) -> int:
    """A batch of these ids of which this is known; its id."""
    ledger = state.ledger
    batch_id = ledger.allot_batch_id()
    batch = state.spool.write(batch_id, batch_id, content_of(state, ids))
    ledger.seal(job, job.checkpoint, batch, held=NO_CHANGES, released=(), overtaken={})
    for fact in facts:
        ledger.add_fact(batch_id, fact)
    if released:
        ledger.seal(job, job.checkpoint, None, held=NO_CHANGES, released=[batch_id], overtaken={})
    return batch_id


def record_of(state: State, batch_id: int) -> BatchRecord:
    record = state.ledger.batch(batch_id)
    assert record is not None
    return record


TAKEN = (Begun(0), Taken("url"))
REFUSED = (Begun(0), RefusedAs("bad"))
#: How a batch may end, and of which of its ids rows are lost that are known by name.
ENDINGS: list[tuple[tuple[Fact, ...], Sequence[str]]] = [
    ((), ()),
    ((Begun(0), InDoubt("cut")), ()),
    (TAKEN, ()),
    ((*TAKEN, SeenComplete(0, 0)), ()),
    ((*TAKEN, SeenComplete(2, 1)), ()),
    ((*TAKEN, SeenComplete(2, 0, ("u 2", "é"))), ("u 2", "é")),
    ((*TAKEN, SeenComplete(1, 0, ("u1", "u1"))), ("u1",)),
    ((*TAKEN, GivenUp("lost")), IDS),
    ((*REFUSED, Failed("budget")), IDS),
    ((*REFUSED, RowRejected("bad", 2, "u1,1")), ()),
]


# What is lost.


def lost_of_batches(state: State) -> dict[int, list[int]]:
    """What is lost, as far as it is in the batch: an id may be known in another form too, which is nobody's."""
    in_batch = hashes_of(state, IDS)
    return {each: np.intersect1d(state.lost_hashes(each), in_batch).tolist() for each in state.lost}


@pytest.mark.parametrize(("facts", "lost"), ENDINGS)
@pytest.mark.parametrize("released", [True, False])
async def test_the_ids_of_lost_rows_are_known_over_a_restart(
    tmp_path: Path, facts: tuple[Fact, ...], lost: Sequence[str], released: bool
) -> None:
    async with state_in(tmp_path) as state:
        batch_id = seal(state, begin_job(state), IDS, *facts, released=released)
        state.note_lost(record_of(state, batch_id))
        expected = {batch_id: hashes_of(state, lost).tolist()} if lost else {}
        assert lost_of_batches(state) == expected
        before = {each: state.lost_hashes(each).tolist() for each in state.lost}
        assert before == {each: sorted(set(hashes)) for each, hashes in before.items()}
    async with state_in(tmp_path) as state:
        assert lost_of_batches(state) == expected
        assert {each: state.lost_hashes(each).tolist() for each in state.lost} == before


async def test_an_id_that_target_names_as_it_was_sent_is_known_too(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        batch_id = seal(state, begin_job(state), IDS, *TAKEN, SeenComplete(1, 0, ("u%202",)))
        state.note_lost(record_of(state, batch_id))
        assert lost_of_batches(state) == {batch_id: hashes_of(state, ["u 2"]).tolist()}


async def test_overtaken_ids_are_named_for_each_batch_that_lost_them(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        first = seal(state, job, ["a", "b", "c"], *TAKEN, GivenUp("lost"))
        second = seal(state, job, ["b", "d"], *REFUSED, Failed("budget"))
        third = seal(state, job, ["b"], *TAKEN, SeenComplete(0, 0))
        for batch_id in (first, second, third):
            state.note_lost(record_of(state, batch_id))

        def overtaken(*ids: str) -> dict[int, list[int]]:
            batch = record_of(state, seal(state, job, [*ids])).batch
            return {each: sorted(by_hash) for each, by_hash in state.overtaken_by(job, batch).items()}

        def hashes(*ids: str) -> list[int]:
            return sorted(hashes_of(state, ids).tolist())

        assert overtaken("b", "c", "x") == {first: hashes("b", "c"), second: hashes("b")}
        assert overtaken("d") == {second: hashes("d")}
        assert overtaken("x") == {}


# What is swept.


def spooled(directory: Path) -> set[int]:
    return {int(name.split(".")[0]) for name in names_in(directory / "state" / "spool") if name != "mark"}


@pytest.mark.parametrize(("facts", "lost"), ENDINGS)
async def test_the_body_of_a_released_batch_is_kept_only_if_rows_of_it_are_lost(
    tmp_path: Path, facts: tuple[Fact, ...], lost: Sequence[str]
) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        still_open = seal(state, job, IDS, *facts)
        released = seal(state, job, IDS, *facts, released=True)
    for _ in range(2):
        async with state_in(tmp_path) as state:
            assert spooled(tmp_path) == {still_open, *([released] if lost else [])}
            for batch_id in spooled(tmp_path):
                assert state.spool.body(batch_id).read_bytes() == b"".join(content_of(state, IDS).pieces)
                assert state.spool.lines(batch_id).tolist() == [2, 3, 4, 5]
                assert state.spool.hashes(batch_id).tolist() == hashes_of(state, IDS).tolist()


async def test_the_body_of_a_split_batch_goes_and_those_of_its_children_stay(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        parent = seal(state, begin_job(state), IDS, *REFUSED)
        children = [
            state.spool.write(state.ledger.allot_batch_id(), number, content, parent=parent)
            for number, content in enumerate(state.spool.split(parent, state.ledger.salt, range(1)), 2)
        ]
        state.ledger.split(record_of(state, parent).batch, (children[0], children[1]))
    async with state_in(tmp_path):
        assert spooled(tmp_path) == {child.batch_id for child in children}


async def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "spool"
    async with state_in(tmp_path) as state:
        kept = seal(state, begin_job(state))
        orphan, partial = state.ledger.allot_batch_id(), state.ledger.allot_batch_id()
        state.spool.write(orphan, 9, content_of(state, IDS))
        state.spool.write(partial, 10, content_of(state, IDS))
        state.spool.body(partial).unlink()
        (directory / f".{orphan:08d}.body.tmp").write_bytes(b"half")
        expected = [name for name in names_in(directory) if name.startswith((f"{kept:08d}.", "mark"))]
    async with state_in(tmp_path) as state:
        assert names_in(directory) == expected
        assert state.lost == {}
        assert state.ledger.allot_batch_id() == orphan, "what was never sealed never was"


# Opening it.


async def test_it_is_held_while_it_is_open(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        assert holder(tmp_path / "state") is not None
        with pytest.raises(FatalError) as caught:
            async with state_in(tmp_path):
                pass
        assert caught.value.exit_code == ExitCode.ALREADY_RUNNING
        # The one that holds it is none the worse for it.
        begin_job(state)
    assert holder(tmp_path / "state") is None
    with pytest.raises(FatalError):
        state.ledger.jobs()


async def test_it_is_let_go_of_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with state_in(tmp_path) as state:
            raise KeyError
    assert holder(tmp_path / "state") is None
    assert names_in(tmp_path / "state") == ["ledger.db", "lock", "spool"]
    with pytest.raises(FatalError):
        state.ledger.jobs()


async def test_another_client_code_is_refused_and_nothing_is_swept(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        state.spool.write(7, 1, content_of(state, IDS))
    with pytest.raises(FatalError) as caught:
        async with state_in(tmp_path, client_code="acme"):
            pass
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    assert (spooled(tmp_path), holder(tmp_path / "state")) == ({7}, None)


async def test_batches_without_their_ledger_are_not_taken_for_a_new_directory(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        batch_id = seal(state, begin_job(state))
    (tmp_path / "state" / "ledger.db").unlink()
    with pytest.raises(FatalError) as caught:
        async with state_in(tmp_path):
            pass
    assert caught.value.exit_code == ExitCode.DISK_OR_LEDGER
    assert (spooled(tmp_path), names_in(tmp_path / "state")) == ({batch_id}, ["lock", "spool"])


async def test_batches_with_an_emptied_ledger_are_not_taken_for_a_new_directory(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        batch_id = seal(state, begin_job(state))
    (tmp_path / "state" / "ledger.db").write_bytes(b"")
    with pytest.raises(FatalError):
        async with state_in(tmp_path):
            pass
    assert spooled(tmp_path) == {batch_id}


async def test_a_pause_outlives_the_process(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        assert not state.is_paused
        await state.in_turn(state.ledger.pause, is_paused=True)
    async with state_in(tmp_path) as state:
        assert state.is_paused


async def test_calls_run_beside_the_event_loop_and_one_at_a_time(tmp_path: Path) -> None:
    threads: list[int] = []
    met: list[int] = []
    meeting = threading.Barrier(2)

    def work(number: int, *, doubled: bool) -> int:
        threads.append(threading.get_ident())
        # Two at once meet; one alone waits in vain, and the next one need not wait.
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)
            met.append(number)
        return 2 * number if doubled else number

    found: list[int] = []

    async def call(number: int) -> None:
        found.append(await state.in_turn(work, number, doubled=True))

    async with state_in(tmp_path) as state, anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(call, number)
    assert (sorted(found), met) == ([0, 2], [])
    assert threading.get_ident() not in threads


async def test_the_folder_of_a_job(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        assert state.folder("j1").directory == tmp_path / "state" / "jobs" / "j1"


# The life of a batch in the ledger.


def life_in(state: State, batch_id: int) -> Life:
    return life_of(state.ledger, record_of(state, batch_id))


async def test_the_life_that_a_batch_has_by_its_facts(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        batch_id = seal(state, job, IDS, Begun(3), InDoubt("cut"), Begun(4), Taken("url"))
        life = life_in(state, batch_id)
        assert (life.phase, life.attempts, life.post_number) == (Phase.FOLLOWING, 2, 4)
        assert life.open_since == (0.0,)
        state.ledger.add_fact(batch_id, GivenUp("lost"))
        state.ledger.seal(job, job.checkpoint, None, held=NO_CHANGES, released=[batch_id], overtaken={})
        life = life_in(state, batch_id)
        assert (life.phase, life.is_released, life.last) == (Phase.SETTLED, True, GivenUp("lost"))
        assert Released() in record_of(state, batch_id).facts
        assert life_of(state.ledger, BatchRecord(record_of(state, batch_id).batch, 1, ())) == Life()


def split(state: State, job: JobRecord, batch_id: int) -> tuple[int, int]:
    """Two parts of a refused batch."""
    ledger = state.ledger
    parts = [
        state.spool.write(part, part, content_of(state, ids), parent=batch_id)
        for ids in (IDS[:1], IDS[1:])
        if (part := ledger.allot_batch_id())
    ]
    ledger.split(record_of(state, batch_id).batch, (parts[0], parts[1]))
    return parts[0].batch_id, parts[1].batch_id


async def test_the_parts_of_a_batch_have_its_open_attempts_and_those_of_what_it_is_a_part_of(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        whole = seal(state, job, IDS, Begun(3), InDoubt("cut"), Begun(4), InDoubt("cut"), Begun(5), RefusedAs("bad"))
        _, rest = split(state, job, whole)
        assert life_in(state, rest) == Life(open_since=(0.0, 0.0)), "its attempts are not counted once more"
        for fact in (Begun(6), InDoubt("cut"), Begun(7), RefusedAs("bad")):
            state.ledger.add_fact(rest, fact)
        for part in split(state, job, rest):
            assert life_in(state, part) == Life(open_since=(0.0, 0.0, 0.0))
        assert life_in(state, whole).phase is Phase.SETTLED


@pytest.mark.parametrize(
    ("checkpoint", "is_kept"),
    [
        (Checkpoint(turn=1, digest_bytes=1), False),
        (Checkpoint(turn=1, digest_bytes=1, gathered=Gathered(rows=3, is_whole=True)), True),
        (Checkpoint(turn=1, digest_bytes=1, gathered=Gathered(rows=3, done=3, is_whole=True)), True),
        (Checkpoint(turn=1, digest_bytes=1, gathered=Gathered(rows=3, done=3, is_whole=True), has_ended=True), False),
    ],
)
async def test_gathered_rows_stay_until_a_job_knows_that_it_has_placed_all(
    tmp_path: Path, checkpoint: Checkpoint, is_kept: bool
) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        state.begin_gathering(job.job_id)
        state.ledger.note_checkpoint(job, checkpoint)
    async with state_in(tmp_path) as state:
        assert state.gathered(job.job_id).is_dir() == is_kept


async def test_what_a_row_was_filled_in_with_overtakes_nothing(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        seal(state, begin_job(state), IDS, *TAKEN, GivenUp("lost"))
        later = begin_job(state, "j2")
        batch_id = state.ledger.allot_batch_id()
        batch = state.spool.write(batch_id, 1, content_of(state, IDS))
        state.note_lost(*state.ledger.batches()[:1])
        (hash_, *others) = state.ids_lost().tolist()
        (said,) = state.overtaken_by(later, batch, {hash_: frozenset("b")}).values()
        assert said == {hash_: {"b"}} | {key: {"a"} for key in others}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ((Taken("url"),), "Taken cannot happen to a batch that waits to be sent"),
        ((Begun(0), Begun(1)), "Begun cannot happen to a batch that is being sent"),
        ((*TAKEN, InDoubt("cut")), "InDoubt cannot happen to a batch that is being applied by Target"),
        ((*TAKEN, SeenComplete(0, 0), Begun(1)), "Begun cannot happen to a batch that is settled"),
        ((*REFUSED, Taken("url")), "Taken cannot happen to a batch that was refused"),
    ],
)
async def test_facts_that_cannot_happen_make_the_ledger_damaged(
    tmp_path: Path, facts: tuple[Fact, ...], why: str
) -> None:
    async with state_in(tmp_path) as state:
        batch_id = seal(state, begin_job(state), IDS, *facts)
        with pytest.raises(FatalError, match=why) as caught:
            life_in(state, batch_id)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        assert f"batch {batch_id}" in str(caught.value)
        assert "ledger.db" in str(caught.value)


async def test_those_of_a_batch_make_those_of_its_parts_damaged_too(tmp_path: Path) -> None:
    async with state_in(tmp_path) as state:
        job = begin_job(state)
        whole = seal(state, job, IDS, *TAKEN)
        part, _ = split(state, job, whole)
        with pytest.raises(FatalError, match=f"batch {whole}: SplitUp cannot happen") as caught:
            life_in(state, part)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
