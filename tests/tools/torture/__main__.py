"""Run all campaigns, or those that are named, and print one table; exit code 1 if what must be 0 is not."""

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Timer

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.core.plural import counted
from tests.tools.faults.tally import Tally
from tests.tools.torture.campaigns import CAMPAIGNS, Campaign
from tests.tools.torture.one import named

#: What must be 0, and is red otherwise.
_HARM = ("lost", "stale", "doubled", "leaked", "broken")
#: A run that takes longer than its time and this hangs (seconds).
_PATIENCE_S = 600.0
#: With so many minutes campaigns whose number of runs is limited are run to their end.
_ALL_FROM_MINUTES = 5.0
_ANY_NUMBER = 10**9


@dataclass(slots=True)
class Row:
    """A campaign and what it has come to so far.

    `most`: runs there are, if their number is limited. `why_not`: the reason why it is left out, if it is.
    """

    campaign: Campaign
    most: int = _ANY_NUMBER
    why_not: str = ""
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    state: str = "waits"
    broken: list[str] = field(default_factory=list)

    def note(self, told: dict[str, object]) -> None:
        """Take in one run."""
        tally = Tally(**told["tally"])  # type: ignore[arg-type]
        self.tally.add(tally)
        if told["error"]:
            again = f"python -m tests.tools.torture '{self.campaign.name}' --seed {told['seed']} --runs 1"
            self.broken.append(f"{told['error']}\n  again: {again}")


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.tools.torture", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(each.name for each in CAMPAIGNS)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all of them together")
    parser.add_argument("--seed", type=int, default=1, help="of the first run of each")
    parser.add_argument("--runs", type=int, help="so many of each, however long they take")
    arguments = parser.parse_args()
    known = {each.name: each for each in CAMPAIGNS}
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no campaign {unknown[0]!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in arguments.names] or list(CAMPAIGNS)
    rows = [_row(each) for each in chosen]
    began_s = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 100)
    for line in left_out(rows):
        console.print(line, highlight=False)
    with suppress(KeyboardInterrupt):
        _run_all([row for row in rows if not row.why_not], arguments.minutes, arguments.seed, arguments.runs, console)
    console.print(table_of(rows))
    console.print(summary_of(rows, arguments.seed, time.monotonic() - began_s), highlight=False)
    for told in (each for row in rows for each in row.broken):
        console.print(f"\n{told}", markup=False, highlight=False, soft_wrap=True)
    return int(any(row.tally.harm for row in rows))


def _row(campaign: Campaign) -> Row:
    reason = named(campaign.why_not)() if campaign.why_not else None
    return Row(campaign, named(campaign.most)() if campaign.most else _ANY_NUMBER, reason or "")


def left_out(rows: list[Row]) -> list[str]:
    """A line for each reason why campaigns cannot be run here."""
    reasons = dict.fromkeys(row.why_not for row in rows if row.why_not)
    names = {reason: [row.campaign.name for row in rows if row.why_not == reason] for reason in reasons}
    return [f"left out, since {reason}: {', '.join(names[reason])}" for reason in reasons]


def _run_all(rows: list[Row], minutes: float, seed: int, runs: int | None, console: Console) -> None:
    """Run the campaigns side by side, on as many processors as there are, and show how far they are."""
    workers = os.cpu_count() or 1
    shares = sum(row.campaign.share for row in rows)

    def run(row: Row) -> None:
        seconds = minutes * 60 * workers * row.campaign.share / shares
        most = runs or _ANY_NUMBER
        if row.most < _ANY_NUMBER:
            most = min(most, row.most)
            seconds = 1e6 if minutes >= _ALL_FROM_MINUTES else seconds
        _run_one(row, seed, 1e6 if runs else seconds, most)
        if not console.is_terminal:
            console.print(
                f"{row.campaign.name}: {counted(row.tally.runs, 'run')}, {row.seconds:,.0f} s", highlight=False
            )

    with ThreadPoolExecutor(workers) as pool, _cancelling(pool):
        # The longest first, so that none is left alone at the end.
        running = [pool.submit(run, row) for row in sorted(rows, key=lambda row: -row.campaign.share)]
        if console.is_terminal:
            with Live(console=console, get_renderable=lambda: table_of(rows), transient=True):
                _wait(running)
        else:
            _wait(running)


