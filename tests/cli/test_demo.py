"""The demo: the profiles that it expects are those that its export leaves in the sandbox, by the defaults of now."""

from pathlib import Path

from pipeline.cli.demo import demo_settings, make_export
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import SandboxOptions, running


async def test_its_export_arrives_as_it_expects(tmp_path: Path) -> None:
    export = make_export(900, seed=1)
    path = tmp_path / "customers.csv"
    path.write_bytes(export.content)
    async with running(SandboxOptions(client_code="demo", apply_min_s=0.0, apply_max_s=0.0)) as at:
        settings = demo_settings(at.base_url, tmp_path / "state")
        settle = settings.settle.model_copy(update={"poll_first_s": 0.1})
        settings = settings.model_copy(update={"settle": settle})
        report = await load_export(path, settings, host=Host(is_with_sandbox=True))
        assert report.state == "done", report.error
        assert at.sandbox.profiles() == export.profiles
