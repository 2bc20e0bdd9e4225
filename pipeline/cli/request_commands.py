"""The commands that ask something of the process that holds a state directory, or do it where there is none."""

from pathlib import Path
from typing import Annotated, NoReturn

import orjson
from anyio.to_thread import run_sync
from typer import Context, Option

from pipeline.cli.arguments import AsJson, ConfigFile, JobId, Quiet, Verbose
from pipeline.cli.ask import ask, ask_for_retry
from pipeline.cli.invocation import begin_log, run, traced_host
from pipeline.cli.output import write_json, write_line, write_report
from pipeline.cli.watch import watcher
from pipeline.core.errors import ExitCode, PipelineError, worst
from pipeline.core.plural import counted
from pipeline.edges.host import Host
from pipeline.jobs.control import APPROVE, FORGET, REBUILD_MEMORY
from pipeline.jobs.one_shot import load_exports
from pipeline.jobs.open_state import tenants_about
from pipeline.settings.routes import load_configuration
from pipeline.settings.tenants import Tenant


def pause(context: Context, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Send nothing more until `resume`.

    What was sent is still followed.
    """
    _request(context, config, "pause", as_json=as_json)


def resume(context: Context, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Go on sending after `pause`."""
    _request(context, config, "resume", as_json=as_json)


def abandon(context: Context, job: JobId, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """End an unfinished job.

    What it sent is followed to its end, the rest is not sent.
    """
    _request(context, config, "abandon", job, as_json=as_json)


def approve(context: Context, job: JobId, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Send a job in quarantine all the same.

    A limit of [guard] holds it back, and `status` says which. The log says who approved it.
    """
    _request(context, config, APPROVE, job, as_json=as_json)


def retry(
    context: Context,
    job: JobId,
    config: ConfigFile,
    *,
    rejects: Annotated[
        Path | None,
        Option(help="Load the rejected rows in this file instead, mended: the job's rejects.csv.", metavar="FILE"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Send rows again that a job lost, or that were mended.

    It never sends a value that a later row has overtaken.
    """
    on_terminal = begin_log(context)
    configuration = load_configuration(config)

    def tell(tenant: Tenant, told: str) -> None:
        if as_json:
            write_json({"client_code": tenant.client_code, "request": "retry", "job": job, "told": told})
        else:
            write_line(told)

    async def send_again(host: Host) -> ExitCode:
        codes = [ExitCode.DONE]
        for tenant in tenants_about(configuration, job):
            answer = await ask_for_retry(tenant, job, host, rejects)
            tell(tenant, answer.told)
            if answer.waits_for:
                codes.append(ExitCode.UNFINISHED)
            elif answer.job is not None:
                watch = watcher(on_terminal=on_terminal)
                async for report in load_exports([], tenant, host=host, watch=watch, only_retries=True):
                    with watch.aside():
                        write_report(report, tenant, as_json=as_json, config=config)
                    codes.append(report.exit_code)
        return worst(codes)

    with traced_host() as host:
        run(send_again(host))


def rebuild(context: Context, config: ConfigFile, *, as_json: AsJson = False) -> None:
    """Empty the memory: everything is sent once more.

    For a memory that is damaged, behind or of another kind than [memory] remember says. It needs that no job runs.
    """
    _request(context, config, REBUILD_MEMORY, as_json=as_json)


def forget(
    context: Context,
    config: ConfigFile,
    *,
    ids: Annotated[
        Path, Option(help="The ids, one a line: as exports have them, or as they are sent.", metavar="FILE")
    ],
    as_json: AsJson = False,
) -> None:
    """Erase ids from all that is kept of them.

    A receipt tells how much was erased where, and what is left and why; exit 75 if anything is.
    """
    begin_log(context)
    configuration, host = load_configuration(config), Host()

    async def ask_all() -> ExitCode:
        codes = [ExitCode.DONE]
        tenants = [tenant for tenant in configuration.tenants if (tenant.directory / "ledger.db").exists()]
        if not tenants and not as_json:
            write_line(f"nothing is kept yet: there is no ledger in {configuration.root}")
        for tenant in tenants:
            receipt = tenant.directory / await ask(tenant, FORGET, None, host, ids)
            content = orjson.loads(await run_sync(receipt.read_bytes))
            codes.append(ExitCode.UNFINISHED if content["left"] else ExitCode.DONE)
            if as_json:
                write_json({"client_code": tenant.client_code, "receipt": str(receipt), **content})
                continue
            told = ", ".join(f"{place} {count:,}" for place, count in content["erased"].items() if count) or "nothing"
            code = f"{tenant.client_code}: " if len(configuration.tenants) > 1 else ""
            write_line(f"{code}{counted(content['ids'], 'id')} asked for; erased: {told}; receipt: {receipt}")
            for each in content["left"]:
                write_line(f"left: {each['where']}: {each['why']}")
        return worst(codes)

    run(ask_all())


def _request(context: Context, config: Path, command: str, job: str | None = None, *, as_json: bool) -> NoReturn:
    """Have a request carried out by the process that holds the state directory, or here if there is none."""
    begin_log(context)
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

    run(ask_all())
