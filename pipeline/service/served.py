"""Serves one client code over its errors: what ends its service is told, and the service is begun anew some time later.

The other client codes of the process go on meanwhile. Between two tries its state directory is let go, so that somebody
can look at it, or put a backup in its place.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import ExitCode, PipelineError, is_bug, most_telling, worst
from pipeline.edges.drop.taking import Taking
from pipeline.edges.durable import real_place
from pipeline.edges.host import Host
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.notices import Pause, put_up_pause
from pipeline.edges.store.state import State
from pipeline.jobs.claims import drop_of
from pipeline.jobs.ending import Ending, tell_unexpected
from pipeline.jobs.load import Watch
from pipeline.jobs.runner import open_runner
from pipeline.service.figures import LiveFigures
from pipeline.service.intake import DropSource
from pipeline.service.service import TenantService, shortened
from pipeline.settings.tenants import Tenant

log = structlog.get_logger()

#: Seconds until a service that an error ended is begun anew; they double each time, up to the second value. Ours.
_AGAIN_S, _MOST_S = 5.0, 600.0


class Served:
    """A client code that is served, again and again if need be.

    `codes`: the exit codes of its jobs, as `TenantService` has them, and that of what ended its service.
    """

    def __init__(
        self, settings: Tenant, host: Host, ending: Ending, watch: Watch | None, all_drops: frozenset[Path]
    ) -> None:
        self.codes: list[ExitCode] = []
        self._settings = settings
        self._host = host
        self._ending = ending
        self._watch = watch
        self._all_drops = all_drops
        self._stack = AsyncExitStack()
        self._service: TenantService | None = None
        self._pause: Pause | None = None
        self._error: PipelineError | None = None

    @property
    def client_code(self) -> str:
        """The client code."""
        return self._settings.client_code

    @property
    def settings(self) -> Tenant:
        """The settings that it goes on with."""
        return self._settings

    @property
    def figures(self) -> LiveFigures | None:
        """The figures of this moment; None while it is not served."""
        return self._service.figures if self._service else None

    @property
    def memory(self) -> Memory | None:
        """The memory of what was sent, if there is one and it is served."""
        return self._service.memory if self._service else None

    @property
    def job(self) -> str | None:
        """The id of its first running job, if any."""
        return self._service.job if self._service else None

    @property
    def is_paused(self) -> bool:
        """True if somebody asked to send nothing."""
        return self._service is not None and self._service.is_paused

    @property
    def error(self) -> PipelineError | None:
        """The error that ended its service, while that is not begun anew."""
        return self._error

    @property
    def codes_of_errors(self) -> list[ExitCode]:
        """The exit code of that error, if there is one."""
        return [self._error.exit_code] if self._error else []

    @property
    def untold(self) -> dict[str, Any]:
        """The notices for the heartbeat, see `TenantService.untold`."""
        if self._service is not None:
            return self._service.untold
        return {"pause": asdict(self._pause)} if self._pause else {}

    def take(self, settings: Tenant) -> None:
        """Go on with these settings."""
        self._settings = settings
        if self._service is not None:
            self._service.take(settings)

    async def open_first(self, *, is_only: bool) -> None:
        """Hold its directories when the process begins.

        Raises `FatalError`; but if others are served too, a ledger that cannot be used, or a bug, is this one's alone.
        """
        try:
            await self._open()
        except PipelineError as error:
            if is_only or error.exit_code is not ExitCode.DISK_OR_LEDGER:
                raise
            self._error = error
        except Exception as error:
            if is_only:
                raise
            self._error = tell_unexpected(error)

    async def close(self) -> None:
        """Let go of its directories."""
        if self._service is not None:
            self.codes += self._service.codes
            self._service = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def run(self, served: Collection["Served"], *, drain: bool) -> None:
        """Serve until stopped. Raises the error if it has ended the services of all client codes that are `served`."""
        is_only, tries = len(served) == 1, 0
        if not is_only:
            # Every log event from here on names the client code.
            structlog.contextvars.bind_contextvars(client_code=self.client_code)
        while not self._ending.is_due:
            if self._error is None and self._service is not None:
                tries = 0 if await self._is_served_to_its_end(self._service, drain=drain) else tries + 1
                if not tries:
                    break
            await self._wait(served, tries, drain=drain)
            if drain:
                break
            try:
                await self._open()
                self._error = None
            except PipelineError as error:
                self._error, tries = error, tries + 1
            except Exception as error:  # noqa: BLE001 - the others are served
                self._error, tries = tell_unexpected(error), tries + 1
        await self.close()

    async def _is_served_to_its_end(self, service: TenantService, *, drain: bool) -> bool:
        """Serve; False if an error ended that."""
        error: PipelineError | None = None
        try:
            await service.run(drain=drain)
        except* PipelineError as errors:
            error = most_telling(errors)
        except* Exception as errors:  # noqa: BLE001 - the others are served
            error = tell_unexpected(errors)
        self._error = error
        return error is None

    async def _wait(self, served: Collection["Served"], tries: int, *, drain: bool) -> None:
        """Let go of the directories, tell why, and wait until the service may be begun anew."""
        error = self._error
        if error is None:
            return
        await self.close()
        errors = [each.error for each in served if each.error is not None]
        if len(errors) == len(served) and not any(map(is_bug, errors)):
            raise error
        if drain:
            self.codes.append(error.exit_code)
            log.error("client_code_not_served", exit_code=int(error.exit_code), why=str(error), again_in_s=None)
            return
        wait_s = min(_AGAIN_S * 2.0 ** min(tries, 10), _MOST_S)
        since = self._host.clock.utc_now().isoformat(timespec="seconds")
        self._pause = Pause(int(error.exit_code), shortened(str(error)), since, "")
        log.error("client_code_not_served", exit_code=int(error.exit_code), why=str(error), again_in_s=wait_s)
        if await run_sync(put_up_pause, self._settings.directory, self._pause):
            self._pause = None
        await self._ending.changed.until(lambda: self._ending.is_due, within_s=wait_s)
        self._pause = None

    async def _open(self) -> None:
        service = _open_service(self._settings, self._host, self._ending, self._watch, self._all_drops)
        self._service = await self._stack.enter_async_context(service)


def check_any_is_served(served: Sequence[Served]) -> None:
    """Raise the worst error, if none of these client codes is served."""
    errors = [each.error for each in served if each.error is not None]
    if len(errors) == len(served):
        code = worst([error.exit_code for error in errors])
        raise next(error for error in errors if error.exit_code is code)


@asynccontextmanager
async def _open_service(
    settings: Tenant, host: Host, ending: Ending, watch: Watch | None, all_drops: frozenset[Path]
) -> AsyncIterator[TenantService]:
    """Hold the state directory and the drop directories of a tenant; `all_drops` are those of all tenants."""
    async with open_runner(settings, host, ending, watch) as runner:
        with ExitStack() as held:
            sources = [
                DropSource(name, held.enter_context(host.drops.hold(drop))) for name, drop in settings.drops.items()
            ]
            former = [
                # One in `all_drops` is another tenant's by now: this process holds it for that one.
                Taking(drop) if drop in all_drops else held.enter_context(host.drops.hold(drop))
                for drop in await _former_drops(runner.state, sources)
            ]
            yield TenantService(runner, sources, former)


async def _former_drops(state: State, sources: Sequence[DropSource]) -> list[Path]:
    """The drop directories of unfinished jobs that still exist, but that no route of the tenant has any more."""
    records = await state.in_turn(state.ledger.jobs, unfinished_only=True)
    found = {drop_of(record) for record in records if record.claim is not None}
    return sorted(drop for drop in found - {real_place(source.processing.drop) for source in sources} if drop.is_dir())
