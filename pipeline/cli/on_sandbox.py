"""Loading into an embedded sandbox: to try a file without an account, or to try a configuration."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.rows.mapping import parameter_name_problem, suggest_parameter_name
from pipeline.jobs.row_source import read_columns
from pipeline.sandbox import SandboxOptions, running
from pipeline.settings.routes import load_configuration
from pipeline.settings.settings import Settings, load_settings

#: Seconds. Shorter than for Target, since the sandbox applies batches within a second.
_POLL_FIRST_S = 0.25
_POLL_MAX_S = 1.0


@asynccontextmanager
async def on_sandbox(
    export: Path, config: Path | None, route: str | None, id_column: str | None
) -> AsyncIterator[Settings]:
    """Settings to load an export into a sandbox that runs as long as the context lasts.

    With `config`, its settings or those of one of its routes apply, except the address of Target, the time windows, the
    polling of statuses and the state directory. Without it, every column but `id_column` is sent, under a name that
    Target takes. The state directory is a new temporary one, so that nothing is left among the real jobs.
    """
    state = {"directory": tempfile.mkdtemp(prefix="profile-pipeline-"), "min_free_bytes": 0}
    overrides: dict[str, Any] = {
        "state": state,
        # Time windows spare the real Target; a sandbox needs none.
        "windows": [],
        "settle": {"poll_first_s": _POLL_FIRST_S, "poll_max_s": _POLL_MAX_S},
    }
    if config is None:
        columns = await _legal_names(export, id_column)
        overrides["export"] = {
            "id_column": id_column,
            "columns": columns,
            "unlisted": "send",
            "max_rejects": "100%",
        }
        overrides["target"] = {"client_code": "demo"}
        settings = load_settings(None, overrides=overrides)
    else:
        tenant, name = load_configuration(config, overrides=overrides).tenant_of(route)
        settings = tenant.of(name)
    options = SandboxOptions(client_code=settings.target.client_code, apply_min_s=0.1, apply_max_s=1.0)
    async with running(options) as sandbox:
        target = settings.target.model_copy(update={"base_url": sandbox.base_url})
        yield settings.model_copy(update={"target": target})


async def _legal_names(export: Path, id_column: str | None) -> dict[str, str]:
    """Column name -> parameter name, for the columns whose own names Target would not take."""
    try:
        names = await read_columns(export)
    except InputError:
        # The load itself will meet the same error, and report it.
        return {}
    taken = {name for name in names if parameter_name_problem(name) is None}
    columns: dict[str, str] = {}
    for name in names:
        if name == id_column or parameter_name_problem(name) is None:
            continue
        suggestion = base = suggest_parameter_name(name)
        number = 2
        while suggestion in taken:
            suggestion, number = f"{base}_{number}", number + 1
        taken.add(suggestion)
        columns[name] = suggestion
    return columns
