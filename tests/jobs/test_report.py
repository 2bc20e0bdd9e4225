"""The report of a job: what it says besides the counts, and where the first of the rejected rows stand."""

from pathlib import Path

from pipeline.sandbox import Fault, FaultPlan
from tests.edges.views.pages import Seen, what_is_wrong
from tests.simulation.staged import deliver, staged
from tests.simulation.virtually import virtually


@virtually
async def test_the_first_line_of_rejects_by_reason(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        export = stage.export("export.csv", "u1,gold,1", ",silver,2", "u3,x", ",gold,4")
        (report,) = await stage.load_all(export, export={"max_rejects": "100%"})
        assert report["rejects"]["first_lines"] == {"local.empty_id": 3, "local.field_count": 4}
        assert "first_parts" not in report["rejects"]


@virtually
async def test_it_is_told_by_part(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        directory = tmp_path / "day"
        directory.mkdir()
        (directory / "part-0.csv").write_text("id,tier,ltv\nu1,gold,1\nu2,gold,2\n")
        (directory / "part-1.csv").write_text("id,tier,ltv\nu3,gold,1\n,gold,2\n")
        (report,) = await stage.load_all(directory, export={"max_rejects": "100%"})
        assert report["rejects"]["first_lines"] == {"local.empty_id": 3}
        assert report["rejects"]["first_parts"] == {"local.empty_id": "part-1.csv"}


def test_its_page_has_the_way_of_each_batch(tmp_path: Path) -> None:
    lines = ["u1,canary-gold,1", "u2,canary-silver,2", ",canary-lost,3", "canary-id,x"]
    faults = FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_ids=frozenset(["u2"]))
    done = deliver(tmp_path, *lines, faults=faults, export={"max_rejects": "100%"}, settle={"max_lost": "100%"})
    page = (done.folder / "report.html").read_text()
    assert what_is_wrong(page) == []
    seen = Seen(page)
    assert "1 batch sent from" in seen.text
    assert "line 4" in seen.text
    assert "canary" not in page, "no value and no id is on it"
    assert "u2" not in seen.text
