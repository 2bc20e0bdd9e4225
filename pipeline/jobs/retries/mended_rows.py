"""Loads rejected rows that somebody mended, as part of the account of the job that rejected them.

They are loaded as an ordinary job whose `retry_of` is that job: with its [export] settings, so that a row that is still
bad is rejected again, into a `rejects.csv` of its own. They are as old as the rows they were: a row is left out if a
later one of its id was sent since, by its own export or another, or if nobody can tell (`later_rows`). That is found
out on request, and once more when the job begins, as jobs before it may have sent more meanwhile.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import numpy as np
import structlog

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.parts import Places
from pipeline.core.errors import ExitCode, InputError, PipelineError
from pipeline.core.model import Flags, Hashes, Offsets
from pipeline.core.plural import counted
from pipeline.core.rows.allowance import Allowance
from pipeline.core.rows.header import suggest_parameter_name
from pipeline.core.rows.reject_table import Written
from pipeline.core.values.row_steps import RowSteps
from pipeline.edges.durable import write_durably
from pipeline.edges.exports import Identity
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.rejects_table import written_of
from pipeline.edges.store.state import State
from pipeline.jobs.job import (
    export_settings,
    mapping_settings,
    new_job_ids,
    root_of,
    settings_of_a_job,
    steps_as_begun,
    unknown_job,
)
from pipeline.jobs.retries.fixed_table import MendedRows, Rejected, read_mended
from pipeline.jobs.retries.later_rows import later_rows
from pipeline.jobs.retries.lost_rows import Retry, to_go_on
from pipeline.jobs.row_source import open_rows
from pipeline.settings.sections.export import ExportSettings

log = structlog.get_logger()

#: Bytes of a batch by which rows are judged before their job begins; it judges them by the settings of then.
_MAX_BATCH_BYTES = 49_999_999
#: Rows that are named.
_NAMED = 20
_BLOCK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class _Left:
    """The mended rows that are loaded, and what is left out: the lines of rows overtaken, and of those nobody knows."""

    rows: int
    unmended: int
    overtaken: list[str]
    untold: list[str]


async def begin_mended(state: State, job_id: str, given: Path) -> Retry:
    """Enter a job that loads the mended rows in the file `given`, unless they are loaded already, or none can be.

    Raises `PipelineError` (64, 65, 66) for a job or a file of which no rows can be loaded.
    """
    asked, origin = await state.in_turn(_asked, state, job_id)
    digest = await state.host.run_blocking(_digest_of, given)
    if same := await state.in_turn(_same, state, origin, digest):
        unfinished = await state.in_turn(_unfinished, state)
        if same.state is None:
            return to_go_on(f"these rows are loaded by job {same.job_id} already", same.job_id, unfinished)
        return Retry(f"nothing sent: these rows were loaded by job {same.job_id} already.")
    now = state.host.clock.utc_now()
    named = [Path(f"mended-of-{origin.export.stem}")]
    (new_id,) = await state.in_turn(new_job_ids, named, now, state.ledger)
    try:
        left = await _enter(state, asked, origin, given, new_id)
    finally:
        with anyio.CancelScope(shield=True):
            await state.in_turn(state.end_folder, new_id)
    if not left.rows - left.unmended:
        return Retry(f"job {job_id} has no mended row to load{_about(left)}.")
    rows, are = counted(left.rows, "row"), "is" if left.rows == 1 else "are"
    unfinished = await state.in_turn(_unfinished, state)
    return to_go_on(f"{rows} of job {job_id} {are} loaded as job {new_id}{_about(left)}", new_id, unfinished)


async def _enter(state: State, asked: JobRecord, origin: JobRecord, given: Path, new_id: str) -> _Left:
    """Enter the job of the mended rows of `asked`, unless there are none."""
    run, now = state.host.run_blocking, state.host.clock.utc_now()
    folder = await state.in_turn(state.begin_folder, new_id)
    await run(lambda: write_durably(folder.fixed, pieces_of(given)))
    rejected = await state.in_turn(_rejected, state, origin, asked)
    left = await _lay_out(state, origin, rejected, folder, export_settings(origin))
    if left.rows - left.unmended:
        await run(write_durably, folder.asked, [asked.job_id.encode()])
        identity = Identity.of(folder.mended.stat())
        settings = settings_of_mended(export_settings(origin), rejected.tables[0][1])
        values = settings_of_a_job(settings, mapping_settings(origin))
        record = JobRecord.new(new_id, folder.mended, identity, values, now, route=origin.route, retry_of=origin.job_id)
        await state.in_turn(state.ledger.begin_job, record)
    return left


async def mended_left(state: State, retry: JobRecord) -> JobRecord:
    """Write the export of a job of mended rows that is about to begin anew, without what was overtaken since."""
    origin = await state.in_turn(root_of, state, retry)
    is_begun = retry.checkpoint.read or retry.checkpoint.has_ended or retry.has_begun
    folder = state.folder(retry.job_id)
    if origin is None or is_begun or not folder.fixed.exists():
        return retry
    job_id = (await state.host.run_blocking(folder.asked.read_text)).strip()
    asked = await state.in_turn(state.ledger.job, job_id)
    rejected = await state.in_turn(_rejected, state, origin, asked or origin)
    left = await _lay_out(state, origin, rejected, folder, export_settings(retry), is_checked=True)
    if left.overtaken or left.untold:
        log.warning(
            "mended_rows_overtaken",
            job=retry.job_id,
            retry_of=origin.job_id,
            rows=len(left.overtaken),
            untold=len(left.untold),
        )
    return await state.in_turn(state.ledger.set_source, retry, Identity.of(folder.mended.stat()))


def _asked(state: State, job_id: str) -> tuple[JobRecord, JobRecord]:
    """The job that is asked for, and the one whose rows it loaded, which may be itself."""
    asked = state.ledger.job(job_id)
    if asked is None:
        raise unknown_job(job_id)
    origin = root_of(state, asked)
    if asked.state is None:
        raise PipelineError(f"job {job_id} has not ended yet; it is finished first.", exit_code=ExitCode.USAGE)
    if asked.state == "skipped":
        raise PipelineError(f"job {job_id} was a dry run: load the mended export.", exit_code=ExitCode.USAGE)
    if origin is None or not state.folder(job_id).rejects_table.exists():
        raise PipelineError(
            f"job {job_id} has no rejects.csv: it rejected no row, or an earlier version loaded it, or the time of "
            "that file was over ([drop] keep_rejects_days). Load the mended rows as an export of their own, with "
            "`load`: they count as the newest of their ids then.",
            exit_code=ExitCode.USAGE,
        )
    return asked, origin


def _rejected(state: State, origin: JobRecord, asked: JobRecord) -> Rejected:
    """The tables of the rows of `origin` that it and its retries rejected, that of the job `asked` first.

    Raises `InputError` (65) if that one is gone.
    """
    if not state.folder(asked.job_id).rejects_table.exists():
        raise InputError(
            f"the mended rows cannot be told from others any more: rejects.csv of job {asked.job_id} was removed. Load "
            "them as an export of their own, with `load`."
        )
    others = [origin, *(retry for retry in state.ledger.retries_of(origin.job_id) if retry.is_of_mended)]
    jobs = [asked, *(job for job in others if job.job_id != asked.job_id)]
    folders = [(state.folder(job.job_id), job) for job in jobs]
    tables = [(folder.rejects_table, _written(folder, job)) for folder, job in folders if folder.rejects_table.exists()]
    return Rejected(asked.job_id, tables, origin.checkpoint.parts)


def _unfinished(state: State) -> list[str]:
    return [job.job_id for job in state.ledger.jobs(unfinished_only=True)]


def _same(state: State, origin: JobRecord, digest: str) -> JobRecord | None:
    """The latest job that loads, or has loaded, a mended table of this content; None if none does."""
    for retry in reversed(state.ledger.retries_of(origin.job_id)):
        fixed = state.folder(retry.job_id).fixed
        counts = retry.state in ("done", "incomplete") or (retry.state is None and not retry.is_abandoned)
        if retry.is_of_mended and counts and fixed.exists() and _digest_of(fixed) == digest:
            return retry
    return None


def pieces_of(path: Path) -> Iterator[bytes]:
    """The content of a file, piece by piece. Raises `InputError` (66), at once, if it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.", exit_code=ExitCode.EXPORT_MISSING) from error

    def pieces() -> Iterator[bytes]:
        with file:
            try:
                while block := file.read(_BLOCK_BYTES):
                    yield block
            except OSError as error:
                why = f"cannot read {path}: {error.strerror}."
                raise InputError(why, exit_code=ExitCode.EXPORT_MISSING) from error

    return pieces()


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    for block in pieces_of(path):
        digest.update(block)
    return digest.hexdigest()


