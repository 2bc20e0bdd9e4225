"""Writes what a command has to say: its results to stdout, and what went wrong to stderr.

Neither raises, wherever they lead: see `edges.standard_streams`. The end of the command tells what was not written.
"""

import errno
import sys
from pathlib import Path
from typing import Any

from pipeline.core.batches.report import Report
from pipeline.core.errors import EXIT_PRECEDENCE, ExitCode, worst
from pipeline.core.printable import printable_json, printable_lines
from pipeline.edges.standard_streams import LAST_WAIT_S, stderr_stream, stdout_failure
from pipeline.edges.terminal import console
from pipeline.settings.tenants import Tenant


def write_line(text: str) -> None:
    """Write a line to stdout, or several, which a reader has at once: the command may go on for long, or be killed."""
    print(printable_lines(text), flush=True)  # noqa: T201


def say(text: str) -> None:
    """Write a line to stderr, for whoever started the command."""
    print(f"profile-pipeline: {printable_lines(text)}", file=sys.stderr)  # noqa: T201


def code_with_output(code: int) -> int:
    """The exit code of a command that ends with `code`, once its output is judged; says so if it is not all written.

    A reader who has read enough (`| head`) is no fault.
    """
    failure = stdout_failure()
    if failure is not None and failure.errno != errno.EPIPE:
        say(f"cannot write to stdout: {failure.strerror}. What jobs came to is in their folders; see `status`.")
        code = worst([ExitCode(code), ExitCode.DISK_OR_LEDGER]) if code in EXIT_PRECEDENCE else code
    if stderr := stderr_stream():
        stderr.write_kept(LAST_WAIT_S)
    return code


def write_json(value: Any) -> None:
    """Write a value as one line of JSON."""
    write_line(printable_json(value))


def write_report(
    report: Report,
    tenant: Tenant,
    *,
    as_json: bool,
    is_trial: bool = False,
    is_kept: bool = True,
    config: Path | None = None,
) -> None:
    """Write a report, and for people the job's folder if it `is_kept`, and commands that name the configuration."""
    folder = tenant.settings.outcome_directory / report.job
    if as_json:
        write_json(report.as_json())
    else:
        from pipeline.edges.views.screen import print_report

        print_report(report, folder, console(), is_trial=is_trial, is_kept=is_kept, config=config)
