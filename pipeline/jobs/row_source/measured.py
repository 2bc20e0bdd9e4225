"""The measures of a whole export, which its manifest may tell before it is loaded."""

from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.cells import CellFramer
from pipeline.core.formats.json_lines import JsonFramer
from pipeline.core.rows.transform import count_rows
from pipeline.edges.export_start import Start
from pipeline.edges.exports import Export
from pipeline.edges.host import OpenExport, RunBlocking, run_if_large
from pipeline.jobs.row_source.rows import Lines
from pipeline.jobs.row_source.starts import Blank, Reading, first_start, form_of, start_of_part, trailer_of
from pipeline.settings.sections.export import ExportSettings


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of a whole export.

    `header`: as it was read, empty if it has none; on line `header_line`.
    `rows`: what a load counts: the records behind the header, broken ones too, blank ones not.
    """

    size_bytes: int
    sha256: str
    columns: tuple[str, ...]
    header: bytes
    header_line: int
    rows: int


async def measure(
    path: Path, open_export: OpenExport, settings: ExportSettings, run_blocking: RunBlocking = to_thread.run_sync
) -> Measured:
    """Read an export once, all its parts, and count the records that a load would read.

    Raises `InputError` (65, 66).
    """
    reading = Reading(settings, open_export, run_blocking)
    async with open_export(path, settings.encoding) as export:
        first, _ = await first_start(export, reading)
        form = form_of(first, export)
        rows = await _count(export, first, reading)
        while await export.next_part():
            start = await start_of_part(export, reading, form)
            rows += 0 if isinstance(start, Blank) else await _count(export, start, reading)
        names = tuple(first.names)
        return Measured(export.bytes_read, export.sha256, names, first.header, first.header_line, rows)


async def _count(export: Export, start: Start, reading: Reading) -> int:
    """The number of records of the part that is open, of which the beginning was read."""
    run_blocking, delimiter = reading.run_blocking, start.dialect.delimiter
    framer = framer_of(start, reading.settings.id_column)
    lines = Lines(export, start.behind, trailer_of(reading.settings, start))
    rows = 0
    while (block := await lines.read()) is not None:
        rows += await run_if_large(run_blocking, len(block), _count_more, framer, block, delimiter)
    rows += await run_if_large(run_blocking, framer.pending_bytes, _count_more, framer, None, delimiter)
    lines.check_trailer(rows)
    return rows


def framer_of(start: Start, id_column: str) -> BlockFramer | JsonFramer | CellFramer:
    """The framer of the records of a part with this beginning."""
    if start.is_columnar:
        return CellFramer(len(start.names), start=start.end)
    if start.is_json:
        return JsonFramer(start.names, start=start.end, id_column=id_column)
    return BlockFramer(start.dialect, start=start.end)


def _count_more(framer: BlockFramer | JsonFramer | CellFramer, block: bytes | None, delimiter: bytes) -> int:
    """The number of rows that a block completes, or the end of the export if it is None."""
    return count_rows(framer.finish() if block is None else framer.feed(block), delimiter)
