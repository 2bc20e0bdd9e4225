"""Which files of jobs are to go, and how they go."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.edges.store.records import EndedJob
from pipeline.service.prune import overdue, remove
from pipeline.settings.tenants import Tenant
from tests.tools.support import CLOSED, names_in, settings_for

NOW = datetime(2026, 11, 23, 2, 14, tzinfo=UTC)
FILES = ("report.json", "rejects.jsonl", "failed.jsonl", "drop/a.csv", "drop/a.ready")


def ended(directory: Path, job_id: str, days_ago: float) -> EndedJob:
    folder = directory / "jobs" / job_id
    (folder / "drop").mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("")
    return EndedJob(0, job_id, "default", (NOW - timedelta(days=days_ago)).isoformat(timespec="seconds"))


def gone(directory: Path, *jobs: EndedJob) -> list[str]:
    settings = settings_for(CLOSED, directory)
    return [
        file.relative_to(directory / "jobs").as_posix() for file in overdue(Tenant.of_one(settings), list(jobs), NOW)
    ]


def test_by_age_and_kind(tmp_path: Path) -> None:
    jobs = [ended(tmp_path, f"{days}", days) for days in (6, 8, 15, 401)]
    assert gone(tmp_path, *jobs) == [
        *("8/drop/a.csv", "8/drop/a.ready"),
        *("15/drop/a.csv", "15/drop/a.ready", "15/failed.jsonl", "15/rejects.jsonl"),
        *("401/drop/a.csv", "401/drop/a.ready", "401/failed.jsonl", "401/rejects.jsonl", "401/report.json"),
    ]


def test_a_job_that_ended_by_a_clock_set_back_is_no_older_than_those_before(tmp_path: Path) -> None:
    job, tenant = ended(tmp_path, "old", 401), Tenant.of_one(settings_for(CLOSED, tmp_path))
    before = (NOW - timedelta(days=1)).isoformat(timespec="seconds")
    assert overdue(tenant, [job], NOW, {job.seq: before}) == []
    assert len(overdue(tenant, [job], NOW, {job.seq + 1: before})) == len(FILES)


def test_folders_go_with_the_last_of_their_files(tmp_path: Path) -> None:
    settings = settings_for(CLOSED, tmp_path)
    eight, old = ended(tmp_path, "eight", 8), ended(tmp_path, "old", 401)
    assert remove(settings, overdue(Tenant.of_one(settings), [eight, old], NOW)) == []
    assert names_in(tmp_path / "jobs") == ["eight"]
    assert names_in(tmp_path / "jobs" / "eight") == ["failed.jsonl", "rejects.jsonl", "report.json"]
    # Once more: what is gone is gone.
    assert remove(settings, overdue(Tenant.of_one(settings), [eight, old], NOW)) == []


def test_a_link_in_a_folder_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    old = ended(tmp_path, "old", 401)
    (tmp_path / "jobs" / "old" / "link").symlink_to(outside)
    settings = settings_for(CLOSED, tmp_path)
    remove(settings, overdue(Tenant.of_one(settings), [old], NOW))
    assert names_in(tmp_path / "jobs") == []
    assert names_in(outside) == ["kept"]


def test_nothing_is_deleted_behind_a_link(tmp_path: Path) -> None:
    old = ended(tmp_path, "old", 401)
    (tmp_path / "jobs" / "old").rename(tmp_path / "elsewhere")
    (tmp_path / "jobs" / "old").symlink_to(tmp_path / "elsewhere")
    assert gone(tmp_path, old) == []
