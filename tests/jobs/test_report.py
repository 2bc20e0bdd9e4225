"""The report of a job: what it says besides the counts, and where the first of the rejected rows stand."""

from pathlib import Path

from tests.simulation.staged import staged
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
