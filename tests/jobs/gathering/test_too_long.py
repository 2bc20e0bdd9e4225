"""A row that would be too long with what is remembered of its id is counted once, however many batches follow."""

from pathlib import Path
from typing import Any

from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged

IDS = [f"u{number}" for number in range(80)]
LONG = "x" * 700


def test_each_is_counted_once(tmp_path: Path) -> None:
    memory = {"remember": "values", "send": "changes"}
    batch = {"max_bytes": 1_024}

    async def load() -> Any:
        async with staged(tmp_path) as stage:
            await stage.load(
                *(f"{each},{LONG}" for each in IDS), name="1.csv", header="id,a", memory=memory, batch=batch
            )
            lines = [f"{each},{LONG}" for each in IDS]
            return await stage.load(*lines, name="2.csv", header="id,b", memory=memory, batch=batch)

    report = run_virtually(load())
    assert report["rows"]["confirmed"] == len(IDS)
    assert report["warnings"]["row_not_filled_in"] == len(IDS)


def test_rows_of_an_id_that_fit_in_no_batch_together_are_sent_one_by_one(tmp_path: Path) -> None:
    """The last of them says what is remembered, and is not left out for it: the first say something else."""
    memory = {"remember": "values", "send": "changes"}
    batch = {"max_bytes": 1_024}
    rows = [f"u1,{'x' * 700},", f"u1,,{'y' * 700}", f"u1,{'z' * 700},", "u2,a,b"]

    async def load() -> Any:
        async with staged(tmp_path) as stage:
            await stage.load(rows[2], "u2,a,b", name="1.csv", header="id,a,b", memory=memory, batch=batch)
            report = await stage.load(*rows, name="2.csv", header="id,a,b", memory=memory, batch=batch)
            return report, stage.sandbox.profiles()

    report, profiles = run_virtually(load())
    assert report["state"] == "done"
    assert report["rows"] == report["rows"] | {"read": 4, "confirmed": 3, "unchanged": 1}
    assert profiles["u1"]["a"] == "z" * 700
