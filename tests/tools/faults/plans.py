"""Loads exports under random plans of faults, of every kind the sandbox knows, and checks what they come to.

`python -m tests.tools.faults.plans --loads 200`. Loads run on a fast event loop, so that hanging calls and the minute
that being throttled costs can be among the faults. Two families of plans, because a batch that is refused after an
attempt in doubt is split while the copy in doubt may still be applied: its halves then clash with it, harmlessly, since
they hold the same values.

* `doubtful`: everything but refusals; nothing ever clashes, and no older version is written over a newer one.
* `refusing`: refusals, and whatever leaves no attempt in doubt; likewise.
* `mixed`: all of them; the sandbox's list of mistakes is not judged.

In all of them each profile is as the export says, but for those of rows that the report gives up.
"""

import asyncio
import random
import shutil
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from pipeline.core.errors import ExitCode
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import load_exports
from pipeline.sandbox import Fault, FaultPlan, Sandbox, SandboxOptions, serving
from pipeline.sandbox.faults import LOST_UNKNOWN, POST_FAULTS, STATUS_FAULTS, TAKEN_UNKNOWN, THROTTLING
from pipeline.settings.settings import load_settings
from pipeline.settings.tenants import Tenant
from tests.tools.faults.canaries import TOKEN, check_canaries, check_told, logged
from tests.tools.faults.loading import (
    MEMORY,
    OF_DAYS,
    Export,
    check_equation,
    check_folder,
    check_left_over,
    check_order,
    check_profiles,
    disorder,
    lost_ids,
    make_export,
    read_lines,
    write_config,
)
from tests.tools.faults.tally import Tally, hold
from tests.tools.hanging import in_time
from tests.tools.support import loop_clock, run_fast

Family = Literal["doubtful", "refusing", "mixed"]
FAMILIES: tuple[Family, ...] = ("doubtful", "refusing", "mixed")
ROWS = 300
#: The hold is longer than any accepted batch waits (seconds on the loop).
HOLD_S = 15.0
APPLY_MAX_S = 9.0
#: So often at most Target refuses all rows of a command that sends few.
_MOST_REFUSED = 20
#: A load takes a few minutes (seconds on the loop).
HANGS_AFTER_S = 1_800.0
#: Each costs a minute: rare.
_THROTTLED = 0.004
_HANGING = frozenset({Fault.HANG_LOST, Fault.HANG_TAKEN})
_IN_DOUBT = TAKEN_UNKNOWN | LOST_UNKNOWN | {Fault.RESET_DURING_BODY, Fault.STUCK, Fault.STATUS_LOST}


@dataclass(frozen=True, slots=True)
class Told:
    """How a load under faults ended: its rows by class, and the faults it met."""

    rows: Counter[str]
    met: Counter[str]


def make_plan(seed: int, family: Family) -> FaultPlan:
    """Random chances of some of the faults of a family; a fifth to a half of the POSTs go wrong."""
    draw = random.Random(f"{seed} {family}")
    possible = set(POST_FAULTS)
    if family == "doubtful":
        possible -= {Fault.REFUSE, Fault.REFUSE_EMPTY}
    if family == "refusing":
        possible -= _IN_DOUBT
    posts = {fault: draw.random() ** 3 for fault in sorted(possible)}
    if family != "doubtful":
        posts[Fault.REFUSE] = draw.uniform(0.1, 0.5)
    statuses = {fault: draw.random() ** 3 for fault in sorted(STATUS_FAULTS - {Fault.STATUS_LOST})}
    if family != "refusing":
        statuses[Fault.STATUS_LOST] = 0.02
    return FaultPlan(
        post_chances=_scaled(posts, draw.uniform(0.2, 0.5)),
        status_chances=_scaled(statuses, draw.uniform(0.1, 0.3)),
        seed=seed,
        failing_rows=draw.randrange(1, 4),
        slow_bytes_s=1_000.0,
        oversized_bytes=200_000,
    )


def _scaled(weights: dict[Fault, float], chance: float) -> dict[Fault, float]:
    """Weights as chances with that sum; what costs a minute is rare, what costs half of one rarer than the rest."""
    total = sum(weights.values())
    most = {fault: _THROTTLED if fault in THROTTLING else 0.02 if fault in _HANGING else 1.0 for fault in weights}
    return {fault: min(most[fault], weight / total * chance) for fault, weight in weights.items()}


def is_remembering(seed: int) -> bool:
    """True if the load with that seed has a memory, and a Target that replaces what an earlier export set."""
    return seed % 2 == 1


