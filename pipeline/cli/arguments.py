"""The options that commands share, and how a command tells of itself: in plain lines, with what was meant by a typo.

Texts are plain, since markup takes `[drop]` for a style and swallows it.
"""

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option
from typer._click.exceptions import NoSuchOption
from typer._click.exceptions import UsageError as UsageError
from typer.core import TyperArgument, TyperCommand, TyperGroup

from pipeline.core.errors import ExitCode, PipelineError

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

#: The variable that names the configuration where no `--config` does.
CONFIG_VARIABLE = "PROFILE_PIPELINE_CONFIG"
#: `-h` is for those who type it, `--help` for those who read it in a script.
NAMES_OF_HELP = {"help_option_names": ["-h", "--help"]}
#: What some type for a command -> the option that does it.
_OPTIONS_MEANT = {"help": "-h", "version": "--version"}
#: The key of the log's least level among what commands of one call share.
_LEVEL = "pipeline.log_level"
#: Before the first job.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _is_quiet(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - the command line library calls it so
    return _keep_level(context, "warning" if value else "")


def _is_verbose(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - the command line library calls it so
    return _keep_level(context, "debug" if value else "")


def _keep_level(context: typer.Context, level: str) -> bool:
    if level:
        context.meta[_LEVEL] = level
    return bool(level)


def log_level(context: typer.Context) -> str | None:
    """The least level of the log that `-q` or `-v` ask for, before or behind the command; None without them."""
    level: str | None = context.meta.get(_LEVEL)
    return level


# Readable or not: who reads it says so, with the exit code of a configuration.
_CONFIG = Option(
    "--config",
    help="Configuration, a TOML file.",
    metavar="FILE",
    envvar=CONFIG_VARIABLE,
    show_envvar=True,
    readable=False,
)
ConfigFile = Annotated[Path, _CONFIG]
OptionalConfigFile = Annotated[Path | None, _CONFIG]
JobId = Annotated[str, Argument(help="The job, as `status` names it.", metavar="JOB")]
AsJson = Annotated[bool, Option("--json", help="Print it as one line of JSON, and nothing else.")]
Quiet = Annotated[bool, Option("--quiet", "-q", callback=_is_quiet, help="Only warnings, errors and the result.")]
Verbose = Annotated[bool, Option("--verbose", "-v", callback=_is_verbose, help="All that the log can tell.")]


class Command(TyperCommand):
    """A command; its help names arguments as they are typed, and its errors name what may have been meant."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """The words of the usage line."""
        return _as_typed(super().collect_usage_pieces(ctx))

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write what each argument and each option does."""
        arguments = [_told(each) for each in self.params if isinstance(each, TyperArgument)]
        options = [each.get_help_record(ctx) for each in self.get_params(ctx) if not isinstance(each, TyperArgument)]
        for title, records in (("Arguments", arguments), ("Options", [each for each in options if each])):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parse what stands behind the command. Raises `UsageError`."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            raise _no_such_option(error, typed, _names_of_options(self, ctx), ctx) from error


class Group(TyperGroup):
    """Several commands; what is typed in their place by mistake gets a hint."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """The words of the usage line."""
        return _as_typed(super().collect_usage_pieces(ctx))

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parse what stands before the command. Raises `UsageError`, also for an option that belongs behind it."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            of_commands = {name for command in self.commands.values() for name in _names_of_options(command, ctx)}
            name = error.option_name
            if name in of_commands:
                raise UsageError(f"{name} stands behind the command: {ctx.command_path} COMMAND {name}", ctx) from error
            raise _no_such_option(error, typed, [*_names_of_options(self, ctx), *of_commands], ctx) from error

    def resolve_command(self, ctx: "Context", args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command. Raises `UsageError`, which says what to do with a file in its place."""
        name = args[0]
        if name in _OPTIONS_MEANT and name not in self.commands:
            raise UsageError(f"No such command {name!r}. Did you mean {ctx.command_path} {_OPTIONS_MEANT[name]}?", ctx)
        if "load" in self.commands and name not in self.commands and Path(name).is_file():
            text = f"{name} is a file, not a command. To load it: {ctx.command_path} load {name} --config FILE"
            raise UsageError(text, ctx)
        return super().resolve_command(ctx, args)


def _as_typed(pieces: list[str]) -> list[str]:
    return [piece.replace("{", "").replace("}", "") for piece in pieces]


def _told(argument: TyperArgument) -> tuple[str, str]:
    name = argument.display_name_raw + ("..." if argument.nargs != 1 else "")
    return name, f"{argument.help or ''}{'  [required]' if argument.required else ''}"


def _names_of_options(command: Any, context: "Context") -> list[str]:
    return [name for each in command.get_params(context) if not isinstance(each, TyperArgument) for name in each.opts]


def _no_such_option(error: NoSuchOption, typed: list[str], names: list[str], context: "Context") -> UsageError:
    """The error with the option as it was typed, also where `-config` was read as `-c -o`, and the likeliest one."""
    words = [word.partition("=")[0] for word in typed]
    short = [word for word in words if word.startswith(error.option_name) and not word.startswith("--")]
    option = short[0] if short else error.option_name
    long = {name[2:]: name for name in names if name.startswith("--")}
    # Without the dashes, which are alike in all.
    meant = get_close_matches(option.lstrip("-").replace("_", "-").lower(), long, 1)
    return UsageError(f"No such option: {option}.{f' Did you mean {long[meant[0]]}?' if meant else ''}", context)


def is_from_variable(context: typer.Context, name: str) -> bool:
    """True if an argument comes from the environment, not from what was typed."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def config_beside(context: typer.Context, config: Path | None, id_column: str | None) -> Path | None:
    """The configuration that is meant: none beside an `--id-column`, if only the environment names one."""
    return None if id_column and is_from_variable(context, "config") else config


def check_exports(
    context: "Context", exports: list[Path], config: Path | None, *, route: str | None, id_column: str | None
) -> None:
    """Raise a usage error for exports that do not go with how they are to be read."""
    if config is None and route:
        raise UsageError("--route goes with a --config FILE, which has the routes.", context)
    if config is not None and id_column:
        raise UsageError("--id-column is instead of a --config, which names the column itself.", context)
    for export in exports:
        if export.suffix == ".toml":
            raise UsageError(f"{export} is a configuration, not an export: name it with --config.", context)


def since_of(text: str, now: datetime) -> datetime:
    """The time that `--since` names: a date or a time (UTC, unless it says otherwise), or so long ago, such as 3d.

    Raises `PipelineError` (64) for anything else.
    """
    if ago := re.fullmatch(r"(\d{1,6})\s*(min|h|d)", text.strip()):
        unit = {"min": "minutes", "h": "hours", "d": "days"}[ago[2]]
        # Longer ago than there are dates is all the same: before the first job.
        return max(now, _LONG_AGO + timedelta(**{unit: int(ago[1])})) - timedelta(**{unit: int(ago[1])})
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise PipelineError(
            f"--since {text!r} is no time: write a date (2026-11-01), a time (2026-11-01T06:30), or how long ago "
            "(90min, 12h, 3d).",
            exit_code=ExitCode.USAGE,
        ) from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)
