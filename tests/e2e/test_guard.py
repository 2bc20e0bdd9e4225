"""An export that is unlike the ones before it is not sent before somebody approves it, whatever happens meanwhile."""

import getpass
import os
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from pipeline.edges.lock import holder
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.mailbox import Request
from pipeline.edges.store.state import open_state
from pipeline.jobs.control import carry_out
from tests.simulation.holder import ask as holder_is_asked
from tests.simulation.staged import staged
from tests.simulation.virtually import virtually
from tests.tools.dropping import Drop, events
from tests.tools.routing import routing
from tests.tools.support import (
    SIX_ROWS,
    Bench,
    Ended,
    assert_reported,
    bench,
    ended,
    profiles_after,
    run_program,
    until,
)

GUARD = {"max_rows_change": "30%", "max_fill_drop": "20%", "max_rejects_change": "5%"}
NO_HOLD = {"ambiguous_hold_s": 0.05}
VALUES: dict[str, Any] = {"remember": "values", "send": "all"}


def rows_of(day: int, count: int = 40, *, tier: bool = True) -> list[str]:
    return [f"u{number},{'gold' if tier else ''},{day}" for number in range(count)]


async def load(at: Bench, name: str, *lines: str, **sections: Any) -> Ended:
    """Load an export of these lines; without any, the one that there is."""
    config = at.config(**{"guard": GUARD, "settle": NO_HOLD, **sections})
    file = at.export(*lines, name=f"{name}.csv") if lines else at.directory / f"{name}.csv"
    return await run_program("load", file, "--config", config, "--json")


async def three_days(at: Bench, **sections: Any) -> None:
    for day in range(3):
        done = await load(at, f"day{day}", *rows_of(day), **sections)
        assert done.code == 0, done.said
        assert done.report["warnings"]["guard_learns"] == 3 - day


def posts(at: Bench) -> int:
    return at.sandbox.calls["posts"]


async def ask(at: Bench, command: str, job: str) -> Ended:
    return await run_program(command, job, "--config", at.directory / "config.toml")


@pytest.mark.parametrize("memory", [{}, VALUES])
async def test_nothing_is_sent_before_it_is_approved(tmp_path: Path, memory: dict[str, Any]) -> None:
    async with bench(tmp_path) as at:
        await three_days(at, memory=memory)
        before = posts(at)
        done = await load(at, "cut", *rows_of(3, 20), memory=memory)
        assert (done.code, done.report["state"]) == (75, "quarantined")
        assert "it has 20 rows, where 40 are usual: a change by more than [guard] max_rows_change = 30%" in (
            error := done.report["error"]
        )
        job = done.report["job"]
        assert f"`profile-pipeline approve {job}` sends it" in error
        assert (done.report["rows"]["pending"], done.report["batches"]) == (20, [])
        assert_reported(done, at.state)

        # Asked again, it says the same again; nothing behind it goes on; and the folder is that of the first run.
        again = await load(at, "cut", memory=memory)
        assert (again.code, again.report["job"], again.report["error"]) == (75, job, error)
        behind = await load(at, "behind", *rows_of(4), memory=memory)
        assert (behind.code, behind.report["job"]) == (75, job)
        assert posts(at) == before

        told = orjson.loads((await run_program("status", "--config", tmp_path / "config.toml", "--json")).out)
        first, second = told["tenants"][0]["jobs"][-2:] if "tenants" in told else told["jobs"][-2:]
        assert (first["state"], second["state"]) == ("quarantined", "unfinished")
        assert "where 40 are usual" in first["quarantine"]
        assert "its turn, behind 1 job" in second["waits_for"]
        shown = await run_program("status", "--config", tmp_path / "config.toml")
        assert "in quarantine, nothing of it was sent: it has 20 rows" in shown.out

        approved = await ask(at, "approve", job)
        assert (approved.code, approved.out.strip()) == (
            0,
            f"job {job} is approved: all of it is sent, with the next `load` or `serve`",
        )
        assert f'"by":"{getpass.getuser()} (uid {os.getuid()})"' in approved.err
        assert "was approved already" in (await ask(at, "approve", job)).out
        done = await load(at, "behind", memory=memory)
        assert done.code == 0, done.said
        states = [orjson.loads(line)["state"] for line in done.out.splitlines()]
        assert states == ["done", "done"]
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*rows_of(4))
        refused = await ask(at, "approve", job)
        assert (refused.code, "is not in quarantine, it has ended: done" in refused.err) == (64, True)


