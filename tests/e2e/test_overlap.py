"""Jobs of one client code overlap: the next begins when the one before is read, and no value overtakes another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.lifecycle import Taken
from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.state import open_state
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.control import carry_out
from pipeline.jobs.job import Job
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.runner import MAX_PLACING, MAX_RUNNING
from pipeline.sandbox import Fault, FaultPlan
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant
from tests.core.builders import ids_alike
from tests.simulation.holder import ask
from tests.simulation.loop import run_virtually
from tests.simulation.staged import Stage, staged
from tests.simulation.virtually import virtually
from tests.tools.faults.loading import check_left_over, disorder
from tests.tools.support import assert_every_row_is_in_one_class, profiles_after, read_lines, until, write_export

QUICK = {"ambiguous_hold_s": 0.5, "poll_first_s": 0.05, "poll_max_s": 0.1}
#: Nothing is applied before a test says so.
SLOW: dict[str, Any] = {"apply_min_s": 600.0, "apply_max_s": 600.0}


class Loading:
    """Loads exports beside the test, and keeps the reports as they come."""

    def __init__(self, at: Stage, **sections: Any) -> None:
        self.at = at
        self.settings: Settings = at.settings(settle={**QUICK, **sections.pop("settle", {})}, **sections)
        self.reports: list[dict[str, Any]] = []
        self.jobs: list[Job] = []

    def export(self, name: str, *lines: str) -> Path:
        return write_export(self.at.directory / f"{name}.csv", *lines)

    async def load(self, *exports: Path, watch: Callable[[Job], None] | None = None, again: bool = True) -> None:
        async def see(job: Job, _: CallQueue) -> None:
            self.jobs.append(job)
            while True:
                if watch:
                    watch(job)
                await anyio.sleep(0.02)

        async for report in load_exports(
            list(exports), Tenant.of_one(self.settings), host=self.at.host, watch=see, again=again
        ):
            assert_every_row_is_in_one_class(report.as_json())
            self.reports.append(report.as_json())

    @asynccontextmanager
    async def beside(self, *exports: Path, **options: Any) -> AsyncIterator["Loading"]:
        """While they are loaded; then until they are."""
        async with asyncio.timeout(40), anyio.create_task_group() as tasks:

            async def load() -> None:
                await self.load(*exports, **options)

            tasks.start_soon(load)
            yield self

    @property
    def posts(self) -> int:
        return int(self.at.sandbox.counts()["batches"])

    @property
    def ends(self) -> list[tuple[str, str, int]]:
        return [(report["export"]["name"], report["state"], report["exit_code"]) for report in self.reports]

    async def apply_until(self, condition: Callable[[], object]) -> None:
        def is_so() -> object:
            self.at.sandbox.apply_all()
            return condition()

        await until(is_so)

    async def do(self, command: str, job: str | None = None) -> str:
        """Ask whoever holds the directory."""
        return await ask(self.at.state, command, job)

    def check(self, profiles: dict[str, dict[str, str]]) -> None:
        """Everything is as it should be in the end."""
        self.at.sandbox.apply_all()
        assert self.at.sandbox.profiles() == profiles
        assert self.at.sandbox.mistakes == []
        check_left_over(self.at.state)


@virtually
async def test_later_exports_are_sent_before_an_earlier_one_is_applied_but_for_ids_in_common(tmp_path: Path) -> None:
    first = ("u1,gold,1", "u2,gold,2", "u3,gold,3", "u7,gold,7", "u1,silver,")
    second = ("u4,iron,4", "u1,,11", "u5,iron,5")
    third = ("u6,tin,6", "u5,tin,", "u1,tin,")
    async with staged(tmp_path, **SLOW) as at:
        loading = Loading(at, batch={"max_rows": 3})
        exports = [loading.export(name, *lines) for name, lines in (("a", first), ("b", second), ("c", third))]
        async with loading.beside(*exports):
            # u1, u2, u3 and u7 of the first; u4, u5 of the second; u6 of the third.
            await until(lambda: loading.posts == 4)
            assert loading.reports == []
            assert [job.progress.held_rows for job in loading.jobs] == [1, 1, 2]
            await anyio.sleep(0.3)
            assert (loading.posts, at.sandbox.profiles()) == (4, {})
            await loading.apply_until(lambda: len(loading.reports) == 3)
        assert loading.ends == [(f"{name}.csv", "done", 0) for name in "abc"]
        assert [report["rows"]["confirmed"] for report in loading.reports] == [5, 3, 3]
        # What has to be said of the calls of each is not lost in those of the others.
        assert all(report["calls"] >= 2 * len(report["batches"]) for report in loading.reports)
        assert at.sandbox.calls["posts"] + at.sandbox.calls["statuses"] == sum(r["calls"] for r in loading.reports)
        loading.check(profiles_after(*first, *second, *third))


@virtually
async def test_a_row_carries_from_the_newest_batch_of_its_id_also_of_an_earlier_job(tmp_path: Path) -> None:
    """Where a later batch replaces what an earlier one set, nothing is missing, and nothing is old."""
    async with staged(tmp_path, override="replace", **SLOW) as at:
        loading = Loading(at)
        a = loading.export("a", "u1,gold,1", "u2,gold,2")
        b = loading.export("b", "u1,silver,")
        c = loading.export("c", "u1,,3", "u2,,4")
        async with loading.beside(a, b, c):
            await until(lambda: [job.progress.held_rows for job in loading.jobs] == [0, 1, 2])
            await loading.apply_until(lambda: len(loading.reports) == 3)
        loading.check({"u1": {"tier": "silver", "ltv": "3"}, "u2": {"tier": "gold", "ltv": "4"}})


@virtually
async def test_a_row_carries_from_its_batch_though_the_hash_of_its_id_begins_like_one_in_another(
    tmp_path: Path,
) -> None:
    """Of the hashes in a large batch not all bits are in memory, so the row seems to wait for that batch too."""
    many = [f"n{number},tin," for number in range(1 << 16)]
    faults = FaultPlan(posts={2: Fault.STATUS_LOST})
    async with staged(tmp_path, faults=faults, override="replace", **SLOW) as at:
        async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
            ours, alike = (profile_id.decode() for profile_id in ids_alike(state.ledger.salt))
        # The large batch is settled, and not released, when the small one is.
        loading = Loading(at, settle={"ambiguous_hold_s": 3.0})
        small = loading.export("small", f"{ours},gold,1")
        large = loading.export("large", f"{alike},tin,2", *many, f"{ours},,3")
        async with loading.beside(small, large):
            await until(lambda: loading.posts == 2)
            await loading.apply_until(lambda: len(loading.reports) == 2)
        loading.check(profiles_after(*many, f"{alike},tin,2", f"{ours},gold,3"))


@virtually
async def test_the_same_export_twice_waits_for_what_becomes_of_the_first(tmp_path: Path) -> None:
    async with staged(tmp_path, **SLOW) as at:
        loading = Loading(at)
        a, same = loading.export("a", "u1,gold,1"), loading.export("same", "u1,gold,1")
        async with loading.beside(a, same, again=False):
            await until(lambda: loading.posts == 1)
            await anyio.sleep(0.3)
            assert len(loading.jobs) == 1
            await loading.apply_until(lambda: loading.reports)
        assert loading.ends == [("a.csv", "done", 0), ("same.csv", "skipped", 0)]
        assert loading.posts == 1


@virtually
async def test_exports_that_fail_touch_no_other(tmp_path: Path) -> None:
    async with staged(tmp_path, **SLOW) as at:
        loading = Loading(at, export={"max_rejects": 0})
        a, c = loading.export("a", "u1,gold,1"), loading.export("c", "u1,tin,3")
        bad = loading.export("bad", "u1,bad,2", "/,x,")
        async with loading.beside(a, bad, tmp_path / "missing.csv", c):
            await until(lambda: [job.record.export.stem for job in loading.jobs] == ["a", "bad", "c"])
            await loading.apply_until(lambda: len(loading.reports) == 4)
        assert sorted(loading.ends) == [
            ("a.csv", "done", 0),
            ("bad.csv", "failed", 65),
            ("c.csv", "done", 0),
            ("missing.csv", "failed", 66),
        ]
        loading.check({"u1": {"tier": "tin", "ltv": "3"}})


@virtually
async def test_one_that_is_abandoned_sends_nothing_more_and_does_not_stop_the_next(tmp_path: Path) -> None:
    async with staged(tmp_path, **SLOW) as at:
        loading = Loading(at)
        a = loading.export("a", "u1,gold,1", "u2,gold,2")
        b = loading.export("b", "u1,silver,5", "u3,silver,")
        c = loading.export("c", "u1,,3", "u4,tin,")
        async with loading.beside(a, b, c):
            await until(lambda: loading.posts == 3)
            assert [job.progress.held_rows for job in loading.jobs] == [0, 1, 1]
            await loading.do("abandon", loading.jobs[1].record.job_id)
            await loading.apply_until(lambda: len(loading.reports) == 3)
        assert [end[1:] for end in loading.ends] == [("done", 0), ("failed", 65), ("done", 0)]
        assert loading.reports[1]["rows"]["unsent"] == 1
        loading.check(profiles_after("u1,gold,3", "u2,gold,2", "u3,silver,", "u4,tin,"))


class TestStopping:
    """One that cannot be finished stops all, and the next run goes on with them in their order."""

    @pytest.mark.parametrize("which", [0, 1])
    @pytest.mark.parametrize(
        "code", [ExitCode.TARGET_UNAVAILABLE, ExitCode.DISK_OR_LEDGER, ExitCode.UNFINISHED, ExitCode.REFUSED_BY_TARGET]
    )
    @virtually
    async def test_whichever_of_them_it_is(self, tmp_path: Path, which: int, code: ExitCode) -> None:
        async with staged(tmp_path, **SLOW) as at:
            loading = Loading(at)
            exports = [loading.export("a", "u1,gold,1"), loading.export("b", "u1,silver,", "u2,tin,")]

            def stop(job: Job) -> None:
                if job.record.export.stem == "ab"[which] and loading.posts == 2:
                    raise FatalError("this is why", exit_code=code)

            async with loading.beside(*exports, watch=stop):
                pass
            others = [ExitCode.UNFINISHED] * 2
            others[which] = code
            assert [(end[1], end[2]) for end in loading.ends] == [("unfinished", each) for each in others]
            assert "this is why" in loading.reports[which]["error"]
            assert loading.reports[which]["job"] in loading.reports[1 - which]["error"]
            again = Loading(at)
            async with again.beside():
                await again.apply_until(lambda: len(again.reports) == 2)
            assert again.ends == [("a.csv", "done", 0), ("b.csv", "done", 0)]
            again.check(profiles_after("u1,silver,1", "u2,tin,"))

    @virtually
    async def test_a_post_of_another_job_gets_its_grace_and_no_other_begins(self, tmp_path: Path) -> None:
        faults = FaultPlan(posts={2: Fault.SLOW, 3: Fault.SLOW}, slow_bytes_s=30.0)
        async with staged(tmp_path, faults=faults, **SLOW) as at:
            loading = Loading(at, upload={"concurrency": 1}, batch={"max_rows": 1})
            exports = [loading.export("a", "u1,gold,1"), loading.export("b", "u2,tin,2", "u3,tin,3")]

            def stop(job: Job) -> None:
                if job.record.export.stem == "a" and any(other.progress.posts_under_way for other in loading.jobs[1:]):
                    raise FatalError("this is why", exit_code=ExitCode.UNFINISHED)

            async with loading.beside(*exports, watch=stop):
                pass
            assert [report["exit_code"] for report in loading.reports] == [ExitCode.UNFINISHED] * 2
            async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
                first, second, *rest = state.ledger.batches()
            assert [type(record.latest) for record in (first, second)] == [Taken, Taken]
            assert [record.facts for record in rest] == [()]

    @virtually
    async def test_pause_stops_the_posts_of_all_and_resume_lets_them_go(self, tmp_path: Path) -> None:
        async with staged(tmp_path) as at:
            async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
                await carry_out(Request("", "pause", None), state, running=None)
            loading = Loading(at)
            async with loading.beside(loading.export("a", "u1,gold,1"), loading.export("b", "u1,silver,", "u2,tin,")):
                await until(lambda: len(loading.jobs) == 2 and len(loading.jobs[1].progress.book))
                assert loading.posts == 0
                await loading.do("resume")
            assert [end[1] for end in loading.ends] == ["done", "done"]
            loading.check(profiles_after("u1,silver,1", "u2,tin,"))


class TestBounds:
    @virtually
    async def test_so_many_jobs_run_at_once(self, tmp_path: Path) -> None:
        async with staged(tmp_path, statuses_kept=None, **SLOW) as at:
            loading = Loading(at, settle={"status_window": 100})
            exports = [loading.export(f"e{number:02d}", f"u{number},gold,1") for number in range(MAX_RUNNING + 2)]
            async with loading.beside(*exports):
                await until(lambda: loading.posts == MAX_RUNNING)
                await anyio.sleep(0.3)
                assert len(loading.jobs) == MAX_RUNNING
                await loading.apply_until(lambda: len(loading.reports) == len(exports))
            assert loading.ends == [(path.name, "done", 0) for path in exports]

    @virtually
    async def test_so_many_jobs_hold_rows_at_once(self, tmp_path: Path) -> None:
        async with staged(tmp_path, **SLOW) as at:
            loading = Loading(at)
            exports = [loading.export(f"e{number}", f"u1,{number},") for number in range(MAX_PLACING + 3)]
            async with loading.beside(*exports):
                # The first holds none.
                await until(lambda: len(loading.jobs) == MAX_PLACING + 1)
                await anyio.sleep(0.3)
                assert len(loading.jobs) == MAX_PLACING + 1
                await loading.apply_until(lambda: len(loading.reports) == len(exports))
            loading.check({"u1": {"tier": str(MAX_PLACING + 2)}})

    @virtually
    async def test_the_rows_that_all_hold_are_under_one_cap(self, tmp_path: Path) -> None:
        async with staged(tmp_path, **SLOW) as at:
            loading = Loading(at, tracker={"held_max_rows": 4})
            ids = [f"u{number}" for number in range(3)]
            exports = [loading.export(name, *(f"{each},{name},1" for each in ids)) for name in "abc"]
            async with loading.beside(*exports):
                await until(lambda: sum(job.progress.held_rows for job in loading.jobs) >= 4)
                await anyio.sleep(0.3)
                assert [job.progress.held_rows for job in loading.jobs] == [0, 3, 3]
                assert not loading.jobs[2].progress.checkpoint.has_ended
                await loading.apply_until(lambda: len(loading.reports) == 3)
            loading.check({each: {"tier": "c", "ltv": "1"} for each in ids})


@virtually
async def test_a_refused_row_of_one_job_is_found_while_the_next_waits(tmp_path: Path) -> None:
    """The parts of a split batch stand for it in what later jobs wait for."""
    faults = FaultPlan(posts={1: Fault.REFUSE, 3: Fault.REFUSE})
    async with staged(tmp_path, faults=faults, **SLOW) as at:
        loading = Loading(at, batch={"max_rows": 4})
        first = tuple(f"u{number},gold,{number}" for number in range(4))
        # All of them wait, so that no POST of theirs is among the first.
        second = ("u0,silver,", "u3,silver,")
        async with loading.beside(loading.export("a", *first), loading.export("b", *second)):
            await loading.apply_until(lambda: len(loading.reports) == 2)
        assert [report["rows"]["failed"] for report in loading.reports] == [0, 0]
        loading.check(profiles_after(*first, *second))


@virtually
async def test_each_line_of_the_log_names_its_job(tmp_path: Path) -> None:
    import structlog

    async with staged(tmp_path) as at:
        loading = Loading(at)
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            await loading.load(loading.export("a", "u1,gold,1"), loading.export("b", "u1,silver,2"))
    jobs = [report["job"] for report in loading.reports]
    for event in ("batch_sealed", "batch_accepted", "batch_settled", "load_started", "load_finished"):
        assert [line["job"] for line in lines if line["event"] == event] == jobs, event


def test_rejects_lie_in_the_folder_of_their_job(tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        async with staged(tmp_path) as at:
            loading = Loading(at, export={"max_rejects": "100%"})
            await loading.load(loading.export("a", "u1,gold,1", "/a,,"), loading.export("b", "u1,tin,2", "/b,,"))
            assert disorder(at.sandbox.mistakes) == []
            return [
                reject
                for report in loading.reports
                for reject in read_lines(at.state / "jobs" / report["job"] / "rejects.jsonl")
            ]

    rejects = run_virtually(run())
    assert [(reject["file"], reject["id"]) for reject in rejects] == [("a.csv", "/a"), ("b.csv", "/b")]
