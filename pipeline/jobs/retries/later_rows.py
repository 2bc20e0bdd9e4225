"""The rows that were sent of an id after one that was rejected: a mended row never goes over any of them.

What is known of them is the ids of each batch, with the line of each (`edges.store.job_rows.sent_ids`). A batch of
which that is not known may have held any id; and a row that said nothing new is in no batch, so that each id which the
memory knows may have had one since. Values are not known, so a later row overtakes the whole of an earlier one, unless
its job sends none of the same columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.model import Flags, Hashes, Offsets
from pipeline.edges.store.job_rows.sent_ids import read_sent
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.job import root_of

#: The line of a row that nobody can place: it is older than all others of its export.
NO_LINE = 0


def lines_of_origin(path: Path) -> Offsets:
    """For each row of a mended export: its line there, and that in the export it is from; shape (n, 2)."""
    return np.frombuffer(path.read_bytes(), dtype="<i8").reshape(-1, 2) if path.exists() else np.empty((0, 2), np.int64)


def origins_of(lines: Offsets, table: Offsets) -> Offsets:
    """The lines of origin of rows of a mended export, by a table of `lines_of_origin`; `NO_LINE` where it has none."""
    if not len(table):
        return np.full(len(lines), NO_LINE, dtype=np.int64)
    places = np.minimum(np.searchsorted(table[:, 0], lines), len(table) - 1)
    return np.where(table[places, 0] == lines, table[places, 1], NO_LINE)


@dataclass(frozen=True, slots=True)
class Later:
    """The outcome for n mended rows. `overtaken`: a later row of the id was sent. `untold`: one may have been."""

    overtaken: Flags
    untold: Flags


def later_rows(state: State, origin: JobRecord, hashes: Hashes, lines: Offsets) -> Later:
    """The rows of the job `origin`, with these ids and on these lines, that later rows have overtaken. Blocks."""
    found = Later(np.zeros(len(hashes), dtype=np.bool_), np.zeros(len(hashes), dtype=np.bool_))
    own_columns = {*origin.checkpoint.columns_sent}
    for job, batch_ids in _jobs_from(state, origin):
        is_own = job.seq == origin.seq or job.retry_of == origin.job_id
        their_columns = job.checkpoint.columns_sent
        if not is_own and own_columns and their_columns and own_columns.isdisjoint(their_columns):
            continue
        folder = state.folder(job.job_id)
        for batch_id in batch_ids:
            sent = read_sent(folder.sent / str(batch_id))
            if sent is None:
                found.untold[:] = True
                continue
            theirs, their_lines = sent
            if not len(theirs):
                continue
            places = np.minimum(np.searchsorted(theirs, hashes), len(theirs) - 1)
            is_sent = theirs[places] == hashes
            if is_own:
                of_origin = their_lines[places]
                if job.seq != origin.seq:
                    of_origin = origins_of(of_origin, lines_of_origin(folder.mended_lines))
                is_sent &= of_origin > lines
            found.overtaken[:] |= is_sent
    if state.ledger.may_have_unchanged(origin, before_memory=True):
        # It was emptied since then, so that nobody can tell what it knew.
        found.untold[:] = True
    elif state.ledger.may_have_unchanged(origin):
        found.untold[:] |= _may_be_unchanged(state, hashes, str(origin.settings.get("id_kind", "thirdPartyId")))
    found.untold[:] &= ~found.overtaken
    return found


def _may_be_unchanged(state: State, hashes: Hashes, id_kind: str) -> Flags:
    """Set for each id of which a row may have been left out because it said nothing new: the memory has to know it."""
    if state.memory is None:
        return np.ones(len(hashes), dtype=np.bool_)
    order = np.argsort(hashes)
    is_known = np.zeros(len(hashes), dtype=np.bool_)
    is_known[order] = state.memory.knows(hashes[order], id_kind=id_kind)
    return is_known


def _jobs_from(state: State, origin: JobRecord) -> Sequence[tuple[JobRecord, list[int]]]:
    """The jobs that may have sent something later than the rows of `origin`, it too, with the ids of their batches.

    A retry sends rows as old as those of its own origin; one of what `origin` lost sends nothing that is not noted of
    `origin`.
    """
    batches = state.ledger.batches_behind(origin)
    found = []
    for seq, batch_ids in batches.items():
        job = state.ledger.job_at(seq)
        root = root_of(state, job)
        if job is None or root is None:
            continue
        if root.seq == origin.seq:
            is_later = job.seq == origin.seq or job.is_of_mended
        else:
            is_later = root.seq > origin.seq or root.seq in batches
        if is_later:
            found.append((job, batch_ids))
    return found
