"""The life of the service as a process: stopping, going on, waiting for what is away, requests, two of them."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from pipeline.edges.store.notices import read_drops
from pipeline.sandbox import Fault, FaultPlan, MistakeKind
from tests.tools.dropping import Drop, dropping, events, text_of
from tests.tools.faults.refusing import POISON, refusing
from tests.tools.support import (
    ONE_BY_ONE,
    SIX_ROWS,
    Process,
    bench,
    ended,
    fill,
    profiles_after,
    run_program,
    small_disk,
    unheard,
    until,
)


async def stopped(process: Process) -> Any:
    process.send_signal(signal.SIGTERM)
    return await ended(process)


async def told_by(drop: Drop) -> dict[str, Any]:
    done = await run_program("status", "--config", drop.directory.parent / "config.toml", "--json")
    assert done.code == 0, done.said
    told: dict[str, Any] = orjson.loads(done.out)
    return told


async def until_told(drop: Drop, key: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while not (told := await told_by(drop))[key]:
            pass
    return told


class TestRunning:
    async def test_it_takes_what_comes_while_it_runs(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            async with drop.serving() as process:
                for number in range(3):
                    drop.put("a.csv", f"u{number},gold,{number}", signal_as="a.csv.ready")
                    await until(lambda number=number: len(drop.reports()) == number + 1)  # type: ignore[misc]
                done = await stopped(process)
            assert (done.code, done.out) == (0, ""), done.said
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == profiles_after("u0,gold,0", "u1,gold,1", "u2,gold,2")
            assert drop.left() == []

    async def test_what_comes_while_another_is_loaded_cannot_be_overwritten(self, tmp_path: Path) -> None:
        """Exports are taken as soon as they are signalled, not when their turn comes."""
        async with dropping(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as drop:
            async with drop.serving() as process:
                for tier in ("first", "second", "third"):
                    drop.put("a.csv", f"{tier},{tier},", signal_as="a.csv.ready")
                    await until(lambda: drop.left() == [] or "a.csv" not in drop.left())

                def all_are_loaded() -> bool:
                    drop.at.sandbox.apply_all()
                    return len(drop.reports()) == 3

                await until(all_are_loaded)
                assert (await stopped(process)).code == 0
            assert set(drop.at.sandbox.profiles()) == {"first", "second", "third"}

    async def test_a_failed_job_does_not_stop_it(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop, drop.serving() as process:
            drop.put("bad.csv", "a,gold,1", signal_as="bad.csv.ready", manifest="rows=9")
            await until(lambda: drop.ends() == {"bad.csv": "failed"})
            drop.put("good.csv", "a,gold,1", signal_as="good.csv.ready")
            await until(lambda: drop.ends() == {"bad.csv": "failed", "good.csv": "done"})
            assert (await stopped(process)).code == 0

    async def test_a_second_one(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop, drop.serving() as process:
            same_state = await run_program("serve", "--config", drop.config())
            elsewhere = drop.config(state={"directory": str(tmp_path / "other-state")})
            same_drop = await run_program("serve", "--drain", "--config", elsewhere)
            for second, what in ((same_state, "state"), (same_drop, "drop")):
                assert second.code == 73, second.said
                (failed,) = [orjson.loads(line) for line in second.err.splitlines()]
                assert (failed["level"], failed["event"], failed["exit_code"]) == ("error", "service_failed", 73)
                assert f"the {what} directory" in second.err
                assert f"in use by process {process.pid}" in second.err
            assert process.returncode is None


class TestStopping:
    async def test_in_the_middle_and_going_on(self, tmp_path: Path) -> None:
        async with dropping(tmp_path, apply_min_s=0.3, apply_max_s=0.5) as drop:
            lines = (*SIX_ROWS, "u0,silver,", "u5,,99")
            drop.put("a.csv", *lines, signal_as="a.csv.ready")
            drop.put("b.csv", "u0,later,", signal_as="b.csv.ready")
            async with drop.serving(config=drop.config(**ONE_BY_ONE), cold=True) as process:
                await until(lambda: drop.at.sandbox.calls["statuses"])
                first = await stopped(process)
            assert (first.code, drop.reports()) == (0, []), first.said
            async with drop.serving(config=drop.config(**ONE_BY_ONE), cold=True) as process:
                await until(lambda: len(drop.reports()) == 2)
                assert (await stopped(process)).code == 0
            drop.at.sandbox.apply_all()
            assert drop.ends() == {"a.csv": "done", "b.csv": "done"}
            assert drop.at.sandbox.profiles() == profiles_after(*lines, "u0,later,")
            assert drop.at.sandbox.mistakes == []
            accepted: Any = drop.at.sandbox.state()["batches"]
            assert len(accepted) == sum(len(report["batches"]) for report in drop.reports()), "nothing was sent twice"

    @pytest.mark.parametrize("is_patient", [True, False])
    async def test_a_running_post_gets_its_grace(self, tmp_path: Path, is_patient: bool) -> None:
        async with dropping(tmp_path, faults=FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=40.0)) as drop:
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            sections = {"batch": {"max_rows": 2}, "upload": {"concurrency": 1}}
            service = {"grace_s": 20.0 if is_patient else 0.0}
            async with drop.serving(config=drop.config(**sections, service=service)) as process:
                await until(lambda: drop.at.sandbox.calls["posts"])
                done = await stopped(process)
            assert done.code == 0, done.said
            # Accepted while it was waited for; and no other was begun meanwhile.
            assert len(events(done, "batch_accepted")) == is_patient
            assert drop.at.sandbox.calls["posts"] == 1

    async def test_a_second_signal_ends_it_at_once(self, tmp_path: Path) -> None:
        async with dropping(tmp_path, faults=FaultPlan(posts={1: Fault.SLOW}, slow_bytes_s=1.0)) as drop:
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            async with drop.serving(service={"grace_s": 600.0}) as process:
                await until(lambda: drop.at.sandbox.calls["posts"])
                process.send_signal(signal.SIGTERM)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.5)
                process.send_signal(signal.SIGINT)
                done = await ended(process, within_s=10)
            assert done.code == 0, done.said
            assert [event["at_once"] for event in events(done, "service_stopping")] == [False, True]

    async def test_a_drain_that_is_stopped_says_so(self, tmp_path: Path) -> None:
        async with dropping(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as drop:
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            async with drop.serving("--drain") as process:
                await until(lambda: drop.at.sandbox.calls["statuses"])
                assert (await stopped(process)).code == 75

    async def test_while_nothing_is_to_be_done(self, tmp_path: Path) -> None:
        drop = Drop(unheard(tmp_path))
        async with drop.serving(drop={"poll_s": 600.0}) as process:
            await until(lambda: (drop.at.state / "requests").exists())
            done = await stopped(process)
        assert done.code == 0, done.said


class TestWaiting:
    async def test_for_target(self, tmp_path: Path) -> None:
        """Unreachable for longer than a load would wait, and there again."""
        drop = Drop(unheard(tmp_path))
        drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
        away = drop.config(upload={"give_up_after_s": 0.3})
        async with drop.serving(config=away):
            told = await until_told(drop, "paused_by_itself")
            assert "Target gave no usable answer" in told["paused_by_itself"]["why"]
            assert told["paused_by_itself"]["exit_code"] == 69
        async with bench(tmp_path) as at:
            there = Drop(at)
            async with there.serving() as process:
                await until(lambda: there.ends() == {"a.csv": "done"})
                assert (await told_by(there))["paused_by_itself"] is None
                assert (await stopped(process)).code == 0

    async def test_for_another_token(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        async with dropping(tmp_path, token="right") as drop:
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            async with drop.serving(target={"token_file": str(token)}) as process:
                told = await until_told(drop, "paused_by_itself")
                assert told["paused_by_itself"]["exit_code"] == 77
                people = await run_program("status", "--config", tmp_path / "config.toml")
                assert "Target refuses the token" in people.out
                tried = drop.at.sandbox.calls["posts"]
                token.write_text("right")
                await until(lambda: drop.ends() == {"a.csv": "done"})
                done = await stopped(process)
            assert done.code == 0, done.said
            assert tried <= 2, "a refused token is not tried again and again"
            assert len(events(done, "service_paused")) == len(events(done, "service_goes_on")) == 1
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == profiles_after(*SIX_ROWS)
            assert {mistake.kind for mistake in drop.at.sandbox.mistakes} <= {MistakeKind.WRONG_TOKEN}

    async def test_what_it_waits_for_is_told_where_the_disk_takes_no_notice(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("wrong")
        async with (
            dropping(tmp_path, token="right") as drop,
            drop.serving(target={"token_file": str(token)}) as process,
        ):
            await until(lambda: (drop.at.state / "heartbeat").exists())
            notice = drop.at.state / "service.json"
            # Nothing can be written over it.
            notice.mkdir()
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            told = await until_told(drop, "paused_by_itself")
            config = tmp_path / "config.toml"
            assert (told["paused_by_itself"]["exit_code"], told["jobs"][0]["last_run"]["exit_code"]) == (77, 77)
            why = told["paused_by_itself"]["why"]
            assert why in (await run_program("status", "--config", config)).out
            assert why in (await run_program("health", "--config", config)).out
            notice.rmdir()
            token.write_text("right")
            await until(lambda: drop.ends() == {"a.csv": "done"})
            async with asyncio.timeout(20):
                while (await told_by(drop))["paused_by_itself"]:
                    pass
            assert (await stopped(process)).code == 0

    async def test_for_target_that_is_away(self, tmp_path: Path) -> None:
        """Status, health, progress line and log say so in the same words, and none of them once it is back."""
        async with bench(tmp_path, faults=FaultPlan(post_chances={Fault.HTTP_500: 1.0})) as at:
            drop = Drop(at)
            config = tmp_path / "config.toml"
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            upload = {"attempts": 100, "backoff_s": 0.5, "backoff_max_s": 0.5}
            async with drop.serving(upload=upload) as process:
                away = await first_line(process, ("target_away",))
                assert away["last_answer"] == "HTTP 500"
                told = await told_by(drop)
                assert (told["held_up"]["away_since"], told["held_up"]["last_answer"]) == (away["since"], "HTTP 500")
                words = "no usable answer since"
                assert words in (await run_program("status", "--config", config)).out
                assert words in (await run_program("health", "--config", config)).out
                while words not in (await first_line(process, ("load_progress",)))["waits_for"]:
                    pass
                at.sandbox.faults = FaultPlan()
                back = await first_line(process, ("target_back",))
                assert back["away_since"] == away["since"]
                assert (await told_by(drop))["held_up"] == dict.fromkeys(told["held_up"]) | {"is_shared": False}
                assert words not in (await run_program("health", "--config", config)).out
                assert (await stopped(process)).code == 0
            assert not (at.state / "sending.json").exists()

    async def test_for_target_to_accept_anything(self, tmp_path: Path) -> None:
        """Whether it is mended on Target's side or by giving the job up, what comes next is tried without prejudice."""
        async with refusing() as target:
            target.refuses_all = True
            drop = Drop(replace(unheard(tmp_path), base_url=target.base_url))
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            async with drop.serving() as process:
                told = (await until_told(drop, "paused_by_itself"))["paused_by_itself"]
                assert (told["exit_code"], "Target refuses everything" in told["why"]) == (77, True)
                target.refuses_all = False
                drop.put("b.csv", f"p,{POISON},1", *SIX_ROWS, signal_as="b.csv.ready")
                done = await run_program("abandon", told["job"], "--config", tmp_path / "config.toml")
                assert done.code == 0, done.said
                await until(lambda: set(drop.ends()) == {"a.csv", "b.csv"})
                assert (await told_by(drop))["paused_by_itself"] is None
                done = await stopped(process)
            assert (done.code, len(events(done, "service_paused"))) == (0, 1), done.said
            assert [report["rows"]["confirmed"] for report in drop.reports()] == [0, 6]
            assert target.profiles == profiles_after(*SIX_ROWS)

    async def test_for_room_on_the_disk(self, tmp_path: Path) -> None:
        with small_disk(4_000_000) as disk:
            async with dropping(tmp_path) as drop:
                state = {"directory": str(disk / "state"), "min_free_bytes": 0}
                lines = [f"u{number},{'x' * 200},1" for number in range(3_000)]
                outcome = {"outcome_directory": str(tmp_path / "state" / "jobs")}
                async with drop.serving(state=state, drop=outcome) as process:
                    await until(lambda: (disk / "state" / "ledger.db").exists())
                    ballast = disk / "ballast"
                    fill(ballast)
                    drop.put("a.csv", *lines, signal_as="a.csv.ready")
                    logged = await first_line(process, ("service_paused", "signals_not_looked_for"))
                    assert "The disk is full" in logged["why"], logged
                    ballast.unlink()
                    await until(lambda: drop.ends() == {"a.csv": "done"})
                    assert (await stopped(process)).code == 0
                drop.at.sandbox.apply_all()
                assert drop.at.sandbox.profiles() == profiles_after(*lines)

    async def test_for_as_much_room_as_is_to_be_left(self, tmp_path: Path) -> None:
        with small_disk(8_000_000) as disk:
            async with dropping(tmp_path) as drop:
                state = {"directory": str(disk / "state"), "min_free_bytes": 3_000_000}
                outcome = {"outcome_directory": str(tmp_path / "state" / "jobs")}
                async with drop.serving(state=state, drop=outcome) as process:
                    await until(lambda: (disk / "state" / "ledger.db").exists())
                    (disk / "ballast").write_bytes(b"x" * 6_000_000)
                    drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
                    await first_line(process, ("service_paused",))
                    for _ in range(2):
                        assert (await told_by(drop))["paused_by_itself"]["exit_code"] == 74
                    (disk / "ballast").unlink()
                    await until(lambda: drop.ends() == {"a.csv": "done"})
                    done = await stopped(process)
                assert done.code == 0, done.said
                assert events(done, "service_paused") == [], "it is not tried before there is room"

    async def test_for_an_outcome_directory_that_takes_nothing(self, tmp_path: Path) -> None:
        with small_disk(4_000_000) as disk:
            async with dropping(tmp_path) as drop, drop.serving(drop={"outcome_directory": str(disk)}) as process:
                await until(lambda: (drop.at.state / "ledger.db").exists())
                await anyio.run_process(["mount", "-o", "remount,ro", str(disk)])
                drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
                logged = await first_line(process, ("service_paused",))
                assert (logged["exit_code"], "Read-only" in logged["why"]) == (74, True), logged
                await anyio.run_process(["mount", "-o", "remount,rw", str(disk)])
                await until(lambda: any(disk.glob("*/report.json")))
                assert (await stopped(process)).code == 0
                drop.at.sandbox.apply_all()
                assert drop.at.sandbox.profiles() == profiles_after(*SIX_ROWS)

    async def test_a_damaged_ledger_ends_it(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            assert (await drop.drain()).code == 0
            (drop.at.state / "ledger.db").write_bytes(b"x" * 10_000)
            done = await run_program("serve", "--config", drop.config())
            assert (done.code, "ledger.db cannot be used" in done.err) == (74, True), done.said


async def first_line(process: Process, wanted: tuple[str, ...]) -> dict[str, Any]:
    """The first line of the log that tells of one of these events."""
    assert process.stderr
    async with asyncio.timeout(40):
        while True:
            line: dict[str, Any] = orjson.loads(await process.stderr.readline())
            if line["event"] in wanted:
                return line


class TestRequests:
    async def test_while_idle(self, tmp_path: Path) -> None:
        faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=3)
        async with dropping(tmp_path, faults=faults) as drop, drop.serving() as process:
            drop.put("a.csv", *SIX_ROWS, signal_as="a.csv.ready")
            await until(lambda: drop.ends() == {"a.csv": "incomplete"})
            config = tmp_path / "config.toml"
            (job,) = [report["job"] for report in drop.reports()]
            unknown = await run_program("abandon", "nonsense", "--config", config)
            assert (unknown.code, "there is no job 'nonsense'" in unknown.err) == (64, True), unknown.said
            assert (await run_program("pause", "--config", config)).code == 0
            retried = await run_program("retry", job, "--config", config)
            assert (retried.code, "3 rows of job" in retried.out) == (0, True), retried.said
            assert (await told_by(drop))["is_paused"]
            assert drop.at.sandbox.calls["posts"] == 1
            assert (await run_program("resume", "--config", config)).code == 0
            await until(lambda: drop.ends() == {"a.csv": "incomplete", "retry.csv": "done"})
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == profiles_after(*SIX_ROWS)
            assert (await stopped(process)).code == 0

    async def test_a_retry_waits_for_its_turn(self, tmp_path: Path) -> None:
        """What is loaded before it may overtake its rows: they are not sent again then."""
        async with dropping(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as drop:
            # As long as the first batch is not released, the newer row is held.
            config = drop.config(settle={"ambiguous_hold_s": 6.0})
            async with drop.serving(config=config) as process:
                drop.put("lost.csv", "u1,OLD,1", signal_as="lost.csv.ready")
                await until(lambda: len(drop.ends()) == 1)
                assert (await run_program("pause", "--config", config)).code == 0
                for name, row in (("other", "u7,z,1"), ("newer", "u1,NEW,2")):
                    drop.put(f"{name}.csv", row, signal_as=f"{name}.csv.ready")
                    await until(lambda name=name: f"{name}.csv" not in drop.left())  # type: ignore[misc]
                retried = await run_program("retry", drop.reports()[0]["job"], "--config", config)
                assert (retried.code, "1 row of job" in retried.out) == (0, True), retried.said
                assert (await run_program("resume", "--config", config)).code == 0
                await until(lambda: len(drop.ends()) == 4)
                assert (await stopped(process)).code == 0
            reports = drop.reports()
            names = ["lost.csv", "other.csv", "newer.csv", "retry.csv"]
            assert [report["export"]["name"] for report in reports] == names
            assert reports[-1]["rows"]["read"] == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles()["u1"] == {"tier": "NEW", "ltv": "2"}

    async def test_mended_rows_come_back_while_it_runs(self, tmp_path: Path) -> None:
        """Of a file that is gone as soon as it is answered; a process that is killed before its job loses nothing."""
        async with dropping(tmp_path) as drop:
            config, fixed = drop.config(export={"max_rejects": "100%"}), tmp_path / "fixed.csv"
            async with drop.serving(config=config) as process:
                drop.put("a.csv", "u1,gold,1", ",silver,2", ",bronze,3", signal_as="a.csv.ready")
                await until(lambda: drop.ends() == {"a.csv": "done"})
                (job,) = [report["job"] for report in drop.reports()]
                ask = ("retry", job, "--config", config, "--rejects", fixed)
                missing = await run_program(*ask)
                assert (missing.code, "cannot read" in missing.err) == (66, True), missing.said
                fixed.write_text("a,b\n1,2\n")
                bad = await run_program(*ask)
                assert (bad.code, "none of the columns" in bad.err) == (65, True), bad.said
                fixed.write_bytes("_line;id;tier;ltv\n3;u2;Wei\xdf;2\n".encode("windows-1252"))
                coded = await run_program(*ask)
                assert (coded.code, "CSV UTF-8" in coded.err) == (65, True), coded.said
                assert (await run_program("pause", "--config", config)).code == 0
                fixed.write_text("_line;id;tier;ltv\n3;u2;silver;2\n4;;bronze;3\n")
                asked = await run_program(*ask)
                assert (asked.code, "2 rows of job" in asked.out) == (0, True), asked.said
                fixed.unlink()
                process.kill()
                await ended(process)
            async with drop.serving(config=config) as process:
                assert (await run_program("resume", "--config", config)).code == 0
                await until(lambda: len(drop.ends()) == 2)
                told = await run_program("status", job, "--config", config)
                assert "1 rejected row came back, mended, by job" in told.out, told.said
                assert (await stopped(process)).code == 0
            drop.at.sandbox.apply_all()
            assert drop.at.sandbox.profiles() == profiles_after("u1,gold,1", "u2,silver,2")
            assert [*(tmp_path / "state" / "requests").iterdir()] == []

    async def test_abandon_what_waits_for_its_turn(self, tmp_path: Path) -> None:
        async with dropping(tmp_path, apply_min_s=600.0, apply_max_s=600.0) as drop, drop.serving() as process:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            await until(lambda: drop.at.sandbox.calls["statuses"])
            # It begins, and holds its row.
            drop.put("b.csv", "a,silver,1", signal_as="b.csv.ready")
            await until(lambda: "b.csv" not in drop.left())
            told = await told_by(drop)
            (job,) = [each["job"] for each in told["jobs"] if "-b-" in each["job"]]
            assert (await run_program("abandon", job, "--config", tmp_path / "config.toml")).code == 0
            drop.at.sandbox.apply_all()
            await until(lambda: drop.ends() == {"a.csv": "done", "b.csv": "failed"})
            assert drop.at.sandbox.calls["posts"] == 1
            assert (await stopped(process)).code == 0


class TestStatus:
    async def test_what_lies_in_the_drop_directory(self, tmp_path: Path) -> None:
        drop = Drop(unheard(tmp_path))
        drop.put("customers.csv", "a,gold,1")
        os.utime(drop.directory / "customers.csv", (1_000_000_000, 1_000_000_000))
        drop.put("just-now.csv", "a,gold,1")
        (drop.directory / "customer.csv.ready").write_text("")
        (drop.directory / "link.csv").symlink_to("customers.csv")
        config = drop.config(drop={"signal_wait_s": 600.0})
        told = (await told_by(drop))["drop"]
        (lying,) = told["unsignalled"]
        assert (lying["export"], lying["nearest_signal"]) == ("customers.csv", "customer.csv.ready")
        assert [(each["signal"], each["missing"]) for each in told["waiting"]] == [
            ("customer.csv.ready", ["customer.csv"])
        ]
        assert told["refused"] == [{"name": "link.csv", "why": "is a symbolic link"}]
        people = (await run_program("status", "--config", config)).out
        days = lying["age_s"] / 86_400
        assert f"Not signalled: customers.csv, {days:.0f} days, nearest signal customer.csv.ready" in people
        assert "Refused: link.csv is a symbolic link" in people
        assert "just-now.csv" not in people
        (drop.directory / "customer.csv.ready").unlink()

    async def test_drops_behind_one_that_is_waited_for(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop, drop.serving(drop={"signal_wait_s": 600.0}) as process:
            (drop.directory / "gone.csv.ready").write_text("")
            await until(lambda: read_drops(drop.at.state).drops_waiting)
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            told = (await told_by(drop))["drop"]
            people = (await run_program("status", "--config", tmp_path / "config.toml")).out
            assert told["ready"] == 1
            assert "1 drop is whole and not taken yet, behind the one that is waited for." in people
            (drop.directory / "gone.csv.ready").unlink()
            process.terminate()

    async def test_drops_that_failed(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready", manifest="rows=7")
            await drop.drain()
            (job,) = (await told_by(drop))["jobs"]
            assert (job["state"], "says rows = 7, but it is 1" in job["error"]) == ("failed", True)
            people = await run_program("status", "--config", tmp_path / "config.toml")
            assert "says rows = 7, but it is 1" in people.out
            assert text_of("a,gold,1") not in people.out
