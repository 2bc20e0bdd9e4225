"""The progress of a job that gathers its whole export before it places a row."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gathered:
    """The rows of an export that were gathered in the job's folder, sorted by the hashes of their ids.

    `runs`: the sorted files they are in. `rows`: those to be placed, in all of them.
    `done`: the rows that are placed, in sorted order; a new process goes on behind them.
    `is_whole`: the whole export was gathered. Until then nothing of it counts, and nothing is sent.
    """

    runs: int = 0
    rows: int = 0
    done: int = 0
    is_whole: bool = False
