"""How long a load takes from the start of its process to the first byte of the export, beside importing two libraries.

The real command line is run, unchanged, in an interpreter with an audit hook (`sys.addaudithook`), which is told of
every file that is opened. When that is the export, the process says what time it is and ends: the first read follows at
once. What it is compared with is all of `python -c 'import aiohttp, numpy'`, from start to end. All interleaved. Of the
two libraries a load has imported numpy by then; aiohttp is imported by a thread from about then on.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.tools.bench import loading
from tests.tools.bench.generator import write_export
from tests.tools.bench.processes import run

IMPORTS = "import aiohttp, numpy"
#: The clock is the same in all processes of a machine.
_UNTIL_OPENED = """
import os, runpy, sys, time
export = sys.argv[2]
def hook(event, arguments):
    if event == "open" and str(arguments[0]) == export:
        os.write(1, str(time.monotonic()).encode())
        os._exit(0)
sys.addaudithook(hook)
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""


def measure(rounds: int = 7) -> dict[str, float]:
    """Medians in seconds, and their ratio."""
    opened, imported = [], []
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-startup-") as folder:
        export = Path(folder) / "export.csv"
        write_export(export, 1_000)
        for number in range(rounds + 1):
            # Nothing is sent: the process has ended before. A state directory is made each time.
            config = loading.configuration(Path(folder) / f"state-{number}", "http://127.0.0.1:9")
            arguments = loading.command(export, config)[3:]
            started = time.monotonic()
            opened.append(float(run([sys.executable, "-c", _UNTIL_OPENED, *arguments]).output) - started)
            imported.append(run([sys.executable, "-c", IMPORTS]).wall_s)
    # The first of each fills the caches of the disk.
    first_read_s, imports_s = statistics.median(opened[1:]), statistics.median(imported[1:])
    return {"first_read_s": first_read_s, "imports_s": imports_s, "ratio": first_read_s / imports_s}


def told(startup: dict[str, float]) -> str:
    """The measurement in words."""
    return (
        f"Start-up: {startup['first_read_s']:.2f} s to the first read of the export, "
        f"{startup['ratio']:.2f} × of `python -c '{IMPORTS}'` ({startup['imports_s']:.2f} s)"
    )


if __name__ == "__main__":
    print(told(measure()))
