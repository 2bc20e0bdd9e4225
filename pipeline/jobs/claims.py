"""Dropped exports on their way from the drop directory to their first POST.

`enter` puts a drop into the ledger and takes its files. `complete_claims` takes files where a crash came in between.
`next_job` finds the job whose turn it is. `check_claim` refuses, before anything is sent, what may not be loaded.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from pipeline.core.drop.claim import Claim
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError, HeaderError, InputError
from pipeline.core.formats.framing import BOM
from pipeline.edges.clock import Clock
from pipeline.edges.drop.listing import Found
from pipeline.edges.drop.taking import CannotTakeError, TakeResult, Taking, hold_drop
from pipeline.edges.durable import real_place
from pipeline.edges.exports import Identity, PartFile, identity_of
from pipeline.edges.store.ledger import Ledger
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.job import export_settings, new_job_ids, opens_export, settings_of_a_job
from pipeline.jobs.row_source import Measured, measure, with_header_kept
from pipeline.jobs.row_source.manifest_checks import check_columns, check_said
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.mapping import NO_MAPPING, MappingSettings
from pipeline.settings.tenants import DEFAULT_ROUTE

log = structlog.get_logger()

#: Bytes of an export that may hold nothing but a byte order mark, blank lines and what packs them. Ours.
_MOST_OF_NOTHING = 4_096


@dataclass(frozen=True, slots=True)
class Drop:
    """A signal whose export a route is to take, with its date `as_of`; with `error` its job fails."""

    found: Found
    as_of: str | None = None
    error: InputError | None = None
    route: str = DEFAULT_ROUTE


async def enter(
    drop: Drop, state: State, processing: Taking, settings: ExportSettings, mapping: MappingSettings = NO_MAPPING
) -> JobRecord:
    """Enter the job of a drop, behind all others, then take its files; a crash may come anywhere.

    Raises `CannotTakeError` if a file may not be taken: then all is as before.
    """
    values = settings_of_a_job(settings, mapping)
    entered = await state.in_turn(_begin, state.ledger, drop, processing, state.host.clock, values)
    (taken,) = await _take([entered], state, processing)
    return taken


def _begin(ledger: Ledger, drop: Drop, processing: Taking, clock: Clock, settings: dict[str, Any]) -> JobRecord:
    found, now = drop.found, clock.utc_now()
    name = _name(found)
    (job_id,) = new_job_ids([Path(name)], now, ledger)
    manifest = found.manifest
    claim = Claim(
        drop=job_id,
        source=name if found.files else "",
        signal=found.signal.path,
        signal_bytes=found.signal.identity.size_bytes,
        signal_mtime_ns=found.signal.identity.mtime_ns,
        # The parts have a place of their own.
        manifest=replace(manifest, files=(), file_bytes=()) if found.parts_of else manifest,
        as_of=drop.as_of,
        signal_inode=found.signal.identity.inode,
        beside=found.beside if found.files else (),
    )
    parts = tuple(PartFile(Path(file.path).name, file.identity) for file in found.files)
    is_one_file = found.parts_of is None and found.files
    record = JobRecord.new(
        job_id,
        processing.taken(job_id, name),
        parts[0].identity if is_one_file else identity_of(parts),
        settings,
        now,
        claim=claim.failed(drop.error) if drop.error else claim,
        route=drop.route,
        parts=() if is_one_file else parts,
    )
    return ledger.begin_job(record)


def _name(found: Found) -> str:
    """The path a job goes by: that of its export; of a drop without one, the first missing file, else the signal."""
    if found.parts_of is not None:
        return found.parts_of
    return found.files[0].path if found.files else next(iter(found.missing), found.signal.path)


async def complete_claims(state: State, held: Iterable[Taking] = ()) -> None:
    """Take the files that an earlier process entered and did not take. Drop directories not in `held` are held here."""
    drops: dict[str, list[JobRecord]] = {}
    for record in await state.in_turn(state.ledger.untaken_jobs):
        if record.claim:
            drops.setdefault(record.claim.drop, []).append(record)
    processings = {real_place(processing.drop): processing for processing in held}
    with ExitStack() as stack:
        for records in drops.values():
            directory = drop_of(records[0])
            if directory not in processings:
                processings[directory] = stack.enter_context(_held_again(directory))
            try:
                await _take(records, state, processings[directory])
            except CannotTakeError as error:
                # Its signal is found anew.
                log.warning("claim_withdrawn", drop=records[0].job_id, why=str(error))


@contextmanager
def _held_again(drop: Path) -> Iterator[Taking]:
    """Hold a drop directory that was held before: where that cannot be, it is away, and may come back (74)."""
    with ExitStack() as stack:
        try:
            taking = stack.enter_context(hold_drop(drop))
        except ConfigurationError as error:
            raise FatalError(
                f"{error} It is tried again by the next run.", exit_code=ExitCode.DISK_OR_LEDGER
            ) from error
        yield taking


def drop_of(record: JobRecord) -> Path:
    """The drop directory from which a job's export was taken."""
    return real_place(record.export.parents[2])


