"""The command `plan`: what an export is and what a load of it would come to. `load --dry-run` is the same."""

from pathlib import Path
from typing import Annotated, NoReturn

from typer import Argument, Context, Option

from pipeline.cli.arguments import OptionalConfigFile, Quiet, UsageError, Verbose, check_exports, config_beside
from pipeline.cli.invocation import begin_log, run
from pipeline.cli.output import say, write_json
from pipeline.core.errors import ExitCode, InputError, worst
from pipeline.core.survey.plan import Description, Plan
from pipeline.edges.host import Host
from pipeline.jobs.survey.every_column import settings_for_every_column
from pipeline.jobs.survey.planning import plan_export
from pipeline.settings.routes import load_configuration
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE


def plan(
    context: Context,
    exports: Annotated[
        list[Path],
        Argument(help="CRM exports.", metavar="EXPORT", readable=False),
    ],
    *,
    config: OptionalConfigFile = None,
    id_column: Annotated[
        str | None,
        Option(
            "--id-column",
            metavar="NAME",
            help="Instead of a configuration: the column that holds the profile id. All other columns would be sent.",
        ),
    ] = None,
    route: Annotated[
        str | None, Option("--route", metavar="NAME", help="As this route of the configuration would load them.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print each plan as one line of JSON, and nothing else.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what an export is and what a load of it would come to.

    Nothing is sent, and no state directory is touched: rows by class, rejects, batches, calls, and minutes at Target's
    limits. Values are masked.
    """
    config = config_beside(context, config, id_column)
    begin_log(context, is_watched=True)
    check_plan(context, exports, config, route, id_column)
    plan_all(exports, config, route, id_column, as_json=as_json)


def check_plan(
    context: Context, exports: list[Path], config: Path | None, route: str | None, id_column: str | None
) -> None:
    """Raise a usage error for arguments that do not go together."""
    if config is None and not id_column:
        raise UsageError("name a --config FILE; or, without one: --id-column NAME.", context)
    check_exports(context, exports, config, route=route, id_column=id_column)


def plan_all(
    exports: list[Path], config: Path | None, route: str | None, id_column: str | None, *, as_json: bool
) -> NoReturn:
    """Plan exports one after the other, and write what they would come to; ends the command."""

    async def plan_them() -> ExitCode:
        codes: list[ExitCode] = []
        settings = None if config is None else _settings_of(config, route)
        for export in exports:
            told = await _planned(export, settings, id_column, route)
            _write(told, as_json=as_json)
            codes.append(told.exit_code)
        return worst(codes)

    run(plan_them())


def _settings_of(config: Path, route: str | None) -> Settings:
    tenant, name = load_configuration(config).tenant_of(route)
    return tenant.of(name)


async def _planned(export: Path, settings: Settings | None, id_column: str | None, route: str | None) -> Plan:
    try:
        # A state directory has to be named, and is not made.
        without_file = {"state": {"directory": "unused"}}
        of_export = settings or await settings_for_every_column(export, str(id_column), without_file)
    except InputError as error:
        name = export.name.encode(errors="backslashreplace").decode()
        return Plan(Description(name), error=str(error), exit_code=ExitCode(error.exit_code))
    return await plan_export(export, of_export, Host(), route or DEFAULT_ROUTE)


def _write(told: Plan, *, as_json: bool) -> None:
    if as_json:
        write_json(told.as_json())
        if told.error:
            say(told.error)
        return
    from pipeline.edges.terminal import console
    from pipeline.edges.views.plan_screen import print_plan

    print_plan(told, console())
