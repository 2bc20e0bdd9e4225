"""What `status --watch` shows of a status: as much as fits on the terminal, and what is no change."""

from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.cli.watch_status import fitting, lasting
from pipeline.edges.store.notices import HoldUps
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.tenant import Status, StatusWindowStatus
from pipeline.jobs.status.tenants import Statuses

UNFINISHED = JobStatus(
    job="20261123T021400Z-customers-3f2a",
    state="unfinished",
    error=None,
    export="customers.csv",
    started_at="2026-11-23T02:14:00+00:00",
    finished_at=None,
    seconds=90.0,
    last_run=None,
    read_to_line=None,
    rows={"read": 1_234_567, "confirmed": 1_000_000, "superseded": 1, "pending": 234_566},
    batches={"being applied by Target": 4},
    is_abandoned=False,
    set_aside=None,
    quarantine=None,
    waits_for=["Target to apply 4 batches, the oldest accepted 90 s ago (given up at 2026-11-23 08:14 UTC)"],
    retry_of=None,
    came_back={},
    route="default",
)
TENANT = Status(
    client_code="acme",
    state_directory="state",
    held_by=7,
    is_paused=False,
    statuses_under_way=4,
    status_window=StatusWindowStatus(10, is_learned=False, more_failed_at=None),
    window=None,
    paused_by_itself=None,
    held_up=HoldUps(),
    drop=None,
    jobs=(),
    older_jobs=0,
    waiting_jobs=0,
)


def ended(number: int) -> JobStatus:
    return replace(
        UNFINISHED,
        job=f"job-{number}",
        state="done",
        finished_at="2026-11-23T03:00:00+00:00",
        waits_for=[],
        batches={},
    )


def status_of(*jobs: JobStatus, older: int = 0) -> Statuses:
    return Statuses((replace(TENANT, jobs=jobs, older_jobs=older),), ())


def lines(told: Statuses, *, width: int = 80, height: int = 24) -> list[str]:
    to = Console(width=width, height=height, color_system=None, _environ={})
    return [line.plain for line in fitting(told, "02:15:30 UTC", to)]


def test_all_of_it_where_it_fits() -> None:
    assert lines(status_of(ended(1), UNFINISHED)) == [
        "Status at 02:15:30 UTC, every 2 s; q ends.",
        "acme, state",
        "Process 7 is at work.",
        "4 batches are being applied by Target.",
        "",
        "job-1  done",
        "  entered 2026-11-23 02:14 UTC, ended 2026-11-23 03:00 UTC, worked on for 90 s",
        "  rows: 1,234,567 read, 1,000,000 confirmed, 1 superseded, 234,566 pending",
        "",
        "20261123T021400Z-customers-3f2a  unfinished",
        "  entered 2026-11-23 02:14 UTC, worked on for 90 s",
        "  rows: 1,234,567 read, 1,000,000 confirmed, 1 superseded, 234,566 pending",
        "  batches: 4 being applied by Target",
        "  waits for Target to apply 4 batches, the oldest accepted 90 s ago (given",
        "    up at 2026-11-23 08:14 UTC)",
    ]


def test_of_what_does_not_fit_ended_jobs_go_first() -> None:
    told = status_of(*map(ended, range(1, 10)), UNFINISHED, older=3)
    seen = lines(told)
    assert len(seen) <= 24
    assert "job-9  done" in seen
    assert "job-7  done" not in seen
    assert "10 older jobs: --all shows all, --since 3d those of three days." in seen
    assert "20261123T021400Z-customers-3f2a  unfinished" in seen


@pytest.mark.parametrize("width", [30, 60, 80, 200])
@pytest.mark.parametrize("height", [4, 10, 24])
def test_it_keeps_within_the_terminal(width: int, height: int) -> None:
    seen = lines(status_of(ended(1), *[UNFINISHED] * 5), width=width, height=height)
    assert len(seen) == height
    assert max(map(len, seen)) <= width or width < 45
    assert seen[-1].endswith("more lines")


def test_time_that_passes_is_no_change() -> None:
    later = replace(UNFINISHED, seconds=92.0, waits_for=["Target to apply 4 batches, the oldest accepted 92 s ago"])
    first = lasting(status_of(UNFINISHED).as_json())
    assert lasting(status_of(later).as_json()) == first
    assert lasting(status_of(replace(later, batches={"settled": 4})).as_json()) != first
    assert lasting(status_of(later, older=1).as_json()) != first
