"""An export that is compared with the memory, or judged by a guard: all its rows are gathered on the disk first.

    export --read, mapped--> buffer --by partition--> runs      gather: nothing is sent yet
    runs --sorted, merged--> one row of each id --compared with the memory--> placed, as the rows of any export

A partition has the rows whose ids' hashes begin with one byte; they are sorted by these hashes when they are read. So
one row of each id is sent, however often it repeats, and the memory is read in its own order, once. The text of a row
is read only where it says something new, or repeats an id. A crash while rows are gathered costs only time. From then
on the job goes on from the number of gathered rows that are done. What all rows are like is known before the first is
sent: the `guard` judges them by that.
"""

from pipeline.jobs.gathering.gather import gather
from pipeline.jobs.gathering.gathered_rows import GatheredRows, Piece
from pipeline.jobs.gathering.guard import check_quarantine, is_to_be_judged
from pipeline.jobs.gathering.merge import merge_memory
from pipeline.jobs.gathering.remember import remember
from pipeline.jobs.gathering.sieve import Sieve, Sifted, max_row_bytes, sieve_of

__all__ = [
    "GatheredRows",
    "Piece",
    "Sieve",
    "Sifted",
    "check_quarantine",
    "gather",
    "is_to_be_judged",
    "max_row_bytes",
    "merge_memory",
    "remember",
    "sieve_of",
]
