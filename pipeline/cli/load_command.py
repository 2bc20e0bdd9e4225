"""The command `load`: exports go to Target, or each to a sandbox of its own."""

from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
from anyio import to_thread
from typer import Argument, Context, Option

from pipeline.cli.arguments import OptionalConfigFile, Quiet, UsageError, Verbose, check_exports, config_beside
from pipeline.cli.invocation import begin_log, run, traced_host
from pipeline.cli.output import say, write_json, write_report
from pipeline.cli.watch import LoadWatch, watcher
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, InputError, worst
from pipeline.edges.host import Host
from pipeline.jobs.one_shot import GO_ON_AFTER, load_exports
from pipeline.settings.routes import load_configuration
from pipeline.settings.tenants import Tenant


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
    config: OptionalConfigFile = None,
    as_json: Annotated[bool, Option("--json", help="Print each report as one line of JSON, and nothing else.")] = False,
    sandbox: Annotated[bool, Option("--sandbox", help="Send to an embedded sandbox instead of Adobe.")] = False,
    id_column: Annotated[
        str | None,
        Option(
            "--id-column",
            metavar="NAME",
            help="With --sandbox or --dry-run, instead of a configuration: the column that holds the profile id. "
            "All other columns are sent.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Send nothing: show what a load would come to, as `plan` does.")
    ] = False,
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
    config = config_beside(context, config, id_column)
    on_terminal = begin_log(context)
    if dry_run:
        _plan(context, exports, config, route, id_column, as_json=as_json)
    _check_load(context, exports, config, sandbox=sandbox, id_column=id_column, route=route)
    watch = watcher(on_terminal=on_terminal)

    async def load_to_sandboxes(host: Host) -> ExitCode:
        from pipeline.cli.on_sandbox import drop_folder, is_needed, on_sandbox, refused

        codes: list[ExitCode] = []
        for export in exports:
            try:
                async with on_sandbox(export, config, route, id_column) as settings:
                    tenant = Tenant.of_one(settings)
                    async for report in load_exports([export], tenant, host=host, watch=watch, wait_s=wait_s):
                        with watch.aside():
                            write_report(report, tenant, as_json=as_json, is_trial=True, is_kept=is_needed(report))
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
                say(str(error))
            if codes[-1] not in GO_ON_AFTER:
                break
        return worst(codes)

    async def load_to_target(host: Host) -> ExitCode:
        codes: list[ExitCode] = []
        tenant, name = load_configuration(config).tenant_of(route)
        loading = load_exports(exports, tenant, route=name, host=host, watch=watch, again=again, wait_s=wait_s)
        async for report in loading:
            # In a thread: while somebody who reads stdout stands still, the loads go on.
            await to_thread.run_sync(partial(_write_aside, watch, report, tenant, config, as_json=as_json))
            codes.append(report.exit_code)
        return worst(codes)

    with traced_host(is_with_sandbox=sandbox) as host:
        run(load_to_sandboxes(host) if sandbox else load_to_target(host))


def _write_aside(watch: LoadWatch, report: Report, tenant: Tenant, config: Path | None, *, as_json: bool) -> None:
    with watch.aside():
        write_report(report, tenant, as_json=as_json, config=config)


def _plan(
    context: Context,
    exports: list[Path],
    config: Path | None,
    route: str | None,
    id_column: str | None,
    *,
    as_json: bool,
) -> NoReturn:
    from pipeline.cli.plan_command import check_plan, plan_all

    check_plan(context, exports, config, route, id_column)
    plan_all(exports, config, route, id_column, as_json=as_json)


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
        raise UsageError(
            "--id-column goes with --sandbox or --dry-run; with a real Target, use --config FILE.", context
        )
    if config is None and not (sandbox and id_column):
        raise UsageError("name a --config FILE; or, to try a file: --sandbox --id-column NAME.", context)
    check_exports(context, exports, config, route=route, id_column=id_column)
