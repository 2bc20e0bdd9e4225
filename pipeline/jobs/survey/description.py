"""Describes an export: what it is packed with, its encoding, and how it is written."""

from pathlib import Path

from pipeline.core.formats.detection import is_sep_line
from pipeline.core.formats.file_kind import HEAD_BYTES, codec_of, columnar_kind, is_zip
from pipeline.core.formats.framing import BOM
from pipeline.core.formats.packing import beginning_of, packing_of
from pipeline.core.survey.plan import Description
from pipeline.edges.host import OpenExport
from pipeline.jobs.row_source.beginning import Beginning
from pipeline.settings.sections.export import ExportSettings

#: The first bytes of texts in UTF-16 and UTF-32 that say so themselves.
_MARKS = (BOM, b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


async def describe(path: Path, open_export: OpenExport, settings: ExportSettings, beginning: Beginning) -> Description:
    """Describe an export of which the beginning can be read. Raises `InputError` (65, 66)."""
    # A member of a zip archive has no file of its own.
    at = next((each for each in (beginning.place, *beginning.place.parents) if each == path), beginning.place)
    async with open_export(at, None) as file:
        packed = await file.read_block()
    head = packed[:HEAD_BYTES]
    name = path.name.encode(errors="backslashreplace").decode()
    if beginning.is_columnar:
        return Description(name=name, kind=columnar_kind(head) or "columnar")
    packing = "zip" if is_zip(head) else ""
    if packing:
        head = beginning.text[:HEAD_BYTES]
    elif told := packing_of(head):
        packing, head = told.name, beginning_of(packed, told, HEAD_BYTES)
    start = beginning.start
    first_line = head.split(b"\n", 1)[0].removeprefix(BOM).rstrip(b"\r")
    is_told = settings.delimiter == "auto" and is_sep_line(first_line)
    told_by = "sep=" if is_told else "header" if settings.delimiter == "auto" else "configuration"
    of_csv = {
        "delimiter": start.dialect.delimiter.decode(),
        "delimiter_from": told_by,
        "quote": start.dialect.quote.decode(),
        "escape": start.dialect.escape.decode(),
        "escape_in": start.dialect.escape_in if start.dialect.escape else "",
        "header_line": start.header_line if settings.header else 0,
    }
    return Description(
        name=name,
        kind="jsonl" if start.is_json else "csv",
        packing=packing,
        encoding=codec_of(head, settings.encoding) or "utf-8",
        has_mark=head.startswith(_MARKS),
        line_ends=_line_ends(beginning.text, cr_ends_lines=start.dialect.cr_ends_lines),
        **({} if start.is_json else of_csv),  # type: ignore[arg-type]
    )


def _line_ends(text: bytes, *, cr_ends_lines: bool) -> str:
    """The bytes that end lines in this text, in words; empty if none does."""
    both, feeds = text.count(b"\r\n"), text.count(b"\n")
    counts = {"CR LF": both, "LF": feeds - both, "CR": text.count(b"\r") - both if cr_ends_lines else 0}
    found = [name for name, count in counts.items() if count]
    return found[0] if len(found) == 1 else "mixed" if found else ""
