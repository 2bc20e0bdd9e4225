"""The rows of an export: its beginning, its parts, and what can be measured of it."""

from pipeline.jobs.row_source.measured import Measured, measure
from pipeline.jobs.row_source.rows import Block, RowSource, open_rows
from pipeline.jobs.row_source.source import (
    header_kept,
    keep_rejects,
    no_rows,
    note_block,
    open_source,
    read_columns,
    with_header_kept,
)

__all__ = [
    "Block",
    "Measured",
    "RowSource",
    "header_kept",
    "keep_rejects",
    "measure",
    "no_rows",
    "note_block",
    "open_rows",
    "open_source",
    "read_columns",
    "with_header_kept",
]
