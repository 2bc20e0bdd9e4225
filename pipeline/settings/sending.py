"""The digest of all settings that decide what is sent of an export, and where to.

Two loads of the same content with the same digest send the same rows to the same place, so the second one need not be
sent. What only decides when, how fast or if at all a job sends is no part of it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import MappingSettings
from pipeline.settings.settings import Settings

#: Keys of [export] that decide if an export is given up, and never what is sent of one that is done. All others count.
_NOT_OF_ROWS = {"max_rejects", "max_columns", "max_gone"}
#: Keys of [mapping] that never decide what is sent; the salt does, and where its file lies does not.
_NOT_OF_CELLS = {"salt_file", "examples"}
#: Bytes above which [batch] max_bytes makes no difference to a row: none that Target takes is as long.
_LONGER_THAN_ANY_ROW = 2_097_152


def sending_digest(
    settings: Settings,
    export: ExportSettings | None = None,
    mapping: MappingSettings | None = None,
    *,
    salt: str = "",
    told: Mapping[str, str] | None = None,
) -> str:
    """The SHA-256, in hexadecimal, of what decides which rows a route sends, how they look and where they go.

    `export`, `mapping`: these sections of a job that began with others than those of `settings`.
    `salt`: the digest of the salt, empty if none is used.
    `told`: what [mapping] from_export has of the export, by its words.

    Of [target] these are client code, API version and address; of [export] all keys but `max_rejects`,
    `max_columns` and `max_gone`; of [mapping] all but the examples, if it does anything; of [batch] the size above
    which a row fits in no batch; of [memory] which rows are sent, and what is remembered: rows are filled up with it,
    and a later load finds it.
    """
    target = settings.target
    deciding: dict[str, Any] = {
        "target": [target.client_code, target.api_version, target.url],
        "export": _of_rows(export or settings.export),
        "longest_row": min(settings.batch.max_bytes, _LONGER_THAN_ANY_ROW),
    }
    mapping = mapping or settings.mapping
    if mapping.does_anything:
        used = {word: (told or {}).get(word) for word in mapping.from_export.values()}
        deciding["mapping"] = [mapping.model_dump(mode="json", exclude=_NOT_OF_CELLS), salt, used]
    if settings.memory.remember != "nothing":
        deciding["memory"] = [settings.memory.remember, settings.memory.send]
    canonical = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _of_rows(export: ExportSettings) -> dict[str, Any]:
    """The keys of [export] that decide what is sent.

    `escape_in`, `kind` and `gone` count where they make a difference, so that what was loaded before there were such
    keys stays loaded.
    """
    deciding = export.model_dump(mode="json", exclude=_NOT_OF_ROWS)
    if export.escape_in == "all":
        del deciding["escape_in"]
    if export.kind == "delta":
        del deciding["kind"], deciding["gone"]
    return deciding
