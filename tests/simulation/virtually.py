"""Asynchronous tests in virtual time."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tests.simulation.loop import run_virtually

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def virtually(test: Callable[Parameters, Coroutine[Any, Any, Result]]) -> Callable[Parameters, Result]:
    """A test that runs on a virtual loop of its own, where pytest would give it a real one."""

    @wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return run_virtually(test(*args, **kwargs))

    return run
