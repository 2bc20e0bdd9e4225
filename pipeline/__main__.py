"""The entry point of the `profile-pipeline` command."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from pipeline.edges.process.early_signals import hold_signals

#: The exit code of a process ended by SIGTERM, as shells and containers count.
_TERMINATED = 128 + signal.SIGTERM

#: `ExitCode.DISK_OR_LEDGER`, where nothing could be imported.
_DISK_OR_LEDGER = 74


@contextmanager
def _unseen(package: str) -> Iterator[None]:
    """Hide a package from imports in the body, as if it were not installed."""
    imported = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # so says Python's import system
    try:
        yield
    finally:
        del sys.modules[package]
        if imported:
            sys.modules[package] = imported


def _end_without_libraries(error: Exception) -> NoReturn:
    """End with 74 if the machine refused the memory for a library; else the error goes on."""
    if not isinstance(error, MemoryError) and "failed to map segment" not in str(error):
        raise error
    text = "not enough memory for the libraries: give the process more (`ulimit -v`, or the limit of its container)."
    print(f"profile-pipeline: {text}", file=sys.stderr)  # noqa: T201 - nothing else could be imported
    sys.exit(_DISK_OR_LEDGER)


def main() -> NoReturn:
    """Run the command line."""
    # First of all: each import takes time.
    obeys_signals = hold_signals(sys.argv[1:])
    if not obeys_signals:
        # Ctrl-C while modules are imported ends the process, without a traceback of whatever is imported.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pathlib import Path

    from pipeline.edges.standard_streams import bear_all_output, open_standard_descriptors

    open_standard_descriptors()
    bear_all_output()
    match [*sys.argv[1:], os.environ.get("PROFILE_PIPELINE_CONFIG")]:
        case ["health", "--config", config, _] | ["health", str(config)] if config and config[0] != "-":
            # A probe, every few seconds: it skips the imports that all other commands need.
            from pipeline.service.health import main as health

            health(Path(config))
    if os.getpid() == 1 and not obeys_signals:
        # The first process of a container ignores a signal that has no handler yet.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(_TERMINATED))
    # Otherwise numpy starts a thread for each processor, for algebra that nobody here does.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported modules stay: looking for garbage in them again and again took a quarter of the start-up.
    gc.disable()
    try:
        with _unseen("rich"):
            # structlog imports rich to draw tracebacks, which our log does not; an unwatched load needs it for nothing.
            import structlog  # noqa: F401
        from pipeline.cli.app import main as command_line
    except (ImportError, MemoryError) as error:
        _end_without_libraries(error)

    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()


if __name__ == "__main__":
    main()
