"""The service reads a sample of each job back from Target, and tells what differs; no id and no cell is told."""

import signal
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests.tools.dropping import Drop, dropping, events, text_of
from tests.tools.support import Bench, Process, answering, ended, run_program, started, until

MARK = "MARK"
ROWS = [f"{MARK}-{number},{MARK}gold{number},{number}" for number in range(40)]


async def stopped(process: Process) -> Any:
    process.send_signal(signal.SIGTERM)
    return await ended(process)


def verified(drop: Drop) -> list[dict[str, Any]]:
    """What was read back of each job, in the order of the jobs."""
    return [orjson.loads(file.read_bytes()) for file in sorted(drop.at.state.glob("jobs/*/verified.json"))]


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count and name != "at"}


async def test_all_of_a_sample_is_there(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        config = drop.config(verify={"sample": 7, "after_s": 0}, batch={"max_rows": 9})
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        async with started("serve", "--config", config) as process:
            await until(lambda: len(verified(drop)) == 1)
            done = await stopped(process)
        told = await run_program("status", "--config", config)
        (job,) = orjson.loads((await run_program("status", "--config", config, "--json")).out)["jobs"]
    (found,) = verified(drop)
    assert counts(found) == {"equal": 7}
    assert job["verified"] == found
    assert "  read back at 2" in told.out
    assert ": 7 equal" in told.out
    assert [counts_of(event) for event in events(done, "sample_read_back")] == [{"equal": 7}]
    assert not [*drop.at.state.glob("jobs/*/rows/sample")]
    file = next(drop.at.state.glob("jobs/*/verified.json"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert MARK not in done.said + told.said + file.read_text()


def counts_of(event: Any) -> dict[str, int]:
    names = ("equal", "different", "missing", "newer", "not_read")
    return {name: event[name] for name in names if event[name]}


async def test_what_somebody_else_changed_is_told_and_what_a_later_job_sent_is_left_out(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        late = drop.config(verify={"sample": 40, "after_s": 3_600})
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        assert (await run_program("serve", "--drain", "--config", late)).code == 0
        other = Bench(tmp_path / "other", drop.at.base_url, drop.at.sandbox)
        other.directory.mkdir()
        changed = await run_program("load", other.export(f"{MARK}-3,{MARK}iron,"), "--config", other.config())
        assert changed.code == 0
        drop.put("b.csv", *(f"{MARK}-{number},{MARK}new,1" for number in range(10, 20)), signal_as="b.csv.ready")
        assert (await run_program("serve", "--drain", "--config", late)).code == 0
        config = drop.config(verify={"sample": 40, "after_s": 0})
        async with started("serve", "--config", config) as process:
            await until(lambda: len(verified(drop)) == 2)
            done = await stopped(process)
    jobs = [report["job"] for report in drop.reports()]
    first, second = (orjson.loads((drop.at.state / "jobs" / job / "verified.json").read_bytes()) for job in jobs)
    assert counts(first) == {"equal": 29, "different": 1, "newer": 10}
    assert counts(second) == {"equal": 10}
    assert [counts_of(event) for event in events(done, "sample_differs")] == [counts(first)]
    assert [counts_of(event) for event in events(done, "sample_read_back")] == [counts(second)]
    assert MARK not in done.said


async def test_one_that_is_due_later_is_read_back_by_the_next_service(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        late = drop.config(verify={"sample": 5, "after_s": 3_600})
        assert (await run_program("serve", "--drain", "--config", late)).code == 0
        (sample,) = drop.at.state.glob("jobs/*/rows/sample/*")
        assert sample.stat().st_mode & 0o777 == 0o600
        assert len(orjson.loads(sample.read_bytes())["rows"]) == 15
        assert verified(drop) == []
        ids = tmp_path / "ids"
        ids.write_text("\n".join(f"{MARK}-{number}" for number in range(40)))
        forgotten = await run_program("forget", "--ids", ids, "--config", late, "--json")
        assert orjson.loads(forgotten.out)["erased"]["sample"] == 15
        assert MARK not in sample.read_text()
        async with started("serve", "--config", drop.config(verify={"sample": 5, "after_s": 0})) as process:
            await until(lambda: len(verified(drop)) == 1)
            await stopped(process)
        assert counts(verified(drop)[0]) == {}


async def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        assert (await run_program("serve", "--drain", "--config", drop.config())).code == 0
        assert not [*drop.at.state.glob("jobs/*/rows/sample")]
        assert text_of(*ROWS).count(MARK) == 80


async def test_where_target_does_not_tell_it_is_tried_again(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop:
        drop.put("a.csv", *ROWS, signal_as="a.csv.ready")
        late = drop.config(verify={"sample": 5, "after_s": 3_600})
        assert (await run_program("serve", "--drain", "--config", late)).code == 0
        refused = 0

        async def refuse(_: web.Request) -> web.Response:
            nonlocal refused
            refused += 1
            return web.Response(status=500)

        async with answering(refuse) as url:
            config = drop.config(verify={"sample": 5, "after_s": 0}, target={"base_url": url})
            async with started("serve", "--config", config) as process:
                await until(lambda: refused == 3)
                await stopped(process)
        assert verified(drop) == []
        config = drop.config(verify={"sample": 5, "after_s": 0})
        async with started("serve", "--config", config) as process:
            await until(lambda: len(verified(drop)) == 1)
            await stopped(process)
        assert counts(verified(drop)[0]) == {"equal": 5}
