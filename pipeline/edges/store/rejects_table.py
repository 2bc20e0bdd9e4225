"""Writes `rejects.csv` of a job's folder, in which its rejected rows are mended, from `rejects.jsonl` beside it.

It is made once, when the job ends, line by line: a crash before leaves none, and one that is made anew is the same.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from pipeline.core.batches.parts import Place
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.formats.framing import BOM
from pipeline.core.plain import of_plain, plain
from pipeline.core.rows.reject_table import (
    FILE,
    LINE,
    REASON,
    Written,
    fits_a_spreadsheet,
    guarded,
    is_to_be_mended,
    table_line,
)
from pipeline.edges.durable import read_file, write_durably
from pipeline.edges.store.job_folder import JobFolder

#: Bytes of the file that says how an export is written: the names of its columns, which are a header's at most.
_MAX_BYTES = 16_777_216


def note_written(folder: JobFolder, written: Written) -> None:
    """Note how the export of a job is written, unless that is noted already."""
    if not folder.columns.exists():
        write_durably(folder.columns, [orjson.dumps(plain(written))])


def written_of(folder: JobFolder) -> Written | None:
    """The way the export of a job is written; None if that was not noted, because none of its rows was rejected."""
    if not folder.columns.exists():
        return None
    return of_plain(Written, orjson.loads(read_file(folder.columns, max_bytes=_MAX_BYTES)))


def write_rejects_table(
    folder: JobFolder,
    columns_sent: Mapping[str, str],
    words: Mapping[str, str],
    *,
    place_of: Callable[[Place], Place] = lambda place: place,
    has_parts: bool = False,
    is_sent_as_read: bool = True,
) -> None:
    """Write `rejects.csv`, whole or not at all, unless there is nothing to mend.

    `columns_sent`: source column -> parameter, the id's first; a row that Target refused is told by them.
    `words`: of a reason.
    `place_of`: the place to tell, of that in the rejects file.
    `has_parts`: the rows are of several parts, which are named.
    `is_sent_as_read`: false if the values
    that were sent are not those of the export, so that a row that Target refused cannot be told as one of it.
    """
    written = written_of(folder) or Written(tuple(columns_sent))

    def table() -> Iterator[bytes]:
        for_people = (LINE, REASON, *([FILE] if has_parts else []))
        yield BOM + table_line([*for_people, *map(guarded, written.columns)], written.table_delimiter)
        for line in _lines(folder):
            cells = _cells(line, written, columns_sent, is_sent_as_read=is_sent_as_read)
            reason = words.get(line["reason"], line["reason"])
            if cells is None or not fits_a_spreadsheet(cells):
                cells, reason = [], f"{reason}; the row itself is in {folder.rejects.name} only"
            place = place_of(Place(line["file"], line["line"]))
            people = [str(place.line), reason, *([guarded(place.file)] if has_parts else [])]
            yield table_line([*people, *map(guarded, cells)], written.table_delimiter)

    if next(_lines(folder), None) is not None:
        write_durably(folder.rejects_table, table())


def _lines(folder: JobFolder) -> Iterator[dict[str, Any]]:
    if not folder.rejects.exists():
        return
    with folder.rejects.open("rb") as file:
        for text in file:
            line = orjson.loads(text)
            if is_to_be_mended(line["reason"]):
                yield line


def _cells(
    line: Mapping[str, Any], written: Written, columns_sent: Mapping[str, str], *, is_sent_as_read: bool
) -> list[str] | None:
    """The cells of a rejected row as the export has them; None if that is not known."""
    if line["reason"] != TARGET_REFUSED:
        raw = base64.b64decode(line["raw_base64"]) if "raw_base64" in line else line["raw"].encode()
        return written.cells(raw)
    if not is_sent_as_read:
        return None
    sent = dict(zip(columns_sent, map(unquote, line["raw"].split(",")), strict=False))
    return [sent.get(column, "") for column in written.columns]
