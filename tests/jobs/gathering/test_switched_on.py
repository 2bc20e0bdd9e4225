"""A job that began without a memory goes on with one: what it sends last of an id is its last row."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged
from tests.tools.support import write_export

SECTIONS: dict[str, Any] = {
    "settle": {"poll_first_s": 0.5, "poll_max_s": 1.0},
    # It reads no further than to the first row that is held.
    "tracker": {"held_max_rows": 1},
}


@pytest.mark.parametrize("remember", ["digests", "values"])
def test_a_row_that_says_what_was_sent_goes_over_one_that_waits_to_be_sent(tmp_path: Path, remember: str) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    write_export(parts / "1.csv", "u1,c,", "u2,x,", "u3,z,", "u1,b,")
    # They are before the row of `u1` and behind it, by their hashes.
    write_export(parts / "2.csv", *(f"v{number},y," for number in range(500)), "u1,c,")

    async def load() -> Any:
        async with staged(tmp_path, apply_min_s=5.0, apply_max_s=6.0) as stage:
            await stage.load(name="parts", stop_when=lambda job: job.progress.book, batch={"max_rows": 2}, **SECTIONS)
            report = await stage.load(name="parts", memory={"remember": remember, "send": "changes"}, **SECTIONS)
            stage.sandbox.apply_all()
            return report, stage.sandbox.profiles()

    # That row is compared when others of its export were placed, and held ones with them.
    with patch("pipeline.jobs.gathering.gathered_rows._AT_ONCE", 16):
        report, profiles = run_virtually(load())
    assert report["state"] == "done"
    assert profiles["u1"]["tier"] == "c", report["rows"]