async def test_a_column_that_went_and_rows_that_are_rejected(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await three_days(at)
        done = await load(at, "column", *rows_of(3, tier=False))
        assert (
            "fewer values than usual, by more than [guard] max_fill_drop = 20%: tier in 0 % of the rows"
            in (done.report["error"])
        )
        assert "where 100 % is usual" in done.report["error"]
        abandoned = await ask(at, "abandon", done.report["job"])
        assert abandoned.code == 0
        done = await load(
            at, "rejected", *rows_of(3, 37), "null,gold,1", "none,gold,1", "nan,gold,1", export={"max_rejects": 9}
        )
        given_up, held = map(orjson.loads, done.out.splitlines())
        assert (given_up["state"], given_up["exit_code"], given_up["rows"]["unsent"]) == ("failed", 65, 40)
        assert "abandoned by request" in given_up["error"]
        assert "3 of its 40 rows are rejected, where 0 % is usual" in held["error"]
        assert posts(at) == 3


@virtually
async def test_jobs_before_it_go_on_and_it_may_be_approved_meanwhile(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=30.0, apply_max_s=31.0) as at:
        guard, asked = {"min_rows": 3}, list[str]()
        counts = {"before": 4, "few": 2, "behind": 3}
        exports = [at.export(f"{name}.csv", *rows_of(day, counts[name])) for day, name in enumerate(counts)]

        async def approve() -> None:
            while not asked:
                await anyio.sleep(0.5)
                with at.ledger() as ledger:
                    held = [job.job_id for job in ledger.jobs() if ledger.is_quarantined(job)]
                if held:
                    assert "approved" in await holder_is_asked(at.state, "approve", held[0])
                    asked.extend(held)

        reports: list[dict[str, Any]] = []
        async with anyio.create_task_group() as tasks:
            await at.load("u0,gold,0", "u1,gold,0", "u2,gold,0", name="first.csv", guard=guard)
            tasks.start_soon(approve)
            reports += await at.load_all(*exports, guard=guard)
        assert [(report["export"]["name"], report["state"]) for report in reports] == [
            ("before.csv", "done"),
            ("few.csv", "done"),
            ("behind.csv", "done"),
        ]
        at.sandbox.apply_all()
        profiles = at.sandbox.profiles()
        assert [profiles[f"u{number}"]["ltv"] for number in range(4)] == ["2", "2", "2", "0"]


@virtually
async def test_a_command_that_sends_again_goes_on_behind_what_was_approved(tmp_path: Path) -> None:
    async with staged(tmp_path) as at:
        older, newer = at.export("older.csv", *rows_of(0, 4)), at.export("newer.csv", *rows_of(1, 2))
        for _ in range(2):
            reports = await at.load_all(older, newer, again=True, guard={"min_rows": 3})
            assert [report["state"] for report in reports] == ["done", "quarantined"]
        async with open_state(at.state, "demo", at.host, min_free_bytes=0) as state:
            await carry_out(Request("", "approve", reports[1]["job"]), state, running=None)
        again = await at.load_all(older, newer, again=True, guard={"min_rows": 3})
        assert [report["job"] for report in again] == [report["job"] for report in reports]
        assert [post["rows"] for post in at.posts] == [4, 2], "the older one does not go behind the newer one"


@virtually
async def test_jobs_before_it_come_to_their_end_before_a_load_ends(tmp_path: Path) -> None:
    async with staged(tmp_path, apply_min_s=30.0, apply_max_s=31.0) as at:
        counts = {"before": 4, "few": 2, "behind": 3}
        exports = [at.export(f"{name}.csv", *rows_of(day, counts[name])) for day, name in enumerate(counts)]
        before, few = await at.load_all(*exports, guard={"min_rows": 3})
        assert (before["state"], before["rows"]["confirmed"]) == ("done", 4)
        assert (few["state"], few["rows"]["pending"], len(at.posts)) == ("quarantined", 2, 1)


async def test_a_plan_tells_that_a_load_would_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await three_days(at)
        config = at.config(guard=GUARD)
        for count, code in ((40, 0), (20, 75)):
            export = at.export(*rows_of(3, count), name="planned.csv")
            done = await run_program("plan", export, "--config", config, "--json")
            told = done.report
            assert (done.code, told["exit_code"], told["error"]) == (code, code, None)
            assert (told["quarantine"] or "").startswith("it has 20 rows, where 40 are usual" if code else "")
        shown = await run_program("plan", export, "--config", config)
        assert "A load would hold it back, as [guard] asks: it has 20 rows, where 40 are usual" in shown.out


async def test_a_job_that_is_given_up_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await three_days(at)
        done = await load(at, "cut", *rows_of(3, 20))
        await ask(at, "abandon", done.report["job"])
        refused = await ask(at, "approve", done.report["job"])
        assert (refused.code, "it is abandoned" in refused.err) == (64, True)
        done = await load(at, "next", *rows_of(4))
        assert [orjson.loads(line)["state"] for line in done.out.splitlines()] == ["failed", "done"]
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*rows_of(4))


