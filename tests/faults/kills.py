"""Kills a load at random moments, starts it again each time, and checks what is in the sandbox at the end.

`python -m tests.faults.kills --kills 200` or `make kill-test N=200`. An export with 30 % repeated ids goes in small
batches; the sandbox lives on in this process, as Target would.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import SandboxOptions, running

COLUMNS = ("tier", "ltv", "city")


@dataclass(slots=True)
class Export:
    """An export and, per id, the last non-empty value of each column."""

    text: str
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)


def make_export(rows: int, seed: int, *, repeated: float = 0.3) -> Export:
    """An export of so many rows, a part of them of ids seen before, with empty cells; every value is unique."""
    draw = random.Random(seed)
    export = Export("")
    lines = [",".join(("id", *COLUMNS))]
    for number in range(rows):
        profile_id = f"u{draw.randrange(number) if number and draw.random() < repeated else number}"
        cells = {name: f"{name}{seed}-{number}" if draw.random() < 0.7 else "" for name in COLUMNS}
        lines.append(",".join((profile_id, *cells.values())))
        present = {name: cell for name, cell in cells.items() if cell}
        if present:
            export.profiles.setdefault(profile_id, {}).update(present)
    export.text = "\n".join(lines) + "\n"
    return export


def write_config(path: Path, base_url: str, state: Path, *, batch_rows: int, hold_s: float = 2.0) -> None:
    """A configuration with small batches and short waits."""
    path.write_text(
        f'[target]\nclient_code = "demo"\nbase_url = "{base_url}"\ncalls_per_minute = 100000\n'
        f'[export]\nid_column = "id"\nunlisted = "send"\n[batch]\nmax_rows = {batch_rows}\n'
        f"[upload]\nbackoff_s = 0.05\nbackoff_max_s = 0.2\n"
        f"[settle]\npoll_first_s = 0.05\npoll_max_s = 0.3\nambiguous_hold_s = {hold_s}\n"
        f'[state]\ndirectory = "{state}"\nmin_free_bytes = 0\n'
    )


async def run_load(exports: list[Path], config: Path, *, kill_after_s: float | None = None) -> tuple[int, bytes, bytes]:
    """Run the real command; its exit code (negative if it was killed), stdout and stderr."""
    command = [sys.executable, "-m", "pipeline", "load", *map(str, exports), "--config", str(config), "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    ending = asyncio.ensure_future(process.communicate())
    if kill_after_s is not None:
        await asyncio.wait([ending], timeout=kill_after_s)
        if not ending.done():
            process.send_signal(signal.SIGKILL)
    out, err = await ending
    assert process.returncode is not None
    return process.returncode, out, err


def check_equation(report: dict[str, Any]) -> None:
    """Every row read is in exactly one class, and the batches say the same as the classes."""
    rows = report["rows"]
    classes = ("confirmed", "superseded", "rejected", "empty", "failed", "unconfirmed", "unsent")
    assert rows["read"] == sum(rows[name] for name in classes), rows
    in_batches = sum(batch["rows"] for batch in report["batches"] if batch["state"] != "split")
    assert in_batches == rows["confirmed"] + rows["failed"] + rows["unconfirmed"], report


async def kill_until_done(kills: int, *, rows: int, seed: int) -> dict[str, Any]:
    """Load an export under so many kills; what happened. Raises `AssertionError` where the promise is broken."""
    draw = random.Random(seed)
    export = make_export(rows, seed)
    options = SandboxOptions(
        seed=seed, apply_min_s=0.02, apply_max_s=0.8, calls_per_minute=None, statuses_kept=10
    )
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-kill-") as folder:
        path, config = Path(folder) / "export.csv", Path(folder) / "config.toml"
        path.write_text(export.text)
        async with running(options) as run:
            write_config(config, run.base_url, Path(folder) / "state", batch_rows=max(20, rows // 40))
            killed = starts = 0
            code, out, err = -9, b"", b""
            while code < 0:
                starts += 1
                after_s = draw.uniform(0.3, 2.0) if killed < kills else None
                code, out, err = await run_load([path], config, kill_after_s=after_s)
                killed += code < 0
            assert code == 0, (code, out.decode(), err.decode())
            report = orjson.loads(out.splitlines()[-1])
            check_equation(report)
            assert report["rows"]["read"] == rows
            assert report["rows"]["confirmed"] + report["rows"]["superseded"] + report["rows"]["empty"] == rows
            run.sandbox.apply_all()
            assert run.sandbox.profiles() == export.profiles
            assert run.sandbox.mistakes == [], run.sandbox.mistakes
            return {"kills": killed, "starts": starts, "batches": len(report["batches"]), "rows": rows}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-load", type=int, default=10)
    arguments = parser.parse_args()
    done, seed, started = 0, 1, time.monotonic()
    while done < arguments.kills:
        told = asyncio.run(kill_until_done(arguments.per_load, rows=6_000, seed=seed))
        done += told["kills"]
        seed += 1
        print(f"{done} kills, {time.monotonic() - started:,.0f} s: seed {seed - 1}, {told}", flush=True)
    print(f"{done} kills survived: every profile as the export says, every row in one class, no mistake seen")


if __name__ == "__main__":
    main()
