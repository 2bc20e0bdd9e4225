"""The time that an answer of the service's web server takes, with many jobs in the ledger.

`python -m tests.tools.bench.web --jobs 1000`. The real service runs beside it. Jobs are copies of one of several
batches that really ended. Each address is asked again and again, more than a second apart, so that nothing is told that
was read before; and then at once, as many do who scrape.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from pipeline.service.web.answers import JSON
from pipeline.service.web.latest import FRESH_S
from pipeline.service.web.pages import HTML
from tests.service.web.site import free_port
from tests.tools.bench import loading
from tests.tools.bench.generator import write_export
from tests.tools.bench.peer import peer
from tests.tools.bench.processes import run
from tests.tools.bench.queue import copy_ended, cpu_s_of

ROWS, BATCH_ROWS = 2_000, 100
#: Addresses, and the format in which they are asked.
ADDRESSES = (
    *[(path, JSON) for path in ("/healthz", "/readyz", "/status", "/jobs", "/jobs/JOB", "/openapi.json")],
    *[(path, HTML) for path in ("/", "/jobs/JOB")],
)
#: Times that each address is asked.
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of an answer: when it is read, of processor time then, and when it was read a moment ago."""

    read_ms: float
    cpu_ms: float
    again_ms: float


def measure(jobs: int) -> dict[str, Measured]:
    """By address the time it takes."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-web-") as folder, peer() as url:
        here = Path(folder)
        state, drop, port = here / "state", here / "drop", free_port()
        drop.mkdir()
        config = loading.configuration(state, url, batch_rows=BATCH_ROWS)
        text = config.read_text().replace("[web]\nport = 0\n", f"[web]\nport = {port}\n")
        config.write_text(f'{text}[drop]\ndirectory = "{drop}"\n')
        write_export(drop / "a.csv", ROWS)
        (drop / "a.fin").touch()
        run([sys.executable, "-m", "pipeline", "serve", "--drain", "--config", str(config)])
        copy_ended(state, jobs - 1)
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "serve", "--config", str(config)], stdout=log, stderr=log
            )
            try:
                base = f"http://127.0.0.1:{port}"
                _until_answered(f"{base}/healthz")
                before_mb = _memory_mb(process.pid)
                job_id = json.loads(_asked(f"{base}/jobs")[1])["jobs"][0]["job"]
                found = {}
                for path, accepted in ADDRESSES:
                    url, read_ms, again_ms = base + path.replace("JOB", job_id), [], []
                    # The first one may import what the others have.
                    _asked(url, accepted)
                    cpu_s = cpu_s_of(process.pid)
                    for _ in range(ROUNDS):
                        time.sleep(FRESH_S * 1.05)
                        read_ms.append(_asked(url, accepted)[0])
                        again_ms.append(_asked(url, accepted)[0])
                    page = " (page)" if accepted == HTML else ""
                    cpu_ms = (cpu_s_of(process.pid) - cpu_s) / ROUNDS * 1e3
                    found[path + page] = Measured(statistics.median(read_ms), cpu_ms, statistics.median(again_ms))
                after_mb = _memory_mb(process.pid)
                print(f"memory: {before_mb:.1f} MB before the first answer, {after_mb:.1f} MB behind the last")
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
        return found


def _asked(url: str, accepted: str = JSON) -> tuple[float, bytes]:
    begun = time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accepted}), timeout=60) as answer:
        body = answer.read()
    return (time.perf_counter() - begun) * 1e3, body


def _until_answered(url: str) -> None:
    while True:
        try:
            _asked(url)
        except OSError:
            time.sleep(0.05)
        else:
            return


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    options = parser.parse_args()
    for path, each in measure(options.jobs).items():
        print(
            f"{path:20} {each.read_ms:7.1f} ms ({each.cpu_ms:.0f} ms of processor time), again {each.again_ms:.1f} ms"
        )


if __name__ == "__main__":
    main()
