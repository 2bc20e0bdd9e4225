"""The demo: the profiles that it expects are those that its export leaves in the sandbox, by the defaults of now."""

from pathlib import Path

from pipeline.cli.demo import DemoExport, demo_settings, make_export
from pipeline.core.batches.report import Report
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan, SandboxOptions, running

Profiles = dict[str, dict[str, str]]


async def demonstrated(directory: Path, faults: FaultPlan | None = None) -> tuple[Report, DemoExport, Profiles]:
    """The report of a small demo, its export, and the profiles in the sandbox."""
    export = make_export(900, seed=1)
    path = directory / "customers.csv"
    path.write_bytes(export.content)
    options = SandboxOptions(client_code="demo", apply_min_s=0.0, apply_max_s=0.0)
    async with running(options, faults=faults) as at:
        settings = demo_settings(at.base_url, directory / "state")
        settle = settings.settle.model_copy(update={"poll_first_s": 0.1})
        settings = settings.model_copy(update={"settle": settle})
        report = await load_export(path, settings, host=Host(is_with_sandbox=True))
        return report, export, at.sandbox.profiles()


async def test_its_export_arrives_as_it_expects(tmp_path: Path) -> None:
    report, export, profiles = await demonstrated(tmp_path)
    assert report.state == "done", report.error
    assert profiles == export.profiles


async def test_its_page_advises_nothing_that_its_sandbox_is_needed_for(tmp_path: Path) -> None:
    report, _, _ = await demonstrated(tmp_path, FaultPlan(posts={1: Fault.FAIL_ROWS}, failing_rows=1))
    page = (tmp_path / "state" / "jobs" / report.job / "report.html").read_text()
    assert report.rows.failed == 1
    assert "Look at the rows Target failed" in page
    assert "retry" not in page
