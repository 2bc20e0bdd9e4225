"""The commands: arguments and environment end here, and every way to end has its exit code.

A command imports what only it needs, so that a load does not wait for the sandbox and the demo.
"""

import gc
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import anyio
import orjson
import structlog
import typer
from typer import Argument, Option

from pipeline import __version__
from pipeline.cli.ask import ask, tenants_about
from pipeline.cli.watch import watcher
from pipeline.core.batches.report import Report
from pipeline.core.errors import ConfigurationError, ExitCode, PipelineError, most_telling, worst
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.log import configure_logging
from pipeline.edges.memory import share_heap
from pipeline.edges.store.ledger import read_ledger
from pipeline.jobs.one_shot import GO_ON_AFTER, load_exports
from pipeline.settings.routes import load_configuration
from pipeline.settings.shown import configuration_schema, show_configuration
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration, Tenant

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="profile-pipeline",
    help="Gets CRM exports into Adobe Target without losing a row silently.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at a configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path, Option("--config", help="Configuration, a TOML file.", metavar="FILE")]


def main() -> NoReturn:
    """Run the command; always raises `SystemExit` with one of the documented exit codes."""
    try:
        app()
    except SystemExit as exit_:
        # The command line library ends usage errors with 2.
        sys.exit(ExitCode.USAGE if exit_.code == 2 else exit_.code)
    except PipelineError as error:
        _fail(str(error), error.exit_code)
    except Exception:  # noqa: BLE001 - the last resort: say so and end with the code of a bug
        configure_logging(is_terminal=sys.stderr.isatty())
        structlog.get_logger().exception("internal_error")
        _fail("an internal error: a bug in profile-pipeline, please report the lines above.", ExitCode.OUR_BUG)
    sys.exit(ExitCode.DONE)


