"""The beginnings of an export and of its parts: how they are written, their columns, and where the first row is."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.batches.parts import Part
from pipeline.core.errors import HeaderError, InputError
from pipeline.core.formats.candidate_encodings import header_line
from pipeline.core.formats.detection import too_many
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.file_kind import HEAD_BYTES, is_json_lines, other_encoding, text_refusal
from pipeline.core.formats.framing import BOM, MAX_RECORD_BYTES, START, Position
from pipeline.core.formats.trailer import Trailer, TrailerPattern
from pipeline.core.printable import printable
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns, suggest_parameter_name
from pipeline.core.rows.mapping import ColumnPlan
from pipeline.core.values.row_steps import RowSteps
from pipeline.edges.export_start import Layout, Start, read_start
from pipeline.edges.exports import Export
from pipeline.edges.host import OpenExport, RunBlocking, run_if_large
from pipeline.jobs.row_source.json_keys import read_keys
from pipeline.settings.sections.export import ExportSettings

_COLUMNAR = ("parquet", "arrow")
#: Of these, no row can be made, however lines are ended and cells are separated; the last one ends files of DOS.
NO_CONTENT = b"\r\n\t \x1a"


@dataclass(frozen=True, slots=True)
class Blank:
    """A part in which nothing stands but a byte order mark and white space, on so many lines."""

    lines: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The ways in which an export is read.

    `open_export`: opens it again, from its start.
    `run_blocking`: for what may take long, outside the event loop.
    """

    settings: ExportSettings
    open_export: OpenExport
    run_blocking: RunBlocking


@dataclass(frozen=True, slots=True)
class Form:
    """The form that all parts of an export share.

    `names`: of its columns, in the order of each header.
    `kind`: of its files, for people: "CSV", "JSON Lines", "Parquet or Arrow".
    `place`: the path of the part that it was found in, for people.
    """

    names: list[str]
    kind: str
    place: Path


def form_of(start: Start, export: Export) -> Form:
    """The form that a part has, and so has the export."""
    kind = "Parquet or Arrow" if start.is_columnar else _text_kind(is_json=start.is_json)
    return Form(start.names, kind, export.place)


def _text_kind(*, is_json: bool) -> str:
    return "JSON Lines" if is_json else "CSV"


async def first_start(export: Export, reading: Reading) -> tuple[Start, tuple[Part, ...]]:
    """The beginning of the first part that holds anything, of an export that nothing was read of; and the parts so far.

    Raises `InputError` (65) for what is no export.
    """
    begun, before = list[Part](), 0
    while True:
        if export.part:
            begun.append(Part(export.part, export.size_bytes, lines_before=before))
        first = await _first_block(export)
        found = _blank(first, export, reading.settings)
        if found is None or not await export.next_part():
            return await _start_behind(first, export, reading, None), tuple(begun)
        before += found.lines


async def start_of_part(export: Export, reading: Reading, form: Form) -> Start | Blank:
    """The beginning of the part that is open, of which nothing was read yet.

    Raises `InputError` (65) for one that is no export, or not of this form.
    """
    return await _start_of(await _first_block(export), export, reading, form)


async def check_parts(export: Export, reading: Reading, form: Form) -> None:
    """Read the beginnings of all parts of an export: no more of each than tells how it is written.

    Raises `InputError` (65, 66) for the first that cannot be read, is no export, or not of this form. So a wrong part
    is found before anything is sent, and not when those before it were.
    """
    if not export.part:
        return
    async with reading.open_export(export.path, reading.settings.encoding) as again:
        again.look_only()
        while await again.next_part():
            # The columns of a columnar part are known.
            first = b"" if again.columns is not None else await _first_block(again)
            await _start_of(first, again, reading, form)


async def _start_of(first: bytes, export: Export, reading: Reading, form: Form) -> Start | Blank:
    """The beginning of a part with these first bytes. Raises the errors of `start_of_part`."""
    if (found := _blank(first, export, reading.settings)) is not None:
        return found
    start = await _start_behind(first, export, reading, form)
    _check_names(start, export, reading.settings, form)
    return start


