"""The commands `config check`, `config show` and `config schema`."""

import tomllib
from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from pipeline.cli.arguments import AsJson, ConfigFile
from pipeline.cli.invocation import run
from pipeline.cli.output import write_json, write_line
from pipeline.core.errors import ExitCode
from pipeline.edges.terminal import console
from pipeline.settings.routes import load_configuration
from pipeline.settings.shown import configuration_schema, show_configuration


def check(
    config: ConfigFile,
    *,
    notify: Annotated[bool, typer.Option("--notify", help="Send a test to the webhook of [notify].")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a configuration and what it needs.

    That is: directories, disk, token, and the way to Target. Nothing is sent, but for the test of --notify.
    """
    from pipeline.cli.config.check import check_all, print_findings

    configuration = load_configuration(config)

    async def check_and_print() -> ExitCode:
        findings = await check_all(configuration, is_to_notify=notify)
        if as_json:
            write_json({"findings": [asdict(finding) for finding in findings]})
        else:
            print_findings(findings, console())
        has_problem = any(finding.verdict == "problem" for finding in findings)
        return ExitCode.CONFIGURATION if has_problem else ExitCode.DONE

    run(check_and_print())


def show(config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Print the effective configuration.

    The environment is included; secrets are masked.
    """
    shown = show_configuration(load_configuration(config))
    if as_json:
        write_json(tomllib.loads(shown))
    else:
        write_line(shown.removesuffix("\n"))


def schema() -> None:
    """Print the JSON schema of the configuration."""
    write_line(orjson.dumps(configuration_schema(), option=orjson.OPT_INDENT_2).decode())
