"""The entry point of the `profile-pipeline` command."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

#: What ends a process by SIGTERM, as shells and containers count.
_TERMINATED = 128 + signal.SIGTERM


@contextmanager
def _unseen(package: str) -> Iterator[None]:
    """Let what is imported meanwhile find no such package, as if it were not installed."""
    imported = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # so says Python's import system
    try:
        yield
    finally:
        del sys.modules[package]
        if imported:
            sys.modules[package] = imported


def main() -> NoReturn:
    """Run the command line."""
    match sys.argv[1:]:
        case ["health", "--config", config]:
            # A probe, every few seconds: it does not wait for what all other commands need.
            from pipeline.service.health import main as health

            health(Path(config))
    if os.getpid() == 1:
        # The first process of a container: to it, a signal that nobody catches yet would mean nothing.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(_TERMINATED))
    # numpy would start a thread for each processor, for algebra that nobody here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported stays: looking for garbage in it again and again took a quarter of the start-up.
    gc.disable()
    with _unseen("rich"):
        # It would take it to draw tracebacks, which the log does not; a load that nobody watches draws nothing else.
        import structlog  # noqa: F401
    from pipeline.cli.app import main as command_line

    gc.freeze()
    gc.enable()
    command_line()


if __name__ == "__main__":
    main()