async def _first_block(export: Export) -> bytes:
    """The first bytes of a part: as many as it takes to see that something stands there."""
    first = block = await export.read_block()
    while export.part and block and len(first) <= MAX_RECORD_BYTES and not first.strip(NO_CONTENT + BOM):
        block = await export.read_block()
        first += block
    return first


def _blank(first: bytes, export: Export, settings: ExportSettings) -> Blank | None:
    if export.columns is not None or len(first) > MAX_RECORD_BYTES or first.strip(NO_CONTENT + BOM):
        return None
    if settings.trailer and export.part and settings.format != "jsonl":
        raise InputError(
            f"{printable(str(export.place))} is not whole: nothing stands in it, not even a trailer as [export] "
            f"trailer = {settings.trailer!r} says. Get the export anew."
        )
    return Blank(len(first.removeprefix(BOM).splitlines()))


async def _start_behind(first: bytes, export: Export, reading: Reading, form: Form | None) -> Start:
    """The beginning of a part with these first bytes."""
    settings, run_blocking = reading.settings, reading.run_blocking
    if export.columns is not None:
        _check_same_kind(export, form, "Parquet or Arrow")
        _check_format(export, settings, is_columnar=True)
        if len(export.columns) > settings.max_columns:
            raise too_many(len(export.columns), settings.max_columns)
        return Start(Dialect(b","), list(export.columns), b"", 1, START, first, is_columnar=True)
    _check_format(export, settings, is_columnar=False)
    await run_if_large(run_blocking, len(first), _check_kind, export.place, first, settings)
    is_json = is_json_lines(first, settings.format)
    _check_same_kind(export, form, _text_kind(is_json=is_json))
    if not is_json:
        try:
            return await read_start(export, layout_of(settings), first, run_blocking)
        except HeaderError as error:
            if not export.part:
                raise
            text = f"{printable(str(export.place))}: {error}"
            raise HeaderError(text, header=error.header, line=error.line) from None
    head = first.removeprefix(BOM)
    names = await read_keys(export, head, settings, reading.open_export, run_blocking) if form is None else form.names
    return Start(Dialect(b","), names, b"", 1, Position(len(first) - len(head)), head, is_json=True)


def _check_format(export: Export, settings: ExportSettings, *, is_columnar: bool) -> None:
    """Raise `InputError` (65) where [export] format says another kind of file."""
    if settings.format != "auto" and is_columnar != (settings.format in _COLUMNAR):
        kind = "a Parquet or Arrow file" if is_columnar else "no Parquet or Arrow file"
        raise InputError(
            f"{printable(str(export.place))} cannot be loaded: it is {kind} by its first bytes, and [export] format is "
            f'{settings.format!r}: set it to what the export is, or to "auto".'
        )


def _check_same_kind(export: Export, form: Form | None, kind: str) -> None:
    """Raise `InputError` (65) for a part of another kind than those before it: its rows are framed in another way."""
    if form is not None and kind != form.kind:
        raise InputError(
            f"{printable(str(export.place))} is {kind}, and {printable(form.place.name)} before it is {form.kind}: the "
            "parts of an export are of one kind. Load them one by one."
        )


def _check_names(start: Start, export: Export, settings: ExportSettings, form: Form) -> None:
    """Raise `InputError` (65) for a part with other columns than those before it; no name is told."""
    if start.is_json or start.names == form.names:
        return
    place, before = printable(str(export.place)), printable(form.place.name)
    if not settings.header and export.columns is None:
        # In a part without any row, the columns are those that are used.
        if len(start.names) in (len(form.names), layout_of(settings).last_position):
            return
        raise InputError(
            f"the first row of {place} has {len(start.names):,} fields, and that of {before} has "
            f"{len(form.names):,}: the parts of an export have the same columns. Load them one by one."
        )
    differing = next(
        (at for at, (one, other) in enumerate(zip(start.names, form.names, strict=False), 1) if one != other), 0
    )
    what = f"column {differing:,} is another" if differing else f"it has {len(start.names):,} columns of these"
    raise InputError(
        f"the header of {place} is not that of {before}, which has {len(form.names):,} columns: {what}. Each part of "
        "an export begins with the same header: put parts together that have none, and load others one by one.",
        line=start.header_line,
    )