async def _take(records: list[JobRecord], state: State, processing: Taking) -> list[JobRecord]:
    """Take the files of a drop, write that down, and return the records as they are then.

    Raises `CannotTakeError` if one of them may not be taken: all are in their places then, and the jobs are withdrawn.
    """
    try:
        return await _take_all(records, state, processing)
    except CannotTakeError:
        taken = [(record.job_id, path) for record in records for path, _ in _files_of(record)]
        for record in records:
            taken += [(record.job_id, path) for path in _lists_of(record)]
        first = records[0].claim
        if first is not None:
            taken.append((first.drop, first.signal))
        back = [await state.host.run_blocking(processing.give_back, *each) for each in taken]
        if not all(back):
            raise FatalError(
                f"{processing.directory} holds files of {taken[-1][1]} that have no place to go back to: other files "
                "have their names. Move these away.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            ) from None
        await state.in_turn(state.ledger.withdraw_jobs, [record.job_id for record in records])
        raise


def _files_of(record: JobRecord) -> list[tuple[str, Identity]]:
    """The files that a job takes besides the signal: their paths in the drop directory, and what they are."""
    claim = record.claim
    if claim is None or not claim.source:
        return []
    if not record.parts:
        return [(claim.source, record.identity)]
    return [(claim.path_of(part.name), part.identity) for part in record.parts]


def _lists_of(record: JobRecord) -> list[str]:
    """The paths in the drop directory of the lists that say which files are parts."""
    return [] if record.claim is None else [*map(record.claim.path_of, record.claim.beside)]


async def _take_all(records: list[JobRecord], state: State, processing: Taking) -> list[JobRecord]:
    claims = {record.job_id: record.claim for record in records if record.claim}
    first = claims[records[0].job_id]
    identity = Identity(first.signal_bytes, first.signal_mtime_ns, first.signal_inode)
    signal = await state.host.run_blocking(processing.take, first.drop, first.signal, identity)
    error: InputError | None = None
    if signal is not TakeResult.TAKEN:
        error = InputError(
            f"the signal {shown(first.signal)} was withdrawn or replaced while it was being taken: nothing was loaded. "
            "What is there now is taken anew."
        )
    for record in records if error is None else ():
        claim = claims[record.job_id]
        for path, seen in _files_of(record):
            taking = await state.host.run_blocking(processing.take, record.job_id, path, seen)
            error = error or _not_taken(taking, path, claim)
        for path in _lists_of(record):
            await state.host.run_blocking(processing.take_along, record.job_id, path)
    claims = {
        job_id: replace(claim.failed(error) if error else claim, is_taken=True) for job_id, claim in claims.items()
    }
    await state.host.run_blocking(processing.remove_emptied, first.source or first.signal)
    await state.in_turn(state.ledger.note_claims, claims)
    for record in records:
        log.info(
            "export_claimed",
            job=record.job_id,
            export=shown(record.export.name),
            signal=shown(first.signal),
            parts=len(record.parts) or 1,
        )
    return [replace(record, claim=claims[record.job_id]) for record in records]


def _not_taken(taking: TakeResult, path: str, claim: Claim) -> InputError | None:
    match taking:
        case TakeResult.GONE:
            return InputError(
                f"{shown(path)} disappeared after its signal {shown(claim.signal)}: drop both again.",
                exit_code=ExitCode.EXPORT_MISSING,
            )
        case TakeResult.REPLACED:
            return InputError(
                f"{shown(path)} was changed after its signal {shown(claim.signal)}: write exports under "
                "another name, rename them when they are complete, and signal them then."
            )
    return None


async def next_job(state: State, running: Collection[int] = ()) -> JobRecord | None:
    """The first unfinished job, in order, that does not run; None if there is none or its export is not taken yet."""
    # Of the first jobs in order, one more than run: one of them does not run.
    records = await state.in_turn(state.ledger.jobs_in_order, len(running) + 1)
    record = next((record for record in records if record.seq not in running), None)
    return None if record is None or (record.claim is not None and not record.claim.is_taken) else record


async def check_claim(record: JobRecord, state: State) -> None:
    """Raise `InputError` if a dropped export may not be loaded. Called when its job runs; one that has begun passes."""
    claim = record.claim
    if claim is None or record.has_begun:
        return
    if record.is_abandoned and len(await state.in_turn(state.ledger.jobs_of_drop, claim.drop)) == 1:
        return
    if claim.failure is not None:
        raise claim.failure
    # An export that is too old or abandoned is compared too: the manifest describes all exports of the drop together.
    if not claim.is_verified:
        await _verify(claim, state)
    if not claim.manifest.again and not record.is_abandoned:
        await _check_age(record, claim, state)


async def is_empty(record: JobRecord, state: State) -> bool:
    """True if no part of a dropped export holds anything: there is nothing to load. A file by itself is no part."""
    claim = record.claim
    if claim is None or claim.error is not None or record.is_abandoned or not record.parts:
        return False
    if any(part.identity.size_bytes > _MOST_OF_NOTHING for part in record.parts):
        return False
    try:
        async with opens_export(record, state.host)(record.export, export_settings(record).encoding) as export:
            while True:
                while block := await export.read_block():
                    if block.removeprefix(BOM).strip():
                        return False
                if not await export.next_part():
                    return True
    except InputError:
        # Loading it meets the same error, and reports it.
        return False


def changed_at_the_end(record: JobRecord, change: str) -> InputError:
    """The error for an export that changed, in the way that `change` says, after it was read to its end."""
    kept = "It is kept in the folder of this job" if record.claim else "It was left where it is"
    again = "drop it again" if record.claim else "load it again"
    return InputError(
        f"{shown(record.export.name)} was read to its end and sent, and then {change}: what came later was not sent. "
        f"{kept}: when nothing writes it any more, {again}. Write exports under another name, and rename them when "
        "they are complete."
    )


async def _check_age(record: JobRecord, claim: Claim, state: State) -> None:
    # Sequence numbers order the drops of all routes; dates are compared within a route only.
    own: int | str | None
    latest: Any
    for key, own, find in (
        ("sequence", claim.manifest.sequence, state.ledger.latest_sequence),
        ("as_of", claim.as_of, partial(state.ledger.latest_as_of, record.route)),
    ):
        latest = None if own is None else await state.in_turn(find)
        if latest is not None and own < latest:
            raise InputError(
                f"{shown(record.export.name)} is older than what was loaded already: its {key} is {own}, and the "
                f"latest was {latest}. If it is meant, write again=true into its signal."
            )


async def _verify(claim: Claim, state: State) -> None:
    """Compare the manifest with all exports of the drop. If they differ, all its jobs fail, before any begins."""
    siblings = [
        (record, record.claim)
        for record in await state.in_turn(state.ledger.jobs_of_drop, claim.drop)
        if record.claim and record.state is None
    ]
    error: InputError | None = None
    try:
        await _compare(claim, state, [record for record, _ in siblings])
    except InputError as differing:
        error = differing
    claims = {
        record.job_id: each.failed(error) if error else replace(each, is_verified=True) for record, each in siblings
    }
    await state.in_turn(state.ledger.note_claims, claims)
    if error:
        raise error


async def _compare(claim: Claim, state: State, records: list[JobRecord]) -> None:
    manifest = claim.manifest
    if manifest.sha256 is not None and len(records) > 1:
        raise InputError(f"the manifest in {shown(claim.signal)} gives one sha256 for {len(records)} exports.")
    if manifest.size_bytes is not None:
        # First, because it needs no reading.
        check_said(claim.signal, "bytes", manifest.size_bytes, sum(record.size_bytes for record in records))
    if manifest.rows is None and manifest.sha256 is None and not manifest.columns:
        return
    found: list[Measured] = []
    for record in records:
        if await is_empty(record, state):
            # Parts without a header have no columns either.
            continue
        settings = export_settings(record)
        try:
            found.append(
                await measure(record.export, opens_export(record, state.host), settings, state.host.run_blocking)
            )
            check_columns(claim.signal, manifest, found[-1], has_header=settings.header)
        except HeaderError as error:
            raise await with_header_kept(error, state.folder(record.job_id), state.host.run_blocking) from error
    if manifest.sha256 is not None and found:
        check_said(claim.signal, "sha256", manifest.sha256, found[0].sha256)
    if manifest.rows is not None:
        check_said(claim.signal, "rows", manifest.rows, sum(each.rows for each in found))
