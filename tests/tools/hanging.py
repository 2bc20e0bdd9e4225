"""Fails what hangs, and says where each task waits: a log tells only what went before."""

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import AsyncGeneratorType, FrameType
from typing import Any


@asynccontextmanager
async def in_time(limit_s: float, told: Callable[[], str]) -> AsyncIterator[None]:
    """Run the body; `AssertionError` after so many seconds of the loop, with what is `told` and where tasks wait."""
    places: list[str] = []
    # Before the body is cancelled: its tasks leave the places where they wait then.
    noting = asyncio.get_running_loop().call_later(limit_s, lambda: places.extend(_places()))
    try:
        async with asyncio.timeout(limit_s + 0.1):
            yield
    except TimeoutError:
        if not places:
            raise
        raise AssertionError("\n".join(["it hangs:", told(), *places])) from None
    finally:
        noting.cancel()


def _places() -> Iterator[str]:
    """Each task, and below it the lines in which it waits, the innermost last."""
    for task in asyncio.all_tasks():
        yield task.get_name()
        for frame in _frames(task.get_coro()):
            code = frame.f_code
            yield f"    {code.co_filename}:{frame.f_lineno} {code.co_qualname}"


def _frames(waiting: Any) -> Iterator[FrameType]:
    while waiting is not None:
        if not isinstance(waiting, AsyncGeneratorType) and type(waiting).__name__.startswith("async_generator_"):
            # A step of a generator does not say of which.
            waiting = next((each for each in gc.get_referents(waiting) if inspect.isasyncgen(each)), None)
        for kind in ("cr", "ag", "gi"):
            if frame := getattr(waiting, f"{kind}_frame", None):
                yield frame
        awaited = (getattr(waiting, name, None) for name in ("cr_await", "ag_await", "gi_yieldfrom"))
        waiting = next((each for each in awaited if each is not None), None)
