"""A job that was killed, and whose export is not there any more or is another, fails with every row in its class."""

from pathlib import Path

import pytest

from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_exports
from pipeline.sandbox import Running, SandboxOptions, running
from pipeline.settings.settings import load_settings
from pipeline.settings.tenants import Tenant
from tests.tools.faults.loading import check_equation, check_left_over, ledger_of, make_export, run_load, write_config

#: More than are read by the time when it is killed: so many batches are under way, or wait, at most.
ROWS = 2_000
GONE, CHANGED = 66, 65


async def kill_with_rows_held(folder: Path, sandbox: Running) -> None:
    """Leave a job in the state directory that holds rows back, since Target is slow."""
    config, path = folder / "config.toml", folder / "export.csv"
    write_config(config, sandbox.base_url, folder / "state", batch_rows=50)
    path.write_text(make_export(ROWS, 31, repeated=0.4).text)
    code, _, err = await run_load([path], config, kill_when=lambda: sandbox.sandbox.counts()["batches"] >= 6)
    assert code == -9, err.decode()
    with ledger_of(folder / "state") as ledger:
        [job] = ledger.jobs(unfinished_only=True)
        assert ledger.held_rows(job)


@pytest.mark.parametrize("code", [GONE, CHANGED])
async def test_a_job_whose_source_is_gone_fails_and_tells_of_every_row_it_had_read(tmp_path: Path, code: int) -> None:
    options = SandboxOptions(seed=3, apply_min_s=0.5, apply_max_s=1.0, calls_per_minute=None)
    async with running(options) as sandbox:
        await kill_with_rows_held(tmp_path, sandbox)
        if code == GONE:
            (tmp_path / "export.csv").unlink()
        else:
            (tmp_path / "export.csv").write_text("id,tier\nu1,other\n")
        settings = load_settings(tmp_path / "config.toml", env={})
        reports = [report.as_json() async for report in load_exports([], Tenant.of_one(settings), host=Host())]
        [report] = reports
        assert (report["state"], report["exit_code"]) == ("failed", code)
        check_equation(report)
        assert report["rows"]["confirmed"] > 0
        assert report["rows"]["unsent"] > 0
        assert report["rows"]["unconfirmed"] == 0
        check_left_over(tmp_path / "state")
        assert sandbox.sandbox.mistakes == []
