"""A command of several exports with ids in common that is cut off, and given again until it comes to its end."""

import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import anyio
import orjson
import pytest

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_exports
from pipeline.settings.tenants import Tenant
from tests.tools.faults.loading import ledger_of
from tests.tools.support import (
    CLOSED,
    ONE_BY_ONE,
    Bench,
    Ended,
    assert_every_row_is_in_one_class,
    bench,
    ended,
    profiles_after,
    run_program,
    settings_for,
    started,
    until,
)

NAMES = ("e0.csv", "e1.csv", "e2.csv")
#: The same ids in each export.
LINES = tuple(tuple(f"u{number},{name},{number}" for number in range(6)) for name in NAMES)
SLOW: dict[str, Any] = {"apply_min_s": 0.3, "apply_max_s": 0.5}


def exports(at: Bench) -> list[Path]:
    return [at.export(*lines, name=name) for name, lines in zip(NAMES, LINES, strict=True)]


def command(at: Bench, *options: str) -> list[str | Path]:
    return ["load", *(at.directory / name for name in NAMES), "--config", at.config(**ONE_BY_ONE), "--json", *options]


def reports(done: Ended) -> list[dict[str, Any]]:
    told = [orjson.loads(line) for line in done.out.splitlines()]
    for report in told:
        assert_every_row_is_in_one_class(report)
    return told


def jobs(at: Bench) -> list[str]:
    with ledger_of(at.state) as ledger:
        return [job.export.name for job in ledger.jobs()]


def assert_each_was_loaded_once(at: Bench, done: Ended, *, in_doubt: int = 0) -> None:
    """In their order, with nothing sent twice but so many batches at most of which nobody knew whether they were."""
    assert done.code == 0, done.said
    told = reports(done)
    assert [(report["export"]["name"], report["state"]) for report in told] == [(name, "done") for name in NAMES]
    assert jobs(at) == list(NAMES)
    at.sandbox.apply_all()
    assert at.sandbox.profiles() == profiles_after(*LINES[0], *LINES[1], *LINES[2])
    assert at.sandbox.mistakes == []
    assert 0 <= at.sandbox.counts()["batches"] - 9 <= in_doubt


class TestTheProgram:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    @pytest.mark.parametrize("posts", [1, 7])
    async def test_cut_off_by_a_signal(self, tmp_path: Path, number: signal.Signals, posts: int) -> None:
        """In each of the exports; what was being sent when the process was killed may be sent twice."""
        async with bench(tmp_path, **SLOW) as at:
            exports(at)
            async with started(*command(at)) as process:
                await until(lambda: at.sandbox.counts()["batches"] >= posts)
                process.send_signal(number)
                first = await ended(process)
            assert first.code == (75 if number is signal.SIGTERM else -number), first.said
            assert jobs(at) == list(NAMES)
            assert_each_was_loaded_once(at, await run_program(*command(at)), in_doubt=1)

    async def test_stopped_by_wait_again_and_again(self, tmp_path: Path) -> None:
        async with bench(tmp_path, **SLOW) as at:
            exports(at)
            codes: list[int] = []
            while codes[-1:] in ([], [75]):
                assert len(codes) < 20, "it makes no progress"
                # Longer than the program takes to start, and shorter than all exports take.
                done = await run_program(*command(at, "--wait", "2.5"))
                codes.append(done.code)
            assert len(codes) > 1
            assert_each_was_loaded_once(at, done, in_doubt=len(codes) - 1)

    async def test_cut_off_with_again(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            exports(at)
            assert_each_was_loaded_once(at, await run_program(*command(at)))
            before = at.sandbox.counts()["batches"]
            async with started(*command(at, "--again")) as process:
                await until(lambda: at.sandbox.counts()["batches"] >= before + 4)
                process.kill()
                await ended(process)
            done = await run_program(*command(at, "--again"))
            assert (done.code, len(reports(done))) == (0, 3), done.said
            assert jobs(at) == [*NAMES, *NAMES]

    async def test_that_came_to_its_end_sends_nothing(self, tmp_path: Path) -> None:
        """All is loaded, in that order; with --again it is another command."""
        async with bench(tmp_path) as at:
            exports(at)
            first = reports(await run_program(*command(at)))
            done = await run_program(*command(at))
            assert done.code == 0
            told = reports(done)
            assert [(report["state"], report["same_as"]) for report in told] == [
                ("skipped", report["job"]) for report in first
            ]
            assert jobs(at) == list(NAMES)
            assert at.sandbox.counts()["batches"] == 9
            assert (await run_program(*command(at, "--again"))).code == 0
            assert jobs(at) == [*NAMES, *NAMES]

    async def test_an_export_that_fails_is_not_tried_again_by_it(self, tmp_path: Path) -> None:
        """It would come behind the others, and its code is told once more."""
        async with bench(tmp_path, **SLOW) as at:
            exports(at)
            (at.directory / NAMES[0]).write_text("")
            async with started(*command(at)) as process:
                await until(lambda: at.sandbox.counts()["batches"] >= 1)
                process.kill()
                await ended(process)
            done = await run_program(*command(at))
            assert done.code == 65, done.said
            assert [report["state"] for report in reports(done)] == ["failed", "done", "done"]
            assert jobs(at) == list(NAMES)

    async def test_target_away(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            exports(at)
            arguments = command(at)
            away: dict[str, Any] = {**ONE_BY_ONE, "upload": {"concurrency": 1, "give_up_after_s": 0.5}}
            Bench(tmp_path, CLOSED, at.sandbox).config(**away)
            for _ in range(2):
                first = await run_program(*arguments)
                assert first.code == 69, first.said
                assert jobs(at) == list(NAMES)
            at.config(**ONE_BY_ONE)
            assert_each_was_loaded_once(at, await run_program(*arguments))


async def test_a_run_that_is_cut_off_before_it_has_told_of_the_last_job_tells_of_all(tmp_path: Path) -> None:
    """All jobs have ended, and whoever asked for them does not know: a kill may come between any two steps."""
    async with bench(tmp_path) as at:
        paths = exports(at)
        tenant = Tenant.of_one(settings_for(at.base_url, at.state, **ONE_BY_ONE))
        first: list[str] = []
        with anyio.fail_after(30):
            async for report in (running := load_exports(paths, tenant, host=Host())):
                first.append(report.job)
                if len(first) == len(NAMES):
                    # Long enough for whatever is done behind the last job.
                    await anyio.sleep(0.5)
                    break
            await cast("AsyncGenerator[Any, None]", running).aclose()
            again = [report.job async for report in load_exports(paths, tenant, host=Host())]
            assert again == first
            assert jobs(at) == list(NAMES)
            assert at.sandbox.counts()["batches"] == 9
            anew = [report.job async for report in load_exports(paths, tenant, host=Host())]
        assert set(anew).isdisjoint(first)
