"""The line of the log about a drop that has ended, with a real ledger: one, whatever ends together or dies."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.report import Report
from pipeline.core.drop.claim import Claim
from pipeline.core.drop.manifest import Manifest
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State, open_state
from pipeline.service.ended_drops import EndedDrops


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    async with open_state(tmp_path / "state", "demo", Host(), min_free_bytes=0) as opened:
        yield opened


def enter(state: State, drop: str, exports: int) -> list[JobRecord]:
    claim = Claim(drop, "a.csv", f"{drop}.ready", 0, 0, Manifest(), as_of=None)
    record = JobRecord(0, "", Path("/a.csv"), 1, 1, {}, "", None, Checkpoint(), claim=claim)
    return state.ledger.begin_jobs([replace(record, job_id=f"{drop}-{number}") for number in range(exports)])


def end(state: State, job: JobRecord, ends_as: str = "done") -> None:
    said = {"state": ends_as, "exit_code": 0, "export": {"sha256": ""}, "rows": {"read": 3, "confirmed": 2}}
    state.ledger.finish_job(job, Report.from_json(said), never_sent=[], released=[])


async def told_by(drops: EndedDrops, *, at_once: int = 1) -> list[Any]:
    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(drops.tell)
    return [line for line in logs if line["event"] == "drop_finished"]


async def test_once_when_the_last_job_has_ended(state: State) -> None:
    drops = EndedDrops(state)
    jobs = enter(state, "day", 3)
    for job in (jobs[2], jobs[0]):
        end(state, job)
        assert await told_by(drops) == []
    end(state, jobs[1], "failed")
    (line,) = await told_by(drops)
    assert (line["drop"], line["signal"], line["exports"], line["not_done"]) == ("day", "day.ready", 3, 1)
    assert (line["read"], line["confirmed"]) == (9, 6)
    assert await told_by(drops) == []


async def test_once_where_jobs_end_together(state: State) -> None:
    jobs = [*enter(state, "one", 3), *enter(state, "other", 2)]
    for job in jobs:
        end(state, job)
    assert sorted(line["drop"] for line in await told_by(EndedDrops(state), at_once=5)) == ["one", "other"]


async def test_not_of_a_single_export(state: State) -> None:
    for job in enter(state, "single", 1):
        end(state, job)
    assert await told_by(EndedDrops(state)) == []


async def test_by_the_next_process_if_this_one_was_cut_off_before(tmp_path: Path) -> None:
    for lines in (1, 0):
        async with open_state(tmp_path / "state", "demo", Host(), min_free_bytes=0) as state:
            if lines:
                for job in enter(state, "day", 2):
                    end(state, job)
        async with open_state(tmp_path / "state", "demo", Host(), min_free_bytes=0) as state:
            assert len(await told_by(EndedDrops(state))) == lines