def _written(folder: JobFolder, record: JobRecord) -> Written:
    return written_of(folder) or Written(tuple(columns_sent(record, None)))


def columns_sent(record: JobRecord, written: Written | None) -> dict[str, str]:
    """By column of the export of a job the parameter it is sent as, in the order of its batches, the id's first."""
    settings = export_settings(record)
    names = dict(settings.columns)
    for column in written.columns if written else ():
        is_path = settings.unlisted == "send" and "." in column
        names.setdefault(column, suggest_parameter_name(column) if is_path else column)
    columns = {parameter: column for column, parameter in names.items()}
    sent = {columns.get(parameter, parameter): parameter for parameter in record.checkpoint.parameters}
    return {settings.id_column: settings.id_kind, **sent}


def settings_of_mended(settings: ExportSettings, written: Written) -> ExportSettings:
    """The [export] section for `mended.csv`: that of the job whose rows it has, but for how its export is written."""
    made = {path: suggest_parameter_name(path) for path in written.columns if "." in path}
    more = made if settings.unlisted == "send" else {}
    changed = {
        "columns": {**more, **settings.columns},
        "format": "csv",
        "delimiter": ",",
        "encoding": "utf-8",
        "quote": '"',
        "escape": "",
        "header": True,
        "skip_first": 0,
        "skip_last": 0,
        "trailer": "",
        # These rows alone: an id that is not among them is not gone.
        "kind": "delta",
        "gone": {},
        "max_rejects": Allowance(percent=100.0),
    }
    return settings.model_copy(update=changed)


