"""The commands: arguments and environment end here, and every way to end has its exit code.

A command imports what only it needs, so that a load does not wait for the sandbox and the demo.
"""

import errno
import gc
import signal
import sys
import tomllib
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import anyio
import orjson
import structlog
import typer
from typer import Argument, Context, Option
from typer._click.utils import PacifyFlushWrapper

from pipeline import __version__
from pipeline.cli.arguments import (
    CONFIG_VARIABLE,
    NAMES_OF_HELP,
    AsJson,
    Command,
    ConfigFile,
    Group,
    JobId,
    Quiet,
    UsageError,
    Verbose,
    is_from_variable,
    log_level,
)
from pipeline.cli.ask import ask, ask_for_retry, tenants_about
from pipeline.cli.output import bear_all_output, write_json, write_line, writing
from pipeline.cli.watch import watcher
from pipeline.core.batches.report import Report
from pipeline.core.errors import ConfigurationError, ExitCode, InputError, PipelineError, most_telling, worst
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.log import configure_logging
from pipeline.edges.memory import share_heap
from pipeline.edges.store.ledger import read_ledger
from pipeline.edges.terminal import console
from pipeline.jobs.one_shot import GO_ON_AFTER, load_exports
from pipeline.settings.routes import load_configuration
from pipeline.settings.shown import configuration_schema, show_configuration
from pipeline.settings.tenants import Configuration, Tenant

