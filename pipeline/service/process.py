"""The process that serves: opens all tenants, runs their services side by side, and ends with all of them.

A tenant that is held up holds up no other. Nor does one whose ledger cannot be used, or whose service meets a bug: it
is tried again while the others are served. The process ends with an error when none is served any more.
"""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

import pipeline.edges.target.client  # noqa: F401 - not only when the first job begins
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError, worst
from pipeline.edges.durable import real_place
from pipeline.edges.host import Host
from pipeline.edges.process.early_signals import release_signals
from pipeline.jobs.ending import Ending
from pipeline.jobs.load import Watch
from pipeline.jobs.open_state import without_route
from pipeline.jobs.status.notifications import send_last
from pipeline.service.heartbeat import heart_beating
from pipeline.service.notifier import Notifier
from pipeline.service.reload import ReadAgain, Reloading, Takes
from pipeline.service.served import Served, check_any_is_served
from pipeline.service.web.listener import Listener
from pipeline.service.web.metrics import Scrape
from pipeline.service.web.readiness import Condition
from pipeline.service.web.routes import metrics_route
from pipeline.settings.tenants import Configuration

log = structlog.get_logger()


async def serve(
    configuration: Configuration,
    *,
    host: Host,
    drain: bool = False,
    watch: Watch | None = None,
    read_again: ReadAgain | None = None,
) -> ExitCode:
    """Load drops until SIGTERM or SIGINT. With `drain` until none is left; returns the worst job's exit code then.

    `read_again` reads the configuration anew, at SIGHUP. Raises `FatalError`: 73 if a state or drop directory is in
    use, 78 if one of them cannot be served, and 74 if no ledger can be used. Of several client codes, those whose
    ledger can be used are served.
    """
    if not any(tenant.drops for tenant in configuration.tenants):
        raise ConfigurationError(
            "[drop] directory is required to serve: the directory into which exports and their signals are dropped."
        )
    for directory, owner in (await run_sync(without_route, configuration)).items():
        log.warning(
            "client_code_without_route",
            client_code=owner.client_code,
            unfinished_jobs=owner.unfinished,
            state_directory=str(directory),
            to_do="give it a route again, until its jobs have ended",
        )
    ending = Ending(grace_s=configuration.tenants[0].settings.service.grace_s)
    all_drops = frozenset(real_place(drop) for tenant in configuration.tenants for drop in tenant.drops.values())
    # From here on no system signal is lost, though it may have to wait until all tenants are open.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as ends, Reloading.signals() as hangups:
        release_signals()
        async with AsyncExitStack() as stack:
            served = [Served(tenant, host, ending, watch, all_drops) for tenant in configuration.tenants]
            notifiers = [Notifier(tenant, host) for tenant in configuration.tenants]
            for each in served:
                stack.push_async_callback(each.close)
                await each.open_first(is_only=len(served) == 1)
            check_any_is_served(served)
            drops = [str(directory) for tenant in configuration.tenants for directory in tenant.drops.values()]
            log.info("service_started", drop=", ".join(drops), drain=drain)
            scrape = Scrape(
                configuration.root, served, host, lambda: {each.client_code: each.overdue for each in notifiers}
            )
            condition = Condition(served, ending, drain=drain)
            web = Listener(configuration, host.clock, condition, [metrics_route(scrape)])
            async with (
                heart_beating(
                    configuration.root,
                    host.clock,
                    lambda: next((each.job for each in served if each.job), None),
                    lambda: any(each.is_paused for each in served),
                    lambda: _notices(served, web),
                ),
                anyio.create_task_group() as listening,
            ):
                listening.start_soon(_end_by_signals, ending, ends)
                takers: list[Takes] = [*served, *notifiers]
                listening.start_soon(Reloading(configuration, read_again, takers, web, ending).listen, hangups)
                for each, notifier in zip(served, notifiers, strict=True):
                    listening.start_soon(partial(notifier.run, partial(_untold_of, each), is_only=len(served) == 1))
                listening.start_soon(web.listen)
                async with anyio.create_task_group() as tasks:
                    for each in served:
                        tasks.start_soon(partial(each.run, served, drain=drain))
                listening.cancel_scope.cancel()
            if drain:
                for tenant in configuration.tenants:
                    await send_last(tenant.directory, tenant, host)
    code = worst([code for each in served for code in (each.codes if drain else each.codes_of_errors)])
    log.info("service_stopped", exit_code=int(code))
    return code


def _untold_of(served: Served) -> dict[str, Any]:
    return served.untold


def _notices(served: Sequence[Served], web: Listener) -> dict[str, dict[str, Any]]:
    """The notices for the heartbeat, by client code; that of the web server, which is of all, with the first."""
    notices = {each.client_code: each.untold for each in served}
    if web.problem:
        notices[served[0].client_code]["web"] = web.problem
    return {client_code: told for client_code, told in notices.items() if told}


async def _end_by_signals(ending: Ending, signals: AsyncIterator[signal.Signals]) -> None:
    """At SIGTERM or SIGINT let running POSTs finish within `grace_s`; a second signal cuts them off."""
    async for number in signals:
        log.info("service_stopping", signal=signal.Signals(number).name, at_once=ending.is_due)
        ending.hasten(FatalError("stopped by a signal; the next start goes on.", exit_code=ExitCode.UNFINISHED))