async def _lay_out(
    state: State,
    origin: JobRecord,
    rejected: Rejected,
    folder: JobFolder,
    settings: ExportSettings,
    *,
    is_checked: bool = False,
) -> _Left:
    """Write `mended.csv` in the folder of a job, with those rows of its `fixed.csv` that nothing has overtaken."""
    run = state.host.run_blocking
    settings = settings_of_mended(settings, rejected.tables[0][1])
    into = folder.directory / "mended.part"
    mended = await run(partial(read_mended, folder.fixed, rejected, into, is_checked=is_checked))
    try:
        order = np.argsort(mended.origins, kind="stable").astype(np.int64)
        lines = await run(mended.write, folder, order)
        steps = await steps_as_begun(state, origin, mapping_settings(origin), origin.checkpoint.salt)
        at, hashes = await _ids(state, folder.mended, settings, steps)
        rows = order[np.searchsorted(lines, at)]
        later = await state.in_turn(later_rows, state, origin, hashes, mended.origins[rows])
        out, places = later.overtaken | later.untold, origin.checkpoint.places(origin.export.name)
        if np.any(out):
            await run(mended.write, folder, order[~np.isin(order, rows[out])])
        return _Left(
            len(mended) - int(np.count_nonzero(out)),
            mended.unmended,
            _told(mended, rows, later.overtaken, places),
            _told(mended, rows, later.untold, places),
        )
    finally:
        await run(mended.close)


def _told(mended: MendedRows, rows: Offsets, which: Flags, places: Places) -> list[str]:
    """The lines of some rows, for a sentence."""
    lines = mended.origins[rows[which]].tolist()
    return [places.told(line) if line else "line unknown" for line in lines]


async def _ids(state: State, export: Path, settings: ExportSettings, steps: RowSteps) -> tuple[Offsets, Hashes]:
    """The line of each row of an export that would be sent, and the hash of its id as it is sent.

    Raises `InputError` (65).
    """
    lines: list[Offsets] = [np.empty(0, dtype=np.int64)]
    hashes: list[Hashes] = [np.empty(0, dtype=np.uint64)]
    async with state.host.open_export(export, settings.encoding) as opened:
        source = await open_rows(
            opened,
            settings,
            Checkpoint(),
            open_export=state.host.open_export,
            carried=(),
            max_batch_bytes=_MAX_BATCH_BYTES,
            salt=state.ledger.salt,
            run_blocking=state.host.run_blocking,
            steps=steps,
        )
        while (block := await source.read()) is not None:
            lines.append(block.mapped.rows.lines)
            hashes.append(block.mapped.rows.hashes)
    return np.concatenate(lines), np.concatenate(hashes)


def _about(left: _Left) -> str:
    told = ""
    if left.unmended:
        one = left.unmended == 1
        told += f"; {counted(left.unmended, 'row')} {'is as it was' if one else 'are as they were'}, and not mended"
    for lines, why in (
        (left.overtaken, "a later row of the same id was sent"),
        (
            left.untold,
            "nobody can tell if a later row of the same id was sent",
        ),
    ):
        if lines:
            which = ", ".join(lines[:_NAMED])
            more = f" and {len(lines) - _NAMED:,} more" if len(lines) > _NAMED else ""
            told += f"; {counted(len(lines), 'row')} left out because {why}: {which}{more}"
    return told
