"""Reads an export to its end as a load would, and sends nothing: what a manifest asks for by `dry_run`."""

from pipeline.jobs.job import Job, too_many_rejects
from pipeline.jobs.row_source import open_source


async def dry_run(job: Job) -> None:
    """Count the job's rows and write down its rejects; rows that a load would send are unsent.

    Raises `InputError` for an export that a load would give up, too many rejects among the reasons.
    """
    progress = job.progress
    progress.is_dry_run = True
    async with open_source(job) as (export, source):
        while (block := await source.read()) is not None:
            progress.bytes_read, progress.sha256 = export.bytes_read, export.sha256
            progress.checkpoint.note(block.mapped)
            progress.unplaced_rows += len(block.mapped.rows)
            await job.host.run_blocking(job.folder.add_rejects, job.record.export.name, block.mapped.rejects)
    checkpoint = progress.checkpoint
    if job.export.max_rejects.is_exceeded(checkpoint.rejected, checkpoint.read, final=True):
        raise too_many_rejects(job, checkpoint.rejected, checkpoint.read)
