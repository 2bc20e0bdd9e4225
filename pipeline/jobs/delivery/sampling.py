"""Keeps the rows of a batch that may be read back from Target when its job is done, if [verify] asks for any."""

from pipeline.core.explain.sample import drawn_first
from pipeline.core.model import Hashes
from pipeline.edges.store.job_rows.sample_files import Sampled
from pipeline.jobs.job import Job

#: Rows that are kept for each one that is to be read back: a later batch may have the id of some.
_FOR_EACH = 3


def drawn_of(job: Job, hashes: Hashes) -> Hashes:
    """The hashes of the ids of a batch, of those in `hashes`, that are drawn; shape (n,), sorted."""
    count = _FOR_EACH * job.settings.verify.sample
    drawn = hashes[drawn_first(hashes, job.record.job_id, count)] if count else hashes[:0]
    drawn.sort()
    return drawn


def note_drawn(job: Job, batch_id: int, drawn: Hashes) -> None:
    """Keep the rows of these hashes, which are sorted, of a batch that is in the spool. Blocks."""
    rows = tuple(row[:-1].decode() for _, row in job.spool.rows_by_hash(batch_id, drawn))
    parameters = job.spool.parameters(batch_id)
    job.folder.sample.note(batch_id, Sampled(job.export.id_kind, parameters, rows))