app = typer.Typer(
    name="profile-pipeline",
    cls=Group,
    context_settings=NAMES_OF_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(cls=Group, help="Look at a configuration.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")


def main() -> NoReturn:
    """Run the command; always raises `SystemExit` with one of the documented exit codes."""
    bear_all_output()
    try:
        app()
    except SystemExit as exit_:
        if isinstance(sys.stdout, PacifyFlushWrapper):
            # So the command line library ends, with 1, where nobody reads a help text to its end.
            sys.exit(ExitCode.DONE)
        # The command line library ends usage errors with 2.
        sys.exit(ExitCode.USAGE if exit_.code == 2 else exit_.code)
    except PipelineError as error:
        example = error.example if isinstance(error, ConfigurationError) else ""
        _fail(f"{error}\n  For example:\n{example}" if example else str(error), error.exit_code)
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


def _begin_log(context: Context, *, is_watched: bool = True) -> bool:
    """Set up the log as `-q` and `-v` ask; True if a person at a terminal is to see how far a load is.

    `is_watched`: the command shows that on a terminal, so that its log need not.
    """
    on_terminal = sys.stderr.isatty()
    asked = log_level(context)
    configure_logging(is_terminal=on_terminal, min_level=asked or ("warning" if on_terminal and is_watched else "info"))
    return on_terminal and asked != "warning"


def _version(is_asked: bool) -> None:  # noqa: FBT001 - the command line library calls it so
    if is_asked:
        write_line(f"profile-pipeline {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Gets CRM exports into Adobe Target without losing a row silently."""


@app.command("demo", cls=Command)
def demo_command() -> None:
    """Run the whole product on the embedded sandbox.

    It takes less than a minute, needs no account, and leaves nothing but a folder in the temporary directory.
    """
    from pipeline.cli import demo

    configure_logging(is_terminal=True, min_level="warning")
    _run(demo.run(console()))


@app.command(cls=Command)
def load(
    context: Context,
    exports: Annotated[
        list[Path],
        Argument(
            help="CRM exports, in the order in which they are loaded: what comes later wins.",
            metavar="EXPORT",
            # One that cannot be read gets a report, as others do.
            readable=False,
        ),
    ],
    *,
    config: Annotated[
        Path | None,
        Option(
            "--config",
            help="Configuration, a TOML file.",
            metavar="FILE",
            envvar=CONFIG_VARIABLE,
            show_envvar=True,
            readable=False,
        ),
    ] = None,
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
    again: Annotated[bool, Option("--again", help="Send an export even if it was loaded before.")] = False,
    route: Annotated[
        str | None, Option("--route", metavar="NAME", help="Load them as this route of the configuration says.")
    ] = None,
    wait_s: Annotated[
        float | None,
        Option("--wait", metavar="SECONDS", min=0, help="Stop after so long; the next run goes on."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Load exports into Target and report on every row.

    Every batch is followed to its end. If the load is cut off, the same command goes on where it was.
    """
    if id_column and is_from_variable(context, "config"):
        config = None
    on_terminal = _begin_log(context)
    _check_load(context, exports, config, sandbox=sandbox, id_column=id_column, route=route)
    watch = watcher(on_terminal=on_terminal)

    async def load_to_sandboxes() -> ExitCode:
        from pipeline.cli.on_sandbox import drop_folder, is_needed, on_sandbox, refused

        codes: list[ExitCode] = []
        host = Host(is_with_sandbox=True)
        for export in exports:
            try:
                async with on_sandbox(export, config, route, id_column) as settings:
                    tenant = Tenant.of_one(settings)
                    async for report in load_exports([export], tenant, host=host, watch=watch, wait_s=wait_s):
                        _print(report, tenant, as_json=as_json, is_trial=True, is_kept=is_needed(report))
                        codes.append(report.exit_code)
                        if not is_needed(report):
                            drop_folder(report, settings)
                        elif as_json:
                            folder = settings.outcome_directory / report.job
                            structlog.get_logger().info("sandbox_folder_kept", folder=str(folder))
            except InputError as error:
                codes.append(error.exit_code)
                if as_json:
                    write_json(refused(export, error).as_json())
                print(f"profile-pipeline: {error}", file=sys.stderr)  # noqa: T201
            if codes[-1] not in GO_ON_AFTER:
                break
        return worst(codes)

    async def load_to_target() -> ExitCode:
        codes: list[ExitCode] = []
        tenant, name = load_configuration(config).tenant_of(route)
        loading = load_exports(exports, tenant, route=name, host=Host(), watch=watch, again=again, wait_s=wait_s)
        async for report in loading:
            _print(report, tenant, as_json=as_json)
            codes.append(report.exit_code)
        return worst(codes)

    _run(load_to_sandboxes() if sandbox else load_to_target())


def _check_load(
    context: Context,
    exports: list[Path],
    config: Path | None,
    *,
    sandbox: bool,
    id_column: str | None,
    route: str | None,
) -> None:
    """Raise a usage error for arguments that do not go together."""
    if id_column and not sandbox:
        raise UsageError("--id-column goes with --sandbox; with a real Target, use --config FILE.", context)
    if config is None and not (sandbox and id_column):
        raise UsageError("name a --config FILE; or, to try a file: --sandbox --id-column NAME.", context)
    if config is None and route:
        raise UsageError("--route goes with a --config FILE, which has the routes.", context)
    if config is not None and id_column:
        raise UsageError("--id-column is instead of a --config, which names the column itself.", context)
    for export in exports:
        if export.suffix == ".toml":
            raise UsageError(f"{export} is a configuration, not an export: name it with --config.", context)


def _print(report: Report, tenant: Tenant, *, as_json: bool, is_trial: bool = False, is_kept: bool = True) -> None:
    """Print a report, and for people the job's folder if it `is_kept`."""
    folder = tenant.settings.outcome_directory / report.job
    if as_json:
        write_json(report.as_json())
    else:
        from pipeline.edges.views.screen import print_report

        with writing():
            print_report(report, folder, console(), is_trial=is_trial, is_kept=is_kept)


@app.command(cls=Command)
def status(
    config: ConfigFile,
    job: Annotated[str | None, Argument(help="One job only.", metavar="JOB")] = None,
    *,
    is_all: Annotated[bool, Option("--all", help="All jobs, not only the latest.")] = False,
    since: Annotated[
        str | None,
        Option("--since", metavar="WHEN", help="Jobs that ended since then: 2026-11-01, 90min, 12h or 3d."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what goes on, and what is waited for.

    That is: jobs, rows by class, batches, and what each waits for until when.
    """
    from pipeline.cli.print_status import print_statuses
    from pipeline.cli.status import since_of, statuses

    now = Clock().utc_now()
    begun = None if since is None else since_of(since, now)
    told = statuses(load_configuration(config), job, now, since=begun, is_all=is_all)
    if as_json:
        write_json(told.as_json())
    else:
        with writing():
            print_statuses(told, console())


@app.command(cls=Command)
def pause(context: Context, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Send nothing more until `resume`.

    What was sent is still followed.
    """
    _request(context, config, "pause", as_json=as_json)


@app.command(cls=Command)
def resume(context: Context, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Go on sending after `pause`."""
    _request(context, config, "resume", as_json=as_json)


@app.command(cls=Command)
def abandon(context: Context, job: JobId, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """End an unfinished job.

    What it sent is followed to its end, the rest is not sent.
    """
    _request(context, config, "abandon", job, as_json=as_json)


@app.command(cls=Command)
def retry(
    context: Context,
    job: JobId,
    config: ConfigFile,
    *,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Send again what failed or ended unconfirmed in a job.

    It never sends a value that a later row has overtaken.
    """
    on_terminal = _begin_log(context)
    configuration, host = load_configuration(config), Host()

    def tell(tenant: Tenant, told: str) -> None:
        if as_json:
            write_json({"client_code": tenant.client_code, "request": "retry", "job": job, "told": told})
        else:
            write_line(told)

    async def send_again() -> ExitCode:
        codes = [ExitCode.DONE]
        for tenant in tenants_about(configuration, job):
            answer = await ask_for_retry(tenant, job, host)
            tell(tenant, answer.told)
            if answer.waits_for:
                codes.append(ExitCode.UNFINISHED)
            elif answer.job is not None:
                watch = watcher(on_terminal=on_terminal)
                async for report in load_exports([], tenant, host=host, watch=watch, only_retries=True):
                    _print(report, tenant, as_json=as_json)
                    codes.append(report.exit_code)
        return worst(codes)

    _run(send_again())


def _request(context: Context, config: Path, command: str, job: str | None = None, *, as_json: bool) -> NoReturn:
    """Have a request carried out by the process that holds the state directory, or here if there is none."""
    _begin_log(context)
    configuration, host = load_configuration(config), Host()

    async def ask_all() -> ExitCode:
        refused: list[PipelineError] = []
        tenants = tenants_about(configuration, job)
        for tenant in tenants:
            try:
                told = await ask(tenant, command, job, host)
            except PipelineError as error:
                refused.append(error)
                continue
            if as_json:
                write_json({"client_code": tenant.client_code, "request": command, "job": job, "told": told})
            else:
                write_line(f"{tenant.client_code}: {told}" if len(tenants) > 1 else told)
        for first in refused:
            raise first
        return ExitCode.DONE

    _run(ask_all())


@app.command(cls=Command)
def serve(
    context: Context,
    config: ConfigFile,
    *,
    drain: Annotated[
        bool, Option("--drain", help="Load all that is signalled, then exit with the worst job's code.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Load what is dropped and signalled, until stopped.

    This is the container's process; it looks into [drop] directory.
    """
    from pipeline.service import process

    # Imported modules stay: the garbage collector need not look at them for months.
    gc.freeze()
    _begin_log(context, is_watched=False)

    def read() -> Configuration:
        return load_configuration(config)

    watch = watcher(on_terminal=False)
    try:
        _run(process.serve(read(), host=Host(), drain=drain, watch=watch, read_again=read))
    except PipelineError as error:
        if sys.stderr.isatty():
            raise
        # Logged, since every line of the log is one JSON object, the last one too.
        structlog.get_logger().error("service_failed", exit_code=int(error.exit_code), why=str(error))
        raise typer.Exit(error.exit_code) from error


@app.command(cls=Command)
def health(config: ConfigFile, *, as_json: AsJson = False) -> None:
    """For probes: exit 0 if a process serves, else 1.

    One line says how it is: if its loop turns, and what it waits for.
    """
    from pipeline.service.health import main as look

    look(config, as_json=as_json)


@app.command(cls=Command)
def prune(
    config: ConfigFile,
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove files of ended jobs when their time is over.

    [drop] keep_exports_days, keep_rejects_days and keep_reports_days say when. `serve` does so once a day.
    """
    from pipeline.jobs.prune import jobs_to_look_at, overdue, remove

    found: list[Path] = []
    left: list[Path] = []
    for tenant in load_configuration(config).tenants:
        ledger, now, last = read_ledger(tenant.directory / "ledger.db"), Clock().utc_now(), None
        while ledger and (jobs := jobs_to_look_at(tenant, ledger, now, last)):
            old, last = overdue(tenant, jobs, now), jobs[-1]
            left += [] if dry_run else remove(tenant.settings, old)
            found += old
    if as_json:
        removed = [str(file) for file in found if file not in left]
        write_json({"dry_run": dry_run, "removed": removed, "not_removed": list(map(str, left))})
    else:
        for file in found:
            write_line(f"{'cannot be removed: ' if file in left else ''}{file}")
    raise typer.Exit(ExitCode.DISK_OR_LEDGER if left else ExitCode.DONE)


@app.command("sandbox", cls=Command)
def sandbox_command(
    port: Annotated[
        int, Option(help="Where to listen on loopback; 0 takes any free port.", metavar="PORT", min=0, max=65_535)
    ] = 8181,
    client_code: Annotated[str, Option(help="The client code it answers for.", metavar="CODE")] = "demo",
    decode: Annotated[
        Literal["before", "after"],
        Option(help="Decode a batch before its rows and cells are split, or each cell after it. No page says which."),
    ] = "before",
) -> None:
    """Run the stand-in for Target.

    Its state, and what a sender did wrong, are at /sandbox/.
    """
    from pipeline.sandbox import SandboxOptions, running

    async def serve_until_stopped() -> ExitCode:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            try:
                async with running(SandboxOptions(client_code=client_code, decode=decode), port=port) as run:
                    url = run.base_url
                    write_line(f"sandbox for Target at {url} (look at {url}/sandbox/), Ctrl-C ends it")
                    await anext(signals)
            except OSError as error:
                why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
                raise ConfigurationError(f"cannot listen on port {port}: {why}; name another with --port.") from error
        return ExitCode.DONE

    _run(serve_until_stopped())


@config_app.command("check", cls=Command)
def config_check(config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Check a configuration and what it needs.

    That is: directories, disk, token, and the way to Target. Nothing is sent.
    """
    from pipeline.cli.config_check import check_all, print_findings

    configuration = load_configuration(config)

    async def check() -> ExitCode:
        findings = await check_all(configuration)
        if as_json:
            write_json({"findings": [asdict(finding) for finding in findings]})
        else:
            with writing():
                print_findings(findings, console())
        has_problem = any(finding.verdict == "problem" for finding in findings)
        return ExitCode.CONFIGURATION if has_problem else ExitCode.DONE

    _run(check())


@config_app.command("show", cls=Command)
def config_show(config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Print the effective configuration.

    The environment is included; secrets are masked.
    """
    shown = show_configuration(load_configuration(config))
    if as_json:
        write_json(tomllib.loads(shown))
    else:
        write_line(shown.removesuffix("\n"))


@config_app.command("schema", cls=Command)
def config_schema() -> None:
    """Print the JSON schema of the configuration."""
    write_line(orjson.dumps(configuration_schema(), option=orjson.OPT_INDENT_2).decode())
