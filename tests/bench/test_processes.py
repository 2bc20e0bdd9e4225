"""What a program used is measured over all of its processes."""

import sys
from pathlib import Path

import pytest

from tests.tools.bench.processes import run

MEGABYTES = 40
_HOLD = f"kept = b'x' * {MEGABYTES}_000_000; import time; time.sleep(0.3)"
_WORK = "while time.process_time() < 0.3: pass"


def test_memory_is_that_of_all_processes_of_a_program() -> None:
    alone = run([sys.executable, "-c", _HOLD])
    assert MEGABYTES * 1e6 < alone.peak_bytes < MEGABYTES * 2e6
    both = run(
        [sys.executable, "-c", f"import subprocess, sys; {_HOLD}; subprocess.run([sys.executable, '-c', {_HOLD!r}])"]
    )
    assert both.peak_bytes > 2 * MEGABYTES * 1e6


def test_processor_time_is_that_of_all_processes_of_a_program() -> None:
    inner = f"import time\n{_WORK}"
    used = run([sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"])
    assert used.cpu_s >= 0.3
    assert used.wall_s >= 0.3


def test_the_memory_of_the_one_who_measures_is_not_counted() -> None:
    kept = b"x" * 100_000_000
    assert run([sys.executable, "-c", "print('ended')"]).peak_bytes < len(kept)


def test_a_program_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No such file"):
        run(["sh", "-c", f"LC_ALL=C cat {tmp_path}/none"])
