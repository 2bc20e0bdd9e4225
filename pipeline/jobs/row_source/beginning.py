"""The beginning of an export, to be looked at: how it is written, and its first records."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.formats.blockframing import Framed
from pipeline.core.formats.framing import Record
from pipeline.core.rows.cells import is_blank
from pipeline.core.rows.mapping import problem_of_text
from pipeline.edges.export_start import Start
from pipeline.edges.host import Host
from pipeline.jobs.row_source.measured import framer_of
from pipeline.jobs.row_source.rows import Lines
from pipeline.jobs.row_source.starts import Reading, first_start, trailer_of
from pipeline.settings.sections.export import ExportSettings

#: Bytes that are framed at once.
_PIECE_BYTES = 131_072


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of an export; of the first of its parts that holds anything.

    `records`: the first ones that can be read.
    `text`: what was read behind the header.
    `place`: the path of the file.
    `is_columnar`: its text is CSV made by us.
    `is_whole`: there is nothing behind the records.
    """

    start: Start
    records: list[Record]
    text: bytes
    place: Path
    is_columnar: bool
    is_whole: bool


async def read_beginning(
    path: Path, host: Host, settings: ExportSettings, most_records: int, most_bytes: int
) -> Beginning:
    """Read the first records of an export: at most so many, and of so many bytes. Raises `InputError` (65, 66)."""
    async with host.open_export(path, settings.encoding) as export:
        start, _ = await first_start(export, Reading(settings, host.open_export, host.run_blocking))
        lines, text = Lines(export, start.behind, trailer_of(settings, start)), b""
        block: bytes | None = b""
        while len(text) < most_bytes and (block := await lines.read()) is not None:
            text += block
        is_end = block is None
        records = await host.run_blocking(
            partial(_records_of, start, settings.id_column, text, most_records + 1, is_end=is_end)
        )
        place, is_columnar = export.place, export.columns is not None
        is_whole = is_end and len(records) <= most_records and not await export.next_part()
        return Beginning(start, records[:most_records], text, place, is_columnar, is_whole)


def _records_of(start: Start, id_column: str, text: bytes, most_records: int, *, is_end: bool) -> list[Record]:
    """The records of a text at the beginning of an export, but for broken ones and for one that is cut at its end."""
    framer = framer_of(start, id_column)
    records: list[Record] = []
    # Piece by piece: a framer takes a long block for one that holds a long record, and reads it by the letter.
    for at in range(0, len(text), _PIECE_BYTES):
        records += _sound(framer.feed(text[at : at + _PIECE_BYTES]), most_records - len(records), start)
        if len(records) >= most_records:
            return records
    return records + (_sound(framer.finish(), most_records - len(records), start) if is_end else [])


def _sound(framed: Framed, most_records: int, start: Start) -> list[Record]:
    found = framed.exactly(np.arange(min(len(framed.ends), most_records)), start.dialect.delimiter)
    return [
        record
        for record in found
        if isinstance(record, Record) and not problem_of_text(record.raw) and not is_blank(record.fields)
    ]
