"""The command `init`: a commented configuration made from an export."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from pipeline.cli.arguments import Quiet, UsageError, Verbose
from pipeline.cli.invocation import begin_log, run
from pipeline.cli.output import say, write_line
from pipeline.core.errors import ConfigurationError, ExitCode
from pipeline.edges.host import Host
from pipeline.jobs.survey.drafting import draft_of


def init(
    context: Context,
    export: Annotated[Path, Argument(help="A CRM export, as it will come.", metavar="EXPORT", readable=False)],
    *,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE", help="Write it to this file, not to stdout.")
    ] = None,
    force: Annotated[bool, Option("--force", help="With --output: replace a file that is there.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a commented configuration made from an export.

    The id column is guessed, names are made legal, and personal data is pointed out and left out. No value of the
    export is in it.
    """
    begin_log(context)
    if force and output is None:
        raise UsageError("--force goes with --output FILE.", context)
    if output is not None and not force and output.exists():
        raise UsageError(f"{output} is there already: name another file, or replace it with --force.", context)

    async def write() -> ExitCode:
        text = await draft_of(export, Host())
        if output is None:
            write_line(text.removesuffix("\n"))
            return ExitCode.DONE
        try:
            with output.open("w" if force else "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ConfigurationError(f"cannot write {output}: {error.strerror}.") from error
        say(f"{output} is written. Fill in what is in capitals, then: profile-pipeline plan {export} --config {output}")
        return ExitCode.DONE

    run(write())
