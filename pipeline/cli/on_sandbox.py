"""Loading into an embedded sandbox: to try a file without an account, or to try a configuration."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipeline.core.batches.report import SANDBOX, Report, ReportedExport
from pipeline.core.errors import ExitCode, InputError
from pipeline.jobs.survey.every_column import settings_for_every_column
from pipeline.sandbox import SandboxOptions, running
from pipeline.settings.routes import load_configuration
from pipeline.settings.settings import Settings

#: Seconds. Shorter than for Target, since the sandbox applies batches within a second.
_POLL_FIRST_S = 0.25
_POLL_MAX_S = 1.0


@asynccontextmanager
async def on_sandbox(
    export: Path, config: Path | None, route: str | None, id_column: str | None
) -> AsyncIterator[Settings]:
    """Settings to load an export into a sandbox that runs as long as the context lasts.

    With `config`, its settings or those of one of its routes apply, except the address and the token of Target, the
    time windows, the polling of statuses and the directories of state and outcomes. Without it, every column but
    `id_column` is sent, under a name that Target takes; all else is judged as a configuration would by default.

    State and outcomes are in a new temporary directory, so that nothing is left among the real jobs. At the end it is
    removed, but for the folders of jobs of which something is needed yet (see `is_needed`). Raises `InputError` (65) if
    the export has no such `id_column`.
    """
    state = Path(tempfile.mkdtemp(prefix="profile-pipeline-sandbox-"))
    try:
        settings = await _settings(export, config, route, id_column, state)
        options = SandboxOptions(client_code=settings.target.client_code, apply_min_s=0.1, apply_max_s=1.0)
        async with running(options) as sandbox:
            target = settings.target.model_copy(update={"base_url": sandbox.base_url})
            yield settings.model_copy(update={"target": target})
    finally:
        _tidy(state)


def is_needed(report: Report) -> bool:
    """True if something in the folder of a job is worth a look: rejects, failed rows, or the reason of a failure."""
    rows = report.rows
    return report.state in ("failed", "incomplete") or bool(rows.rejected or rows.failed or rows.unconfirmed)


def drop_folder(report: Report, settings: Settings) -> None:
    """Remove the folder of a job that has ended in the sandbox, of which nothing is needed. Blocks."""
    shutil.rmtree(settings.outcome_directory / report.job, ignore_errors=True)


def refused(export: Path, error: InputError) -> Report:
    """The report of an export that could not be tried."""
    return Report(
        state="failed",
        error=str(error),
        exit_code=ExitCode(error.exit_code),
        export=ReportedExport(export.name.encode(errors="backslashreplace").decode()),
        target=SANDBOX,
    )


def _tidy(state: Path) -> None:
    """Remove all but the folders of jobs, and the directory itself if there are none."""
    jobs = state / "jobs"
    for path in state.iterdir():
        if path.is_dir() and path != jobs:
            shutil.rmtree(path, ignore_errors=True)
        elif path != jobs:
            path.unlink(missing_ok=True)
    if not jobs.is_dir() or not any(jobs.iterdir()):
        shutil.rmtree(state, ignore_errors=True)


async def _settings(
    export: Path, config: Path | None, route: str | None, id_column: str | None, state: Path
) -> Settings:
    overrides: dict[str, Any] = {
        "state": {"directory": state, "min_free_bytes": 0},
        "drop": {"outcome_directory": ""},
        # Time windows spare the real Target; a sandbox needs none.
        "windows": [],
        # Nothing is usual where no job was done before, and nothing waits where nobody comes back.
        "guard": {"min_rows": 0, "max_rows_change": "", "max_fill_drop": "", "max_rejects_change": ""},
        "settle": {"poll_first_s": _POLL_FIRST_S, "poll_max_s": _POLL_MAX_S},
        # No token has to leave its file for a trial.
        "target": {"token_file": ""},
    }
    if config is not None:
        tenant, name = load_configuration(config, overrides=overrides).tenant_of(route)
        return tenant.of(name)
    return await settings_for_every_column(export, str(id_column), overrides)