@contextmanager
def _cancelling(pool: ThreadPoolExecutor) -> Iterator[None]:
    """Begin no other campaign once Ctrl-C has ended those that run."""
    try:
        yield
    except KeyboardInterrupt:
        pool.shutdown(cancel_futures=True)
        raise


def _wait(running: list[Future[None]]) -> None:
    for each in running:
        each.result()


def _run_one(row: Row, seed: int, seconds: float, most: int) -> None:
    """Run a campaign in a process of its own."""
    began_s, row.state = time.monotonic(), "runs"
    command = [sys.executable, "-m", "tests.tools.torture.one", row.campaign.run, str(seed), str(seconds), str(most)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watch = Timer(min(seconds, 3_600.0) + _PATIENCE_S, process.kill)
    watch.start()
    assert process.stdout is not None
    # Both are read, or a process that says much would wait for ever.
    with ThreadPoolExecutor(1) as reading:
        said = reading.submit(process.stderr.read)  # type: ignore[union-attr]
        for line in process.stdout:
            row.note(orjson.loads(line))
            row.seconds = time.monotonic() - began_s
        code = process.wait()
        watch.cancel()
        if code and code != -signal.SIGINT:
            row.tally.broken += 1
            row.broken.append(f"{row.campaign.name}: its process ended with {code}: {said.result().decode()[-1_000:]}")
    row.seconds, row.state = time.monotonic() - began_s, "done"


def table_of(rows: list[Row]) -> Table:
    """A row for each campaign, and their sums."""
    table = Table(title="faults and attacks", title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("kind", no_wrap=True)
    for name in ("runs", "events", "rows", *_HARM, "refused", "loop ms", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    total = Tally()
    for row in rows:
        if row.why_not:
            table.add_row(row.campaign.name, "-")
            continue
        total.add(row.tally)
        table.add_row(row.campaign.name, *_cells(row.tally, f"{row.tally.events:,}", row))
    table.add_section()
    table.add_row("all", *_cells(total, "", None))
    return table


def _cells(tally: Tally, events: str, row: Row | None) -> list[str]:
    harm = [getattr(tally, name) for name in _HARM]
    shown = [f"[bold red]{count:,}[/]" if count else "0" for count in harm]
    blocked_ms = f"{tally.blocked_ms:,.0f}" if tally.blocked_ms else ""
    time_s = "" if row is None or row.state == "waits" else f"{row.seconds:,.0f}"
    return [f"{tally.runs:,}", events, f"{tally.rows:,}", *shown, f"{tally.refused:,}", blocked_ms, time_s]


def summary_of(rows: list[Row], seed: int, seconds: float) -> str:
    """Whether all is well, and what the events of some rows are."""
    by_name = {row.campaign.name: row for row in rows if row.tally.runs}
    told = []
    if blocked_ms := max((row.tally.blocked_ms for row in rows), default=0.0):
        told.append(f"loop blocked {blocked_ms:,.0f} ms at most")
    if power := by_name.get("power cuts"):
        told.append(f"power cuts {power.tally.events:,}")
    if fuzz := by_name.get("fuzz"):
        told.append(f"fuzz inputs {fuzz.tally.events:,}, crashes {fuzz.tally.broken:,}")
    if mends := by_name.get("mends"):
        told.append(f"mends missed {mends.tally.events} of {mends.tally.runs} taken out, of {mends.most} in all")
    bad = sum(row.tally.harm for row in rows)
    kinds = ", ".join(row.campaign.name for row in rows if row.tally.harm)
    verdict = f"[bold red]{bad:,} that must be 0[/], in {kinds}" if bad else "nothing that must be 0 is more"
    return f"{'; '.join((*told, f'seed {seed}, {seconds:,.0f} s'))}\n{verdict}"


if __name__ == "__main__":
    sys.exit(main())
