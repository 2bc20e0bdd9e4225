"""The process that serves: opens all tenants, runs their services side by side, and ends with all of them.

A tenant that is held up holds up no other; a ledger that cannot be used ends them all.
"""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync

import pipeline.edges.target.client  # noqa: F401 - not only when the first job begins
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError, worst
from pipeline.edges.drop.taking import Taking, hold_drop
from pipeline.edges.host import Host
from pipeline.edges.store.state import State
from pipeline.jobs.claims import drop_of
from pipeline.jobs.ending import Ending
from pipeline.jobs.load import Watch
from pipeline.jobs.open_state import without_route
from pipeline.jobs.runner import open_runner
from pipeline.service.heartbeat import heart_beating
from pipeline.service.intake import DropSource
from pipeline.service.reload import ReadAgain, Reloading
from pipeline.service.service import TenantService
from pipeline.settings.tenants import Configuration, Tenant

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
    use, 78 if one of them cannot be served, and 74 if a ledger cannot be used.
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
    all_drops = frozenset(drop.resolve() for tenant in configuration.tenants for drop in tenant.drops.values())
    # From here on no system signal is lost, though it may have to wait until all tenants are open.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as ends, Reloading.signals() as hangups:
        async with AsyncExitStack() as stack:
            tenants = [
                await stack.enter_async_context(open_service(tenant, host, ending, watch, all_drops))
                for tenant in configuration.tenants
            ]
            drops = [str(directory) for tenant in configuration.tenants for directory in tenant.drops.values()]
            log.info("service_started", drop=", ".join(drops), drain=drain)
            async with (
                heart_beating(
                    configuration.root,
                    host.clock,
                    lambda: next((tenant.job for tenant in tenants if tenant.job), None),
                    lambda: any(tenant.is_paused for tenant in tenants),
                    lambda: {tenant.client_code: tenant.untold for tenant in tenants if tenant.untold},
                ),
                anyio.create_task_group() as listening,
            ):
                listening.start_soon(_end_by_signals, ending, ends)
                listening.start_soon(Reloading(configuration, read_again, tenants, ending).listen, hangups)
                async with anyio.create_task_group() as tasks:
                    for tenant in tenants:
                        tasks.start_soon(partial(tenant.run, drain=drain, is_only=len(tenants) == 1))
                listening.cancel_scope.cancel()
    code = worst([code for tenant in tenants for code in tenant.codes]) if drain else ExitCode.DONE
    log.info("service_stopped", exit_code=int(code))
    return code


async def _end_by_signals(ending: Ending, signals: AsyncIterator[signal.Signals]) -> None:
    """At SIGTERM or SIGINT let running POSTs finish within `grace_s`; a second signal cuts them off."""
    async for number in signals:
        log.info("service_stopping", signal=signal.Signals(number).name, at_once=ending.is_due)
        ending.hasten(FatalError("stopped by a signal; the next start goes on.", exit_code=ExitCode.UNFINISHED))


@asynccontextmanager
async def open_service(
    settings: Tenant, host: Host, ending: Ending, watch: Watch | None, all_drops: frozenset[Path]
) -> AsyncIterator[TenantService]:
    """Hold the state directory and the drop directories of a tenant; `all_drops` are those of all tenants."""
    async with open_runner(settings, host, ending, watch) as runner:
        with ExitStack() as held:
            sources = [DropSource(name, held.enter_context(hold_drop(drop))) for name, drop in settings.drops.items()]
            former = [
                # One in `all_drops` is another tenant's by now: this process holds it for that one.
                Taking(drop) if drop in all_drops else held.enter_context(hold_drop(drop))
                for drop in await _former_drops(runner.state, sources)
            ]
            yield TenantService(runner, sources, former)


async def _former_drops(state: State, sources: Sequence[DropSource]) -> list[Path]:
    """The drop directories of unfinished jobs that still exist, but that no route of the tenant has any more."""
    records = await state.in_turn(state.ledger.jobs, unfinished_only=True)
    found = {drop_of(record) for record in records if record.claim is not None}
    return sorted(drop for drop in found - {source.processing.drop.resolve() for source in sources} if drop.is_dir())