def make_exports(seed: int) -> list[Export]:
    """One export, or several that overlap: each has half of its ids in common with the one before.

    With a memory they are of several days, a snapshot and deltas.
    """
    if is_remembering(seed):
        rows = ROWS // len(OF_DAYS)
        return [
            make_export(rows, 10 * seed + day, repeated=0.35, rejected=0.02, first_id=day * rows // 4, columns=columns)
            for day, columns in enumerate(OF_DAYS)
        ]
    count = 1 + 2 * (seed // len(FAMILIES) % 2)
    rows = ROWS // count
    return [
        make_export(rows, 10 * seed + place, repeated=0.35, rejected=0.02, first_id=place * rows // 2)
        for place in range(count)
    ]


def load_under_faults(seed: int, family: Family) -> Told:
    """One load. Raises `AssertionError` where the promise is broken."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-plan-") as name:
        folder = Path(name)
        told = run_fast(_load(folder, seed, family))
        # Not on a loop that skips time: it would not wait for another process.
        asyncio.run(check_status(folder))
    return told


def one_run(seed: int) -> Tally:
    """The load with that seed, of the family whose turn it is."""
    told = load_under_faults(seed, FAMILIES[seed % len(FAMILIES)])
    return Tally(runs=1, rows=told.rows["read"], events=told.met.total())


async def _load(folder: Path, seed: int, family: Family) -> Told:
    exports = make_exports(seed)
    remembers = is_remembering(seed)
    # What a memory has of an id goes along with each row of it, also of one behind rows that were refused.
    can_replace = remembers or family == "doubtful"
    plan = make_plan(seed, family)
    sandbox = sandbox_for(seed, exports, faults=plan, can_replace=can_replace, remembers=remembers)
    is_in_order = family != "mixed"
    async with serving(sandbox) as run:
        reports = await load_and_check(
            folder, exports, sandbox, run.base_url, is_in_order=is_in_order, remembers=remembers
        )
    met: Any = sandbox.state()["faults_met"]
    return Told(rows_of(reports), Counter(f"{fault['call']} {fault['fault']}" for fault in met))


def sandbox_for(
    seed: int,
    exports: list[Export],
    *,
    faults: FaultPlan | None = None,
    can_replace: bool = True,
    remembers: bool = False,
    says_all_once: bool = False,
) -> Sandbox:
    """A sandbox on the time of the loop, which applies what it accepts late, and wants the token.

    `says_all_once`: no batch is sent again once it is settled, so that any copy of it is as old as the first.
    """
    options = SandboxOptions(
        seed=seed,
        apply_min_s=0.1,
        apply_max_s=APPLY_MAX_S,
        calls_per_minute=None,
        # What an earlier export alone says does not go along with every row of a later one.
        override="replace" if can_replace and (remembers or len(exports) == 1) else "merge",
        token=TOKEN,
        says_all_once=says_all_once,
    )
    return Sandbox(options, faults=faults, monotonic=asyncio.get_running_loop().time)


async def load_and_check(
    folder: Path,
    exports: list[Export],
    sandbox: Sandbox,
    base_url: str,
    *,
    is_in_order: bool = True,
    min_rate_bytes_s: int = 100_000,
    remembers: bool = False,
) -> list[dict[str, Any]]:
    """Load exports to what is at an address, with a sandbox behind it; the reports, when all is found right.

    Unless `is_in_order` what the sandbox saw of their order is not judged. `remembers`: with a memory they are loaded
    one after the other but for the first two, and the last one is loaded once more.
    """
    state, config = folder / "state", folder / "config.toml"
    paths = [folder / f"{each.seed}.csv" for each in exports]
    for path, export in zip(paths, exports, strict=True):
        path.write_text(export.text)
    write_config(config, base_url, state, batch_rows=20, hold_s=HOLD_S, memory=MEMORY if remembers else "")
    waits = {
        "upload": {"backoff_s": 0.5, "backoff_max_s": 2.0, "min_rate_bytes_s": min_rate_bytes_s},
        "settle": {"poll_first_s": 0.5, "poll_max_s": 3.0},
    }
    settings = load_settings(config, env={}, overrides=waits)
    # The first two overlap, and the others come when those before them have ended; the last one comes once more.
    commands = [paths[:2], paths[2:], [_copy_of(paths[-1])]] if remembers else [paths]
    loaded = [*exports, exports[-1]] if remembers else exports
    with logged() as log:
        async with in_time(HANGS_AFTER_S, lambda: log.getvalue()[-2_000:]):
            reports = [report for command in commands for report in await _reports_of(command, Tenant.of_one(settings))]
    assert len(reports) == len(loaded)
    for report, export in zip(reports, loaded, strict=True):
        check_report(report, export)
        check_folder(state, report, export)
    check_left_over(state)
    sandbox.apply_all()
    lost = set[str]().union(*lost_ids(state).values())
    check_profiles(sandbox.profiles(), exports, lost)
    check_named(state, reports, lost)
    if remembers:
        check_said_again(reports[-1], exports[-1], lost)
    mistakes = sandbox.mistakes
    check_order(mistakes if is_in_order else [each for each in mistakes if each not in disorder(mistakes)])
    check_canaries(folder, state, [orjson.dumps(reports), log.getvalue().encode()], exports=files_of_test(folder))
    return reports


async def _reports_of(command: list[Path], tenant: Tenant) -> list[dict[str, Any]]:
    """The reports of a command, which is given again while Target refuses all of the few rows that one sends."""
    for _ in range(_MOST_REFUSED):
        reports = [report.as_json() async for report in load_exports(command, tenant, host=Host(loop_clock()))]
        if all(report["exit_code"] != ExitCode.REFUSED_BY_TARGET for report in reports):
            break
    return reports


def _copy_of(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_name(f"copy-{path.name}")))


def files_of_test(folder: Path) -> list[Path]:
    """What the test put into the folder of a load: exports and token."""
    return [*folder.glob("*.csv"), folder / "token"]


async def check_status(folder: Path) -> None:
    """What `status` tells of a load in this folder holds no canary."""
    await check_told(folder, folder / "state", folder / "config.toml", exports=files_of_test(folder))


def rows_of(reports: list[dict[str, Any]]) -> Counter[str]:
    """The rows of all reports, by class."""
    return sum((Counter(report["rows"]) for report in reports), Counter[str]())


def check_report(report: dict[str, Any], export: Export) -> None:
    """The load ended by itself, with every row in one class and none unsent."""
    assert report["state"] in ("done", "incomplete"), report
    check_equation(report)
    hold("lost", report["rows"]["read"] == export.rows, report)
    hold("lost", report["rows"]["unsent"] == 0, report)


def check_said_again(report: dict[str, Any], export: Export, lost: set[str]) -> None:
    """Of an export that is loaded once more, nothing is sent but what was lost when it was sent before."""
    rows = report["rows"]
    known = len(export.profiles.keys() - lost)
    hold("lost", rows["unchanged"] >= known, (known, report))
    again = len(export.profiles) - rows["unchanged"]
    hold("lost", sum(rows[name] for name in ("confirmed", "failed", "unconfirmed")) <= again, report)


def check_named(state: Path, reports: list[dict[str, Any]], lost: set[str]) -> None:
    """Whatever is given up is named: failed rows and refused ones with id and line, unconfirmed batches with a why."""
    lost_rows = 0
    for report in reports:
        folder = state / "jobs" / report["job"]
        failed = read_lines(folder / "failed.jsonl")
        refused = [line for line in read_lines(folder / "rejects.jsonl") if line["reason"] == "target.refused"]
        hold("lost", {line["id"] for line in [*failed, *refused]} <= lost, (failed, refused, lost))
        assert all(line["line"] for line in [*failed, *refused])
        assert all(batch.get("why") for batch in report["batches"] if batch["state"] in ("unconfirmed", "failed"))
        lost_rows += report["rows"]["failed"] + report["rows"]["unconfirmed"] + len(refused)
    hold("lost", bool(lost) == bool(lost_rows), (lost, lost_rows))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    started, met, rows = time.monotonic(), Counter[str](), Counter[str]()
    for seed in range(arguments.first, arguments.first + arguments.loads):
        family = FAMILIES[seed % len(FAMILIES)]
        try:
            told = load_under_faults(seed, family)
        except BaseException as error:
            error.add_note(f"seed {seed}, {family}")
            raise
        met += told.met
        rows.update(told.rows)
        if seed % 10 == 9:
            print(f"seed {seed}, {time.monotonic() - started:,.0f} s", flush=True)
    for fault, count in sorted(met.items()):
        print(f"{count:6} {fault}")
    print(f"{arguments.loads} loads under {met.total():,} faults survived; rows: {dict(rows)}")


if __name__ == "__main__":
    main()
