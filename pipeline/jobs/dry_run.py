"""Reads an export to its end as a load would, and sends nothing: what a manifest asks for by `dry_run`."""

from pipeline.core.errors import InputError
from pipeline.edges.exports import changed
from pipeline.jobs.job import Job
from pipeline.jobs.row_source import open_rows


async def dry_run(job: Job) -> None:
    """Count the job's rows and write down its rejects; rows that a load would send are unsent.

    Raises `InputError` for an export that a load would give up, too many rejects among the reasons.
    """
    progress = job.progress
    progress.is_dry_run = True
    async with job.host.open_export(job.record.export) as export:
        if export.identity != job.record.identity:
            raise changed(job.record.export)
        progress.export_bytes = export.identity.size_bytes
        source = await open_rows(
            export,
            job.export,
            progress.checkpoint,
            open_export=job.host.open_export,
            carried=(),
            max_batch_bytes=job.settings.batch.max_bytes,
            salt=job.state.ledger.salt,
        )
        progress.checkpoint.columns_sent = source.plan.parameters
        while (block := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            progress.checkpoint.note(block.mapped)
            progress.unplaced_rows += len(block.mapped.rows)
            await job.host.run_blocking(job.folder.add_rejects, job.record.export.name, block.mapped.rejects)
    checkpoint = progress.checkpoint
    if job.export.max_rejects.is_exceeded(checkpoint.rejected, checkpoint.read, final=True):
        raise InputError(
            f"{checkpoint.rejected:,} of the {checkpoint.read:,} rows are rejected, more than [export] max_rejects = "
            f"{job.export.max_rejects} allows. All are in {job.folder.rejects}."
        )
