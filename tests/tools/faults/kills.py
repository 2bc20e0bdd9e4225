"""Kills a load at random moments, gives the same command again each time, and checks what is in the sandbox at the end.

`python -m tests.tools.faults.kills --kills 200` or `make kill-test N=200`. Three exports with 30 % repeated ids, and
half of them in common, go in small batches and overlap; the sandbox lives on in this process, as Target would. Every
other export is a directory of parts.
"""

import asyncio
import random
import signal
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.errors import FatalError
from pipeline.edges.store.records import JobRecord
from pipeline.sandbox import SandboxOptions, running
from tests.tools.faults.canaries import TOKEN, check_told
from tests.tools.faults.loading import (
    Export,
    check_equation,
    check_folder,
    check_left_over,
    check_order,
    check_profiles,
    ledger_of,
    make_export,
    run_load,
    write_config,
)
from tests.tools.faults.part_files import entered_as, sha256_of, write_parts
from tests.tools.faults.tally import Tally, hold

#: How a load ends that was killed, or stopped tidily.
_ENDED_BY = {signal.SIGKILL: -9, signal.SIGTERM: 75}
#: Exports of a run; each has half of its ids in common with the one before.
EXPORTS = 3


async def kill_until_done(
    kills: int,
    *,
    rows: int,
    seed: int,
    rejected: float = 0.0,
    number: signal.Signals = signal.SIGKILL,
    statuses_kept: int = 10,
    exports: int = EXPORTS,
) -> dict[str, Any]:
    """Load exports under so many kills; what happened. Raises `AssertionError` where the promise is broken.

    A load that is ended by SIGTERM must say so, and may be in time to end before it.
    """
    draw = random.Random(seed)
    each = rows // exports
    made = [
        make_export(each, 100 * seed + place, rejected=rejected, first_id=place * each // 2) for place in range(exports)
    ]
    options = SandboxOptions(
        seed=seed, apply_min_s=0.02, apply_max_s=0.8, calls_per_minute=None, statuses_kept=statuses_kept, token=TOKEN
    )
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-kill-") as folder:
        config = Path(folder) / "config.toml"
        paths = [_write(Path(folder), export, place, seed) for place, export in enumerate(made)]
        async with running(options) as run:
            state = Path(folder) / "state"
            write_config(config, run.base_url, state, batch_rows=max(20, rows // 40))
            killed = starts = overlapping = 0
            code, out, err = _ENDED_BY[number], b"", b""
            said: list[bytes] = []
            # SIGTERM before the program has a say ends it as the system does.
            while code in (_ENDED_BY[number], -number):
                starts += 1
                after_s = draw.uniform(0.0, 1.7) if killed < kills else None
                code, out, err = await run_load(paths, config, kill_after_s=after_s, number=number)
                said += [out, err]
                killed += code in (_ENDED_BY[number], -number)
                overlapping += _unfinished(state) > 1
                check_entered(state, paths)
                told = [orjson.loads(line) for line in out.splitlines() if line.endswith(b"}")]
                for report in told:
                    check_equation(report)
                if code == -number and [report["state"] for report in told] == ["done"] * exports:
                    # It had come to its end: the same command, given again, would be another one.
                    break
            assert code in (0, -number), (code, out.decode(), err.decode())
            assert [report["export"]["name"] for report in told] == [path.name for path in paths]
            counts = check_jobs(state, made, [sha256_of(path) for path in paths])
            check_left_over(state)
            run.sandbox.apply_all()
            check_profiles(run.sandbox.profiles(), made)
            check_order(run.sandbox.mistakes)
            own = [*paths, config.with_name("token")]
            await check_told(Path(folder), state, config, *said, exports=own)
            return {"kills": killed, "starts": starts, "overlapping": overlapping, "batches": counts, "rows": rows}


def _write(folder: Path, export: Export, place: int, seed: int) -> Path:
    if (seed + place) % 2:
        write_parts(export, path := folder / f"export{place}", seed)
    else:
        (path := folder / f"export{place}.csv").write_text(export.text)
    return path


def check_entered(state: Path, paths: list[Path]) -> None:
    """All exports of the command have their one job, in their order, or none has."""
    assert [job.export for job in _jobs(state)] in ([], [entered_as(path) for path in paths])


def _jobs(state: Path) -> list[JobRecord]:
    if not (state / "ledger.db").exists():
        return []
    # It may have been killed before the ledger was made: if it is damaged, the next run says so.
    with suppress(FatalError), ledger_of(state) as ledger:
        return ledger.jobs()
    return []


def _unfinished(state: Path) -> int:
    """How many jobs have begun and not ended."""
    return sum(job.has_begun and job.state is None for job in _jobs(state))


def check_jobs(state: Path, made: list[Export], digests: Sequence[str] = ()) -> int:
    """Each export has one job, in their order, and all of its rows are in it; how many batches.

    `digests`: of the exports, to be compared.
    """
    with ledger_of(state) as ledger:
        reports = [job.report.as_json() for job in ledger.jobs() if job.report]
    assert len(reports) == len(made)
    assert not digests or [report["export"]["sha256"] for report in reports] == digests
    for report, export in zip(reports, made, strict=True):
        check_equation(report)
        check_folder(state, report, export)
        counts = report["rows"]
        hold("lost", counts["read"] == export.rows, report)
        hold("lost", counts["rejected"] == len(export.rejects), report)
        settled = counts["confirmed"] + counts["superseded"] + counts["empty"] + counts["rejected"]
        hold("lost", settled == export.rows, report)
    return sum(len(report["batches"]) for report in reports)


def one_run(seed: int) -> Tally:
    """A load that is killed up to six times, in turn by SIGKILL and by SIGTERM."""
    number = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)[seed % 3]
    told = asyncio.run(kill_until_done(6, rows=6_000, seed=seed, rejected=0.02, number=number))
    return Tally(runs=1, rows=told["rows"], events=told["kills"])


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
