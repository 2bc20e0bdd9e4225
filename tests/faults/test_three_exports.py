"""Three exports of the same ids in a row, each killed in its middle, and the second the same bytes as the first.

A second job must not be mistaken for the first, and nothing that is still under way from an earlier job, or from a
process that was killed, may land on what came after it.
"""

from pathlib import Path
from typing import Any

from pipeline.sandbox import Running, SandboxOptions, running
from tests.tools.faults.loading import (
    Export,
    check_equation,
    check_folder,
    check_left_over,
    disorder,
    last_report,
    make_export,
    run_load,
    write_config,
)

ROWS = 400
BATCH_ROWS = 40
#: Each load is killed when so many of its batches were accepted.
BATCHES_BEFORE_KILL = 4


async def test_three_exports_with_a_kill_in_each_end_in_the_order_in_which_they_were_loaded(tmp_path: Path) -> None:
    first, last = make_export(ROWS, 21, rejected=0.02), make_export(ROWS, 22, rejected=0.02)
    expected: dict[str, dict[str, str]] = {}
    jobs = set[str]()
    options = SandboxOptions(seed=5, apply_min_s=0.02, apply_max_s=0.4, calls_per_minute=None)
    async with running(options) as sandbox:
        config = tmp_path / "config.toml"
        write_config(config, sandbox.base_url, tmp_path / "state", batch_rows=BATCH_ROWS, hold_s=0.6)
        for name, export in {"first": first, "same": first, "last": last}.items():
            path = tmp_path / f"{name}.csv"
            path.write_text(export.text)
            report = await load_with_a_kill(path, config, sandbox, again=name == "same")
            check_equation(report)
            check_folder(tmp_path / "state", report, export)
            assert report["export"]["name"] == path.name
            assert report["rows"]["confirmed"] == sent_once(report, export)
            jobs.add(report["job"])
            for profile_id, attributes in export.profiles.items():
                expected.setdefault(profile_id, {}).update(attributes)
            # What is confirmed is applied; a copy in doubt may come later, and is looked at at the end.
            assert sandbox.sandbox.profiles() == expected
        assert len(jobs) == 3
        check_left_over(tmp_path / "state")
        sandbox.sandbox.apply_all()
        assert sandbox.sandbox.profiles() == expected
        assert disorder(sandbox.sandbox.mistakes) == []
        assert sandbox.sandbox.mistakes == []


async def load_with_a_kill(path: Path, config: Path, sandbox: Running, *, again: bool) -> dict[str, Any]:
    """Load an export, kill it in its middle, and load it once more; the report."""
    accepted = sandbox.sandbox.counts()["batches"] + BATCHES_BEFORE_KILL
    code, _, err = await run_load(
        [path], config, again=again, kill_when=lambda: sandbox.sandbox.counts()["batches"] >= accepted
    )
    assert code == -9, err.decode()
    # Not `again` any more: the job that was begun is gone on with.
    code, out, err = await run_load([path], config)
    assert code == 0, err.decode()
    return last_report(out)


def sent_once(report: dict[str, Any], export: Export) -> int:
    """The rows that are confirmed if all are that can be."""
    superseded, empty = int(report["rows"]["superseded"]), int(report["rows"]["empty"])
    return export.rows - len(export.rejects) - superseded - empty
