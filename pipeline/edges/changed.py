"""One way to wait for what another task does: a condition, looked at again whenever something changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import anyio

Condition = Callable[[], object]


class Changed:
    """Tasks wait here; whoever changes what they look at calls `tell`, in the same event loop.

    Telling once too often costs a look, telling once too seldom a task that waits for ever.
    """

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._leaving: list[tuple[Condition, anyio.CancelScope]] = []

    def tell(self) -> None:
        """Something changed: let all that wait look again."""
        self._event.set()
        self._event = anyio.Event()
        for holds, scope in self._leaving:
            if holds():
                scope.cancel()

    async def until(self, holds: Condition, *, within_s: float = inf) -> bool:
        """Return as soon as the condition holds, or after `within_s` seconds; True if it holds."""
        with anyio.move_on_after(within_s):
            while not holds():
                await self._event.wait()
        return bool(holds())

    async def next(self, *, within_s: float) -> None:
        """Return when something changes, or after `within_s` seconds."""
        with anyio.move_on_after(within_s):
            await self._event.wait()

    @contextmanager
    def unless(self, holds: Condition) -> Iterator[None]:
        """Run the body, but leave it, cancelled, as soon as the condition holds."""
        with anyio.CancelScope() as scope:
            waiting = (holds, scope)
            self._leaving.append(waiting)
            try:
                if holds():
                    scope.cancel()
                yield
            finally:
                self._leaving.remove(waiting)
