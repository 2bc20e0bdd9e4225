"""Finds the ids that earlier snapshots of a route had and this one no longer has, and gathers a row for each.

An id is here if any record of the export has it: also one that is rejected, empty or left out by [mapping], which says
nothing that is sent, but is not gone. So where there are such records, the export is read once more, by the column of
ids alone. A record of which nobody can tell whose it is may be of any id: then nothing is taken for gone, and it is
said. Hashes may collide; then an id counts as here, never as gone.

The rows stand on line 0, since no line of the export has them. They are placed, held, sent and followed as all others,
filled in from the memory, and when they are released their line tells that their ids are gone: no later snapshot finds
them so again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.gathered import Run
from pipeline.core.memory.entries import Entries
from pipeline.core.memory.id_kinds import keys_of_kind
from pipeline.core.model import Hashes, Reason, Reject
from pipeline.core.plural import counted
from pipeline.core.rows.encoding import encode
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.mapping import pack_rows
from pipeline.core.values.column_steps import ColumnSteps
from pipeline.core.values.row_steps import RowSteps
from pipeline.edges.exports import changed
from pipeline.edges.store.job_rows.row_index import GONE
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.memory.sorted_file import PARTITIONS, FileFacts, SortedFile, write_sorted
from pipeline.jobs.gathering.runs import open_run, write_run
from pipeline.jobs.job import Job, opens_export, source_name, steps_of
from pipeline.jobs.row_source.rows import open_rows

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gone:
    """The ids that are gone: `runs` have a row for each. `too_many`: that they are too many, in words, or empty."""

    runs: tuple[Run, ...] = ()
    too_many: str = ""


#: Ids whose hashes one file has, and rows of ids that are gone that one run has.
_AT_ONCE = 1_000_000
#: Rejected for these reasons, a record is of nobody, or of an id that Target never took.
_OF_NOBODY = frozenset(
    {Reason.HEADER_AGAIN, Reason.EMPTY_ID, Reason.ID_PLACEHOLDER, Reason.ID_CHARACTER, Reason.ID_TOO_LONG}
)
#: The parameter by which a record has a row, whatever else it has.
_ANY = "any"


@dataclass(frozen=True, slots=True)
class _Here:
    """The hashes of all ids that the export has, as each of some files is asked for those of a partition."""

    asks: tuple[Callable[[int], Hashes], ...]

    def keys(self, partition: int, id_kind: str) -> Hashes:
        """Those of a partition, as keys of the memory."""
        hashes = [ask(partition) for ask in self.asks]
        return keys_of_kind(np.concatenate([np.zeros(0, dtype=np.uint64), *hashes]), id_kind)


async def gather_gone(job: Job, directory: Path, runs: list[Run]) -> Gone:
    """Write a row for each id that is gone, in runs behind these, which have all other rows."""
    memory = job.state.memory
    if not job.export.gone or memory is None or not memory.has_values or job.record.retry_of is not None:
        return Gone()
    source = await job.state.in_turn(job.state.ledger.number_of_source, source_name(job.record, job.export))
    here = await _here(job, directory, runs)
    if here is None:
        return Gone()
    write = partial(_write_gone, job, memory, here, source, directory, len(runs))
    # The memory is read some ids after the other, and a merge removes files.
    async with job.state.turn_to_merge:
        gone, total = await job.host.run_blocking(write)
    count = sum(run.rows for run in gone)
    job.progress.checkpoint.warnings.ids_gone = count
    if not job.export.max_gone.is_exceeded(count, total, final=True):
        return Gone(tuple(gone))
    too_many = (
        f"{count:,} of the {counted(total, 'id')} that snapshots of this route had are not in it, more than [export] "
        f"max_gone = {job.export.max_gone} allows"
    )
    return Gone(tuple(gone), too_many)


async def _here(job: Job, directory: Path, runs: list[Run]) -> _Here | None:
    """The ids that the export has; None if that is not known."""
    checkpoint, run = job.progress.checkpoint, job.host.run_blocking
    if not (checkpoint.rejected or checkpoint.empty or checkpoint.excluded):
        return await run(_gathered, directory, runs)
    found, unsure = list[tuple[Path, FileFacts]](), list[int]()
    buffer, buffered = list[Hashes](), 0

    async def write() -> None:
        file = directory / f"ids-{len(found):06d}"
        found.append((file, await run(_write_hashes, file, buffer)))
        buffer.clear()

    settings = job.export.model_copy(update={"columns": {}, "unlisted": "ignore", "gone": {}})
    steps = (await steps_of(job)).columns.get(settings.id_column)
    by_name = {} if steps is None else {settings.id_column: steps}
    opened = opens_export(job.record, job.host)
    async with opened(job.record.export, settings.encoding) as export:
        source = await open_rows(
            export,
            settings,
            Checkpoint(),
            open_export=opened,
            carried=(),
            max_batch_bytes=job.settings.batch.max_bytes,
            salt=job.state.ledger.salt,
            run_blocking=run,
            steps=RowSteps(columns=by_name, constants={_ANY: "1"}),
        )
        while (block := await source.read()) is not None:
            buffer += [block.mapped.rows.hashes, _hashes_of(block.mapped.rejects, steps, job.state.ledger.salt)]
            buffered += len(block.mapped.rows)
            unsure += _unsure(block.mapped.rejects)
            if buffered >= _AT_ONCE:
                await write()
                buffered = 0
        if export.sha256 != job.progress.sha256:
            raise changed(job.record.export)
    if unsure:
        checkpoint.warnings.note("gone_unsure", unsure[0], len(unsure))
        log.warning("gone_not_looked_for", job=job.record.job_id, rows=len(unsure))
        return None
    await write()
    return await run(_opened, found)


def _unsure(rejects: list[Reject]) -> list[int]:
    """The lines of records of which nobody can tell whose they are."""
    return [reject.line for reject in rejects if reject.reason not in _OF_NOBODY]


def _hashes_of(rejects: list[Reject], steps: ColumnSteps | None, salt: int) -> Hashes:
    """The hashes of the ids of rejected records, as far as they have one."""
    ids = [reject.profile_id.decode(errors="replace") for reject in rejects if reject.profile_id]
    sent = [encode((each if steps is None else steps.done(each).value).encode()) for each in ids]
    lengths = np.array([len(each) for each in sent], dtype=np.int64)
    return hash_ids(b"".join(sent), np.cumsum(lengths) - lengths, lengths, salt)


def _write_hashes(file: Path, buffer: list[Hashes]) -> FileFacts:
    return write_sorted(file, np.sort(np.concatenate(buffer)), {})


def _opened(files: list[tuple[Path, FileFacts]]) -> _Here:
    opened = [SortedFile.open(file, facts) for file, facts in files]
    return _Here(tuple(partial(_keys_of, file) for file in opened))


def _keys_of(file: SortedFile, partition: int) -> Hashes:
    return file.rows_of(partition).keys


def _gathered(directory: Path, runs: list[Run]) -> _Here:
    return _Here(tuple(open_run(directory, number, run).hashes for number, run in enumerate(runs)))


def _write_gone(
    job: Job, memory: Memory, here: _Here, source: int, directory: Path, first: int
) -> tuple[list[Run], int]:
    """Write the runs of rows of ids that are gone; return them, and the number of ids that the source has."""
    total, left, runs = 0, list[bytes](), list[Run]()

    def write() -> None:
        if left:
            texts = [profile_id + cells for profile_id in left]
            rows = pack_rows(texts, [*map(len, left)], [0] * len(left), job.state.ledger.salt)
            job.folder.index.add(GONE, rows.hashes, rows.lines)
            runs.append(write_run(directory, first + len(runs), [rows], job.digested))
            left.clear()

    cells = _cells(job)
    for partition in range(PARTITIONS):
        keys = here.keys(partition, job.export.id_kind)
        for entries in memory.parts_of(partition):
            is_of_source = entries.sources == source
            total += int(np.count_nonzero(is_of_source))
            is_gone = is_of_source & ~np.isin(entries.keys, keys)
            left += _ids(entries.taken(np.flatnonzero(is_gone)))
            if len(left) >= _AT_ONCE:
                write()
    write()
    return runs, total


def _ids(entries: Entries) -> Iterator[bytes]:
    if entries.values is not None:
        yield from map(entries.values.profile_id, range(len(entries)))


def _cells(job: Job) -> bytes:
    """The cells, behind the id, of the row of each id that is gone."""
    gone = job.export.gone
    cells = [encode(gone[name].encode()) if name in gone else b"" for name in job.progress.checkpoint.parameters]
    return b"".join(b"," + cell for cell in cells).rstrip(b",") + b"\n"
