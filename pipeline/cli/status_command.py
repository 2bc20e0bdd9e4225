"""The command `status`: what goes on, once or again and again."""

from typing import Annotated

from typer import Argument, Option

from pipeline.cli.arguments import AsJson, ConfigFile, since_of
from pipeline.cli.output import write_json
from pipeline.edges.clock import Clock
from pipeline.edges.terminal import console
from pipeline.settings.routes import load_configuration


def status(
    config: ConfigFile,
    job: Annotated[str | None, Argument(help="One job only.", metavar="JOB")] = None,
    *,
    is_all: Annotated[bool, Option("--all", help="All jobs, not only the latest.")] = False,
    since: Annotated[
        str | None,
        Option("--since", metavar="WHEN", help="Jobs that ended since then: 2026-11-01, 90min, 12h or 3d."),
    ] = None,
    watch: Annotated[
        bool, Option("--watch", help="Look again every 2 s; q or Ctrl-C ends it. Without a terminal: at each change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what goes on, and what is waited for.

    That is: jobs, rows by class, batches, and what each waits for until when.
    """
    from pipeline.cli.print_status import print_statuses
    from pipeline.jobs.status.tenants import Statuses, statuses

    clock, configuration = Clock(), load_configuration(config)
    begun = None if since is None else since_of(since, clock.utc_now())

    def read() -> Statuses:
        return statuses(configuration, job, clock.utc_now(), since=begun, is_all=is_all)

    if watch:
        from pipeline.cli.watch_status import watch_status

        watch_status(read, clock, as_json=as_json)
        return
    told = read()
    if as_json:
        write_json(told.as_json())
    else:
        print_statuses(told, console())
