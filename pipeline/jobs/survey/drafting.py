"""Makes a configuration from an export: how it is written, where a load cannot tell, and which column is the id."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.formats.file_kind import HEAD_BYTES, codec_of, columnar_kind, is_zip, other_encoding
from pipeline.core.formats.packing import beginning_of, packing_of
from pipeline.core.rows.allowance import Allowance
from pipeline.core.survey.columns import survey_columns
from pipeline.core.survey.draft import CANDIDATES, CLIENT_CODE, Drafted, draft
from pipeline.core.survey.escapes import has_literal_escapes
from pipeline.core.survey.guesses import guess_id, is_header
from pipeline.edges.host import Host
from pipeline.jobs.row_source.beginning import Beginning, read_beginning
from pipeline.jobs.row_source.starts import cell_rules
from pipeline.jobs.survey.every_column import names_for
from pipeline.jobs.survey.planning import MOST_BYTES, MOST_RECORDS, plan_export
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.settings import load_settings

#: Lines before the header that are tried to be left out. Ours: a title, a date, an empty line.
_MOST_TITLE_LINES = 4
#: The share of records with as many fields as names, with which a header counts as found.
_FITTING = 0.9
#: Any share of rejects: what is not UTF-8 is looked at too.
_ALL = Allowance(percent=100.0)
#: Nothing that any header has, so that the delimiter is found without it.
_NO_COLUMN = "\x00"


@dataclass(frozen=True, slots=True)
class _Read:
    """A way to read an export: the beginning so read, and the keys of [export] that say so, each with its reason."""

    settings: ExportSettings
    beginning: Beginning
    keys: Mapping[str, tuple[str, str]]

    @property
    def fitting(self) -> int:
        """The number of records with as many fields as there are names."""
        width = len(self.beginning.start.names)
        return sum(len(record.fields) == width for record in self.beginning.records)

    @property
    def fits(self) -> bool:
        """True if nearly all records have as many fields as there are names, and more than one."""
        return len(self.beginning.start.names) > 1 and self.fitting >= _FITTING * len(self.beginning.records)


async def draft_of(export: Path, host: Host) -> str:
    """The text of a configuration for exports like this one. Raises `InputError` (65, 66)."""
    is_other = await _is_other_encoding(export, host)
    found = await _best_read(export, host, CANDIDATES[0] if is_other else "auto")
    surveyed = await host.run_blocking(
        survey_columns, found.beginning.start.names, found.beginning.records, cell_rules(found.settings)
    )
    guessed = guess_id(surveyed)
    id_column = guessed.name if guessed else None
    drafted = Drafted(
        name=export.name.encode(errors="backslashreplace").decode(),
        columns=surveyed,
        parameters=names_for(found.beginning.start.names, id_column),
        id_column=guessed,
        ids=None,
        rows=0,
        keys=found.keys,
        is_other_encoding=is_other,
    )
    return draft(await _counted(export, host, found, drafted) if guessed else drafted)


async def _counted(export: Path, host: Host, found: _Read, drafted: Drafted) -> Drafted:
    """The same with the ids of the whole export counted, if it can be read as a load reads it."""
    if drafted.id_column is None:
        return drafted
    keys = ("header", "skip_first", "quote", "escape", "escape_in", "encoding")
    of_export = {key: getattr(found.settings, key) for key in keys}
    of_export |= {"id_column": drafted.id_column.name, "unlisted": "ignore"}
    overrides = {
        "export": of_export,
        # With this, each row has something to send, and so its id counts.
        "mapping": {"constants": {"any": "1"}},
        "target": {"client_code": CLIENT_CODE},
        "state": {"directory": "unused"},
    }
    plan = await plan_export(export, load_settings(None, env={}, overrides=overrides), host)
    if plan.exit_code:
        return drafted
    return replace(drafted, ids=plan.ids, rows=plan.rows.confirmed + plan.rows.superseded)


async def _best_read(export: Path, host: Host, encoding: str) -> _Read:
    """The plainest way to read an export in which its records fit its header; or else the plainest one."""
    base = ExportSettings(id_column=_NO_COLUMN, unlisted="send", encoding=encoding, max_rejects=_ALL)
    plain = await _read(export, host, base, {})
    if plain.beginning.start.is_json or plain.beginning.is_columnar:
        return plain
    best = plain if plain.fits else await _behind_titles(export, host, plain)
    if b'\\"' in best.beginning.text:
        other = await _with_escape(export, host, best)
        best = other if other.fitting > best.fitting else best
    if is_header(best.beginning.start.names, best.beginning.records):
        return best
    settings = best.settings.model_copy(update={"id_column": "1", "unlisted": "ignore", "header": False})
    reason = "its first line looks like a row: columns go by their positions"
    return await _read(export, host, settings, {**best.keys, "header": ("false", reason)})


async def _with_escape(export: Path, host: Host, found: _Read) -> _Read:
    """The same with a backslash as escape: in all cells, or in those with quotes if more speaks for that."""
    reason = 'its quotes are escaped with a backslash, as in \\"'
    keys = {**found.keys, "escape": ('"\\\\"', reason)}
    in_all = await _read(export, host, found.settings.model_copy(update={"escape": "\\"}), keys)
    settings = found.settings.model_copy(update={"escape": "\\", "escape_in": "quotes"})
    reason = "cells without quotes have backslashes that escape nothing, as Spark writes them"
    in_quotes = await _read(export, host, settings, {**keys, "escape_in": ('"quotes"', reason)})
    if in_quotes.fitting != in_all.fitting:
        return max(in_quotes, in_all, key=lambda read: read.fitting)
    beginning = in_quotes.beginning
    return in_quotes if has_literal_escapes(beginning.records, beginning.start.dialect) else in_all


async def _behind_titles(export: Path, host: Host, plain: _Read) -> _Read:
    for lines in range(1, _MOST_TITLE_LINES + 1):
        settings = plain.settings.model_copy(update={"skip_first": lines})
        reason = "lines before the header that are no part of it"
        try:
            other = await _read(export, host, settings, {"skip_first": (str(lines), reason)})
        except InputError:
            break
        if other.fits:
            return other
    return plain


async def _read(export: Path, host: Host, settings: ExportSettings, keys: Mapping[str, tuple[str, str]]) -> _Read:
    beginning = await read_beginning(export, host, settings, MOST_RECORDS, MOST_BYTES)
    return _Read(settings, beginning, keys)


async def _is_other_encoding(export: Path, host: Host) -> bool:
    """True if an export is not UTF-8, nor anything else that its bytes tell."""
    async with host.open_export(export, None) as file:
        packed = await file.read_block()
    head = packed[:HEAD_BYTES]
    if columnar_kind(head) is not None or is_zip(head):
        return False
    if packing := packing_of(head):
        head = beginning_of(packed, packing, HEAD_BYTES)
    return codec_of(head, "auto") is None and other_encoding(head, "auto") is not None
