"""Asynchronous tests in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tests.simulation.loop import run_virtually

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
#: More virtual time than any of these tests takes that does not hang (seconds).
_HANGS_AFTER_S = 20_000.0


def virtually(test: Callable[Parameters, Coroutine[Any, Any, Result]]) -> Callable[Parameters, Result]:
    """A test that runs on a virtual loop of its own, where pytest would give it a real one."""

    async def in_time(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        async with asyncio.timeout(_HANGS_AFTER_S):
            return await test(*args, **kwargs)

    @wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return run_virtually(in_time(*args, **kwargs))

    return run
