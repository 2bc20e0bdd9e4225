"""The invocation of a command: it begins the log as asked, and runs to an exit code."""

import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import anyio
import typer

from pipeline.cli.arguments import log_level
from pipeline.core.errors import ExitCode, PipelineError, most_telling
from pipeline.edges.host import Host
from pipeline.edges.log import configure_logging
from pipeline.edges.process.heap import share_heap
from pipeline.edges.process.machine import refused_by_machine
from pipeline.edges.terminal import is_redrawn
from pipeline.edges.traces.asked import open_traces


def run(coroutine: Coroutine[Any, Any, ExitCode]) -> NoReturn:
    """Run a command to its end; raises `typer.Exit` with its exit code, or the error that says most."""

    async def awaited() -> ExitCode:
        failed: PipelineError | None = None
        code = ExitCode.DONE
        try:
            code = await coroutine
        except* PipelineError as errors:
            failed = most_telling(errors)
        except* (OSError, MemoryError, RuntimeError, ImportError) as refused:
            failed = refused_by_machine(refused)
            if failed is None:
                raise
        if failed:
            raise failed
        return code

    share_heap()
    raise typer.Exit(anyio.run(awaited))


@contextmanager
def traced_host(*, is_with_sandbox: bool = False) -> Iterator[Host]:
    """The machine for jobs, with traces of them if the environment asks for any; use it around `run`.

    Behind the loop, spans that are left have a moment to go out.
    """
    with open_traces(os.environ) as traces:
        yield Host(is_with_sandbox=is_with_sandbox, traces=traces)


def begin_log(context: typer.Context, *, is_watched: bool = True) -> bool:
    """Set up the log as `-q` and `-v` ask; True if a person at a terminal is to see how far a load is.

    `is_watched`: the command shows that on a terminal, so that its log need not. On one where nothing can be drawn in
    place, it does.
    """
    is_drawn = is_redrawn(sys.stderr)
    asked = log_level(context)
    min_level = asked or ("warning" if is_drawn and is_watched else "info")
    configure_logging(is_terminal=sys.stderr.isatty(), min_level=min_level)
    return is_drawn and asked != "warning"
