"""Erases ids from the kept export of an ended job.

The rows are read as the job read them. In a file of plain text in UTF-8, each of the ids' rows is overwritten by
spaces, line ends left: every other row keeps its line, and such lines are blank to whoever reads them. What is packed,
columnar or in another encoding is not written by this program: it tells which file holds such a row.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.erasure import Wanted
from pipeline.core.errors import InputError
from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.cells import CellFramer
from pipeline.core.formats.framing import MAX_RECORD_BYTES
from pipeline.core.formats.json_lines import JsonFramer
from pipeline.core.plural import counted
from pipeline.edges.durable import disk_errors
from pipeline.edges.export_start import Start
from pipeline.edges.exports import Export
from pipeline.edges.host import Host
from pipeline.edges.store.records import JobRecord
from pipeline.jobs.forgetting.folders import holds
from pipeline.jobs.forgetting.receipt import Receipt
from pipeline.jobs.job import export_settings
from pipeline.jobs.row_source.measured import framer_of
from pipeline.jobs.row_source.rows import Lines
from pipeline.jobs.row_source.starts import Blank, Reading, first_start, form_of, start_of_part, trailer_of

#: White space may stand before a row of JSON Lines; a row that does not begin here is somewhere else.
_MOST_BEFORE = 1_024
_BEFORE = b" \t\xef\xbb\xbf"
_NOT_LINE_END = re.compile(rb"[^\r\n]")

Look = Callable[["BlockFramer | JsonFramer | CellFramer", bytes | None, bytes], "list[_Place]"]


@dataclass(frozen=True, slots=True)
class _Place:
    """A row to erase: where its line begins in the text of its file, and the row."""

    offset: int
    raw: bytes


async def erase_from_kept(directory: Path, record: JobRecord, wanted: Wanted, host: Host, receipt: Receipt) -> None:
    """Erase ids from the files that a job took and that are kept; `directory` holds them. Raises `FatalError` (74)."""
    for file in await host.run_blocking(_files_in, directory):
        try:
            places = await _rows_of(file, record, wanted, host)
        except InputError:
            # No export, such as a signal, or one that the job could not read either.
            if await host.run_blocking(holds, file, wanted):
                receipt.leave(file, "it holds an id, and cannot be read as an export: remove it")
            continue
        if places and not await host.run_blocking(_overwrite, file, places):
            rows = counted(len(places), "row")
            receipt.leave(
                file, f"it holds {rows} of these ids, and is not written here (see docs/privacy.md): remove it"
            )
        elif places:
            receipt.erased["exports"] += len(places)


def _files_in(directory: Path) -> list[Path]:
    if directory.is_symlink() or not directory.is_dir():
        return []
    return sorted(file for file in directory.rglob("*") if file.is_file() and not file.is_symlink())


async def _rows_of(file: Path, record: JobRecord, wanted: Wanted, host: Host) -> list[_Place]:
    """The rows of these ids in a file, in its members if it is an archive. Raises `InputError` if it is no export."""
    settings = export_settings(record)
    reading = Reading(settings, host.open_export, host.run_blocking)
    async with host.open_export(file, settings.encoding) as export:
        start, _ = await first_start(export, reading)
        form = form_of(start, export)
        if settings.id_column not in form.names:
            raise InputError("it has no column of ids")
        look = partial(_look, wanted=wanted, index=form.names.index(settings.id_column), width=len(form.names))
        found = await _rows_of_part(export, start, reading, look)
        while await export.next_part():
            begun = await start_of_part(export, reading, form)
            if not isinstance(begun, Blank):
                found += await _rows_of_part(export, begun, reading, look)
        return found


async def _rows_of_part(export: Export, start: Start, reading: Reading, look: Look) -> list[_Place]:
    framer, delimiter = framer_of(start, reading.settings.id_column), start.dialect.delimiter
    lines = Lines(export, start.behind, trailer_of(reading.settings, start))
    found: list[_Place] = []
    block: bytes | None = b""
    while block is not None:
        block = await lines.read()
        found += await reading.run_blocking(look, framer, block, delimiter)
    return found


def _look(
    framer: BlockFramer | JsonFramer | CellFramer,
    block: bytes | None,
    delimiter: bytes,
    *,
    wanted: Wanted,
    index: int,
    width: int,
) -> list[_Place]:
    """The rows of these ids that a block completes, or the end of the part if it is None."""
    framed = framer.finish() if block is None else framer.feed(block)
    records = framed.exactly(np.arange(len(framed.ends)), delimiter)
    found = [record for record in records if wanted.has_row(record, index, width)]
    return [_Place(framer.position_of(record.line).offset, record.raw) for record in found]


def _overwrite(file: Path, places: list[_Place]) -> bool:
    """Overwrite rows by spaces, durably; False, and nothing is changed, if they do not stand in the file as read."""
    with disk_errors(f"cannot write {file}"):
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        except PermissionError:
            return False
        try:
            exact = [_exact(descriptor, place) for place in places]
            if None in exact:
                return False
            for offset, place in zip(exact, places, strict=True):
                os.pwrite(descriptor, _NOT_LINE_END.sub(b" ", place.raw), offset or 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return True


def _exact(descriptor: int, place: _Place) -> int | None:
    """The offset of a row in the file; None if it is not there: the text is not what lies in the file."""
    if len(place.raw) >= MAX_RECORD_BYTES:
        # There may be more of it.
        return None
    text = os.pread(descriptor, _MOST_BEFORE + len(place.raw), place.offset)
    before = text.find(place.raw)
    return place.offset + before if before >= 0 and not text[:before].strip(_BEFORE) else None
