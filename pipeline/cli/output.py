"""Writes what a command has to say to stdout, whoever reads it: a terminal, a pipe that was closed, a full disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.printable import printable_json, printable_lines
from pipeline.edges.terminal import console
from pipeline.settings.tenants import Tenant


def bear_all_output() -> None:
    """Have characters escaped that a terminal cannot show, and nothing written where a stream is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It was closed by whoever started us.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        else:
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def writing() -> Iterator[None]:
    """Write to stdout in the body, whole when it is left.

    If nobody reads stdout any more (`| head`), what is written to it goes nowhere from then on: what the command does
    matters more than who listens. Raises `FatalError` (74) if it cannot be written for another reason.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _write_to_nobody()
    except SystemExit:
        # So says rich where a pipe is closed.
        _write_to_nobody()
    except OSError as error:
        _write_to_nobody()
        text = f"cannot write to stdout: {error.strerror}. What jobs came to is in their folders; see `status`."
        raise FatalError(text, exit_code=ExitCode.DISK_OR_LEDGER) from error


def write_line(text: str) -> None:
    """Write a line, or several. Raises the errors of `writing`."""
    with writing():
        print(printable_lines(text))  # noqa: T201


def write_json(value: Any) -> None:
    """Write a value as one line of JSON. Raises the errors of `writing`."""
    write_line(printable_json(value))


def write_report(
    report: Report, tenant: Tenant, *, as_json: bool, is_trial: bool = False, is_kept: bool = True
) -> None:
    """Write a report, and for people the job's folder if it `is_kept`."""
    folder = tenant.settings.outcome_directory / report.job
    if as_json:
        write_json(report.as_json())
    else:
        from pipeline.edges.views.screen import print_report

        with writing():
            print_report(report, folder, console(), is_trial=is_trial, is_kept=is_kept)


def _write_to_nobody() -> None:
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, sys.stdout.fileno())
    os.close(nobody)
