"""The order in which drops are claimed over several looks, with a clock that stands still until it is moved."""

import asyncio
import errno
import math
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.clock import Clock
from pipeline.edges.drop.taking import TakeResult, Taking
from pipeline.edges.durable import disk_error
from pipeline.edges.exports import Identity
from pipeline.edges.host import Host
from pipeline.edges.store.notices import read_drops
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.ending import Ending
from pipeline.service.intake import DropSource, Intake
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant
from tests.tools.fixed import fixed
from tests.tools.support import CLOSED, settings_for, until


@dataclass
class Place:
    """A drop directory that is looked into."""

    drop: Path
    state: State
    intake: Intake
    ending: Ending
    seconds: list[float] = field(default_factory=list)

    def put(self, *names: str, age_s: float = 0.0, content: str = "id\n") -> None:
        """Files and signals of this age; a file that is no newer than now was still for a minute before its signal."""
        for name in names:
            file = self.drop / name
            file.parent.mkdir(exist_ok=True)
            is_signal = name.endswith((".ready", ".fin", "_SUCCESS"))
            file.write_text("" if name.endswith((".ready", "_SUCCESS")) else content)
            time_s = 1_000_000_000 - age_s - (0.0 if is_signal or age_s < 0 else 60.0)
            os.utime(file, (time_s, time_s))

    async def look(self) -> list[str]:
        """Look, and name the exports of all jobs so far, those that fail in brackets."""
        await self.intake.look()
        return [
            f"({job.export.name})" if job.claim and job.claim.error else job.export.name
            for job in self.state.ledger.jobs()
        ]


@asynccontextmanager
async def place(directory: Path, kind: type[Taking] = Taking, **drop: Any) -> AsyncIterator[Place]:
    root = directory / "drop"
    (root / ".processing").mkdir(parents=True)
    settings = settings_for(CLOSED, directory / "state", drop={"directory": str(root), "signal_wait_s": 60.0, **drop})
    now = [0.0]
    clock = Clock(monotonic=lambda: now[0])
    ending = Ending()
    async with open_state(directory / "state", "demo", Host(clock), min_free_bytes=0) as state:
        intake = Intake(state, Tenant.of_one(settings), ending, [DropSource(DEFAULT_ROUTE, kind(root))])
        yield Place(root, state, intake, ending, now)


