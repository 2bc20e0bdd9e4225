"""Settings for an export without a configuration: every column is sent, under a name that Target takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import structlog

from pipeline.core.errors import InputError
from pipeline.core.plural import counted
from pipeline.core.rows.header import parameter_name_problem, suggest_parameter_name
from pipeline.jobs.row_source import read_columns
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.settings import Settings, load_settings

log = structlog.get_logger()


async def settings_for_every_column(export: Path, id_column: str, overrides: Mapping[str, Any]) -> Settings:
    """Settings that send all that can be sent but the id; `overrides`: other keys, by section.

    Raises `InputError` (65) if there is no column `id_column`.
    """
    columns = await _columns(export, id_column)
    # Every column is listed; what cannot be listed cannot be sent.
    of_export = {"id_column": id_column, "columns": columns, "unlisted": "ignore"}
    target = {**overrides.get("target", {}), "client_code": "demo"}
    return load_settings(None, overrides={**overrides, "export": of_export, "target": target})


async def _columns(export: Path, id_column: str) -> dict[str, str]:
    """Column -> the name under which it is sent, for all that can be sent. Logs where others are.

    Raises `InputError` (65) if there is no column `id_column`.
    """
    try:
        header = await read_columns(export, ExportSettings(id_column=id_column, unlisted="send"))
    except InputError:
        # The load itself will meet the same error, and report it.
        return {}
    if id_column not in header:
        # No other name is shown: of a file without header they would be cells.
        folded = {name.strip().casefold(): name for name in header}
        meant = get_close_matches(id_column.strip().casefold(), folded, 1, 0.75)
        hint = f" Did you mean {folded[meant[0]]!r}?" if meant else " Is the first line of the file its header?"
        columns_of = f"{counted(len(header), 'column')} in the header of {export.name}"
        text = f"--id-column {id_column!r} is not one of the {columns_of}.{hint}"
        raise InputError(text, line=1)
    times = Counter(header)
    # A column without a name, or with a name that another has too, cannot be listed.
    left = [number for number, name in enumerate(header, 1) if not name.strip() or times[name] > 1]
    if left:
        log.warning("columns_not_sent", export=export.name, fields=left, why="no name, or one that is there twice")
    return names_for(header, id_column)


def names_for(header: Sequence[str], id_column: str | None) -> dict[str, str]:
    """Column -> the name under which it is sent, for all but the id column that can be listed."""
    times = Counter(header)
    taken: set[str] = {name for name in header if parameter_name_problem(name) is None}
    columns: dict[str, str] = {}
    for name in dict.fromkeys(header):
        if name == id_column or not name.strip() or times[name] > 1:
            continue
        columns[name] = name if parameter_name_problem(name) is None else _new_name(name, taken)
    return columns


def _new_name(column: str, taken: set[str]) -> str:
    """A name that Target takes and no other column has; it is `taken` from then on."""
    suggestion = base = suggest_parameter_name(column)
    number = 2
    while suggestion in taken:
        suggestion, number = f"{base}_{number}", number + 1
    taken.add(suggestion)
    return suggestion
