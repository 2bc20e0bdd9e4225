"""The program as a process in a state directory that others used before it, or use beside it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan, MistakeKind
from tests.tools.support import (
    ONE_BY_ONE,
    SIX_ROWS,
    Bench,
    Ended,
    Process,
    assert_every_row_is_in_one_class,
    assert_report_is_kept,
    assert_reported,
    bench,
    ended,
    profiles_after,
    run_program,
    small_disk,
    started,
    unheard,
    until,
)

#: An id that comes again, so that rows are held when a load ends.
AGAIN = (*SIX_ROWS, "u0,silver,", "u5,,99")


def assert_all_is_there(at: Bench, done: Ended, *lines: str) -> None:
    """The second run finished the job of the first: every row once in the report, every profile right."""
    at.sandbox.apply_all()
    assert done.code == 0, done.said
    assert done.report["state"] == "done"
    assert done.report["rows"]["confirmed"] + done.report["rows"]["superseded"] == len(lines)
    assert at.sandbox.profiles() == profiles_after(*lines)
    # A wrong token is noted as well; where one was tried, it was on purpose.
    assert [mistake for mistake in at.sandbox.mistakes if mistake.kind is not MistakeKind.WRONG_TOKEN] == []


class TestAfter:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    async def test_a_signal(self, tmp_path: Path, number: signal.Signals) -> None:
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            export, config = at.export(*AGAIN), at.config(**ONE_BY_ONE)
            async with started("load", export, "--config", config, "--json", cold=True) as process:
                await until(lambda: at.sandbox.calls["statuses"])
                process.send_signal(number)
                first = await ended(process)
            done = await run_program("load", export, "--config", config, "--json", cold=True)
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *AGAIN)
            assert len(at.sandbox.state()["batches"]) == len(done.report["batches"])  # type: ignore[arg-type]
            calls = at.sandbox.calls["posts"] + at.sandbox.calls["statuses"]
        if number is signal.SIGTERM:
            assert first.code == 75
            assert first.report["job"] == done.report["job"]
            # A call that the signal cut off may not have come through.
            assert calls <= done.report["calls"] <= calls + 1, "of both runs"
            assert done.report["calls"] > first.report["calls"] >= 2
            assert done.report["seconds"] > first.report["seconds"] > 0.0
        else:
            assert first.code == -number
            # What came behind its last seal is not known.
            assert done.report["calls"] <= calls

    async def test_a_signal_status_says_what_the_report_said(self, tmp_path: Path) -> None:
        async with bench(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as at:
            export, config = at.export(*AGAIN), at.config(**ONE_BY_ONE)
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["statuses"])
                process.send_signal(signal.SIGTERM)
                first = await ended(process)
            (job,) = (await told_by(at))["jobs"]
            people = await run_program("status", "--config", config)
        told, rows = job["rows"], first.report["rows"]
        assert [told[name] for name in rows if name != "unsent"] == [rows[name] for name in rows if name != "unsent"]
        assert (told["pending"], told["unconfirmed"]) == (rows["read"] - rows["superseded"], 0)
        assert (job["state"], job["last_run"]["exit_code"]) == ("unfinished", 75)
        assert (job["last_run"]["why"], job["seconds"]) == ("stopped by SIGTERM.", first.report["seconds"])
        assert "(75): stopped by SIGTERM." in people.out
        assert "the next `load` or `serve` goes on with what is unfinished" in people.out

    async def test_its_rejects_were_lost(self, tmp_path: Path) -> None:
        """What is wrong is said, and not covered up by counts that were not taken up yet."""
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            export, config = at.export("no cells", *AGAIN), at.config(**ONE_BY_ONE, export={"max_rejects": "50%"})
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["statuses"])
                process.kill()
                await ended(process)
            (rejects,) = at.state.glob("jobs/*/rejects.jsonl")
            kept = rejects.read_bytes()
            rejects.write_bytes(b"")
            first = await run_program("load", export, "--config", config, "--json")
            assert_reported(first, at.state)
            assert (first.code, "restore it, or give the job up" in first.report["error"]) == (74, True)
            rejects.write_bytes(kept)
            done = await run_program("load", export, "--config", config, "--json")
            assert_reported(done, at.state)
            assert (done.code, done.report["rows"]["rejected"]) == (0, 1)

    async def test_target_was_unreachable(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export = at.export(*AGAIN)
            away = unheard(tmp_path).config(**{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.3}})
            first = await run_program("load", export, "--config", away, "--json")
            assert first.code == 69
            assert first.report["state"] == "unfinished"
            assert_reported(first, at.state)
            done = await run_program("load", export, "--config", at.config(**ONE_BY_ONE), "--json")
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *AGAIN)
        assert done.report["job"] == first.report["job"]

    async def test_statuses_were_not_to_be_had(self, tmp_path: Path) -> None:
        """What Target had taken by then is asked for again, and not sent again."""
        faults = FaultPlan(statuses=dict.fromkeys(range(1, 30), Fault.STATUS_500))
        async with bench(tmp_path, faults=faults) as at:
            export = at.export(*AGAIN)
            hasty = at.config(**{**ONE_BY_ONE, "upload": {"give_up_after_s": 0.3}})
            first = await run_program("load", export, "--config", hasty, "--json")
            assert (first.code, at.sandbox.calls["posts"]) == (69, 1)
            done = await run_program("load", export, "--config", at.config(**ONE_BY_ONE), "--json")
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *AGAIN)
            assert at.sandbox.calls["posts"] == len(done.report["batches"])

    async def test_too_little_was_free(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            export = at.export(*AGAIN)
            config = at.config(**ONE_BY_ONE, state={"min_free_bytes": 2**50})
            first = await run_program("load", export, "--config", config, "--json")
            assert first.code == 74
            done = await run_program("load", export, "--config", at.config(**ONE_BY_ONE), "--json")
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *AGAIN)
        assert done.report["job"] == first.report["job"]

    async def test_the_disk_was_full(self, tmp_path: Path) -> None:
        lines = [f"u{n:05},gold,{n}" for n in range(20_000)]
        async with bench(tmp_path) as at:
            with small_disk(2_000_000) as disk:
                export = at.export(*lines)
                config = at.config(state={"directory": str(disk / "state")}, batch={"max_rows": 5_000})
                (disk / "ballast").write_bytes(b"x" * 1_600_000)
                first = await run_program("load", export, "--config", config, "--json")
                assert first.code == 74, first.said
                assert "make room" in first.said
                (disk / "ballast").unlink()
                done = await run_program("load", export, "--config", config, "--json")
                assert_reported(done, disk / "state")
            assert_all_is_there(at, done, *lines)

    async def test_the_token_was_wrong(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        async with bench(tmp_path, token="right") as at:
            export = at.export(*AGAIN)
            config = at.config(**ONE_BY_ONE, target={"token_file": str(token)})
            first = await run_program("load", export, "--config", config, "--json")
            assert first.code == 77
            token.write_text("right")
            done = await run_program("load", export, "--config", config, "--json")
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *AGAIN)
        assert done.report["job"] == first.report["job"]

    async def test_every_batch_was_refused(self, tmp_path: Path) -> None:
        lines = [f"u{n},gold,{n}" for n in range(40)]
        async with bench(tmp_path, faults=FaultPlan(post_chances={Fault.REFUSE: 1.0})) as at:
            export, config = at.export(*lines), at.config(batch={"max_rows": 40}, upload={"concurrency": 1})
            first = await run_program("load", export, "--config", config, "--json")
            assert first.code == 77, first.said
            at.sandbox.faults = FaultPlan()
            done = await run_program("load", export, "--config", config, "--json")
            assert_reported(done, at.state)
            at.sandbox.apply_all()
        rows = done.report["rows"]
        assert (done.code, done.report["job"]) == (0, first.report["job"])
        assert (rows["confirmed"], rows["rejected"]) == (40, 0)
        assert len(at.sandbox.profiles()) == 40

    async def test_its_time_was_up(self, tmp_path: Path) -> None:
        async with bench(tmp_path, apply_min_s=2.5, apply_max_s=2.5) as at:
            export, config = at.export(*SIX_ROWS), at.config(settle={"poll_max_s": 0.2})
            first = await run_program("load", export, "--config", config, "--json", "--wait", "1")
            assert first.code == 75, first.said
            done = await run_program("load", export, "--config", config, "--json", "--wait", "60")
            assert_reported(done, at.state)
            assert_all_is_there(at, done, *SIX_ROWS)
            assert at.sandbox.calls["posts"] == 1

    async def test_its_export_was_changed(self, tmp_path: Path) -> None:
        """What was sent of it is followed to its end; what it holds now is a job of its own."""
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            export, config = at.export(*SIX_ROWS), at.config(**ONE_BY_ONE)
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["statuses"])
                process.terminate()
                first = await ended(process)
            at.export(*SIX_ROWS, "u9,new,9")
            done = await run_program("load", export, "--config", config, "--json")
            at.sandbox.apply_all()
        reports = [orjson.loads(line) for line in done.out.splitlines()]
        assert reports[0]["job"] == first.report["job"]
        # Rows behind the latest seal count as never read: the file they were in is gone.
        assert 2 <= reports[0]["rows"]["read"] <= 6
        for report in reports:
            assert_every_row_is_in_one_class(report)
            assert_report_is_kept(report, at.state / "jobs" / report["job"])
        assert at.sandbox.profiles() == profiles_after(*SIX_ROWS, "u9,new,9")
        assert at.sandbox.mistakes == []


class TestTheSameOnceMore:
    async def test_is_not_sent_unless_it_is_asked_for(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            first = await at.load(*SIX_ROWS)
            second = await run_program("load", at.export(*SIX_ROWS, name="copy.csv"), "--config", at.config(), "--json")
            assert (second.code, second.report["same_as"]) == (0, first.report["job"])
            assert at.sandbox.calls["posts"] == 1
            assert "export_not_sent" in second.err
            third = await run_program("load", at.export(*SIX_ROWS), "--config", at.config(), "--json", "--again")
            assert_reported(third, at.state)
            assert third.report["job"] != first.report["job"]
            assert at.sandbox.calls["posts"] == 2

    async def test_after_a_loss_is_sent(self, tmp_path: Path) -> None:
        async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS})) as at:
            first = await at.load(*SIX_ROWS)
            second = await at.load(*SIX_ROWS)
        assert (first.code, second.code) == (76, 0)
        assert second.report["job"] != first.report["job"]

    async def test_another_in_between(self, tmp_path: Path) -> None:
        """Going back to what was before is a change: what is loaded later wins."""
        async with bench(tmp_path) as at:
            for lines in (SIX_ROWS, ("u0,other,1",), SIX_ROWS):
                await at.load(*lines)
            assert at.sandbox.calls["posts"] == 3
            assert at.sandbox.profiles() == profiles_after(*SIX_ROWS)


class TestStateDirectory:
    async def test_in_use(self, tmp_path: Path) -> None:
        async with at_work(tmp_path) as (at, process, _):
            second = await run_program("load", at.export("a,1,1", name="b.csv"), "--config", at.config())
        assert second.code == 73
        assert second.out == ""
        assert f"is in use by process {process.pid}: " in second.err

    async def test_a_damaged_ledger(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            await at.load(*SIX_ROWS)
            content = bytearray((at.state / "ledger.db").read_bytes())
            content[:100] = b"x" * 100
            (at.state / "ledger.db").write_bytes(content)
            done = await run_program("load", at.export("a,1,1"), "--config", at.config())
            told = await run_program("status", "--config", at.config())
            assert at.sandbox.calls["posts"] == 1
        for run in (done, told):
            assert run.code == 74
            assert "ledger.db cannot be used" in run.err
            assert "Restore the whole state directory from a backup" in run.err
            assert "Traceback" not in run.err

    async def test_of_another_client(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            await at.load(*SIX_ROWS)
            done = await run_program(
                "load", at.export("a,1,1"), "--config", at.config(target={"client_code": "another"})
            )
        assert done.code == 78
        assert "belongs to client code 'demo', not 'another'" in done.err


@asynccontextmanager
async def at_work(directory: Path, **options: Any) -> AsyncIterator[tuple[Bench, Process, str]]:
    """A load that sends a batch, waits for it, and has more to send; and its job."""
    async with AsyncExitStack() as stack:
        at = await stack.enter_async_context(
            bench(directory, **{"apply_min_s": 600.0, "apply_max_s": 600.0, **options})
        )
        load = started("load", at.export(*SIX_ROWS), "--config", at.config(**ONE_BY_ONE), "--json")
        process = await stack.enter_async_context(load)
        await until(lambda: at.sandbox.calls["statuses"])
        (folder,) = (at.state / "jobs").iterdir()
        yield at, process, folder.name


async def told_by(at: Bench, *arguments: str) -> dict[str, Any]:
    """What `status` prints as JSON."""
    done = await run_program("status", *arguments, "--config", at.config(**ONE_BY_ONE), "--json")
    assert done.code == 0, done.said
    told: dict[str, Any] = orjson.loads(done.out)
    return told


async def ask(at: Bench, command: str, *job: str) -> Ended:
    return await run_program(command, *job, "--config", at.config(**ONE_BY_ONE))


class TestCommandsBesideALoad:
    async def test_status_pause_and_resume(self, tmp_path: Path) -> None:
        async with at_work(tmp_path) as (at, process, job):
            told = await told_by(at)
            assert (told["held_by"], told["is_paused"]) == (process.pid, False)
            (state,) = told["jobs"]
            assert (state["job"], state["state"], state["rows"]["confirmed"]) == (job, "unfinished", 0)
            assert "Target to apply 1 batch" in state["waits_for"][0]
            people = await run_program("status", "--config", at.config(**ONE_BY_ONE))
            assert f"Process {process.pid} is at work." in people.out

            paused = await ask(at, "pause")
            assert (paused.code, "nothing more is sent" in paused.out) == (0, True), paused.said
            at.sandbox.apply_all()
            async with asyncio.timeout(20):
                while (told := await told_by(at))["jobs"][0]["rows"]["confirmed"] < 2:
                    pass
            assert told["is_paused"]
            assert at.sandbox.calls["posts"] == 1

            resumed = await ask(at, "resume")
            assert (resumed.code, "goes on" in resumed.out) == (0, True), resumed.said
            await until(lambda: at.sandbox.calls["posts"] == 2)

    async def test_abandon(self, tmp_path: Path) -> None:
        async with at_work(tmp_path) as (at, process, job):
            unknown = await ask(at, "abandon", "nonsense")
            assert (unknown.code, "there is no job 'nonsense'" in unknown.err) == (64, True), unknown.said
            asked = await ask(at, "abandon", job)
            assert asked.code == 0, asked.said
            at.sandbox.apply_all()
            done = await ended(process)
            assert_reported(done, at.state)
            assert (done.code, done.report["state"]) == (65, "failed")
            assert (done.report["rows"]["confirmed"], done.report["rows"]["unsent"]) == (2, 4)
            assert at.sandbox.calls["posts"] == 1
            again = await ask(at, "abandon", job)
            assert (again.code, "has ended already: failed" in again.err) == (64, True), again.said
            (told,) = (await told_by(at))["jobs"]
            assert told["rows"] == done.report["rows"] | {"held": 0}

    async def test_abandon_what_waits_in_a_pause(self, tmp_path: Path) -> None:
        """It ends at once, and not when sending goes on."""
        async with bench(tmp_path) as at:
            config = at.config(**ONE_BY_ONE)
            assert (await ask(at, "pause")).code == 0
            async with started("load", at.export(*SIX_ROWS), "--config", config, "--json") as process:
                await until(lambda: any((at.state / "spool").glob("*.ids")))
                (job,) = [each["job"] for each in (await told_by(at))["jobs"]]
                assert (await ask(at, "abandon", job)).code == 0
                done = await ended(process)
            assert_reported(done, at.state)
            assert (done.code, done.report["state"]) == (65, "failed")
            assert (done.report["rows"]["unsent"], at.sandbox.calls["posts"]) == (done.report["rows"]["read"], 0)

    async def test_retry_of_what_has_not_ended(self, tmp_path: Path) -> None:
        async with at_work(tmp_path) as (at, _, job):
            asked = await ask(at, "retry", job)
        assert (asked.code, "has not ended yet" in asked.err) == (64, True), asked.said


class TestCommandsByThemselves:
    async def test_status_of_nothing(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        told = await told_by(at)
        assert (told["held_by"], told["is_paused"], told["jobs"]) == (None, False, [])
        assert not at.state.exists(), "looking leaves no trace"
        unknown = await run_program("status", "nonsense", "--config", at.config())
        assert (unknown.code, "there is no job 'nonsense'" in unknown.err) == (64, True)

    async def test_pause_before_a_load(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            assert (await ask(at, "pause")).code == 0
            assert (await told_by(at))["is_paused"]
            config = at.config(**ONE_BY_ONE)
            export = at.export(*SIX_ROWS)
            stopped = await run_program("load", export, "--config", config, "--json", "--wait", "1.5")
            assert (stopped.code, at.sandbox.calls["posts"]) == (75, 0)
            assert (await ask(at, "resume")).code == 0
            done = await run_program("load", export, "--config", config, "--json")
            assert_all_is_there(at, done, *SIX_ROWS)

    async def test_abandon_after_a_load(self, tmp_path: Path) -> None:
        """What was sent is followed to its end by the next load, the rest is not sent."""
        async with bench(tmp_path, apply_min_s=0.5, apply_max_s=0.5) as at:
            export, config = at.export(*SIX_ROWS), at.config(**ONE_BY_ONE)
            async with started("load", export, "--config", config, "--json") as process:
                await until(lambda: at.sandbox.calls["statuses"])
                process.terminate()
                first = await ended(process)
            sent = at.sandbox.calls["posts"]
            asked = await ask(at, "abandon", first.report["job"])
            assert (asked.code, "ends with the next `load` or `serve`: " in asked.out) == (0, True)
            done = await run_program("load", at.export("v,1,1", name="next.csv"), "--config", config, "--json")
            reports = [orjson.loads(line) for line in done.out.splitlines()]
            assert at.sandbox.calls["posts"] == sent + 1
        assert [report["state"] for report in reports] == ["failed", "done"]
        assert reports[0]["job"] == first.report["job"]
        rows = reports[0]["rows"]
        assert (rows["confirmed"], rows["confirmed"] + rows["unsent"]) == (2, rows["read"])
        assert done.code == 65

    async def test_retry(self, tmp_path: Path) -> None:
        """A later row has overtaken one of the three lost: it is named, and not sent."""
        async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=3)) as at:
            first = await at.load(*SIX_ROWS)
            assert first.code == 76
            await at.load("u0,newer,1")
            done = await ask(at, "retry", first.report["job"])
            at.sandbox.apply_all()
            assert at.sandbox.profiles() == profiles_after(*SIX_ROWS, "u0,newer,1")
            assert "2 rows of job" in done.out
            assert "overtaken by later rows and left alone: u0" in done.out
            assert done.code == 0, done.said
            told = await told_by(at)
            assert [job["retry_of"] for job in told["jobs"]] == [None, None, first.report["job"]]
            assert told["jobs"][-1]["rows"]["confirmed"] == 2
            unknown = await ask(at, "retry", "nonsense")
            assert (unknown.code, "there is no job" in unknown.err) == (64, True)
        assert at.sandbox.mistakes == []