async def test_what_was_seen_first_is_first_whatever_its_time_says(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("b.csv.ready")
        assert await at.look() == []
        at.put("a.csv", "a.csv.ready", age_s=1_000.0)
        assert await at.look() == [], "it does not overtake the one that waits for its export"
        assert at.intake.waiting == ["b.csv.ready"]
        at.put("b.csv")
        assert await at.look() == ["b.csv", "a.csv"]
        assert at.intake.waiting == []


async def test_of_those_seen_at_once_the_older_signal_is_first_and_then_the_name(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv", "b.csv", "c.csv", age_s=3.0)
        at.put("c.csv.ready", age_s=2.0)
        at.put("b.csv.ready", "a.csv.ready", age_s=1.0)
        assert await at.look() == ["c.csv", "a.csv", "b.csv"]


async def test_a_sequence_changes_the_order_of_those_that_have_one(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        for age_s, (name, manifest) in enumerate({"c": "sequence=1", "b": "", "a": "sequence=2"}.items()):
            at.put(f"{name}.csv", age_s=10**9)
            (at.drop / f"{name}.csv.ready").write_text(manifest)
            os.utime(at.drop / f"{name}.csv.ready", (1_000 - age_s, 1_000 - age_s))
        assert await at.look() == ["c.csv", "b.csv", "a.csv"]


async def test_a_signal_is_waited_for_so_long(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv.ready", "b.csv", "b.csv.ready")
        assert await at.look() == []
        at.seconds[0] = 59.9
        assert await at.look() == []
        assert at.intake.look_in_s == pytest.approx(0.1)
        at.seconds[0] = 60.0
        assert await at.look() == ["(a.csv)", "b.csv"]
        assert at.intake.look_in_s == math.inf
        # The same once more is a new signal, which may wait as long.
        at.put("a.csv.ready")
        at.seconds[0] = 61.0
        assert await at.look() == ["(a.csv)", "b.csv"]


async def test_a_signal_that_was_withdrawn_is_forgotten(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv.ready")
        await at.look()
        (at.drop / "a.csv.ready").unlink()
        at.seconds[0] = 50.0
        assert await at.look() == []
        at.put("a.csv.ready")
        at.seconds[0] = 70.0
        assert await at.look() == []


async def test_dates_are_found_in_the_whole_path(tmp_path: Path) -> None:
    async with place(tmp_path, as_of=r"(\d{8})", settle_s=0.0) as at:
        at.put("day-20261123/part-0", "day-20261123/_SUCCESS")
        at.put("undated.csv", "undated.csv.ready")
        at.put("meant.csv")
        (at.drop / "meant.csv.ready").write_text("again=true")
        assert sorted(await at.look()) == ["(undated.csv)", "day-20261123", "meant.csv"]
        dates = {job.export.name: job.claim.as_of for job in at.state.ledger.jobs() if job.claim}
        assert dates == {"day-20261123": "20261123", "undated.csv": None, "meant.csv": None}


@pytest.mark.parametrize(
    ("names", "date"),
    [
        (["day-20261123/part-20200101", "day-20261123/part-20200102"], "20261123"),
        (["day/part-0-20261123", "day/part-1-20261123"], "20261123"),
        (["day/part-0-20261123", "day/part-1-20261124"], "day/part-0-20261123 and day/part-1-20261124 are parts"),
        (["day/part-0-20261123", "day/part-1"], "the name day/part-1 holds no date"),
    ],
)
async def test_the_date_of_parts_is_that_of_their_directory_or_of_all_of_them(
    tmp_path: Path, names: list[str], date: str
) -> None:
    async with place(tmp_path, as_of=r"(\d{8})", settle_s=0.0) as at:
        at.put(*names, f"{names[0].partition('/')[0]}/_SUCCESS")
        await at.look()
        (job,) = at.state.ledger.jobs()
        assert job.claim
        assert date == job.claim.as_of if job.claim.error is None else date in job.claim.error


async def test_files_that_are_in_no_list_beside_a_signal_are_named(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("day/part-0", "day/part-1", "day/_SUCCESS", "day/_committed_1", age_s=9.0)
        (at.drop / "day" / "_committed_1").write_text('{"added": ["part-1"], "removed": []}')
        os.utime(at.drop / "day", (1, 1))
        with capture_logs() as logs:
            assert await at.look() == ["day"]
        (said,) = [event for event in logs if event["event"] == "unlisted_files_left"]
        assert (said["signal"], said["files"], said["first"]) == ("day/_SUCCESS", 1, "day/part-0")
        assert said["lists"] == ["_committed_1"]
        (claimed,) = [event for event in logs if event["event"] == "export_claimed"]
        assert claimed["parts"] == 1
        assert [path.name for path in (at.drop / "day").iterdir()] == ["part-0"]
        (job,) = at.state.ledger.jobs()
        assert sorted(path.name for path in job.export.parent.iterdir()) == ["_SUCCESS", "_committed_1", "part-1"]


async def test_nothing_is_claimed_any_more_once_the_process_is_to_stop(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("a.csv", "a.csv.ready")
        at.ending.raise_to(EndStage.LET_POSTS_END)
        assert await at.look() == []
        assert (at.drop / "a.csv.ready").exists()


async def test_a_drop_directory_that_is_away_for_a_while(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.drop.rename(tmp_path / "away")
        with pytest.raises(FatalError, match="cannot look into the drop directory") as caught:
            await at.look()
        assert caught.value.exit_code is ExitCode.EXPORT_MISSING
        (tmp_path / "away").rename(at.drop)
        at.put("a.csv", "a.csv.ready")
        assert await at.look() == ["a.csv"]


async def test_whoever_waits_for_work_is_woken(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        waiting = asyncio.create_task(at.ending.changed.until(lambda: at.intake.claimed))
        await at.look()
        await asyncio.sleep(0)
        assert (at.intake.claimed, waiting.done()) == (0, False)
        at.put("a.csv", "a.csv.ready")
        await at.look()
        async with asyncio.timeout(5.0):
            assert await waiting
        await at.look()
        assert at.intake.claimed == 1, "each drop counts once"


@asynccontextmanager
async def two_places(directory: Path) -> AsyncIterator[tuple[Place, Place]]:
    """Two drop directories of one client code, looked into at once by either."""
    settings = {}
    sources = []
    for name in ("one", "two"):
        (directory / name / ".processing").mkdir(parents=True)
        drop = {"directory": str(directory / name), "signal_wait_s": 60.0 if name == "one" else 5.0}
        settings[name] = settings_for(CLOSED, directory / "state", drop=drop)
        sources.append(DropSource(name, Taking(directory / name)))
    now = [0.0]
    clock = Clock(monotonic=lambda: now[0])
    async with open_state(directory / "state", "demo", Host(clock), min_free_bytes=0) as state:
        ending = Ending()
        intake = Intake(state, Tenant(settings, directory / "state"), ending, sources)
        yield Place(directory / "one", state, intake, ending, now), Place(directory / "two", state, intake, ending, now)


async def test_two_directories_are_ordered_as_one(tmp_path: Path) -> None:
    async with two_places(tmp_path) as (one, two):
        two.put("a.csv", "a.csv.ready", age_s=3.0)
        one.put("b.csv", "b.csv.ready", age_s=2.0)
        two.put("c.csv", "c.csv.ready", age_s=1.0)
        # The same name in both is two exports.
        one.put("a.csv", "a.csv.ready", age_s=0.0)
        assert await one.look() == ["a.csv", "b.csv", "c.csv", "a.csv"]
        routes = [job.route for job in one.state.ledger.jobs()]
        assert routes == ["two", "one", "two", "one"]


async def test_each_directory_has_its_own_patience(tmp_path: Path) -> None:
    async with two_places(tmp_path) as (one, two):
        two.put("a.csv.ready", age_s=2.0)
        one.put("b.csv.ready", age_s=1.0)
        assert await one.look() == []
        one.seconds[0] = 6.0
        assert await one.look() == ["(a.csv)"]
        one.seconds[0] = 61.0
        assert await one.look() == ["(a.csv)", "(b.csv)"]


async def test_what_was_seen_in_a_directory_that_is_away_keeps_its_place(tmp_path: Path) -> None:
    async with two_places(tmp_path) as (one, two):
        one.put("a.csv.ready")
        assert await one.look() == []
        one.drop.rename(tmp_path / "away")
        two.put("b.csv", "b.csv.ready", age_s=9.0)
        with pytest.raises(FatalError, match=r"cannot look into the drop directory .*one") as caught:
            await one.intake.look()
        assert caught.value.exit_code is ExitCode.EXPORT_MISSING
        assert [job.export.name for job in one.state.ledger.jobs()] == ["b.csv"]
        (tmp_path / "away").rename(one.drop)
        two.put("c.csv", "c.csv.ready", age_s=9.0)
        assert await one.look() == ["b.csv"], "it was seen before"
        one.put("a.csv")
        assert await one.look() == ["b.csv", "a.csv", "c.csv"]


class Halting(Taking):
    """Takes a signal, and then waits before it takes the export."""

    signal_is_taken = threading.Event()
    may_go_on = threading.Event()

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        if source.endswith(".csv"):
            self.signal_is_taken.set()
            assert self.may_go_on.wait(20.0)
        return super().take(job_id, source, identity)


async def test_no_job_begins_while_its_export_is_being_taken(tmp_path: Path) -> None:
    """The ledger knows of it by then, and the export is not where the job would look for it."""
    async with place(tmp_path, Halting) as at:
        at.put("a.csv", "a.csv.ready")
        looking = asyncio.create_task(at.look())
        await until(Halting.signal_is_taken.is_set)
        (entered,) = at.state.ledger.jobs()
        assert not entered.export.exists()
        asked = asyncio.create_task(at.intake.next_job())
        assert await asyncio.wait({asked}, timeout=0.1) == (set(), {asked})
        Halting.may_go_on.set()
        job = await asked
        assert job is not None
        assert (job.job_id, job.claim and job.claim.is_taken, job.export.exists()) == (entered.job_id, True, True)
        assert await looking == ["a.csv"]


class Filling(Taking):
    """A drop directory on a disk that may be full."""

    is_full = False

    def take(self, job_id: str, source: str, identity: Identity) -> TakeResult:
        if self.is_full:
            raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), f"cannot take {source}")
        return super().take(job_id, source, identity)


@contextmanager
def nothing_can_be_taken() -> Iterator[None]:
    Filling.is_full = True
    yield
    Filling.is_full = False


async def test_the_first_of_many_drops_need_not_wait_until_all_are_claimed(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        for number in range(50):
            at.put(f"{number:02}.csv", age_s=2.0)
            at.put(f"{number:02}.ready", age_s=1.0)
        looking = asyncio.ensure_future(at.intake.look())
        await until(lambda: at.intake.claimed > 0)
        record = await at.intake.next_job()
        assert record is not None
        assert record.export.name == "00.csv"
        assert at.intake.claimed < 50
        assert not looking.done()
        await looking
        assert at.intake.claimed == 50


async def test_what_was_not_taken_for_the_disk_is_taken_before_its_job_begins(tmp_path: Path) -> None:
    async with place(tmp_path, Filling) as at:
        at.put("a.csv", "a.csv.ready")
        with nothing_can_be_taken(), pytest.raises(FatalError):
            await at.look()
        job = await at.intake.next_job()
        assert job is not None
        assert (job.claim and job.claim.is_taken, job.export.exists()) == (True, True)


async def test_what_cannot_be_taken_for_the_disk_is_entered_once(tmp_path: Path) -> None:
    async with place(tmp_path, Filling) as at:
        at.put("a.csv", "a.csv.ready")
        with nothing_can_be_taken():
            for _ in range(3):
                with pytest.raises(FatalError):
                    await at.look()
            assert len(at.state.ledger.jobs()) == 1
        at.put("b.csv", "b.csv.ready")
        assert await at.look() == ["a.csv", "b.csv"]
        assert all(job.export.exists() for job in at.state.ledger.jobs())


class Forbidden(Taking):
    """A directory of another user's is in the drop directory."""

    def obstacle(self, source: str) -> str | None:
        return "cannot be taken" if source == "day/part-0" else super().obstacle(source)


async def test_what_may_not_be_taken_is_left_alone_and_holds_nothing_up(tmp_path: Path) -> None:
    async with place(tmp_path, Forbidden) as at:
        at.put("day/part-0", "day/part-1", "day/_SUCCESS", age_s=9.0)
        at.put("b.csv", "b.csv.ready")
        for _ in range(2):
            assert await at.look() == ["b.csv"]
        assert at.intake.refused == {(DEFAULT_ROUTE, "day/_SUCCESS")}
        assert (at.drop / "day" / "_SUCCESS").exists()


class Unforeseen(Taking):
    """Nothing seems to be in the way of anything."""

    def obstacle(self, source: str) -> str | None:
        return None


@pytest.mark.parametrize("stuck", ["a.csv", "a.csv.ready", "b/part-1"])
async def test_what_cannot_be_taken_though_nothing_seemed_in_the_way_holds_nothing_up(
    tmp_path: Path, stuck: str
) -> None:
    async with place(tmp_path, Unforeseen) as at:
        at.put("a.csv", "a.csv.ready", "b/part-0", "b/part-1", "b/_SUCCESS", age_s=9.0)
        os.utime(at.drop / "b", (1, 1))
        at.put("c.csv", "c.csv.ready")
        left = "b/_SUCCESS" if stuck.startswith("b/") else "a.csv.ready"
        with fixed(at.drop / stuck), capture_logs() as logs:
            others = ["a.csv", "c.csv"] if stuck.startswith("b/") else ["b", "c.csv"]
            for second in (0.0, 1.0, 61.0):
                at.seconds[0] = second
                assert sorted(await at.look()) == others, "neither the others wait, nor is it entered for good"
            assert sorted(path.name for path in (at.drop / ".processing").iterdir()) == sorted(
                job.job_id for job in at.state.ledger.jobs()
            )
            assert (at.drop / stuck).exists()
            assert (at.drop / left).exists()
            assert at.intake.refused == {(DEFAULT_ROUTE, left)}
            (told,) = read_drops(at.state.directory).drops_not_taken
            assert told.name == left
            assert "cannot be taken: Operation not permitted" in told.why
            (refused,) = [event for event in logs if event["event"] == "drop_refused"]
            assert (refused["name"], refused["why"]) == (left, told.why)
        # What was given back has changed its directory: it has to settle.
        for second in (122.0, 124.0):
            at.seconds[0] = second
            found = await at.look()
        assert len(found) == 3
        assert read_drops(at.state.directory).drops_not_taken == ()
        assert at.intake.refused == set()


async def test_a_drop_that_cannot_be_taken_is_noted_with_its_time(tmp_path: Path) -> None:
    async with place(tmp_path, Forbidden) as at:
        at.put("day/part-0", "day/_SUCCESS", age_s=9.0)
        await at.look()
        (told,) = read_drops(at.state.directory).drops_not_taken
        assert (told.name, told.why) == ("day/_SUCCESS", "day/part-0 cannot be taken")
        await at.look()
        assert read_drops(at.state.directory).drops_not_taken == (told,)


async def test_temporary_files_beside_a_signal_are_named(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("day/part-0", "day/part-1.filepart", "day/_SUCCESS", age_s=9.0)
        os.utime(at.drop / "day", (1, 1))
        with capture_logs() as logs:
            assert await at.look() == ["day"]
        (said,) = [event for event in logs if event["event"] == "temporary_files_left"]
        assert (said["signal"], said["files"], said["first"]) == ("day/_SUCCESS", 1, "day/part-1.filepart")
        assert (at.drop / "day" / "part-1.filepart").exists()


async def test_names_that_the_configuration_ignores(tmp_path: Path) -> None:
    async with place(tmp_path, ignore=["*.bak"]) as at:
        at.put("day/part-0", "day/part-1.BAK", "day/_SUCCESS", age_s=9.0)
        os.utime(at.drop / "day", (1, 1))
        assert await at.look() == ["day"]
        (job,) = at.state.ledger.jobs()
        assert [part.name for part in job.parts] == ["part-0"]


async def test_an_empty_directory_fails_with_its_reason(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.put("day/_SUCCESS")
        assert await at.look() == []
        at.seconds[0] = 60.0
        assert await at.look() == ["(day)"]
        (job,) = at.state.ledger.jobs()
        assert job.claim is not None
        assert "and there was none within 60 s" in str(job.claim.error)


async def test_what_cannot_be_taken_behind_a_drop_that_waits_stays_noted(tmp_path: Path) -> None:
    async with place(tmp_path, Forbidden) as at:
        at.put("day/part-0", "day/_SUCCESS", age_s=9.0)
        with capture_logs() as logs:
            await at.look()
            (told,) = read_drops(at.state.directory).drops_not_taken
            (at.drop / "a.csv.ready").write_text("sequence=1")
            (at.drop / "day" / "_SUCCESS").write_text("sequence=2")
            await at.look()
            assert at.intake.waiting == ["a.csv.ready"]
            assert read_drops(at.state.directory).drops_not_taken == (told,)
        assert [event["event"] for event in logs] == ["drop_refused", "signal_without_export"]
