"""Claims with a real ledger and real files, cut off after each of their steps, and with writers in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.edges.drop.listing import look
from pipeline.edges.drop.taking import CannotTakeError, TakeResult, Taking
from pipeline.edges.exports import Identity
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.claims import Drop, check_claim, complete_claims, enter, next_job
from pipeline.settings.sections.export import ExportSettings
from tests.core.builders import changes_to
from tests.tools.support import bench, names_in, run_program

SETTINGS = ExportSettings(id_column="id", unlisted="send")
FILES = ("day/part-0", "day/part-1", "day/_SUCCESS")


class KilledError(BaseException):
    """The process ends here."""


class Dying(Taking):
    """Takes so many files, and is killed before or after the last of them."""

    def __init__(self, drop: Path, steps: int, *, before: bool) -> None:
        super().__init__(drop)
        self.steps = steps
        self.before = before

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        self.steps -= 1
        if self.steps == 0 and self.before:
            raise KilledError
        taking = super().take(job_id, source, identity)
        if self.steps == 0:
            raise KilledError
        return taking


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    directory = tmp_path / "drop"
    (directory / ".processing").mkdir(parents=True)
    return directory


def put(drop: Path, *names: str, content: str = "id,tier\na,gold\n") -> None:
    for name in names:
        (drop / name).parent.mkdir(exist_ok=True)
        (drop / name).write_text("" if name.endswith(("_SUCCESS", ".ready")) else content)


@asynccontextmanager
async def state_of(drop: Path) -> AsyncIterator[State]:
    async with open_state(drop.parent / "state", "demo", Host(), min_free_bytes=0) as state:
        yield state


async def claim(
    drop: Path, state: State, processing: Taking | None = None, as_of: str | None = None
) -> list[JobRecord]:
    (found,) = look(drop, (".ready",)).found
    return [await enter(Drop(found, as_of), state, processing or Taking(drop), SETTINGS)]


def is_taken_whole(record: JobRecord) -> bool:
    """The parts are where the job finds them, as they were seen."""
    there = [Identity.of((record.export.parent / part.name).stat()) for part in record.parts]
    return all(one.agrees_with(part.identity) for one, part in zip(there, record.parts, strict=True))


async def unfinished(state: State) -> list[JobRecord]:
    return await state.in_turn(state.ledger.jobs, unfinished_only=True)


def failures(records: list[JobRecord]) -> list[InputError | None]:
    return [record.claim.failure for record in records if record.claim]


def taken_by(records: list[JobRecord], drop: Path) -> list[list[str]]:
    folders = [drop / ".processing" / record.job_id for record in records]
    return [sorted(file.name for file in folder.iterdir()) if folder.exists() else [] for folder in folders]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_a_claim_that_was_cut_off_is_completed(drop: Path, steps: int, before: bool) -> None:
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, steps, before=before))
    async with state_of(drop) as state:
        for _ in range(2):
            await complete_claims(state, [Taking(drop)])
            records = await unfinished(state)
            (record,) = records
            assert (record.export.name, [part.name for part in record.parts]) == ("day", ["part-0", "part-1"])
            assert (record.size_bytes, record.inode) == (sum(part.identity.size_bytes for part in record.parts), None)
            assert record.claim
            assert record.claim.is_taken
            assert is_taken_whole(record)
            assert failures(records) == [None]
            assert taken_by(records, drop) == [["_SUCCESS", "part-0", "part-1"]]
            assert look(drop, (".ready",)).found == ()
            assert not (drop / "day").exists()


FORMS: dict[str, dict[str, str]] = {
    "a list of a warehouse": {"day/_SUCCESS": "", "day/_committed_1": '{"added": ["part-0", "part-1"]}'},
    "a signal beside the directory": {"day.ready": ""},
    "a manifest": {"day.ready": "files=part-0,part-1"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", range(1, 9))
async def test_however_parts_are_signalled_a_claim_that_was_cut_off_is_completed(
    drop: Path, form: str, step: int
) -> None:
    directory = "" if form == "a manifest" else "day/"
    put(drop, f"{directory}part-0", f"{directory}part-1")
    for name, content in FORMS[form].items():
        (drop / name).write_text(content)
    async with state_of(drop) as state:
        with suppress(KilledError):
            await claim(drop, state, Dying(drop, (step + 1) // 2, before=step % 2 == 1))
    async with state_of(drop) as state:
        await complete_claims(state, [Taking(drop)])
        (record,) = await unfinished(state)
        assert (record.export.name, failures([record])) == ("day", [None])
        assert is_taken_whole(record)
        assert taken_by([record], drop) == [sorted(["part-0", "part-1", *(Path(name).name for name in FORMS[form])])]
        assert names_in(drop) == [".processing"]


class Refusing(Taking):
    """The system does not let this file go, though nothing seemed to be in the way."""

    stuck = ""

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        if source == self.stuck:
            raise CannotTakeError(source, "cannot be taken")
        return super().take(job_id, source, identity)


@pytest.mark.parametrize("stuck", ["day/_SUCCESS", "day/part-0", "day/part-1", "day/_committed_1"])
async def test_if_one_part_cannot_be_taken_all_are_put_back(drop: Path, stuck: str) -> None:
    put(drop, *FILES)
    (drop / "day" / "_committed_1").write_text('{"added": ["part-0", "part-1"]}')
    before = names_in(drop / "day")
    refusing = Refusing(drop)
    refusing.stuck = stuck
    async with state_of(drop) as state:
        with pytest.raises(CannotTakeError):
            await claim(drop, state, refusing)
        assert (await unfinished(state), names_in(drop / "day")) == ([], before)
        assert names_in(drop / ".processing") == []


async def test_a_load_completes_it_too_and_holds_the_drop_directory_meanwhile(drop: Path) -> None:
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 2, before=True))
        await complete_claims(state)
        assert taken_by(await unfinished(state), drop) == [["_SUCCESS", "part-0", "part-1"]]


async def test_the_service_begins_with_it(drop: Path) -> None:
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 2, before=True))
    async with bench(drop.parent) as at:
        done = await run_program("serve", "--drain", "--config", at.config(drop={"directory": str(drop)}))
        assert done.code == 0, done.said
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == {"a": {"tier": "gold"}}
    assert look(drop, (".ready",)).unsignalled == ()
    assert names_in(drop) == [".processing"]


async def test_what_a_writer_put_there_meanwhile_is_a_drop_of_its_own(drop: Path) -> None:
    put(drop, "a.csv", "a.csv.ready")
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 2, before=False))
        put(drop, "a.csv", "a.csv.ready", content="id,tier\na,silver\n")
        await complete_claims(state, [Taking(drop)])
        (first,) = await unfinished(state)
        assert failures([first]) == [None]
        assert "gold" in first.export.read_text()
        _, second = [first, *await claim(drop, state)]
        assert "silver" in second.export.read_text()


async def test_an_export_that_changed_after_its_signal_fails_and_stays(drop: Path) -> None:
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 1, before=False))
        put(drop, "day/part-1", content="id,tier\na,silver\n")
        await complete_claims(state, [Taking(drop)])
        records = await unfinished(state)
        for failure in failures(records):
            assert "day/part-1 was changed after its signal day/_SUCCESS" in str(failure)
        assert (drop / "day" / "part-1").exists()
        with pytest.raises(InputError, match="was changed after"):
            await check_claim(records[0], state)


async def test_an_export_that_disappeared(drop: Path) -> None:
    put(drop, "a.csv", "a.csv.ready")
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 1, before=False))
        (drop / "a.csv").unlink()
        await complete_claims(state, [Taking(drop)])
        (failure,) = failures(await unfinished(state))
        assert failure is not None
        assert (failure.exit_code, "disappeared" in str(failure)) == (ExitCode.EXPORT_MISSING, True)


@pytest.mark.parametrize("how", ["withdrawn", "replaced"])
async def test_without_the_signal_that_was_seen_nothing_is_taken(drop: Path, how: str) -> None:
    put(drop, "a.csv", "a.csv.ready")
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 1, before=True))
        (drop / "a.csv.ready").unlink()
        if how == "replaced":
            (drop / "a.csv.ready").write_text("rows=1")
        await complete_claims(state, [Taking(drop)])
        (failure,) = failures(await unfinished(state))
        assert "was withdrawn or replaced" in str(failure)
        assert (drop / "a.csv").exists()
        assert len(look(drop, (".ready",)).found) == (how == "replaced")


async def entered_by_an_earlier_version(drop: Path, state: State) -> list[JobRecord]:
    """The jobs of `FILES`: one for each file."""
    (record,) = await claim(drop, state)
    await state.in_turn(state.ledger.withdraw_jobs, [record.job_id])
    folder, records = record.export.parent, list[JobRecord]()
    for part in record.parts:
        job_id = f"{record.job_id}{len(records) or ''}"
        place = folder.with_name(job_id) / part.name
        place.parent.mkdir(exist_ok=True)
        (folder / part.name).rename(place)
        assert record.claim
        size, mtime_ns, inode = part.identity.size_bytes, part.identity.mtime_ns, part.identity.inode
        one = replace(record, job_id=job_id, export=place, size_bytes=size, mtime_ns=mtime_ns, inode=inode)
        records.append(replace(one, parts=(part,), claim=replace(record.claim, source=f"day/{part.name}")))
    return await state.in_turn(state.ledger.begin_jobs, records)


async def test_several_jobs_of_one_drop_are_verified_before_the_first_begins(drop: Path) -> None:
    """As an earlier version entered them."""
    put(drop, *FILES)
    (drop / "day" / "_SUCCESS").write_text("rows=2\nbytes=30\ncolumns=id,tier")
    async with state_of(drop) as state:
        first, _ = await entered_by_an_earlier_version(drop, state)
        await check_claim(first, state)
        assert [record.claim.is_verified for record in await unfinished(state) if record.claim] == [True, True]
        # What was found true is not looked at again: the first export may be gone when the second begins.
        first.export.unlink()
        await check_claim((await unfinished(state))[1], state)


async def test_what_is_given_up_of_several_jobs_counts_in_what_the_manifest_says(drop: Path) -> None:
    put(drop, *FILES)
    (drop / "day" / "_SUCCESS").write_text("rows=2")
    async with state_of(drop) as state:
        first, _ = await entered_by_an_earlier_version(drop, state)
        await state.in_turn(state.ledger.abandon_job, first.job_id)
        given_up, second = await unfinished(state)
        await check_claim(given_up, state)
        first.export.unlink()
        assert second.claim
        assert not second.claim.is_verified
        await check_claim((await unfinished(state))[1], state)


async def test_what_is_too_old_fails(drop: Path) -> None:
    async with state_of(drop) as state:
        put(drop, "new.csv", "new.csv.ready")
        loaded = await claim(drop, state, as_of="2026-02-01")
        held = changes_to({b"u1": [(b"u1,gold,1\n", 2)]})
        sealed = replace(loaded[0].checkpoint, digest_bytes=1)
        await state.in_turn(state.ledger.seal, loaded[0], sealed, None, held=held, released=[], overtaken={})
        put(drop, *FILES)
        (too_old,) = await claim(drop, state, as_of="2026-01-01")
        with pytest.raises(InputError, match="day is older than what was loaded already"):
            await check_claim(too_old, state)
        put(drop, *FILES)
        (newer,) = await claim(drop, state, as_of="2026-03-01")
        await check_claim(newer, state)


async def test_a_job_that_has_begun_is_next_whatever_its_number(drop: Path) -> None:
    async with state_of(drop) as state:
        jobs = []
        for name, number in (("a", 3), ("b", 1), ("c", 2)):
            put(drop, f"{name}.csv")
            (drop / f"{name}.ready").write_text(f"sequence={number}")
            jobs += await claim(drop, state)
        assert (await next_job(state) or jobs[0]).job_id == jobs[1].job_id
        begun = jobs[0].checkpoint
        begun.digest_bytes = 5
        await state.in_turn(state.ledger.seal, jobs[0], begun, None, held=NO_CHANGES, released=[], overtaken={})
        assert (await next_job(state) or jobs[1]).job_id == jobs[0].job_id


async def test_a_job_has_no_turn_while_its_export_is_being_taken(drop: Path) -> None:
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 2, before=True))
        assert len(await unfinished(state)) == 1
        assert await next_job(state) is None
        await complete_claims(state, [Taking(drop)])
        record = await next_job(state)
        assert record is not None
        assert (is_taken_whole(record), record.export.name) == (True, "day")


async def test_jobs_go_on_in_the_order_in_which_they_began(drop: Path) -> None:
    """Which may be neither that of their signals nor that of their numbers."""
    async with state_of(drop) as state:
        jobs = []
        for name in "abc":
            put(drop, f"{name}.csv")
            (drop / f"{name}.ready").write_text("")
            jobs += await claim(drop, state)
        for turn, job in ((1, jobs[2]), (2, jobs[0])):
            begun = job.checkpoint
            begun.digest_bytes, begun.turn = 5, turn
            await state.in_turn(state.ledger.seal, job, begun, None, held=NO_CHANGES, released=[], overtaken={})
        running: list[int] = []
        while record := await next_job(state, running):
            running.append(record.seq)
        assert running == [jobs[2].seq, jobs[0].seq, jobs[1].seq]


async def test_an_export_of_which_all_rows_wait_counts_as_loaded(drop: Path) -> None:
    """It is behind a job that still runs, and what is older must not come behind it."""
    async with state_of(drop) as state:
        jobs = []
        for name, number in (("new", 2), ("old", 1)):
            put(drop, f"{name}.csv")
            (drop / f"{name}.ready").write_text(f"sequence={number}")
            jobs += await claim(drop, state)
        await check_claim(jobs[1], state)
        held = changes_to({b"u1": [(b"u1,gold,1\n", 2)]})
        sealed = replace(jobs[0].checkpoint, digest_bytes=1)
        await state.in_turn(state.ledger.seal, jobs[0], sealed, None, held=held, released=[], overtaken={})
        with pytest.raises(InputError, match="older than what was loaded"):
            await check_claim(jobs[1], state)


def rename(directory: Path, to: Path) -> None:
    directory.rename(to)


async def test_what_was_entered_waits_for_its_drop_directory(drop: Path) -> None:
    away = drop.parent / "away"
    put(drop, *FILES)
    async with state_of(drop) as state:
        with pytest.raises(KilledError):
            await claim(drop, state, Dying(drop, 2, before=True))
        rename(drop, away)
        with pytest.raises(FatalError, match="tried again") as caught:
            await complete_claims(state)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        rename(away, drop)
        await complete_claims(state)
        assert taken_by(await unfinished(state), drop) == [["_SUCCESS", "part-0", "part-1"]]
