"""The runs of gathered rows: files of rows that are sorted by the hashes of their ids."""

from pathlib import Path

import numpy as np

from pipeline.core.batches.gathered import Run
from pipeline.core.memory.keyed_rows import KeyedRows
from pipeline.core.model import Rows
from pipeline.edges.store.memory.sorted_file import Column, Texts, write_sorted


def run_file(directory: Path, number: int) -> Path:
    """The file of a run."""
    return directory / f"{number:06d}.rows"


def write_run(directory: Path, number: int, buffer: list[Rows]) -> Run:
    """Write the rows of the buffer as a run, and empty it. Blocks."""
    rows = KeyedRows.of_lists(buffer)
    columns: dict[str, Column] = {
        "lines": rows.lines.astype(np.uint64),
        "id_lengths": rows.id_lengths.astype(np.uint16),
    }
    texts = Texts(rows.body, rows.starts, rows.ends)
    facts = write_sorted(run_file(directory, number), rows.hashes, columns, texts)
    return Run(facts.rows, facts.size_bytes, facts.checksum)
