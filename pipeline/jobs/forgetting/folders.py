"""Erases ids from the folder of an ended job: its rejects, the ids that Target named, and what was kept of its retries.

A file is written anew, whole or not at all, if it has any of the ids. Files that nothing needs once their job has ended
are removed as a whole.
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.erasure import Wanted
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BOM, BrokenLine, Framer, Record
from pipeline.core.model import Hashes
from pipeline.core.rows.reject_table import FOR_PEOPLE, Written, unguarded
from pipeline.edges.durable import disk_errors, sync_directory, write_durably
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.job_rows.row_index import erase_indexed
from pipeline.edges.store.job_rows.sent_ids import erase_sent
from pipeline.edges.store.rejects_table import written_of
from pipeline.jobs.forgetting.receipt import Receipt

_BLOCK_BYTES = 1_048_576
#: Bytes of the longest id in a text, encoded: so much of a block is looked at again with the next.
_OVERLAP_BYTES = 4_096


def erase_from_folder(folder: JobFolder, id_column: str, wanted: Wanted, hashes: Hashes, receipt: Receipt) -> None:
    """Erase ids from the folder of an ended job, but for its export. Blocks. Raises `FatalError` (74).

    `id_column`: of its export. `hashes`: of the ids, sorted.
    """
    receipt.erased["rejects"] += _erase_lines(folder.rejects, lambda line: _is_reject_of(line, wanted))
    written = written_of(folder) or Written((id_column,))
    receipt.erased["rejects"] += _erase_from_table(folder.rejects_table, written, id_column, wanted)
    receipt.erased["failed"] += _erase_lines(folder.failed, lambda line: wanted.is_named(line["id"]))
    receipt.erased["answers"] += _erase_lines(folder.answers, lambda line: wanted.is_in(line["text"].encode()))
    if folder.sent.is_dir() and not folder.sent.is_symlink():
        receipt.erased["sent"] += sum(erase_sent(file, hashes) for file in sorted(folder.sent.iterdir()))
    if not folder.index.path.is_symlink():
        receipt.erased["index"] += erase_indexed(folder.index.path, hashes)
    receipt.erased["sample"] += folder.sample.erase(lambda encoded: encoded.encode() in wanted.encoded)
    for_nobody = {folder.fixed, folder.mended, folder.header, folder.directory / "retry.csv"}
    erased = {folder.rejects, folder.rejects_table, folder.failed, folder.answers}
    for file in sorted(folder.directory.iterdir()):
        if file in erased or file.is_symlink() or not file.is_file() or not holds(file, wanted):
            continue
        if file in for_nobody:
            with disk_errors(f"cannot remove {file}"):
                file.unlink()
                sync_directory(folder.directory)
            receipt.erased["files"] += 1
        else:
            receipt.leave(file, "it holds an id, and is none of the files of a job: remove it")


def holds(file: Path, wanted: Wanted) -> bool:
    """True if any of the ids stands in a file, wherever. Blocks."""
    before = b""
    with disk_errors(f"cannot read {file}"), file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            if wanted.is_in(before + block):
                return True
            before = (before + block)[-_OVERLAP_BYTES:]
    return False


def _is_reject_of(line: dict[str, Any], wanted: Wanted) -> bool:
    if line["id"] is not None:
        return wanted.is_named(line["id"])
    raw = base64.b64decode(line["raw_base64"]) if "raw_base64" in line else line["raw"].encode()
    return wanted.is_in(raw)


def _erase_lines(file: Path, is_wanted: Callable[[dict[str, Any]], bool]) -> int:
    """Write a file of JSON lines without some of them; return how many. A line that a crash cut off stays."""
    if not file.exists() or file.is_symlink():
        return 0
    count = 0

    def kept() -> Iterator[bytes]:
        nonlocal count
        with file.open("rb") as opened:
            for line in opened:
                with suppress(orjson.JSONDecodeError):
                    if is_wanted(orjson.loads(line)):
                        count += 1
                        continue
                yield line

    return _written_anew(file, kept, lambda: count)


def _erase_from_table(file: Path, written: Written, id_column: str, wanted: Wanted) -> int:
    """Write `rejects.csv` without some of its rows; return how many."""
    if not file.exists() or file.is_symlink():
        return 0
    count = 0

    def kept() -> Iterator[bytes]:
        nonlocal count
        records = _records(file, written.table_delimiter)
        header = next(records, None)
        if not isinstance(header, Record):
            return
        names = [unguarded(field.decode(errors="surrogateescape")) for field in header.fields]
        people = sum(name in FOR_PEOPLE for name in names[: len(FOR_PEOPLE)])
        place = names.index(id_column, people) if id_column in names[people:] else people
        yield BOM + header.raw + b"\r\n"
        for record in records:
            if _is_row_of(record, place, len(names), wanted):
                count += 1
                continue
            yield record.raw + b"\r\n"

    return _written_anew(file, kept, lambda: count)


def _is_row_of(record: Record | BrokenLine, place: int, width: int, wanted: Wanted) -> bool:
    if isinstance(record, Record) and len(record.fields) == width and record.fields[place]:
        return wanted.is_id(
            unguarded(record.fields[place].decode(errors="surrogateescape")).encode(errors="surrogateescape")
        )
    return wanted.is_in(record.raw)


def _records(file: Path, delimiter: bytes) -> Iterator[Record | BrokenLine]:
    framer = Framer(Dialect(delimiter))
    with file.open("rb") as opened:
        first = opened.read(_BLOCK_BYTES).removeprefix(BOM)
        yield from framer.feed(first)
        while block := opened.read(_BLOCK_BYTES):
            yield from framer.feed(block)
    yield from framer.finish()


def _written_anew(file: Path, kept: Callable[[], Iterable[bytes]], count: Callable[[], int]) -> int:
    """Look if anything goes, and only then write the rest."""
    with disk_errors(f"cannot read {file}"):
        for _ in kept():
            pass
    found = count()
    if found:
        write_durably(file, kept())
    return found
