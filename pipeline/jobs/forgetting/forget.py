"""Erases ids from all that the program keeps of them: what a person may ask for.

    ledger, spool, memory  ->  the folder of each ended job, with its kept export  ->  receipt

It may be asked for at any time, and again: what is erased stays erased, what is left is told in the receipt. It
touches no export that lies elsewhere, and nothing that Target has.
"""

from pathlib import Path

from pipeline.core.erasure import Wanted
from pipeline.core.errors import ConfigurationError, ExitCode, InputError, PipelineError
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.printable import printable
from pipeline.core.values.column_steps import ColumnSteps
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.forgetting.exports import erase_from_kept
from pipeline.jobs.forgetting.folders import erase_from_folder
from pipeline.jobs.forgetting.receipt import Receipt
from pipeline.jobs.forgetting.store import erase_from_store
from pipeline.jobs.job import export_settings, mapping_settings, salt_of

_BOM = b"\xef\xbb\xbf"


async def forget(state: State, ids: Path) -> Path:
    """Erase the ids in a file, one a line, as exports have them or as they are sent; return the file of the receipt.

    Raises `PipelineError` (64, 65, 66) for a file that cannot be used, and `FatalError` (74) if the disk refuses.
    """
    given = await state.host.run_blocking(_read, ids)
    receipt = Receipt()
    jobs = await state.in_turn(_ended_with_folders, state)
    by_job = await _steps_of(state, jobs, receipt)
    wanted = Wanted.of(given, [steps for steps in by_job.values() if steps])
    await erase_from_store(state, wanted, receipt)
    hashes = wanted.hashes(state.ledger.salt)
    for record in jobs:
        folder, of_job = state.folder(record.job_id), wanted.by(by_job[record.job_id])
        settings = export_settings(record)
        await state.host.run_blocking(erase_from_folder, folder, settings.id_column, of_job, hashes, receipt)
        await erase_from_kept(folder.dropped, record, of_job, state.host, receipt)
    at = state.host.clock.utc_now()
    return await state.host.run_blocking(receipt.write, state.directory, wanted.given, state.ledger.salt, at)


def _read(file: Path) -> list[bytes]:
    """The lines of a file of ids."""
    name = printable(file.name)
    try:
        lines = file.read_bytes().removeprefix(_BOM).splitlines()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}.", exit_code=ExitCode.EXPORT_MISSING) from error
    if bad := [number for number, line in enumerate(lines, 1) if not is_utf8(line)]:
        raise InputError(f"line {bad[0]:,} of {name} is not UTF-8: write one id a line, in UTF-8.", line=bad[0])
    if not any(map(bytes.strip, lines)):
        raise PipelineError(f"{name} holds no id: write one a line.", exit_code=ExitCode.USAGE)
    return lines


def _ended_with_folders(state: State) -> list[JobRecord]:
    """The jobs that have ended and have a folder, in their order."""
    if not state.outcomes.is_dir():
        return []
    names = [each.name for each in state.outcomes.iterdir() if each.is_dir() and not each.is_symlink()]
    jobs = [job for name in names if (job := state.ledger.job(name)) is not None and job.state is not None]
    return sorted(jobs, key=lambda job: job.seq)


async def _steps_of(state: State, jobs: list[JobRecord], receipt: Receipt) -> dict[str, ColumnSteps | None]:
    """By job what [mapping] did to its ids."""
    found: dict[str, ColumnSteps | None] = {}
    for record in jobs:
        mapping = mapping_settings(record)
        of_ids = mapping.columns.get(export_settings(record).id_column)
        found[record.job_id] = None
        if of_ids is not None:
            try:
                found[record.job_id] = of_ids.steps(await salt_of(mapping, state.host.run_blocking))
            except ConfigurationError as error:
                why = f"its ids are found only as they were sent, and not as its export has them: {error}"
                receipt.leave(f"job {record.job_id}", why)
    return found
