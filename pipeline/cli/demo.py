"""The demo: a realistic export with every kind of trouble in it, loaded into a sandbox that makes trouble too.

The demo is real: a real file, a real HTTP server, the product's own load. At the end the sandbox's profiles are
compared with the export.
"""

import random
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from pipeline.cli.watch import watcher
from pipeline.core.errors import ExitCode
from pipeline.edges.host import Host
from pipeline.edges.terminal import is_redrawn
from pipeline.edges.views.screen import print_report
from pipeline.jobs.one_shot import load_export
from pipeline.sandbox import Fault, FaultPlan, Sandbox, SandboxOptions, running
from pipeline.settings.settings import Settings, load_settings

ROWS = 20_000
BATCH_ROWS = 3_000
COLUMNS = {
    "loyalty_tier": "loyalty_tier",
    "lifetime_value": "ltv",
    "favourite": "favourite",
    "city": "city",
    "slogan": "slogan",
}
_HEADER = "customer_id,email,loyalty_tier,lifetime_value,favourite,city,slogan\n"
_TIERS = ("gold", "silver", "bronze", "")
_FAVOURITES = ("shoes", "50% off & more", "T-shirts + socks", "books = life", "")
_CITIES = ("Amsterdam", "'s-Hertogenbosch", "Köln", "Malmö", "San José", "")
_SLOGANS = ("", "", "", 'says "hi"', "one, two, three", "two\nlines", "naïve ☕")
#: Every kind of row that must not be sent, as the bytes of its record.
_BAD_RECORDS = (
    b",nobody@example.com,gold,10,shoes,Amsterdam,\n",
    b"c+1,plus@example.com,gold,10,shoes,Amsterdam,\n",
    b"c/2,slash@example.com,gold,10,shoes,Amsterdam,\n",
    b"c3,short@example.com,gold\n",
    b"c4,long@example.com,gold,10,shoes,Amsterdam,,one,two\n",
    b"c5,latin1@example.com,gold,10,shoes,K\xf6ln,\n",
    b"c6,nul@example.com,gold,10,shoes,Amster\x00dam,\n",
    b'c7,"quote@example.com" too much,gold,10,shoes,Amsterdam,\n',
    b"x" * 300 + b",id@example.com,gold,10,shoes,Amsterdam,\n",
)
_UNCLOSED = b'c8,"unclosed@example.com,gold,10,shoes,Amsterdam,\n'


@dataclass(slots=True)
class DemoExport:
    """An export, and the profiles that Target must have after it: id -> parameter name -> value."""

    content: bytearray = field(default_factory=lambda: bytearray(_HEADER.encode()))
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)


