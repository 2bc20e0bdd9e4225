"""The command that tells what became of one id."""

from functools import partial
from typing import Annotated

import anyio
import typer
from typer import Argument, Context, Option

from pipeline.cli.arguments import AsJson, ConfigFile, is_from_variable
from pipeline.cli.output import write_json
from pipeline.core.errors import ExitCode, PipelineError
from pipeline.edges.terminal import console
from pipeline.settings.routes import load_configuration


def explain(
    context: Context,
    profile_id: Annotated[str, Argument(help="The id, as the export has it.", metavar="ID")],
    config: ConfigFile,
    *,
    live: Annotated[
        bool, Option("--live", help="Read the profile back from Target too: one call of the budget.")
    ] = False,
    values: Annotated[bool, Option("--values", help="With --live, show the values, not only if they differ.")] = False,
    hashed: Annotated[
        bool, Option("--hashed", help="The id is given as Target knows it: [mapping] is not applied to it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what became of one id, job by job, and why.

    It reads beside a running service. If [mapping] hashes the column of ids, the id is hashed the same way.
    """
    from pipeline.cli.explain.printed import print_explanation
    from pipeline.jobs.status.explain.explanation import explain as explain_one
    from pipeline.jobs.status.explain.live import Live
    from pipeline.jobs.status.explain.live import live as read_live

    if not profile_id.strip():
        raise PipelineError("an id is needed, as the export has it.", exit_code=ExitCode.USAGE)
    told = []
    for tenant in load_configuration(config).tenants:
        one, lives = explain_one(tenant, profile_id, is_as_sent=hashed), list[Live]()
        stories = {story.job: story for story in one.jobs}
        for conclusion in one.conclusions if live else ():
            if conclusion.job is not None:
                story = stories[conclusion.job]
                read = partial(read_live, tenant, story, profile_id, is_as_sent=hashed, with_values=values)
                lives.append(anyio.run(read))
        told.append((one, lives))
    if as_json:
        whole = [one.as_json() | ({"live": [each.as_json() for each in lives]} if live else {}) for one, lives in told]
        write_json(whole[0] if len(whole) == 1 else {"client_codes": whole})
    else:
        for one, lives in told:
            named = None if is_from_variable(context, "config") else str(config)
            print_explanation(one, lives, profile_id, named, console())
    raise typer.Exit(ExitCode.DONE)
