"""Plans the load of an export: reads all of it as a load does, and sends nothing."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.parts import Places
from pipeline.core.drop.signals import GROUP_SIGNAL
from pipeline.core.errors import ExitCode, InputError
from pipeline.core.plural import counted
from pipeline.core.rows.mapping import ColumnPlan
from pipeline.core.survey.columns import ColumnSurvey, survey_columns
from pipeline.core.survey.escapes import read_otherwise
from pipeline.core.survey.naive import Facts, Mistake
from pipeline.core.survey.plan import Description, Plan, PlannedColumn, PlannedPart
from pipeline.core.survey.samples import SampleRow, sample_rows
from pipeline.core.survey.tally import Caps, Tally, tally_of
from pipeline.core.survey.timing import CALLS_OF_A_BATCH, COMPLETION_MINUTES, Pace, seconds_of
from pipeline.core.target.pacing import MINUTE_S
from pipeline.core.target.status_memory import STATUSES_KEPT
from pipeline.edges.exports import FoundParts, find_parts, is_directory
from pipeline.edges.host import Host
from pipeline.jobs.job import steps_of_now
from pipeline.jobs.row_source import Measured, no_rows, open_rows
from pipeline.jobs.row_source.beginning import Beginning, read_beginning
from pipeline.jobs.row_source.manifest_checks import check_measures
from pipeline.jobs.row_source.starts import cell_rules, looking_for
from pipeline.jobs.survey.description import describe
from pipeline.jobs.survey.judged import quarantine_of
from pipeline.jobs.survey.remembered import AskedMemory, place_remembered
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import DEFAULT_ROUTE

#: Records and bytes of the beginning by which columns are judged. Ours: enough for shapes, and read in no time.
MOST_RECORDS, MOST_BYTES = 10_000, 4_194_304
#: Bits of the salt of hashes.
_SALT_BITS = 63


async def plan_export(path: Path, settings: Settings, host: Host, route: str = DEFAULT_ROUTE) -> Plan:
    """The plan of an export; one that cannot be loaded has the reason in `error`, and the code of a load.

    `route`: that of the settings.
    """
    try:
        return await _plan(path, settings, host, route)
    except InputError as error:
        return Plan(
            Description(path.name.encode(errors="backslashreplace").decode()),
            client_code=settings.target.client_code,
            error=str(error),
            exit_code=ExitCode(error.exit_code),
        )


async def _plan(path: Path, settings: Settings, host: Host, route: str) -> Plan:
    asked = await host.run_blocking(AskedMemory.of, settings)
    salt = secrets.randbits(_SALT_BITS) if asked is None else asked.salt
    found = await host.run_blocking(_found_in, path)
    async with host.open_export(path, settings.export.encoding) as export:
        steps = await steps_of_now(settings.mapping, path.name, export.identity, host.run_blocking)
        sought = looking_for(settings.export, steps)
        beginning = await read_beginning(path, host, sought, MOST_RECORDS, MOST_BYTES)
        described = await describe(path, host.open_export, settings.export, beginning)
        otherwise = await host.run_blocking(read_otherwise, beginning.records, beginning.start.dialect)
        source = await open_rows(
            export,
            settings.export,
            Checkpoint(),
            open_export=host.open_export,
            carried=() if asked is None else await host.run_blocking(lambda: asked.parameters),
            max_batch_bytes=settings.batch.max_bytes,
            salt=salt,
            run_blocking=host.run_blocking,
            steps=steps,
        )
        samples: tuple[SampleRow, ...] = ()
        if settings.mapping.does_anything:
            samples = await host.run_blocking(sample_rows, source.mapper, beginning.start.names, beginning.records)
        tally = tally_of(source.plan, _caps(settings), settings.export.max_rejects, salt)
        tally.checkpoint.warnings.unnamed_columns = source.plan.unnamed
        if asked is None:
            while (block := await source.read()) is not None:
                await host.run_blocking(tally.add, block.mapped, block.begins)
        else:
            await place_remembered(source, tally, asked.sieve(source.plan, settings, host.clock.utc_now()), host)
        if not tally.checkpoint.read and source.has_content:
            raise no_rows(path)
        await host.run_blocking(tally.finish)
        described = replace(
            described,
            size_bytes=export.bytes_read,
            sha256=export.sha256,
            rows=tally.checkpoint.read,
            read_otherwise=len(otherwise),
            first_read_otherwise=otherwise[0] if otherwise else None,
            parts=_parts(described.name, export.bytes_read, tally),
            lists=found.beside,
            left_out=found.unlisted,
        )
        error = _not_as_said(found, described, beginning, settings) or _too_many_rejects(tally, settings)
        sent = (tally.checkpoint, source.plan.parameters, settings, route)
        quarantine = None if error else await host.run_blocking(quarantine_of, *sent)
    surveyed = await host.run_blocking(
        survey_columns, beginning.start.names, beginning.records, cell_rules(settings.export)
    )
    columns = _columns(surveyed, source.plan, tally, is_whole=beginning.is_whole)
    summed_up = await host.run_blocking(_summed_up, described, columns, tally, settings, error)
    if quarantine is not None:
        summed_up = replace(summed_up, quarantine=quarantine, exit_code=ExitCode.UNFINISHED)
    return replace(summed_up, samples=samples, samples_of=beginning.place.name)


def _found_in(path: Path) -> FoundParts:
    """The parts found in a directory; none if the path is that of a file, or of nothing."""
    return find_parts(path) if is_directory(path) else FoundParts()


def _not_as_said(found: FoundParts, read: Description, beginning: Beginning, settings: Settings) -> str | None:
    """The reason why a load would not send a directory that is not as the manifest in it says, or None."""
    start = beginning.start
    measured = Measured(read.size_bytes, read.sha256, tuple(start.names), start.header, start.header_line, read.rows)
    try:
        signal = f"{read.name}/{GROUP_SIGNAL}"
        check_measures(signal, found.manifest, measured, has_header=settings.export.header)
    except InputError as differing:
        return str(differing)
    return None


def _parts(name: str, size_bytes: int, tally: Tally) -> tuple[PlannedPart, ...]:
    parts = tally.checkpoint.parts
    if not parts:
        return (PlannedPart(name, size_bytes, tally.checkpoint.read),)
    return tuple(PlannedPart(part.name, part.size_bytes, part.rows) for part in parts)


def _caps(settings: Settings) -> Caps:
    return Caps(
        max_batch_bytes=settings.batch.max_bytes,
        max_batch_rows=settings.batch.max_rows,
        max_held_rows=settings.tracker.held_max_rows,
        max_held_bytes=settings.tracker.held_max_bytes,
        # So many are followed, and so many wait sealed behind them.
        most_under_way=_status_window(settings) + settings.upload.concurrency,
    )


def _status_window(settings: Settings) -> int:
    window = settings.settle.status_window
    return STATUSES_KEPT if window == "auto" else window


def pace_of(settings: Settings) -> Pace:
    """The limits that are sure to be met; a load may learn that Target keeps more statuses, and is faster then."""
    return Pace(settings.target.calls_per_minute, _status_window(settings), settings.upload.concurrency)


def _summed_up(
    described: Description, columns: Sequence[PlannedColumn], tally: Tally, settings: Settings, error: str | None
) -> Plan:
    checkpoint, placement, ids = tally.checkpoint, tally.placement, tally.ids.counted()
    places = checkpoint.places(described.name)
    pace, rows, warnings = pace_of(settings), tally.rows(), checkpoint.all_warnings
    return Plan(
        export=described,
        columns=tuple(columns),
        rows=rows,
        by_reason=dict(checkpoint.by_reason.most_common()),
        first_places={reason: [*map(places.of, lines)] for reason, lines in tally.first_lines.items()},
        has_parts=bool(checkpoint.parts),
        warnings=_with_places(warnings.as_dict(), places),
        batches=len(placement.batches),
        calls=CALLS_OF_A_BATCH * len(placement.batches),
        spool_bytes=placement.spool_bytes,
        minutes={
            str(minutes): round(seconds_of(placement.batches, minutes * MINUTE_S, pace) / MINUTE_S, 1)
            for minutes in COMPLETION_MINUTES
        },
        batch_bytes=sum(batch.size_bytes for batch in placement.batches),
        ids=ids,
        mistakes=tuple(_mistakes(described, tally, in_later_batches=max(0, rows.confirmed - ids.distinct))),
        client_code=settings.target.client_code,
        error=error,
        exit_code=ExitCode.EXPORT_UNUSABLE if error else ExitCode.DONE,
    )


def _with_places(warnings: dict[str, Any], places: Places) -> dict[str, Any]:
    """The warnings as a report has them: lines in the parts, and the parts, where there are any."""
    if not places.parts or "first_lines" not in warnings:
        return warnings
    first = {name: places.of(line) for name, line in warnings["first_lines"].items()}
    return warnings | {
        "first_lines": {name: place.line for name, place in first.items()},
        "first_parts": {name: place.file for name, place in first.items()},
    }


def _too_many_rejects(tally: Tally, settings: Settings) -> str | None:
    if tally.too_many is None:
        return None
    rejected, read = tally.too_many.rejected, tally.too_many.read
    return (
        f"{rejected:,} of the first {counted(read, 'row')} {'is' if rejected == 1 else 'are'} rejected, more than "
        f"[export] max_rejects = {settings.export.max_rejects} allows: a load would give the export up there."
    )


def _mistakes(described: Description, tally: Tally, *, in_later_batches: int) -> list[Mistake]:
    checkpoint = tally.checkpoint
    facts = Facts(
        read=checkpoint.read,
        size_bytes=described.size_bytes,
        superseded=tally.placement.superseded,
        rows_in_later_batches=in_later_batches,
        warnings=checkpoint.warnings,
        by_reason={reason: (checkpoint.by_reason[reason], lines[0]) for reason, lines in tally.first_lines.items()},
        is_other_encoding=described.encoding not in ("", "utf-8"),
        has_mark=described.has_mark,
        delimiter=described.delimiter.encode(),
    )
    places, found = checkpoint.places(described.name), tally.naive.mistakes(facts)
    return [_at_place(mistake, places) for mistake in found]


def _at_place(mistake: Mistake, places: Places) -> Mistake:
    if mistake.first_line is None or not places.parts:
        return mistake
    place = places.of(mistake.first_line)
    return replace(mistake, first_line=place.line, first_part=place.file)


def _columns(
    surveyed: Sequence[ColumnSurvey], plan: ColumnPlan, tally: Tally, *, is_whole: bool
) -> list[PlannedColumn]:
    """The columns with the fill rate of all rows where they are sent, and of the sample where they are not."""
    # Constants of [mapping] have no column; their parameters are the last.
    sent_as = dict(zip(plan.cell_indexes, plan.parameters, strict=False)) | {plan.id_index: plan.id_kind}
    exact = _exact_fill_rates(plan, tally)
    return [
        PlannedColumn(
            name=column.name,
            sent_as=sent_as.get(index),
            fill_rate=round(exact.get(index, column.fill_rate), 4),
            is_sampled=index not in exact and not is_whole,
            samples=column.masks,
            personal=(column.by_values or column.by_name),
        )
        for index, column in enumerate(surveyed)
    ]


def _exact_fill_rates(plan: ColumnPlan, tally: Tally) -> dict[int, float]:
    """By the index of each column that is sent, the share of the rows to send or empty in which it holds a value."""
    checkpoint = tally.checkpoint
    rows = checkpoint.read - checkpoint.rejected - checkpoint.excluded
    if not rows:
        return {}
    empty = checkpoint.warnings.empty_cells
    return {
        index: max(0, rows - checkpoint.empty - empty[parameter]) / rows
        for index, parameter in zip(plan.cell_indexes, plan.parameters, strict=False)
    }