def make_export(rows: int, seed: int) -> DemoExport:
    """A CRM export of `rows` good rows, three in ten of customers seen before, and some bad ones."""
    draw = random.Random(seed)  # noqa: S311 - must be repeatable, need not be secret
    export = DemoExport()
    for number in range(rows):
        if number % (rows // len(_BAD_RECORDS)) == 100:
            export.content += _BAD_RECORDS[number // (rows // len(_BAD_RECORDS))]
        customer = draw.randrange(number) if number and draw.random() < 0.3 else number
        cells = {
            "loyalty_tier": draw.choice(_TIERS),
            "ltv": f"{draw.expovariate(1 / 400):.2f}",
            "favourite": draw.choice(_FAVOURITES),
            "city": draw.choice(_CITIES),
            "slogan": draw.choice(_SLOGANS),
        }
        if draw.random() < 0.005:
            cells = dict.fromkeys(cells, "")
        _write_row(export, f"customer-{customer:05d}", cells)
    # Last, because no closing quote may follow it.
    export.content += _UNCLOSED
    return export


def _write_row(export: DemoExport, customer: str, cells: dict[str, str]) -> None:
    fields = [customer, f"{customer}@example.com", *cells.values()]
    quoted = ['"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\n') else cell for cell in fields]
    export.content += (",".join(quoted) + "\n").encode()
    # Commas and line breaks in values arrive as spaces, as [export] on_delimiter says where nothing is configured.
    present = {name: cell.replace(",", " ").replace("\n", " ") for name, cell in cells.items() if cell}
    if present:
        export.profiles.setdefault(customer, {}).update(present)


def sandbox_options() -> SandboxOptions:
    """A Target in a hurry: minutes become seconds, everything else is as in reality."""
    return SandboxOptions(client_code="demo", seed=7, apply_min_s=0.5, apply_max_s=4.0, override="replace")


def fault_plan() -> FaultPlan:
    """The faults of the sandbox, by number of the POST."""
    faults = {
        2: Fault.RESET_AFTER_BODY_TAKEN,
        3: Fault.FAIL_ROWS,
        4: Fault.HTTP_500,
        6: Fault.STUCK,
    }
    return FaultPlan(posts=faults, failing_rows=2)


def demo_settings(base_url: str, state: Path) -> Settings:
    """The configuration of the demo; waits are as short as the sandbox's."""
    overrides = {
        "target": {"client_code": "demo", "base_url": base_url},
        "export": {"id_column": "customer_id", "columns": COLUMNS, "unlisted": "ignore"},
        "batch": {"max_rows": BATCH_ROWS},
        "settle": {"poll_first_s": 4.0, "poll_max_s": 8.0, "ambiguous_hold_s": 6.0},
        "state": {"directory": state, "min_free_bytes": 0},
    }
    return load_settings(None, env={}, overrides=overrides)


async def run(console: Console) -> ExitCode:
    """Run the demo and explain it on the console; the load's exit code, or `OUR_BUG` if the sandbox differs."""
    folder = Path(tempfile.mkdtemp(prefix="profile-pipeline-demo-"))
    export = make_export(ROWS, seed=1)
    path = folder / "customers.csv"
    path.write_bytes(export.content)
    async with running(sandbox_options(), faults=fault_plan()) as sandbox:
        _introduce(console, path)
        settings = demo_settings(sandbox.base_url, folder / "state")
        watch = watcher(on_terminal=is_redrawn(sys.stderr))
        report = await load_export(path, settings, host=Host(is_with_sandbox=True), watch=watch)
        is_kept = report.state != "unfinished"
        print_report(report, settings.outcome_directory / report.job, console, is_trial=True, is_kept=is_kept)
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
            return report.exit_code
        sandbox.sandbox.apply_all()
        is_right = _compare(console, export, sandbox.sandbox)
        config = _write_config(folder, sandbox.base_url)
    _tell_what_to_look_at(console, config, settings.outcome_directory / report.job)
    console.print(
        f"\nThe export, its rejects and its report stay in {folder}: remove it.", highlight=False, soft_wrap=True
    )
    return report.exit_code if is_right else ExitCode.OUR_BUG


def _introduce(console: Console, path: Path) -> None:
    console.print(
        f"""\
[bold]1. A CRM export[/]: {path}
   {ROWS:,} rows, three in ten of customers seen before; commas, quotes, line
   breaks, % and & in values; {len(_BAD_RECORDS) + 1} rows that nobody could send. Its e-mail column
   is not to leave the house.
[bold]2. A sandbox in the place of Adobe Target[/], which does what Target does:
   applies batches later, in any order, and lets a later one replace what an
   earlier one set. It also drops a connection instead of answering, answers
   500 once, gets one batch stuck, and fails two rows of another.
[bold]3. The load[/], {BATCH_ROWS:,} rows a batch:
""",
        highlight=False,
        soft_wrap=True,
    )


def _compare(console: Console, export: DemoExport, sandbox: Sandbox) -> bool:
    """Compare the sandbox's profiles with the export, and print the result. True if only rows that it failed differ."""
    found = sandbox.profiles()
    differing = {customer for customer, cells in export.profiles.items() if found.get(customer) != cells}
    mistakes = sandbox.mistakes
    alike = len(export.profiles) - len(differing)
    lines = [
        "\n[bold]4. What is in the sandbox now[/], compared with the export:",
        f"   {alike:,} of {len(export.profiles):,} profiles are exactly as the export says.",
    ]
    if differing:
        lines.append(f"   Not so: {', '.join(sorted(differing)[:5])}, which Target failed; failed.jsonl names them.")
    lines.append(f"   Older values over newer ones, clashes, mistakes in what was sent: {len(mistakes)}.")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    return len(differing) <= 2 and not mistakes and found.keys() <= export.profiles.keys()


def _write_config(folder: Path, base_url: str) -> Path:
    """A configuration by which other commands find what the demo leaves."""
    file = folder / "demo.toml"
    columns = ", ".join(f"{column} = '{name}'" for column, name in COLUMNS.items())
    file.write_text(
        f"[target]\nclient_code = 'demo'\nbase_url = '{base_url}'\n\n"
        f"[export]\nid_column = 'customer_id'\ncolumns = {{ {columns} }}\nunlisted = 'ignore'\n\n"
        f"[state]\ndirectory = '{folder / 'state'}'\n"
    )
    return file


def _tell_what_to_look_at(console: Console, config: Path, of_job: Path) -> None:
    lines = [
        "\n[bold]5. What there is to look at[/]:",
        f"   {of_job / 'report.html'}, in a browser: where the rows went, and when",
        f"   .venv/bin/profile-pipeline status --config {config}",
        f"   .venv/bin/profile-pipeline explain customer-00001 --config {config}",
        "\nNext, your own file, still without an account:",
        "   .venv/bin/profile-pipeline load FILE.csv --sandbox --id-column NAME",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
