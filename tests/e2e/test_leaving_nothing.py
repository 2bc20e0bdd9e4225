"""A job that has ended keeps nothing: neither memory nor files that are deleted already."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.simulation.loop import run_virtually
from tests.simulation.staged import staged


@pytest.fixture(autouse=True)
def _no_help_from_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def deleted_files(below: Path) -> list[str]:
    """Files that are open or mapped in this process, and in no directory any more, of a spool below a directory."""
    descriptors = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    open_now = [str(path.readlink()) for path in descriptors if path.is_symlink()]
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return [name for name in (*open_now, *mapped) if f"{below}/" in name and "spool" in name and "(deleted)" in name]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells")
def test_files_of_the_spool(tmp_path: Path) -> None:
    async def load_twice() -> None:
        async with staged(tmp_path) as stage:
            for number in range(2):
                lines = [f"u{row},gold,{number}" for row in range(60)]
                await stage.load(*lines, name=f"e{number}.csv", batch={"max_rows": 10})
                assert deleted_files(tmp_path) == []
                assert [each for each in gc.get_objects() if isinstance(each, np.memmap)] == []

    run_virtually(load_twice())
