"""The ids of new jobs; the settings of a job, as ledgers of this and of earlier versions have them."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.rows.allowance import Allowance
from pipeline.edges.exports import Identity
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.job import export_settings, new_job_ids
from pipeline.settings.sections.export import ExportSettings

ALL = ExportSettings(
    id_column="id", id_kind="pcId", columns={"My tier": "tier"}, unlisted="ignore", max_rejects=Allowance(count=7)
)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (ALL.model_dump(mode="json"), ALL),
        ({"id_column": "id"}, ExportSettings(id_column="id")),
        ({"id_column": "id", "max_rejects": "5%"}, ExportSettings(id_column="id", max_rejects=Allowance(percent=5.0))),
    ],
    ids=["whole", "keys_that_came_later", "text"],
)
def test_what_a_job_began_with_is_what_it_goes_on_with(written: dict[str, object], read: ExportSettings) -> None:
    record = JobRecord(1, "job", Path("a.csv"), 0, 0, written, "", None, Checkpoint())
    assert export_settings(record) == read


def test_a_name_that_is_refused_by_now_does_not_keep_the_job_from_its_end() -> None:
    """The header of its export says so: then it fails, and no other job does."""
    written = {"id_column": "id", "columns": {"phone": "mobile"}}
    record = JobRecord(1, "job", Path("a.csv"), 0, 0, written, "", None, Checkpoint())
    assert export_settings(record).columns == {"phone": "mobile"}


def test_exports_that_are_alike_get_ids_of_their_own(tmp_path: Path) -> None:
    """Thousands of one second, whose names differ behind what an id has of them; dropped by hundreds of signals."""
    now, alike = datetime(2026, 11, 23, 2, 14, tzinfo=UTC), [Path(f"{'x' * 90}{number}.csv") for number in range(100)]
    with closing(open_ledger(tmp_path / "ledger.db", "demo", lambda: "", is_new=True)) as ledger:
        for _ in range(30):
            job_ids = new_job_ids(alike, now, ledger)
            ledger.begin_jobs([JobRecord.new(job_id, Path("a.csv"), Identity(1, 1), {}, now) for job_id in job_ids])
        entered = [job.job_id for job in ledger.jobs()]
    assert len(set(entered)) == len(entered) == 3_000
    assert sorted(entered, key=len)[0].startswith("20261123T021400Z-xxxx")
