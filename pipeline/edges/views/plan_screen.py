"""The plan of an export as people read it: the file, its columns, its rows, and what Target would have to do."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from pipeline.core.batches.report import Report
from pipeline.core.drop.signals import shown
from pipeline.core.duration import roughly
from pipeline.core.plural import counted
from pipeline.core.survey.naive import Mistake
from pipeline.core.survey.plan import Description, Plan, PlannedColumn
from pipeline.core.survey.samples import SampleCell
from pipeline.edges.views.wording import GOOD, MEANINGS, REASONS, notes

#: Columns, parts and changed cells of a sample that are shown, and characters of the name of a column.
_MOST_COLUMNS, _MOST_PARTS, _MOST_CELLS, _MOST_OF_A_NAME = 60, 10, 20, 32
#: The share of rows below which a key of JSON Lines may be data, the number of such keys above which they are taken for
#: data, and how many of those are shown. Ours.
_RARELY, _MOST_RARE, _SHOWN_OF_DATA = 0.02, 20, 3
_DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "|", "\x01": "\\x01"}
_TOLD_BY = {"header": "told by the header", "configuration": "as configured", "sep=": "as its line sep= says"}
_ESCAPE_IN = {"all": "all cells", "quotes": "quotes only"}
#: The other `escape_in`, and who writes an export so.
_OTHER_ESCAPES = {"all": ("quotes", "Spark"), "quotes": ("all", "Redshift or a tool that escapes everywhere")}
_SENT = {**MEANINGS, "confirmed": "would be sent", "rejected": "would not be sent"}
_MEGABYTE = 1_000_000
#: Mistake of a naive sender -> what it would do, of one and of more.
NAIVE = {
    "rows_cut_off": ("row lost", "rows lost"),
    "raw_ampersand": (
        "& not encoded: the batch is cut there without a word",
        "& not encoded: the batch is cut at the first without a word",
    ),
    "raw_percent": ("% not encoded: the whole batch is refused",) * 2,
    "raw_plus": ("+ not encoded becomes a space",) * 2,
    "raw_equals": ("= not encoded may end the name of a field",) * 2,
    "value_with_delimiter": (
        "value with a comma or a line break in it shifts the columns behind it, or makes a row of its rest",
        "values with a comma or a line break in them shift the columns behind them, or make rows of their rest",
    ),
    "id_in_later_batch": (
        "row repeats an id of another batch: Target applies batches in any order, so the older value may win",
        "rows repeat an id of another batch: Target applies batches in any order, so the older value may win",
    ),
    "id_again_in_batch": (
        "row repeats an id: which of them wins is not documented",
        "rows repeat an id: which of them wins is not documented",
    ),
    "null_cells": ("marker for no value is sent as a value", "markers for no value are sent as values"),
    "empty_cells": (
        "empty cell changes nothing: Target keeps the old value, whoever meant to clear it",
        "empty cells change nothing: Target keeps the old values, whoever meant to clear them",
    ),
    "ids_trimmed": (
        "id with white space around it makes a profile of its own",
        "ids with white space around them make profiles of their own",
    ),
    "id_as_number": (
        "id in the notation of a spreadsheet (3.91E16) makes a profile that is nobody's",
        "ids in the notation of a spreadsheet (3.91E16) make profiles that are nobody's",
    ),
    "id_of_nobody": (
        "row goes to an id that stands for nobody",
        "rows of many people go to ids that stand for nobody",
    ),
    "empty_id": ("row without an id is sent", "rows without an id are sent"),
    "id_with_plus_or_slash": ("id that Target does not take is sent", "ids that Target does not take are sent"),
    "invalid_utf8": (
        "row with bytes that are not UTF-8 is sent: broken characters",
        "rows with bytes that are not UTF-8 are sent: broken characters",
    ),
    "header_again": ("header among the rows becomes a profile", "headers among the rows become profiles"),
    "field_count": (
        "row with too few or too many cells puts values into the wrong columns",
        "rows with too few or too many cells put values into the wrong columns",
    ),
    "delimiter_rejected": ("value with a comma or a line break shifts columns",) * 2,
    "not_utf8": ("encoding that Target does not read: broken characters everywhere",) * 2,
    "byte_order_mark": ("byte order mark becomes part of the first column's name",) * 2,
    "other_delimiter": ("delimiter that Target does not know: all cells of a row are one",) * 2,
    "over_rows": ("", "rows in one batch: Target takes 500,000"),
    "over_bytes": ("", "bytes in one batch: Target takes less than 50,000,000"),
}


def print_plan(plan: Plan, to: Console) -> None:
    """Print the plan of an export."""
    lines = [Text.assemble((shown(plan.export.name), "bold"), ": nothing was sent; this is what a load would come to")]
    if plan.columns:
        lines += [Text(f"  {line}") for line in _described(plan.export)]
        lines += [Text(""), *_table(plan.columns, is_json=plan.export.kind == "jsonl"), Text("")]
        if plan.samples:
            lines += [*map(Text, _samples(plan)), Text("")]
        lines += _classes(plan)
        lines += [Text(f"  {line}") for line in _details(plan)]
    if plan.quarantine:
        lines.append(Text(f"  A load would hold it back, as [guard] asks: {plan.quarantine}.", style="yellow"))
    if plan.error:
        lines.append(Text(f"  {plan.error}", style="red"))
    for line in lines:
        to.print(line, soft_wrap=True)


def _described(export: Description) -> Iterator[str]:
    kind = {"csv": "CSV", "jsonl": "JSON Lines"}.get(export.kind, export.kind)
    packed = f", packed with {export.packing}" if export.packing else ""
    mark = " with a byte order mark" if export.has_mark else ""
    encoding = f"; {export.encoding.upper()}{mark}" if export.encoding else ""
    yield f"{kind}, {_size(export.size_bytes)}{packed}{encoding}"
    if export.kind == "csv":
        delimiter = _DELIMITERS.get(export.delimiter, export.delimiter)
        enclosed = f"{export.quote} around cells" if export.quote else "no quotes"
        escape = f", {export.escape} as escape in {_ESCAPE_IN[export.escape_in]}" if export.escape else ""
        header = f"header on line {export.header_line:,}" if export.header_line else "no header"
        told_by = _TOLD_BY[export.delimiter_from]
        ends = f", lines end with {export.line_ends}" if export.line_ends else ""
        yield f"{delimiter} between cells ({told_by}), {enclosed}{escape}{ends}, {header}"
    if export.read_otherwise:
        other, writers = _OTHER_ESCAPES[export.escape_in]
        means = "means" if export.read_otherwise == 1 else "mean"
        yield (
            f"{counted(export.read_otherwise, 'row')} of its beginning {means} something else with [export] "
            f'escape_in = "{other}", the first on line {export.first_read_otherwise:,}: set that if {writers} wrote it'
        )
    if len(export.parts) > 1:
        yield f"{counted(len(export.parts), 'part')}:"
        for part in export.parts[:_MOST_PARTS]:
            yield f"  {shown(part.name)}: {_size(part.size_bytes)}, {counted(part.rows, 'row')}"
        if len(export.parts) > _MOST_PARTS:
            yield f"  ... and {len(export.parts) - _MOST_PARTS:,} more"
    if export.left_out:
        names = ", ".join(map(shown, export.left_out[:_MOST_PARTS]))
        more = f" and {len(export.left_out) - _MOST_PARTS:,} more" if len(export.left_out) > _MOST_PARTS else ""
        left_out = counted(len(export.left_out), "file")
        yield f"Left out: {left_out} that {', '.join(map(shown, export.lists))} does not name: {names}{more}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _MEGABYTE:,.1f} MB" if size_bytes >= _MEGABYTE else counted(size_bytes, "byte")


def _table(columns: tuple[PlannedColumn, ...], *, is_json: bool) -> Iterator[Text]:
    rare = [column for column in columns if is_json and column.fill_rate < _RARELY]
    # A few such keys are optional fields; many are ids, dates or mail addresses, of which no list is of use.
    left_out = rare[_SHOWN_OF_DATA:] if len(rare) > _MOST_RARE else []
    kept = [column for column in columns if column not in left_out]
    shown_ones = kept[:_MOST_COLUMNS]
    rows = [("column", "sent as", "filled", "values look like")]
    rows += [(_short(column.name), column.sent_as or "-", _filled(column), _looks(column)) for column in shown_ones]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for number, (name, sent_as, filled, looks) in enumerate(rows):
        style = "dim" if number and not shown_ones[number - 1].sent_as else "bold" if not number else ""
        line = f"  {name:<{widths[0]}}  {sent_as:<{widths[1]}}  {filled:>{widths[2]}}  {looks}"
        yield Text(line.rstrip(), style=style)
    if len(kept) > len(shown_ones):
        yield Text(f"  ... and {counted(len(kept) - len(shown_ones), 'column')} more; --json has all")
    if left_out:
        yield Text(
            f"  ... and {counted(len(left_out), 'key')} more, each with a value in less than {_RARELY:.0%} of the "
            "rows: are they data and no names? --json has all"
        )


def _short(name: str) -> str:
    name = shown(name)
    return name if len(name) <= _MOST_OF_A_NAME else f"{name[: _MOST_OF_A_NAME - 3]}..."


def _filled(column: PlannedColumn) -> str:
    # 100 % and 0 % only where it is all and nothing.
    percent = min(max(round(100 * column.fill_rate), 1), 99) if 0 < column.fill_rate < 1 else 100 * column.fill_rate
    return f"{'about ' if column.is_sampled else ''}{percent:.0f} %"


def _looks(column: PlannedColumn) -> str:
    samples = " | ".join(column.samples)
    return f"{samples}  <- {column.personal}?" if column.personal else samples


def _samples(plan: Plan) -> Iterator[str]:
    """Rows before and after [mapping]: of each that is sent, what is changed."""
    yield "  As [mapping] makes rows, masked:"
    for row in plan.samples:
        where = f"line {row.line:,}{f' of {shown(plan.samples_of)}' if plan.has_parts else ''}"
        if row.excluded_by is not None:
            told = f"left out by column {shown(row.excluded_by)}"
        elif row.reason:
            told = f"rejected: {row.reason}, {REASONS.get(row.reason, '')}"
        else:
            told = row.fate if row.fate == "sent" else "not sent: an id, and no value"
        yield f"    {where}: {told}"
        changed = [cell for cell in row.cells if cell.is_changed]
        yield from (f"      {_changed(cell)}" for cell in changed[:_MOST_CELLS])
        if len(changed) > _MOST_CELLS:
            yield f"      ... and {counted(len(changed) - _MOST_CELLS, 'cell')} more; --json has all"
        if row.fate == "sent" and not changed:
            yield "      nothing is changed"


def _changed(cell: SampleCell) -> str:
    if cell.column is None:
        return f"{shown(cell.sent_as)}: '{shown(str(cell.after))}' in every row"
    after = f"'{cell.after}'" if cell.after else "nothing"
    return f"{_short(cell.column)}: '{cell.before}' becomes {after}"


def _classes(plan: Plan) -> Iterator[Text]:
    counts = asdict(plan.rows)
    names = [name for name in _SENT if counts[name] or name == "confirmed"]
    number_width = max(len(f"{counts[name]:,}") for name in ("read", *names))
    name_width = max(map(len, names))
    yield Text(f"  {plan.rows.read:>{number_width},}  {'row' if plan.rows.read == 1 else 'rows'} read")
    for name in names:
        style = "green" if name == "confirmed" else "" if name in GOOD else "yellow"
        count = Text(f"  {counts[name]:>{number_width},}  {name:<{name_width}}  ", style=style)
        yield count.append(_SENT[name], style="dim")


def _details(plan: Plan) -> Iterator[str]:
    for reason, count in plan.by_reason.items():
        places = plan.first_places.get(reason, [])
        lines = [f"{place.line:,}{f' of {shown(place.file)}' if plan.has_parts else ''}" for place in places]
        where = f"on {'line' if count == 1 else 'lines'} {', '.join(lines)}"
        more = ", ..." if count > len(lines) else ""
        yield f"Rejected: {count:,} {reason}, {REASONS.get(reason, '')}; {where}{more}"
    yield from (f"Note: {note}" for note in notes(Report(warnings=plan.warnings)))
    ids, about = plan.ids, "" if plan.ids.is_exact else "about "
    if ids.distinct:
        again = f", {about}{ids.repeated:,} of them on several rows, one on {ids.most_rows:,}" if ids.repeated else ""
        yield f"Ids: {about}{ids.distinct:,} different{again}"
    if plan.mistakes:
        yield "Who sent its rows as they are, in pieces, would get:"
        yield from (f"  {_naive(mistake)}" for mistake in plan.mistakes)
    yield from _work(plan)


def _naive(mistake: Mistake) -> str:
    words = NAIVE[mistake.name][mistake.count != 1]
    part = f" of {shown(mistake.first_part)}" if mistake.first_part else ""
    return f"{mistake.count:,} {words}{f'; first on line {mistake.first_line:,}{part}' if mistake.first_line else ''}"


def _work(plan: Plan) -> Iterator[str]:
    if not plan.batches:
        yield "Nothing would be sent."
        return
    calls = counted(plan.calls, "call")
    yield (
        f"{counted(plan.batches, 'batch', 'batches')} of {_size(plan.batch_bytes)} in all; {calls} to Target at least; "
        f"up to {_size(plan.spool_bytes)} in the spool"
    )
    told = [f"{roughly(60 * took)} if a batch takes {minutes} min" for minutes, took in plan.minutes.items()]
    yield f"It takes about {', '.join(told)}, as Target's limits are."
