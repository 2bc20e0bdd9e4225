"""Requests to whoever holds a state directory, at the moment at which a service takes it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.lowlevel

from pipeline.cli.ask import ask
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.lock import state_lock
from pipeline.edges.store.mailbox import Answer, Mailbox
from pipeline.settings.tenants import Tenant
from tests.tools.support import CLOSED, HANGS_AFTER_S, settings_for

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Beginning:
    """A service that takes the state directory as soon as somebody else is about to, and answers."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self._is_held = False

    async def run_blocking(self, function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
        if not self._is_held:
            self._stack.enter_context(state_lock(self.directory))
            self._is_held = True
        return function(*args)

    async def sleep(self, _seconds: float) -> None:
        mailbox = Mailbox(self.directory)
        for request in mailbox.requests():
            assert mailbox.take_on(request)
            mailbox.answer(request, Answer(f"{request.command} done"))
        await anyio.lowlevel.checkpoint()

    def host(self) -> Host:
        return Host(clock=Clock(sleep=self.sleep), run_blocking=self.run_blocking)


async def test_a_service_that_begins_meanwhile_is_asked(tmp_path: Path) -> None:
    tenant = Tenant.of_one(settings_for(CLOSED, tmp_path / "state"))
    tenant.directory.mkdir()
    with ExitStack() as stack, anyio.fail_after(HANGS_AFTER_S):
        assert await ask(tenant, "resume", None, Beginning(tenant.directory, stack).host()) == "resume done"
