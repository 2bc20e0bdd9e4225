"""Kills a load at random moments, starts it again each time, and checks what is in the sandbox at the end.

`python -m tests.faults.kills --kills 200` or `make kill-test N=200`. An export with 30 % repeated ids goes in small
batches; the sandbox lives on in this process, as Target would.
"""

import asyncio
import random
import signal
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from pipeline.sandbox import SandboxOptions, running
from tests.faults.loading import (
    check_equation,
    check_folder,
    check_left_over,
    last_report,
    make_export,
    run_load,
    write_config,
)

#: How a load ends that was killed, or stopped tidily.
_ENDED_BY = {signal.SIGKILL: -9, signal.SIGTERM: 75}


async def kill_until_done(
    kills: int,
    *,
    rows: int,
    seed: int,
    rejected: float = 0.0,
    number: signal.Signals = signal.SIGKILL,
    statuses_kept: int = 10,
) -> dict[str, Any]:
    """Load an export under so many kills; what happened. Raises `AssertionError` where the promise is broken.

    A load that is ended by SIGTERM must say so, and may be in time to end before it.
    """
    draw = random.Random(seed)
    export = make_export(rows, seed, rejected=rejected)
    options = SandboxOptions(
        seed=seed, apply_min_s=0.02, apply_max_s=0.8, calls_per_minute=None, statuses_kept=statuses_kept
    )
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-kill-") as folder:
        path, config = Path(folder) / "export.csv", Path(folder) / "config.toml"
        path.write_text(export.text)
        async with running(options) as run:
            state = Path(folder) / "state"
            write_config(config, run.base_url, state, batch_rows=max(20, rows // 40))
            killed = starts = 0
            code, out, err = _ENDED_BY[number], b"", b""
            # SIGTERM before the program has a say ends it as the system does.
            while code in (_ENDED_BY[number], -number):
                starts += 1
                after_s = draw.uniform(0.3, 2.0) if killed < kills else None
                code, out, err = await run_load([path], config, kill_after_s=after_s, number=number)
                killed += code in (_ENDED_BY[number], -number)
                if code == _ENDED_BY[signal.SIGTERM]:
                    check_equation(last_report(out))
            assert code == 0, (code, out.decode(), err.decode())
            report = last_report(out)
            check_equation(report)
            check_folder(state, report, export)
            check_left_over(state)
            counts = report["rows"]
            assert counts["read"] == rows
            assert counts["rejected"] == len(export.rejects)
            assert counts["confirmed"] + counts["superseded"] + counts["empty"] + counts["rejected"] == rows
            run.sandbox.apply_all()
            assert run.sandbox.profiles() == export.profiles
            assert run.sandbox.mistakes == [], run.sandbox.mistakes
            return {"kills": killed, "starts": starts, "batches": len(report["batches"]), "rows": rows}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-load", type=int, default=10)
    parser.add_argument("--rejected", type=float, default=0.02, help="share of rows that are rejected")
    parser.add_argument("--statuses-kept", type=int, default=10, help="what Target remembers; the window is 10 POSTs")
    parser.add_argument("--term", action="store_true", help="SIGTERM instead of SIGKILL")
    arguments = parser.parse_args()
    done, seed, started = 0, 1, time.monotonic()
    while done < arguments.kills:
        told = asyncio.run(
            kill_until_done(
                arguments.per_load,
                rows=6_000,
                seed=seed,
                rejected=arguments.rejected,
                number=signal.SIGTERM if arguments.term else signal.SIGKILL,
                statuses_kept=arguments.statuses_kept,
            )
        )
        done += told["kills"]
        seed += 1
        print(f"{done} kills, {time.monotonic() - started:,.0f} s: seed {seed - 1}, {told}", flush=True)
    print(f"{done} kills survived: every profile as the export says, every row in one class, no mistake seen")


if __name__ == "__main__":
    main()
