"""What a load does before it reads the first byte of its export: it imports nothing that only other runs need.

How quick it is, is measured by `tests.tools.bench.startup`; what made it quick is held here.
"""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

from tests.tools.support import Bench, unheard

#: What draws, renders, watches or serves: for a person who looks on, or for another command.
FOR_OTHERS = {
    *("rich", "pygments", "markdown_it", "typer.rich_utils", "pipeline.edges.views.screen"),
    *(
        "jinja2",
        "pipeline.edges.views.page",
        "watchfiles",
        "aiohttp.web",
        "aiohttp_sse",
        "prometheus_client",
        "pipeline.service.web.listener",
        "pipeline.sandbox",
        "opentelemetry.trace",
        "pipeline.edges.traces.otlp",
        "pipeline.service.service",
    ),
}
#: What reads variables of the environment: for a load that is given any.
FOR_VARIABLES = {"pydantic_settings", "dotenv", "pipeline.settings.environment"}
#: What calls Target: a thread imports it while the export is opened, and nobody knows how far it has come then.
FOR_CALLS = {"aiohttp", "yarl", "pipeline.edges.target.client"}

#: The real command line, which tells what modules there are when the ledger is opened and when the export is, and what
#: functions of the C library were looked up by then, and ends.
_UNTIL_OPENED = """
import os, runpy, sys
ledger, export, functions = sys.argv.pop(1), sys.argv[2], []
def hook(event, arguments):
    if event == "ctypes.dlsym":
        functions.append(str(arguments[1]))
    if event in ("open", "sqlite3.connect") and str(arguments[0]) in (ledger, export):
        os.write(1, " ".join([*list(sys.modules), "\\n"]).encode())
        if str(arguments[0]) == export:
            os.write(1, " ".join(functions).encode())
            os._exit(0)
sys.addaudithook(hook)
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""


def imported(bench: Bench, **variables: str) -> tuple[set[str], set[str], set[str]]:
    """The modules that a load has when it opens its ledger and when its export, and functions that it looked up."""
    ledger, export, config = map(str, (bench.state / "ledger.db", bench.export("u1,gold,1"), bench.config()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROFILE_PIPELINE__")}
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_OPENED, ledger, "load", export, "--config", config, "--json"],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    at_ledger, at_export, functions = done.stdout.split("\n")
    return set(at_ledger.split()), set(at_export.split()), set(functions.split())


def test_a_load_imports_what_it_needs_to_begin(tmp_path: Path) -> None:
    at_ledger, at_export, _ = imported(unheard(tmp_path))
    assert {"pipeline.jobs.load", "pipeline.edges.store.ledger", "numpy", "structlog"} <= at_ledger
    assert at_ledger & FOR_CALLS == set()
    assert at_export & (FOR_OTHERS | FOR_VARIABLES) == set()


def test_what_reads_variables_is_there_where_there_are_any(tmp_path: Path) -> None:
    _, at_export, _ = imported(unheard(tmp_path), PROFILE_PIPELINE__UPLOAD__CONCURRENCY="2")
    assert at_export >= FOR_VARIABLES
    assert at_export & FOR_OTHERS == set()


def test_a_status_imports_nothing_that_only_the_service_needs(tmp_path: Path) -> None:
    command = "runpy.run_module('pipeline', run_name='__main__', alter_sys=True)"
    told = f"import runpy, sys\ntry: {command}\nfinally: print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", told, "status", "--json", "--config", unheard(tmp_path).config()],
        capture_output=True,
        text=True,
        check=True,
    )
    json, modules = done.stdout.splitlines()
    assert orjson.loads(json)["jobs"] == []
    assert set(modules.split()) & {*FOR_CALLS, "aiohttp.web", "aiohttp_sse", "jinja2", "pipeline.service.web"} == set()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only the GNU C library has many heaps")
def test_a_load_shares_one_heap(tmp_path: Path) -> None:
    _, _, functions = imported(unheard(tmp_path))
    assert "mallopt" in functions


@pytest.mark.parametrize("name", sorted(FOR_OTHERS | FOR_VARIABLES | FOR_CALLS))
def test_the_modules_that_are_not_to_be_there_exist(name: str) -> None:
    """A name that is none would be missing for ever."""
    assert find_spec(name) is not None
