"""What holds for all tests: where their files lie, what is compiled once, and what is looked through for garbage."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Properties are judged by what they find, not by how long a busy machine takes for it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

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
