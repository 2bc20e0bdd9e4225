"""What holds for all tests: where their files lie, and what the garbage collector looks through."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

#: A file system in memory, where a write is durable at once; and how much must be free there (bytes).
_IN_MEMORY, _ENOUGH_BYTES = Path("/dev/shm"), 2**31


def pytest_configure() -> None:
    """Files lie in memory where there is room: tests end processes, but no disk has to outlive the machine."""
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH_BYTES and os.access(_IN_MEMORY, os.W_OK):
        tempfile.tempdir = os.environ.setdefault("TMPDIR", str(_IN_MEMORY))


def pytest_collection_finish() -> None:
    """What was imported is no garbage: not to be looked through at the end of each job."""
    gc.collect()
    gc.freeze()
