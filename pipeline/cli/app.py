"""The commands: arguments and environment end here, and every way to end has its exit code.

A command imports what only it needs, so that a load does not wait for the sandbox and the demo.
"""

import errno
import gc
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import anyio
import structlog
import typer
from typer import Context, Option

from pipeline import __version__
from pipeline.cli.arguments import (
    NAMES_OF_HELP,
    AsJson,
    Command,
    ConfigFile,
    Group,
    Quiet,
    Verbose,
)
from pipeline.cli.config import commands as config_commands
from pipeline.cli.explain.command import explain
from pipeline.cli.init_command import init
from pipeline.cli.invocation import begin_log, run, traced_host
from pipeline.cli.load_command import load
from pipeline.cli.output import code_with_output, say, write_json, write_line
from pipeline.cli.plan_command import plan
from pipeline.cli.request_commands import abandon, approve, forget, pause, rebuild, resume, retry
from pipeline.cli.status_command import status
from pipeline.cli.watch import watcher
from pipeline.core.errors import ConfigurationError, ExitCode, PipelineError
from pipeline.core.plural import counted
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.log import configure_logging
from pipeline.edges.process.machine import refused_by_machine
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.terminal import console
from pipeline.settings.routes import load_configuration
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
memory_app = typer.Typer(
    cls=Group, help="Steer what is remembered of each id.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(memory_app, name="memory")


def main() -> NoReturn:
    """Run the command; always raises `SystemExit` with one of the documented exit codes."""
    sys.exit(code_with_output(_ended_with()))


def _ended_with() -> int:
    """Run the command; returns its exit code."""
    try:
        app()
    except SystemExit as exit_:
        # The command line library ends usage errors with 2.
        return ExitCode.USAGE if exit_.code == 2 else int(exit_.code or 0)
    except PipelineError as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001 - the last resort: say so and end with the code of a bug
        if refused := refused_by_machine(error):
            return _failed(refused)
        configure_logging(is_terminal=sys.stderr.isatty())
        structlog.get_logger().exception("internal_error")
        say("an internal error: a bug in profile-pipeline, please report the lines above.")
        return ExitCode.OUR_BUG
    return ExitCode.DONE


def _failed(error: PipelineError) -> ExitCode:
    example = error.example if isinstance(error, ConfigurationError) else ""
    say(f"{error}\n  For example:\n{example}" if example else str(error))
    return error.exit_code


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


def demo() -> None:
    """Run the whole product on the embedded sandbox.

    It takes less than a minute, needs no account, and leaves nothing but a folder in the temporary directory.
    """
    from pipeline.cli.demo import run as show_everything

    configure_logging(is_terminal=True, min_level="warning")
    run(show_everything(console()))


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
    begin_log(context, is_watched=False)

    def read() -> Configuration:
        return load_configuration(config)

    watch = watcher(on_terminal=False)
    try:
        with traced_host() as host:
            run(process.serve(read(), host=host, drain=drain, watch=watch, read_again=read))
    except PipelineError as error:
        if sys.stderr.isatty():
            raise
        # Logged, since every line of the log is one JSON object, the last one too.
        structlog.get_logger().error("service_failed", exit_code=int(error.exit_code), why=str(error))
        raise typer.Exit(error.exit_code) from error


def health(config: ConfigFile, *, as_json: AsJson = False) -> None:
    """For probes: exit 0 if a process serves, else 1.

    One line says how it is: if its loop turns, and what it waits for.
    """
    from pipeline.service.health import main as look

    look(config, as_json=as_json)


def prune(
    config: ConfigFile,
    *,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old files of ended jobs, and ids not sent for long.

    [drop] keep_exports_days, keep_rejects_days and keep_reports_days say when, and [memory] keep_days. `serve` does so
    once a day; while it runs, ids are left to it.
    """
    from pipeline.service.prune import jobs_to_look_at, look_at_ends, overdue, remove

    found: list[Path] = []
    left: list[Path] = []
    doubts: list[str] = []
    forgotten = 0
    refused: list[PipelineError] = []
    for tenant in load_configuration(config).tenants:
        ledger, now, last = read_ledger(tenant.directory / "ledger.db"), Clock().utc_now(), None
        ends = look_at_ends(ledger, now) if ledger else None
        while ledger and ends and (jobs := jobs_to_look_at(tenant, ledger, now, last)):
            old, last = overdue(tenant, jobs, now, ends.set_back), jobs[-1]
            if ends.doubt and old and not dry_run:
                doubts.append(ends.doubt)
                break
            left += [] if dry_run else remove(tenant.settings, old)
            found += old
        if ends and not ends.doubt and not dry_run:
            try:
                forgotten += anyio.run(_forget_old, tenant, now)
            except PipelineError as error:
                # What is to go elsewhere goes all the same.
                refused.append(error)
    if as_json:
        removed = [str(file) for file in found if file not in left]
        why = {"kept_because": doubts[0]} if doubts else {}
        not_removed = list(map(str, left))
        write_json({"dry_run": dry_run, "removed": removed, "not_removed": not_removed, "forgotten": forgotten, **why})
    else:
        for file in found:
            write_line(f"{'cannot be removed: ' if file in left else ''}{file}")
        if forgotten:
            write_line(f"{counted(forgotten, 'id')} forgotten, of which nothing was sent for [memory] keep_days")
    for first in refused:
        raise first
    if doubts:
        raise PipelineError(
            f"old files are kept, since the clock may be wrong: {doubts[0]}. If it is right, they go when `serve` has "
            "run for a day, or when `prune` is run again a day after the next job. `prune --dry-run` lists them.",
            exit_code=ExitCode.UNFINISHED,
        )
    raise typer.Exit(ExitCode.DISK_OR_LEDGER if left else ExitCode.DONE)


async def _forget_old(tenant: Tenant, now: datetime) -> int:
    """Forget what is old in the memory of a tenant, unless another process holds it and so does it; return how much."""
    from pipeline.edges.lock import holder
    from pipeline.jobs.gathering.memory_upkeep import expire_memory
    from pipeline.jobs.open_state import open_tenant

    memory = tenant.settings.memory
    if memory.remember == "nothing" or holder(tenant.directory) is not None:
        return 0
    async with open_tenant(tenant, Host()) as state:
        return await expire_memory(state, memory.keep_days, now)


def sandbox(
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
                async with running(SandboxOptions(client_code=client_code, decode=decode), port=port) as server:
                    url = server.base_url
                    write_line(f"sandbox for Target at {url} (look at {url}/sandbox/), Ctrl-C ends it")
                    await anext(signals)
            except OSError as error:
                why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
                raise ConfigurationError(f"cannot listen on port {port}: {why}; name another with --port.") from error
        return ExitCode.DONE

    run(serve_until_stopped())


# In the order in which help lists them.
for _command in (
    demo,
    init,
    plan,
    load,
    status,
    explain,
    pause,
    resume,
    abandon,
    approve,
    retry,
    serve,
    health,
    prune,
    forget,
    sandbox,
):
    app.command(cls=Command)(_command)
for _command in (config_commands.check, config_commands.show, config_commands.schema):
    config_app.command(cls=Command)(_command)
memory_app.command(cls=Command)(rebuild)
