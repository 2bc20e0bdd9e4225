"""What the report of a job counts over all of its runs."""

from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from tests.simulation.staged import staged
from tests.simulation.virtually import virtually


@virtually
async def test_calls_that_were_refused_below_our_share(tmp_path: Path) -> None:
    rows = [f"u{number},gold,{number}" for number in range(120)]
    sections: dict[str, Any] = {"target": {"calls_per_minute": 45}, "batch": {"max_rows": 2}}
    async with staged(tmp_path, calls_per_minute=50, neighbour_calls=40) as stage:
        with capture_logs() as logged:
            first = await stage.load(*rows, stop_when=lambda job: len(job.progress.book.settled) > 20, **sections)
        of_first = sum(line["event"] == "budget_shared" for line in logged)
        with capture_logs() as logged:
            done = await stage.load(**sections)
        of_second = sum(line["event"] == "budget_shared" for line in logged)
    assert first["warnings"] == {"budget_shared": of_first}
    assert of_first
    assert done["warnings"] == {"budget_shared": of_first + of_second}
