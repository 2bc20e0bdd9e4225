"""The runs of gathered rows of a job: files in the directory of what it has gathered."""

from pathlib import Path

import numpy as np

from pipeline.core.batches.gathered import Run
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.model import Rows
from pipeline.edges.store.job_rows.gathered_run import GatheredRun, write_gathered
from pipeline.edges.store.memory.sorted_file import FileFacts


def run_file(directory: Path, number: int) -> Path:
    """The file of a run."""
    return directory / f"{number:06d}.rows"


def write_run(directory: Path, number: int, buffer: list[Rows], digested: Digested) -> Run:
    """Write the rows of the buffer as a run, and empty it. Blocks. `digested`: see `Job.digested`."""
    rows = _one_list(buffer)
    # So that no text is there twice for longer than it takes to copy it.
    buffer.clear()
    # Rows that lie side by side are digested fastest.
    digests = digested.of(rows.body, rows.starts, rows.ends)
    facts = write_gathered(run_file(directory, number), rows, digests)
    return Run(facts.rows, facts.size_bytes, facts.checksum)


def open_run(directory: Path, number: int, run: Run) -> GatheredRun:
    """A run that was written. Raises `DamagedFileError`, or `OSError`."""
    return GatheredRun.open(run_file(directory, number), FileFacts(run.rows, run.size_bytes, run.checksum))


def _one_list(lists: list[Rows]) -> Rows:
    """The rows of these lists, one list behind the other."""
    begins = np.cumsum([0, *(len(rows.body) for rows in lists)])
    return Rows(
        b"".join([rows.body for rows in lists]),
        np.concatenate([rows.ends + begin for rows, begin in zip(lists, begins, strict=False)]),
        np.concatenate([rows.id_lengths for rows in lists]),
        np.concatenate([rows.lines for rows in lists]),
        np.concatenate([rows.hashes for rows in lists]),
    )
