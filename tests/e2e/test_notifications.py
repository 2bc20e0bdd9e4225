"""Whoever wants to be told is told: by the service and by `load`, over kills, and never at the cost of a job."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.dropping import Drop, dropping, events
from tests.tools.receiving import Receiving, receiving
from tests.tools.routing import routing
from tests.tools.support import CLOSED, Process, ended, names_in, run_program, started, until

ALL = ["done", "incomplete", "failed", "quarantined", "paused", "recovered", "overdue"]
#: Marks in ids and cells.
CANARY_ID, CANARY_CELL = "canaryid7f3", "canarycell9a2"


def notify(receiver: Receiving, **keys: Any) -> dict[str, Any]:
    return {"notify": {"webhook": receiver.webhook, "events": ALL, **keys}}


async def stopped(process: Process) -> Any:
    process.send_signal(signal.SIGTERM)
    return await ended(process)


def waiting(drop: Drop) -> list[str]:
    outbox = drop.at.state / "outbox"
    return names_in(outbox) if outbox.exists() else []


async def status_of(drop: Drop, *options: str) -> str:
    done = await run_program("status", "--config", drop.directory.parent / "config.toml", *options)
    assert done.code == 0, done.said
    return done.out


class TestServing:
    async def test_ends_of_jobs_are_told(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            sections = notify(receiver, heartbeat_url=receiver.heartbeat)
            async with drop.serving(config=drop.config(**sections)) as process:
                drop.put("a.csv", "u1,gold,1", "u2,gold,2", signal_as="a.csv.ready")
                await receiver.until_told("done")
                await until(lambda: receiver.beats == 1)
                drop.put("b.csv", "u1,gold,1", signal_as="b.csv.ready", manifest="rows=9")
                await receiver.until_told("done", "failed")
                await until(lambda: waiting(drop) == [])
                done = await stopped(process)
            assert done.code == 0, done.said
            assert (receiver.beats, len(receiver.told)) == (1, 2)
            first, second = receiver.told
            (report, _) = drop.reports()
            assert first["job"]["job"] == report["job"]
            assert first["job"]["rows"] == {**report["rows"], "pending": 0}
            assert first["text"] == "demo: done: a.csv, 2 rows read, 2 confirmed."
            assert "b.csv" in second["text"]
            assert second["job"]["error"]
            assert len(events(done, "notification_sent")) == 3

    async def test_only_what_is_asked_for(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            async with drop.serving(config=drop.config(**notify(receiver, events=["failed"]))) as process:
                drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
                drop.put("b.csv", "u1,gold,1", signal_as="b.csv.ready", manifest="rows=9")
                await receiver.until_told("failed")
                await stopped(process)
            assert (waiting(drop), receiver.beats) == ([], 0)

    @pytest.mark.parametrize("answer", ["hang", "huge", 500, 302, 404])
    async def test_no_receiver_delays_a_job(self, tmp_path: Path, answer: int | str) -> None:
        """Ten jobs end while the receiver does what it likes, and it is told of them when it has come to its senses."""
        async with receiving() as receiver, dropping(tmp_path) as drop:
            receiver.usual = answer
            async with drop.serving(config=drop.config(**notify(receiver))) as process:
                for number in range(10):
                    drop.put(f"{number}.csv", f"u{number},gold,1", signal_as=f"{number}.csv.ready")
                await until(lambda: len(drop.reports()) == 10, within_s=8)
                await until(lambda: receiver.got)
                done = await stopped(process)
            assert set(drop.ends().values()) == {"done"}, done.said
            receiver.usual = 200
            drained = await run_program("serve", "--drain", "--config", drop.config(**notify(receiver)))
            assert drained.code == 0, drained.said
            assert {each["job"]["export"] for each in receiver.told} == {f"{number}.csv" for number in range(10)}
            assert waiting(drop) == []

    async def test_what_a_killed_process_did_not_send_the_next_one_does(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            away = {"notify": {"webhook": f"{CLOSED}/s3cret", "events": ALL}}
            async with drop.serving(config=drop.config(**away)) as process:
                drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
                await until(lambda: drop.ends() == {"a.csv": "done"})
                await until(lambda: waiting(drop))
                await until(lambda: (drop.at.state / "outbox.json").exists())
                assert "Notifications are not taken by default webhook since " in await status_of(drop)
                told = orjson.loads(await status_of(drop, "--json"))["notifications"]
                assert (told["waiting"], list(told["failing"])) == (1, ["default webhook"])
                process.kill()
                await ended(process)
            async with drop.serving(config=drop.config(**notify(receiver))) as process:
                await receiver.until_told("done")
                await until(lambda: waiting(drop) == [])
                await until(lambda: not (drop.at.state / "outbox.json").exists())
                done = await stopped(process)
            assert events(done, "notifications_taken_again"), done.said
            assert orjson.loads(await status_of(drop, "--json"))["notifications"] is None

    async def test_no_kill_loses_one(self, tmp_path: Path) -> None:
        """Killed when the notification is kept, when the report is there, and in the middle of the call."""
        async with receiving() as receiver, dropping(tmp_path) as drop:
            config = drop.config(**notify(receiver))
            for number in range(6):
                calls = len(receiver.got)
                moments: list[Callable[[], object]] = [
                    lambda number=number: any(f"-{number}-" in name for name in waiting(drop)),  # type: ignore[misc]
                    lambda number=number: f"{number}.csv" in drop.ends(),  # type: ignore[misc]
                    lambda calls=calls: len(receiver.got) > calls,  # type: ignore[misc]
                ]
                receiver.answers = ["hang"] if number % 3 == 2 else []
                async with drop.serving(config=config) as process:
                    drop.put(f"{number}.csv", f"u{number},gold,1", signal_as=f"{number}.csv.ready")
                    await until(moments[number % 3])
                    process.kill()
                    await ended(process)
            done = await run_program("serve", "--drain", "--config", config)
            assert done.code == 0, done.said
            assert {each["job"]["export"] for each in receiver.told} == {f"{number}.csv" for number in range(6)}
            assert set(receiver.events) == {"done"}
            assert waiting(drop) == []

    async def test_another_receiver_is_taken_at_a_hangup(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            away = {"notify": {"webhook": f"{CLOSED}/s3cret", "events": ALL}}
            async with drop.serving(config=drop.config(**away)) as process:
                drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
                await until(lambda: waiting(drop))
                drop.config(**notify(receiver))
                process.send_signal(signal.SIGHUP)
                await receiver.until_told("done")
                done = await stopped(process)
            (taken,) = events(done, "configuration_taken")
            assert "[notify] webhook" in taken["changed"]
            assert "s3cret" not in done.said

    async def test_an_overdue_export_and_its_arrival(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            expect = {"by": "00:00", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
            config = drop.config(expect=expect, **notify(receiver))
            drop.at.state.mkdir()
            since = {"words": "00:00 UTC mon,tue,wed,thu,fri,sat,sun", "since": "2020-01-01T00:00:00+00:00"}
            told = {"conditions": {}, "expected": {"default": since}}
            (drop.at.state / "told.json").write_bytes(orjson.dumps(told))
            async with drop.serving(config=config) as process:
                await receiver.until_told("overdue")
                assert "Overdue: an export had to be done by " in await status_of(drop)
                process.kill()
                await ended(process)
            async with drop.serving(config=config) as process:
                drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
                await until(lambda: "recovered" in receiver.events)
                await until(lambda: "done" in receiver.events)
                done = await stopped(process)
            assert sorted(receiver.events) == ["done", "overdue", "recovered"], "told once, over the restart too"
            assert len(events(done, "export_no_longer_overdue")) == 1
            assert "Overdue" not in await status_of(drop)

    async def test_a_pause_is_told_once(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path, token="right") as drop:
            token = tmp_path / "token"
            token.write_text("wrong")
            sections: Mapping[str, Any] = {"target": {"token_file": str(token)}, **notify(receiver)}
            async with drop.serving(config=drop.config(**sections)) as process:
                drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
                await receiver.until_told("paused")
                token.write_text("right")
                await receiver.until_told("paused", "done")
                await stopped(process)
            paused = receiver.told[0]
            assert paused["pause"]["exit_code"] == 77
            assert paused["pause"]["why"] in paused["text"]
            async with drop.serving(config=drop.config(**sections)) as process:
                drop.put("b.csv", "u1,gold,1", signal_as="b.csv.ready")
                await receiver.until_told("paused", "done", "done")
                await stopped(process)

    async def test_a_ledger_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        async with receiving() as receiver, routing(tmp_path, "acme", "other") as at:
            at.add("eu", "acme")
            at.add("us", "other")
            at.config(**notify(receiver))
            assert (await at.run("serve", "--drain")).code == 0
            (at.state("other") / "ledger.db").write_bytes(b"x" * 10_000)
            async with started("serve", "--config", at.file) as process:
                await receiver.until_told("paused")
                done = await stopped(process)
            assert [each["client_code"] for each in events(done, "notification_sent")] == ["other"]
            (told,) = receiver.told
            assert (told["client_code"], told["pause"]["exit_code"], told["pause"]["job"]) == ("other", 74, None)
            assert "other/ledger.db cannot be used" in told["text"]

    async def test_a_job_in_quarantine_is_told_once(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            config = drop.config(guard={"min_rows": 3}, **notify(receiver))
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            for _ in range(2):
                async with drop.serving(config=config) as process:
                    await receiver.until_told("quarantined")
                    await until(lambda: not any(name.endswith(".json") for name in waiting(drop)))
                    assert (await stopped(process)).code == 0
            (told,) = receiver.told
            assert told["job"]["state"] == "quarantined"
            assert told["job"]["error"] in told["text"]
            async with drop.serving(config=config) as process:
                done = await run_program("approve", told["job"]["job"], "--config", config)
                assert done.code == 0, done.said
                await receiver.until_told("quarantined", "done")
                await stopped(process)

    async def test_without_a_receiver_nothing_is_kept(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "u1,gold,1", signal_as="a.csv.ready")
            assert (await drop.drain()).code == 0
            assert not {"outbox", "outbox.json", "told.json"} & set(names_in(drop.at.state))


class TestLoading:
    @pytest.mark.parametrize(("lines", "event"), [(("u1,gold,1",), "done"), (("u1,gold",), "failed")])
    async def test_it_tells_before_it_ends(self, tmp_path: Path, lines: tuple[str, ...], event: str) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            export = drop.at.export(*lines)
            config = drop.at.config(**notify(receiver))
            done = await run_program("load", export, "--config", config, "--json")
            assert done.report["state"] == event, done.said
            assert receiver.events == [event]
            assert waiting(drop) == []

    async def test_a_receiver_that_hangs_gets_a_few_seconds(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            receiver.usual = "hang"
            config = drop.at.config(**notify(receiver))
            done = await run_program("load", drop.at.export("u1,gold,1"), "--config", config, "--json")
            assert done.report["state"] == "done"
            assert len(waiting(drop)) == 1, "the next process sends it"
            receiver.usual = 200
            again = await run_program("load", drop.at.export("u2,gold,1"), "--config", config, "--json")
            assert again.code == 0
            assert receiver.events == ["done"] * 3
            assert waiting(drop) == []

    async def test_a_trial_is_told_to_nobody(self, tmp_path: Path) -> None:
        async with receiving() as receiver, dropping(tmp_path) as drop:
            config = drop.at.config(**notify(receiver))
            done = await run_program("load", drop.at.export("u1,gold,1"), "--config", config, "--sandbox", "--json")
            assert done.code == 0, done.said
            assert receiver.got == []


async def test_no_cell_and_no_id_is_told(tmp_path: Path) -> None:
    """Of jobs that are done, lose rows, and fail, with rejects of several kinds."""
    faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset([CANARY_ID]))
    async with receiving() as receiver, dropping(tmp_path, faults=faults) as drop:
        sections = {**notify(receiver, heartbeat_url=receiver.heartbeat), "export": {"max_rejects": 5}}
        lines = [f"{CANARY_ID},{CANARY_CELL},1", f"{CANARY_ID}x,{CANARY_CELL}", f",{CANARY_CELL},2", f"{'x' * 200},a,1"]
        drop.put("lossy.csv", *lines, signal_as="lossy.csv.ready")
        drop.put("bad.csv", *lines * 3, signal_as="bad.csv.ready")
        drop.put("good.csv", f"{CANARY_ID}2,{CANARY_CELL},1", signal_as="good.csv.ready")
        done = await drop.drain(**sections)
        assert sorted(receiver.events) == ["done", "failed", "incomplete"], done.said
        said = b"".join(path.encode() + repr(headers).encode() + body for _, path, headers, body in receiver.got)
        assert b"good.csv" in said
        assert CANARY_ID.encode() not in said
        assert CANARY_CELL.encode() not in said
        assert "s3cret" not in done.said