async def test_a_least_number_of_rows_needs_nothing_to_be_known(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        done = await load(at, "first", *rows_of(0, 9), guard={"min_rows": 10})
        assert "it has 9 rows, fewer than [guard] min_rows = 10" in done.report["error"]
        assert "guard_learns" not in done.report["warnings"]
        # Limits that are set since change nothing: it was judged, and waits.
        assert (await load(at, "first", guard={"min_rows": 1})).code == 75
        await ask(at, "approve", done.report["job"])
        assert (await load(at, "first", guard={"min_rows": 10})).code == 0


async def test_ids_that_are_gone_are_too_many(tmp_path: Path) -> None:
    export = {"kind": "snapshot", "gone": {"tier": "none"}, "max_gone": "10%"}
    guarded: dict[str, Any] = {"memory": VALUES, "export": export, "guard": {"min_rows": 1}}
    async with bench(tmp_path) as at:
        assert (await load(at, "full", *rows_of(0, 10), **guarded)).code == 0
        done = await load(at, "cut", *rows_of(1, 5), **guarded)
        assert (done.code, done.report["state"], done.report["rows"]["pending"]) == (75, "quarantined", 10)
        assert "5 of the 10 ids that snapshots of this route had are not in it" in done.report["error"]
        await ask(at, "approve", done.report["job"])
        done = await load(at, "cut", **guarded)
        assert (done.code, done.report["rows"]["confirmed"], done.report["warnings"]["ids_gone"]) == (0, 10, 5)
        at.sandbox.apply_all()
        assert at.sandbox.profiles()["u9"]["tier"] == "none"


async def test_the_service_waits_and_goes_on_when_it_is_asked_to(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await three_days(at)
        drop = Drop(at)
        config = drop.config(guard=GUARD, settle=NO_HOLD)
        async with drop.serving(config=config) as service:
            drop.put("cut.csv", *rows_of(3, 20), signal_as="cut.csv.ready")
            job = await quarantined(at)
            drop.put("behind.csv", *rows_of(4), signal_as="behind.csv.ready")
            await until(lambda: len(unfinished(at)) == 2)
            service.kill()
            await service.wait()
        async with drop.serving(config=config) as service:
            # A process that comes after a kill does not judge again, and does not send either.
            await until(lambda: holder(at.state))
            assert (await ask(at, "approve", job)).out.strip() == f"job {job} is approved: all of it is sent"
            await until(lambda: not unfinished(at))
            service.terminate()
            done = await ended(service)
        assert done.code == 0, done.said
        assert events(done, "export_quarantined") == []
        (approved,) = events(done, "job_approved")
        assert (approved["job"], approved["by"]) == (job, f"{getpass.getuser()} (uid {os.getuid()})")
        assert [report["rows"]["confirmed"] for report in drop.reports()[3:]] == [20, 40]
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*rows_of(4))


async def test_all_routes_of_a_client_code_wait_and_no_other_client_code(tmp_path: Path) -> None:
    async with routing(tmp_path, "acme", "other") as at:
        guarded, free = at.add("guarded", "acme", guard__min_rows=9), at.add("free", "acme")
        others = at.add("others", "other")
        config = at.config()
        async with at.serving() as process:
            guarded.put("few.csv", *SIX_ROWS)
            await until(lambda: unfinished(at.at["acme"], in_quarantine=True))
            free.put("behind.csv", "u0,later,")
            others.put("b.csv", *SIX_ROWS)
            await until(lambda: at.ends("other") == {"b.csv": "done"} and len(unfinished(at.at["acme"])) == 2)
            assert at.at["acme"].sandbox.calls["posts"] == 0
            process.terminate()
            await ended(process)
        del at.routes["guarded"]
        at.config()
        async with at.serving() as process:
            free.put("last.csv", "u1,last,")
            # It looks for its next job again and again meanwhile.
            await until(lambda: len(unfinished(at.at["acme"])) == 3)
            (job,) = unfinished(at.at["acme"], in_quarantine=True)
            approved = await run_program("approve", job, "--config", config)
            assert approved.code == 0, approved.said
            await until(lambda: at.ends("acme") == dict.fromkeys(("few.csv", "behind.csv", "last.csv"), "done"))
            process.terminate()
            done = await ended(process)
        assert [event["route"] for event in events(done, "job_of_a_removed_route")] == ["guarded"]
        assert at.profiles("acme") == profiles_after(*SIX_ROWS, "u0,later,", "u1,last,")


async def test_a_service_that_drains_ends_with_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        drop = Drop(at)
        drop.put("few.csv", *rows_of(0), signal_as="few.csv.ready")
        for _ in range(2):
            done = await drop.drain(guard={"min_rows": 100})
            assert done.code == 75, done.said
        assert posts(at) == 0
        (job,) = unfinished(at)
        await ask(at, "approve", job)
        assert (await drop.drain(guard={"min_rows": 100})).code == 0
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after(*rows_of(0))


def unfinished(at: Bench, *, in_quarantine: bool = False) -> list[str]:
    """The jobs that have not ended."""
    ledger = read_ledger(at.state / "ledger.db")
    assert ledger is not None
    try:
        jobs = ledger.jobs(unfinished_only=True)
        return [job.job_id for job in jobs if not in_quarantine or ledger.is_quarantined(job)]
    finally:
        ledger.close()


async def quarantined(at: Bench) -> str:
    """The job in quarantine, once there is one."""
    await until(lambda: unfinished(at, in_quarantine=True))
    return unfinished(at, in_quarantine=True)[0]