def looking_for(settings: ExportSettings, steps: RowSteps) -> ExportSettings:
    """These settings, with the columns that steps name among those that are looked for in an export."""
    named = {name: "" for name in steps.wanted if name != settings.id_column}
    return settings.model_copy(update={"columns": named | settings.columns})


def plan_of(start: Start, settings: ExportSettings, steps: RowSteps) -> ColumnPlan:
    try:
        plan = plan_columns(
            start.names,
            id_column=settings.id_column,
            id_kind=settings.id_kind,
            columns=settings.columns | _made_names(start, settings),
            unlisted=settings.unlisted,
            has_header=settings.header or start.is_json or start.is_columnar,
            is_json=start.is_json,
            steps=steps,
        )
    except HeaderError as error:
        raise HeaderError(str(error), header=start.header, line=start.header_line) from None
    # Other formats than CSV have no header that could come again.
    return replace(plan, header=()) if start.is_json or start.is_columnar else plan


def _made_names(start: Start, settings: ExportSettings) -> dict[str, str]:
    """Parameter names for the paths of nested keys that are sent under their own names, which Target takes not."""
    if not (start.is_json or start.is_columnar) or settings.unlisted != "send":
        return {}
    return {path: suggest_parameter_name(path) for path in start.names if "." in path and path not in settings.columns}


def layout_of(settings: ExportSettings) -> Layout:
    """The way an export is written, as far as the [export] section says."""
    used = [settings.id_column, *settings.columns]
    return Layout(
        delimiter=b"" if settings.delimiter == "auto" else settings.delimiter.encode(),
        quote=settings.quote.encode(),
        escape=settings.escape.encode(),
        escape_in=settings.escape_in,
        id_column=settings.id_column,
        has_header=settings.header,
        last_position=0 if settings.header else max(map(int, used)),
        skip_first=settings.skip_first,
        max_columns=settings.max_columns,
    )


def trailer_of(settings: ExportSettings, start: Start) -> Trailer | None:
    """The trailer that holds back the last lines of the part that is open, if they are no rows."""
    if start.is_json or start.is_columnar or not (settings.skip_last or settings.trailer):
        return None
    pattern = TrailerPattern.of(settings.trailer) if settings.trailer else None
    return Trailer(settings.skip_last, start.dialect, pattern)


def cell_rules(settings: ExportSettings) -> CellRules:
    """The rules about cells that the [export] section asks for."""
    return CellRules(settings.trim, settings.null_values, settings.id_placeholders, settings.number_ids)


def _check_kind(path: Path, block: bytes, settings: ExportSettings) -> None:
    """Raise `InputError` (65) for a text that is no export, or in another encoding, by its first block."""
    if told := text_refusal(block, settings.format):
        raise InputError(f"{printable(str(path))} cannot be loaded: it {told}.")
    header = header_line(block[:HEAD_BYTES], settings.id_column, settings.skip_first) if settings.header else b""
    if found := other_encoding(block[:HEAD_BYTES], settings.encoding, header):
        bad, lines, advice = found
        if settings.max_rejects.is_exceeded(bad, lines, final=True):
            encoding = "UTF-8" if settings.encoding == "auto" else settings.encoding
            raise InputError(
                f"{printable(str(path))} cannot be loaded: it is not {encoding}, as {bad:,} of its first {lines:,} "
                f"lines tell, more than [export] max_rejects = {settings.max_rejects} allows; {advice}."
            )
