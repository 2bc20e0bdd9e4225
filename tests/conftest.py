"""What holds for all tests: where their files lie, what is compiled once, what is drawn, and what runs first."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tools.drawn import SEED, examples

# Properties are judged by what they find, not by how long a busy machine takes for it; other examples in each run.
settings.register_profile("untimed", deadline=None, max_examples=examples(40), derandomize=False, print_blob=True)
settings.load_profile("untimed")

#: What takes longest begins first: whatever is left when the others have ended is waited for.
_LONGEST = (
    "tests/e2e/test_away.py",
    "tests/e2e/test_day_of_time_windows.py",
    "tests/e2e/test_first_moments.py",
    "tests/e2e/test_hostile_answers.py",
    "tests/faults/test_failing.py",
    "tests/faults/test_kills.py",
    "tests/faults/test_power.py",
    "tests/faults/test_service_kills.py",
    "tests/faults/test_soak.py",
    "tests/faults/test_steps.py",
    "tests/faults/test_torture.py",
    "tests/mends/test_mends.py",
    "tests/core/rows/test_against_oracle.py",
    "tests/simulation/",
    "tests/tools/",
)
#: A file system in memory, where a write is durable at once; and how much must be free there (bytes).
_IN_MEMORY, _ENOUGH_BYTES = Path("/dev/shm"), 2**31


def pytest_configure(config: pytest.Config) -> None:
    """What is run beside this process finds these in its environment.

    Files lie in memory where there is room: tests end processes, but no disk has to outlive the machine. Bytecode that
    may not lie beside its source is kept with what else pytest keeps: else each process would compile everything.
    """
    if "PYTHONDONTWRITEBYTECODE" in os.environ:
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(config.rootpath / ".pytest_cache" / "bytecode"))
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH_BYTES and os.access(_IN_MEMORY, os.W_OK):
        tempfile.tempdir = os.environ.setdefault("TMPDIR", str(_IN_MEMORY))


def pytest_report_header() -> str:
    """With which seed this run draws what it does not do in full."""
    return f"drawn: DRAWN={SEED} draws the same again"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever takes long stands first in the share of each process; what is left at the end is short."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.nodeid.startswith(_LONGEST)]
    short = [item for item in items if not item.nodeid.startswith(_LONGEST)]
    ends = [len(items) * (number + 1) // processes for number in range(processes)]
    items.clear()
    for number, end in enumerate(ends):
        items += long[number::processes]
        count = max(0, end - len(items))
        items += short[:count]
        del short[:count]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test has recorded as its `summary` stands at the end."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, told in report.user_properties:
            if name == "summary":
                terminalreporter.write_line("")
                terminalreporter.write(str(told))


def pytest_collection_finish() -> None:
    """What was imported is no garbage: not to be looked through at the end of each job."""
    gc.collect()
    gc.freeze()
