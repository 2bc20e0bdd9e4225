"""Our whole load in a process of its own: start-up, spool with fsync, digest, tracker, POSTs, statuses, report."""

import shutil
import sys
from pathlib import Path

import orjson

from tests.tools.bench.generator import ID_COLUMN
from tests.tools.bench.processes import Used, run


def configuration(state: Path, url: str, *, status_window: int = 10, batch_rows: int = 500_000) -> Path:
    """A configuration file beside the state directory. Calls are not limited, and statuses asked for at once."""
    file = state.with_suffix(".toml")
    file.write_text(
        f'[target]\nclient_code = "demo"\nbase_url = "{url}"\ncalls_per_minute = 100000\n'
        f'[export]\nid_column = "{ID_COLUMN}"\nunlisted = "send"\n[batch]\nmax_rows = {batch_rows}\n'
        f"[settle]\npoll_first_s = 0.05\npoll_max_s = 0.5\nstatus_window = {status_window}\n"
        f'[state]\ndirectory = "{state}"\nmin_free_bytes = 0\n[web]\nport = 0\n'
    )
    return file


def command(export: Path, config: Path) -> list[str]:
    """The command line of a load."""
    return [sys.executable, "-m", "pipeline", "load", str(export), "--config", str(config), "--json"]


def load(export: Path, rows: int, config: Path, state: Path) -> Used:
    """Load an export into a fresh state directory. Ends the benchmark unless every row is accounted for."""
    used = run(command(export, config))
    shutil.rmtree(state)
    report = orjson.loads(used.output)
    counts = report["rows"]
    ended_well = counts["confirmed"] + counts["superseded"] + counts["unchanged"] + counts["rejected"]
    if report["state"] != "done" or ended_well != rows or counts["rejected"] > rows * 0.0011 + 1:
        sys.exit(f"the load did not end well: {report}")
    return used
