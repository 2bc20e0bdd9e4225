"""No status is lost to a Target that remembers the last ten batches only, however their answers come."""

import asyncio
from pathlib import Path

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan, Sandbox, SandboxOptions, serving
from pipeline.settings.settings import load_settings
from tests.tools.faults.loading import check_equation, disorder, make_export, write_config
from tests.tools.support import loop_clock, run_fast

#: Some uploads take seconds, so that batches arrive in another order than they were begun in.
SLOW = FaultPlan(post_chances={Fault.SLOW: 0.15}, slow_bytes_s=60.0, seed=2)


def test_with_ten_statuses_kept_none_of_a_hundred_batches_is_lost(tmp_path: Path) -> None:
    export = make_export(1_000, 3, repeated=0.0)
    (tmp_path / "export.csv").write_text(export.text)

    async def load() -> None:
        options = SandboxOptions(seed=3, apply_min_s=0.0, apply_max_s=8.0, calls_per_minute=None, statuses_kept=10)
        time = asyncio.get_running_loop().time
        sandbox = Sandbox(options, faults=SLOW, monotonic=time)
        async with serving(sandbox) as run:
            config = tmp_path / "config.toml"
            write_config(config, run.base_url, tmp_path / "state", batch_rows=9, hold_s=20.0)
            settings = load_settings(config, env={})
            report = (await load_export(tmp_path / "export.csv", settings, host=Host(loop_clock()))).as_json()
            check_equation(report)
            assert len(report["batches"]) >= 100
            lost = [batch for batch in report["batches"] if batch["state"] != "complete"]
            assert lost == []
            assert report["rows"]["confirmed"] + report["rows"]["empty"] == export.rows
            sandbox.apply_all()
            assert sandbox.profiles() == export.profiles
            assert disorder(sandbox.mistakes) == []

    run_fast(load())
