"""The way to wait for other tasks: a condition that is checked again whenever something has changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import anyio

Condition = Callable[[], object]


class Changed:
    """A place to wait for conditions. A task that changes what they depend on calls `tell`, in the same event loop.

    A needless `tell` costs one more check; a missing one leaves a task waiting for ever.
    """

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._leaving: list[tuple[Condition, anyio.CancelScope]] = []

    def tell(self) -> None:
        """Say that something changed: every condition is checked again."""
        self._event.set()
        self._event = anyio.Event()
        for holds, scope in self._leaving:
            if holds():
                scope.cancel()

    async def until(self, holds: Condition, *, within_s: float = inf) -> bool:
        """Wait until the condition holds, for at most `within_s` seconds; True if it holds."""
        with anyio.move_on_after(within_s):
            while not holds():
                await self._event.wait()
        return bool(holds())

    async def next(self, *, within_s: float) -> None:
        """Wait until something changes, for at most `within_s` seconds."""
        with anyio.move_on_after(within_s):
            await self._event.wait()

    @contextmanager
    def unless(self, holds: Condition) -> Iterator[None]:
        """Run the body; cancel and leave it as soon as the condition holds."""
        with anyio.CancelScope() as scope:
            waiting = (holds, scope)
            self._leaving.append(waiting)
            try:
                if holds():
                    scope.cancel()
                yield
            finally:
                self._leaving.remove(waiting)