def _fail(message: str, code: ExitCode) -> NoReturn:
    print(f"profile-pipeline: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _run(coroutine: Coroutine[Any, Any, ExitCode]) -> NoReturn:
    async def awaited() -> ExitCode:
        failed: PipelineError | None = None
        code = ExitCode.DONE
        try:
            code = await coroutine
        except* PipelineError as errors:
            failed = most_telling(errors)
        if failed:
            raise failed
        return code

    share_heap()
    raise typer.Exit(anyio.run(awaited))


def _version(is_asked: bool) -> None:  # noqa: FBT001 - the command line library calls it so
    if is_asked:
        print(f"profile-pipeline {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Gets CRM exports into Adobe Target without losing a row silently."""


@app.command("demo")
def demo_command() -> None:
    """Run the whole product on the embedded sandbox, in under a minute."""
    from pipeline.cli import demo

    configure_logging(is_terminal=True, min_level="warning")
    _run(demo.run(_console()))


@app.command()
def load(
    exports: Annotated[list[Path], Argument(help="CRM exports: CSV with a header line.", metavar="EXPORT...")],
    *,
    config: Annotated[Path | None, Option("--config", help="Configuration, a TOML file.", metavar="FILE")] = None,
    as_json: Annotated[bool, Option("--json", help="Print each report as one line of JSON, and nothing else.")] = False,
    sandbox: Annotated[bool, Option("--sandbox", help="Send to an embedded sandbox instead of Adobe.")] = False,
    id_column: Annotated[
        str | None,
        Option(
            "--id-column",
            metavar="NAME",
            help="With --sandbox, instead of a configuration: the column that holds the profile id. "
            "All other columns are sent.",
        ),
    ] = None,
    again: Annotated[
        bool, Option("--again", help="Send an export even if its content is that of the latest job.")
    ] = False,
    route: Annotated[
        str | None, Option("--route", metavar="NAME", help="Load them as this route of the configuration says.")
    ] = None,
    wait_s: Annotated[
        float | None,
        Option("--wait", metavar="SECONDS", min=0, help="Stop after so long; the next run goes on."),
    ] = None,
) -> None:
    """Load exports into Target, follow every batch to its end, and report what became of every row."""
    on_terminal = sys.stderr.isatty()
    configure_logging(is_terminal=on_terminal, min_level="warning" if on_terminal else "info")
    if id_column and not sandbox:
        raise typer.BadParameter("--id-column goes with --sandbox; with a real Target, use --config FILE.")
    if config is None and not (sandbox and id_column):
        raise typer.BadParameter("name a --config FILE; or, to try a file: --sandbox --id-column NAME.")
    if config is None and route:
        raise typer.BadParameter("--route goes with a --config FILE, which has the routes.")
    if config is not None and id_column:
        raise typer.BadParameter("--id-column is instead of a --config, which names the column itself.")
    watch = watcher(on_terminal=on_terminal)

    async def load_to(paths: list[Path], tenant: Tenant, name: str) -> list[ExitCode]:
        codes: list[ExitCode] = []
        loading = load_exports(paths, tenant, route=name, host=Host(), watch=watch, again=again, wait_s=wait_s)
        async for report in loading:
            _print(report, tenant, as_json=as_json)
            codes.append(report.exit_code)
        return codes

    async def load_to_sandboxes() -> ExitCode:
        from pipeline.cli.on_sandbox import on_sandbox

        codes: list[ExitCode] = []
        for export in exports:
            async with on_sandbox(export, config, route, id_column) as settings:
                codes += await load_to([export], Tenant.of_one(settings), DEFAULT_ROUTE)
            if codes[-1] not in GO_ON_AFTER:
                break
        return worst(codes)

    async def load_to_target() -> ExitCode:
        return worst(await load_to(exports, *load_configuration(config).tenant_of(route)))

    _run(load_to_sandboxes() if sandbox else load_to_target())


def _print(report: Report, tenant: Tenant, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(report.as_json(), option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
    else:
        from pipeline.edges.views.screen import print_report

        print_report(report, tenant.settings.outcome_directory / report.job, _console())


def _console() -> "Console":
    """The console on which texts for people are printed."""
    from rich.console import Console

    return Console()


JobId = Annotated[str, Argument(help="The job, as `status` names it.", metavar="JOB")]


@app.command()
def status(
    config: ConfigFile,
    job: Annotated[str | None, Argument(help="One job only.", metavar="JOB")] = None,
    *,
    is_all: Annotated[bool, Option("--all", help="All jobs, not only the latest.")] = False,
    since: Annotated[
        str | None,
        Option("--since", metavar="WHEN", help="Jobs that ended since then: 2026-11-01, 90min, 12h or 3d."),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print it as one line of JSON.")] = False,
) -> None:
    """Show what goes on: jobs, rows by class, batches, and what is waited for."""
    from pipeline.cli.print_status import print_statuses
    from pipeline.cli.status import since_of, statuses

    now = Clock().utc_now()
    begun = since_of(since, now) if since else None
    told = statuses(load_configuration(config), job, now, since=begun, is_all=is_all)
    if as_json:
        print(orjson.dumps(told.as_json()).decode())  # noqa: T201
    else:
        print_statuses(told, _console())


@app.command()
def pause(config: ConfigFile) -> None:
    """Send nothing more until `resume`; what was sent is still followed."""
    _request(config, "pause")


@app.command()
def resume(config: ConfigFile) -> None:
    """Go on sending after `pause`."""
    _request(config, "resume")


@app.command()
def abandon(job: JobId, config: ConfigFile) -> None:
    """End an unfinished job: what it sent is followed to its end, the rest is not sent."""
    _request(config, "abandon", job)


@app.command()
def retry(job: JobId, config: ConfigFile) -> None:
    """Send again what failed or ended unconfirmed in a job, but no value that a later row has overtaken."""
    _request(config, "retry", job)


def _request(config: Path, command: str, job: str | None = None) -> NoReturn:
    """Have a request carried out by the process that holds the state directory, or here if there is none."""
    on_terminal = sys.stderr.isatty()
    configure_logging(is_terminal=on_terminal, min_level="warning" if on_terminal else "info")
    configuration, host = load_configuration(config), Host()

    async def ask_all() -> ExitCode:
        codes = [ExitCode.DONE]
        refused: list[PipelineError] = []
        tenants = tenants_about(configuration, job)
        for tenant in tenants:
            try:
                told, is_holders = await ask(tenant, command, job, host)
            except PipelineError as error:
                refused.append(error)
                continue
            print(f"{tenant.client_code}: {told}" if len(tenants) > 1 else told)  # noqa: T201
            if command == "retry" and not is_holders:
                async for report in load_exports([], tenant, host=host, watch=watcher(on_terminal=on_terminal)):
                    _print(report, tenant, as_json=False)
                    codes.append(report.exit_code)
        for first in refused:
            raise first
        return worst(codes)

    _run(ask_all())


@app.command()
def serve(
    config: ConfigFile,
    *,
    drain: Annotated[
        bool, Option("--drain", help="Load all that is signalled, then exit with the worst job's code.")
    ] = False,
) -> None:
    """Load what is dropped into the drop directory and signalled, until stopped: the container's process."""
    from pipeline.service import process

    # Imported modules stay: the garbage collector need not look at them for months.
    gc.freeze()
    on_terminal = sys.stderr.isatty()
    configure_logging(is_terminal=on_terminal)

    def read() -> Configuration:
        return load_configuration(config)

    watch = watcher(on_terminal=False)
    try:
        _run(process.serve(read(), host=Host(), drain=drain, watch=watch, read_again=read))
    except PipelineError as error:
        if on_terminal:
            raise
        # Logged, since every line of the log is one JSON object, the last one too.
        structlog.get_logger().error("service_failed", exit_code=int(error.exit_code), why=str(error))
        raise typer.Exit(error.exit_code) from error


@app.command()
def health(config: ConfigFile) -> None:
    """For probes: exit 0 if a process serves and its loop turns, else 1; one line says how it is."""
    from pipeline.service.health import main as look

    look(config)


@app.command()
def prune(
    config: ConfigFile,
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove files of ended jobs that are older than [drop] keep_exports_days, keep_rejects_days, keep_reports_days."""
    from pipeline.jobs.prune import jobs_to_look_at, overdue, remove

    left: list[Path] = []
    for tenant in load_configuration(config).tenants:
        ledger, now, last = read_ledger(tenant.directory / "ledger.db"), Clock().utc_now(), None
        while ledger and (jobs := jobs_to_look_at(tenant, ledger, now, last)):
            old, last = overdue(tenant, jobs, now), jobs[-1]
            kept = [] if dry_run else remove(tenant.settings, old)
            for file in old:
                print(f"{'cannot be removed: ' if file in kept else ''}{file}")  # noqa: T201
            left += kept
    raise typer.Exit(ExitCode.DISK_OR_LEDGER if left else ExitCode.DONE)


@app.command("sandbox")
def sandbox_command(
    port: Annotated[int, Option(help="Where to listen on loopback; 0 takes any free port.")] = 8181,
    client_code: Annotated[str, Option(help="The client code it answers for.")] = "demo",
) -> None:
    """Run the stand-in for Target: its state, and what a sender did wrong, at /sandbox/."""
    from pipeline.sandbox import SandboxOptions, running

    async def serve_until_stopped() -> ExitCode:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            try:
                async with running(SandboxOptions(client_code=client_code), port=port) as run:
                    url = run.base_url
                    print(f"sandbox for Target at {url} (look at {url}/sandbox/), Ctrl-C ends it", flush=True)  # noqa: T201
                    await anext(signals)
            except OSError as error:
                raise ConfigurationError(f"cannot listen on port {port}: {error.strerror}.") from error
        return ExitCode.DONE

    _run(serve_until_stopped())


@config_app.command("check")
def config_check(config: ConfigFile) -> None:
    """Check a configuration, its directories, disk, token and TLS; sends nothing to Target."""
    from rich.markup import escape

    from pipeline.cli.config_check import check_all

    configuration = load_configuration(config)

    async def check() -> ExitCode:
        console = _console()
        findings = await check_all(configuration)
        for finding in findings:
            color = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.verdict]
            console.print(f"[{color}]{finding.verdict:>8}[/]  [bold]{escape(finding.subject)}[/]: ", end="")
            console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
        has_problem = any(finding.verdict == "problem" for finding in findings)
        return ExitCode.CONFIGURATION if has_problem else ExitCode.DONE

    _run(check())


@config_app.command("show")
def config_show(config: ConfigFile) -> None:
    """Print the effective configuration, environment included, secrets masked."""
    print(show_configuration(load_configuration(config)), end="")  # noqa: T201


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration."""
    print(orjson.dumps(configuration_schema(), option=orjson.OPT_INDENT_2).decode())  # noqa: T201
