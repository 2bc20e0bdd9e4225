"""`forget` erases ids from all that is kept: afterwards no file of the state directory holds any form of them."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.sandbox import Fault, FaultPlan
from tests.tools.dropping import Drop, dropping
from tests.tools.support import Bench, Ended, bench, run_program, until

#: An id that is sent in another form than an export has it, and whatever stands in its cells.
CANARY, SENT, VALUE = "canary 77", b"canary%2077", "Secret77"
VALUES = {"remember": "values"}


def holding(directory: Path) -> list[str]:
    """The files that hold the id in any form, or a value of it."""
    forms = (CANARY.encode(), SENT, VALUE.encode())
    files = [file for file in directory.rglob("*") if file.is_file()]
    return sorted(file.name for file in files if any(form in file.read_bytes() for form in forms))


async def forget(at: Bench, config: Path, *ids: str) -> tuple[Ended, dict[str, Any]]:
    (at.directory / "ids.txt").write_text("".join(f"{each}\n" for each in ids))
    done = await run_program("forget", "--ids", at.directory / "ids.txt", "--config", config, "--json")
    assert done.code in (0, 75), done.said
    return done, orjson.loads(done.out)


async def released_by(other: str, at: Bench, **sections: Any) -> None:
    """A job that has to wait until the batch with this id is released, and notes it."""
    done = await at.load(f"{other},later,9", **sections)
    assert done.code == 0, done.said


async def loaded(drop: Drop) -> None:
    """Jobs that have ended, with rejects, a failed row and kept exports of several kinds."""
    row = f"{CANARY},{VALUE},2"
    drop.put("a.csv", "u1,gold,1", row, f'{CANARY},"{VALUE}\n{VALUE}",3', signal_as="a.csv.ready")
    (drop.directory / "b.jsonl").write_text(
        f'{{"id":"u1","tier":"x"}}\n{{"id":"{CANARY}","tier":"{VALUE}"}}\n{{"id":"u3","tier":"y"}}\n'
    )
    (drop.directory / "b.jsonl.ready").touch()
    lines = ["u1,gold,1", f"{CANARY}/,{VALUE},2", f"{CANARY},{VALUE}", f'"{CANARY}"x,{VALUE},3', "u9,,"]
    drop.put("c.csv", *lines, signal_as="c.csv.ready")
    (drop.directory / "d.csv.gz").write_bytes(gzip.compress(f"id,tier,ltv\nu1,a,1\n{row}\n".encode()))
    (drop.directory / "d.csv.gz.ready").touch()


SECTIONS: dict[str, Any] = {
    "memory": VALUES,
    "drop": {"keep_exports": "always"},
    "export": {"max_rejects": 9, "unlisted": "send"},
}


@pytest.mark.parametrize("given", [CANARY, SENT.decode()])
async def test_no_file_holds_any_form_of_an_id(tmp_path: Path, given: str) -> None:
    faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset([CANARY]))
    async with dropping(tmp_path, faults=faults) as drop:
        await loaded(drop)
        done = await drop.drain(**SECTIONS)
        states = drop.ends()
        assert states == {"a.csv": "incomplete", "b.jsonl": "done", "c.csv": "done", "d.csv.gz": "done"}, done.said
        before = holding(drop.at.state)
        assert {"a.csv", "b.jsonl", "c.csv", "rejects.jsonl", "rejects.csv", "failed.jsonl"} <= {*before}, before
        kept = next(drop.at.state.glob("jobs/*/drop/a.csv"))
        config = drop.config(**SECTIONS)

        ended, receipt = await forget(drop.at, config, given, f"{CANARY}/")
        assert ended.code == 75
        (left,) = receipt["left"]
        assert holding(drop.at.state) == []
        assert receipt["erased"]["exports"] == 6
        assert kept.read_text().splitlines() == ["id,tier,ltv", "u1,gold,1", " " * 20, " " * 19, " " * 11]
        (packed,) = drop.at.state.glob("jobs/*/drop/d.csv.gz")
        assert left["where"] == str(packed)
        packed.unlink()
        ended, receipt = await forget(drop.at, config, given)
        assert (ended.code, receipt["left"]) == (0, [])
        assert not any(receipt["erased"].values())

        # All else goes on: rows of others are there, and what comes next is remembered and sent.
        drop.put("e.csv", f"{CANARY},new,5", "u1,gold,7", signal_as="e.csv.ready")
        await drop.drain(**SECTIONS)
        assert drop.ends()["e.csv"] == "done"


async def test_a_batch_that_may_be_sent_again_is_so_without_the_id(tmp_path: Path) -> None:
    async with bench(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as at:
        done = await at.load("u1,gold,1", f"{CANARY},{VALUE},2", "u3,silver,3", memory=VALUES)
        assert done.report["rows"]["unconfirmed"] == 3
        await released_by("u1", at, memory=VALUES)
        config = tmp_path / "config.toml"
        _, receipt = await forget(at, config, CANARY)
        assert (receipt["left"], receipt["erased"]["spool"], receipt["erased"]["memory"]) == ([], 1, 1)
        assert holding(at.state) == []
        again = await run_program("retry", done.report["job"], "--config", config, "--json")
        assert again.code == 0, again.said
        assert orjson.loads(again.out.splitlines()[-1])["rows"]["confirmed"] == 1
        # What is left of a batch may go as a whole, too.
        _, receipt = await forget(at, config, "u1", "u3")
        assert receipt["erased"]["spool"] == 2
        assert not [*(at.state / "spool").glob("*.body")]


async def test_what_is_in_flight_is_told_and_erased_later(tmp_path: Path) -> None:
    async with bench(tmp_path, faults=FaultPlan(posts={1: Fault.HTTP_500_TAKEN})) as at:
        done = await at.load("u1,gold,1", f"{CANARY},{VALUE},2", settle={"ambiguous_hold_s": 500.0})
        assert done.code == 0
        config = tmp_path / "config.toml"
        ended, receipt = await forget(at, config, CANARY)
        assert (ended.code, [left["where"] for left in receipt["left"]]) == (75, ["spool"])
        assert not receipt["erased"].get("spool")
        assert "ids" not in holding(at.state)
        people = await run_program("forget", "--ids", tmp_path / "ids.txt", "--config", config)
        assert "1 id asked for; erased: nothing; receipt: " in people.out
        assert "left: spool: 1 id is in batches" in people.out


async def test_an_unfinished_job_is_told(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        config = at.config()
        await run_program("pause", "--config", config)
        export = at.export(f"{CANARY},{VALUE},2")
        done = await run_program("load", export, "--config", config, "--wait", "1", "--json")
        assert done.code == 75, done.said
        _, receipt = await forget(at, config, CANARY)
        assert f"job {done.report['job']}" in [left["where"] for left in receipt["left"]]


async def test_a_service_that_runs_erases(tmp_path: Path) -> None:
    async with dropping(tmp_path) as drop, drop.serving(**SECTIONS):
        drop.put("a.csv", "u1,gold,1", f"{CANARY},{VALUE},2", signal_as="a.csv.ready")
        await until(lambda: drop.ends() == {"a.csv": "done"})
        # Its files are moved behind its report.
        await until(lambda: [*drop.at.state.glob("jobs/*/drop/a.csv")])
        ended, receipt = await forget(drop.at, tmp_path / "config.toml", CANARY)
        assert (ended.code, receipt["left"]) == (0, [])
        assert holding(drop.at.state) == []
        assert not [*(drop.at.state / "requests").iterdir()]


async def test_an_id_is_found_by_its_hash(tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("a salt")
    hashed = {"mapping": {"salt_file": str(tmp_path / "salt"), "id": {"case": "lower", "hash": "sha256"}}}
    async with bench(tmp_path, faults=FaultPlan(statuses={1: Fault.STATUS_LOST})) as at:
        done = await at.load("u1,gold,1", f"{CANARY.upper()},{VALUE},2", memory=VALUES, **hashed)
        assert done.report["rows"]["unconfirmed"] == 2, done.said
        await released_by("u1", at, memory=VALUES, **hashed)
        _, receipt = await forget(at, tmp_path / "config.toml", CANARY)
        assert (receipt["left"], receipt["erased"]["spool"], receipt["erased"]["memory"]) == ([], 1, 1)
        assert holding(at.state) == []


@pytest.mark.parametrize(("content", "code"), [(None, 66), (b" \n\n", 64), (b"\xff\n", 65)])
async def test_a_file_that_holds_no_ids(tmp_path: Path, content: bytes | None, code: int) -> None:
    async with bench(tmp_path) as at:
        await at.load("u1,gold,1")
        ids = tmp_path / "ids.txt"
        if content is not None:
            ids.write_bytes(content)
        done = await run_program("forget", "--ids", ids, "--config", tmp_path / "config.toml")
        assert done.code == code, done.said
