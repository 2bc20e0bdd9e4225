"""No status is lost to a Target that remembers the last ten batches only, however their answers come."""

from pathlib import Path

from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan
from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged
from tests.tools.faults.loading import check_equation, disorder, make_export

#: Some uploads take seconds, so that batches arrive in another order than they were begun in.
SLOW = FaultPlan(post_chances={Fault.SLOW: 0.15}, slow_bytes_s=60.0, seed=2)
HOLDING = {"poll_first_s": 0.05, "poll_max_s": 0.3, "ambiguous_hold_s": 20.0}


def test_with_ten_statuses_kept_none_of_a_hundred_batches_is_lost(tmp_path: Path) -> None:
    export = make_export(1_000, 3, repeated=0.0)
    (tmp_path / "export.csv").write_text(export.text)

    async def load() -> None:
        async with staged(tmp_path, faults=SLOW, seed=3, apply_max_s=8.0, statuses_kept=10) as stage:
            settings = stage.settings(batch={"max_rows": 9}, export={"max_rejects": "100%"}, settle=HOLDING)
            report = (await load_export(tmp_path / "export.csv", settings, host=stage.host)).as_json()
            check_equation(report)
            assert len(report["batches"]) >= 100
            lost = [batch for batch in report["batches"] if batch["state"] != "complete"]
            assert lost == []
            assert report["rows"]["confirmed"] + report["rows"]["empty"] == export.rows
            stage.sandbox.apply_all()
            assert stage.sandbox.profiles() == export.profiles
            assert disorder(stage.sandbox.mistakes) == []

    run_virtually(load())
