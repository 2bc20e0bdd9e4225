"""Compares rows with what is remembered of their ids, at the moment at which they are placed.

Rows of ids in flight wait, and are compared when their ids are free: every batch with such an id is released then, and
remembered. So what is found of the others is what was sent last.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

import numpy as np

from pipeline.core.memory.comparison import (
    filled_in,
    says_all_anew,
    unchanged_by_digest,
    unchanged_by_values,
    with_texts,
)
from pipeline.core.memory.entries import Found
from pipeline.core.memory.keyed_rows import Digested, KeyedRows
from pipeline.core.memory.times import minutes_of
from pipeline.core.model import Flags, Hashes, Offsets, Rows
from pipeline.edges.store.memory.memory import Memory
from pipeline.jobs.job import Job

#: A clock may be set back by so much, and what was sent before is as fresh as it was. Jobs last days at most.
AHEAD = timedelta(days=7)


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """The rows that are left of n rows, and what became of the others.

    `rows`: k rows, as they are to be sent. `at`: (k,), the index that each of them had, ascending.
    `is_unchanged`: (n,), set for each row that says nothing new.
    `too_long`: the lines of rows that would be too long with what is remembered of their ids, and are sent without.
    `own`: by the hash of its id the parameters of which a row has values of its own, for each row that was filled in
    and of whose id a row was lost before.
    `unfilled`: the rows that are left as they were, if any was filled in.
    """

    rows: Rows
    at: Offsets
    is_unchanged: Flags
    too_long: tuple[int, ...] = ()
    own: Mapping[int, frozenset[str]] = field(default_factory=dict)
    unfilled: Rows | None = None

    @classmethod
    def all_of(cls, rows: KeyedRows) -> Self:
        """All of these rows, as they are."""
        return cls(rows.rows(), np.arange(len(rows)), np.zeros(len(rows), dtype=np.bool_))


@dataclass(frozen=True, slots=True)
class Sieve:
    """The memory, and what a job does with it.

    `salt`: of the hashes of ids. `id_kind`, `parameters`: of the header of the job's batches.
    `is_sending_changes`: rows that say nothing new are left out, unless they were sent before `fresh_since`, or behind
    `fresh_until`, as a clock says that was ahead; both in minutes since 1970 (UTC).
    `ids_lost`: gives the sorted hashes of ids of which rows were lost.
    `source`: if it is not 0, an id must be known to be of it, or is sent: else nobody finds that it is gone one day.
    `is_filling_in`: rows are sent with the remembered cells that they lack, but none gets longer than `max_row_bytes`.
    """

    memory: Memory
    salt: int
    id_kind: str
    parameters: tuple[str, ...]
    is_sending_changes: bool
    fresh_since: int
    fresh_until: int
    is_filling_in: bool
    max_row_bytes: int
    ids_lost: Callable[[], Hashes]
    source: int = 0

    def sift(self, rows: KeyedRows, waits: Flags) -> Sifted:
        """Compare rows, sorted by hash, with the memory; those that wait are left as they are. Blocks."""
        # Behind a row of its id, a row is as one that waits: what is remembered is older than the row before it.
        is_again = np.append(False, rows.hashes[1:] == rows.hashes[:-1]) if len(rows) else waits
        free = np.flatnonzero(~(waits | is_again))
        if not len(free) or not (self.is_sending_changes or self.is_filling_in):
            return Sifted.all_of(rows)
        asked = rows.chosen(free)
        latest = self.memory.find(asked.hashes, id_kind=self.id_kind)
        is_same = unchanged_by_digest(asked.digests, latest)
        is_unchanged = np.zeros(len(rows), dtype=np.bool_)
        is_unchanged[free] = self._left_out(is_same, asked, latest)
        left = np.flatnonzero(~is_unchanged)
        # Only now a text is copied: most rows say nothing new, most often.
        texts = rows.chosen(left).rows()
        if not self.is_filling_in:
            return Sifted(texts, left, is_unchanged)
        unsure = np.flatnonzero(latest.is_known & ~is_same)
        of_unsure = Found(latest.entries, latest.indexes[unsure])
        theirs = texts if len(unsure) == len(left) else asked.chosen(unsure).rows()
        unsure = unsure[~says_all_anew(theirs, self.memory.shape_of(self.parameters), self.salt, of_unsure)]
        if not len(unsure):
            return Sifted(texts, left, is_unchanged)
        return self._by_values(rows, free, free[unsure], is_unchanged, texts)

    def _by_values(self, rows: KeyedRows, free: Offsets, unsure: Offsets, is_unchanged: Flags, sent: Rows) -> Sifted:
        """Compare some rows cell by cell with what is remembered of their ids, and fill them in.

        `is_unchanged`: set for each row that says nothing new; these are added to it. `sent`: the others, as they are.
        """
        asked = rows.chosen(unsure)
        found, texts = self.memory.find(asked.hashes, asked, id_kind=self.id_kind), asked.rows()
        shapes = self.memory.shapes
        says_nothing_new = unchanged_by_values(texts, self.parameters, found, shapes)
        is_unchanged[unsure] = self._left_out(says_nothing_new, asked, found)
        of_sent = Found(found.entries, np.where(is_unchanged[unsure], -1, found.indexes))
        filled, unfilled = filled_in(texts, self.parameters, of_sent, shapes, self.max_row_bytes)
        left = np.flatnonzero(~is_unchanged)
        if len(left) < len(sent):
            sent = rows.chosen(left).rows()
        if filled is texts:
            return Sifted(sent, left, is_unchanged, tuple(texts.lines[unfilled].tolist()))
        places = np.searchsorted(left, unsure).tolist()
        known = np.flatnonzero(of_sent.is_known).tolist()
        other = {places[index]: text for index in known if (text := filled.text(index)) != texts.text(index)}
        with_cells = with_texts(sent, other)
        own = self._own(sent, np.isin(left, free))
        return Sifted(with_cells, left, is_unchanged, tuple(texts.lines[unfilled].tolist()), own, sent)

    def _left_out(self, says_nothing_new: Flags, rows: KeyedRows, found: Found) -> Flags:
        """Set for each row that is left out, of those that say nothing new; shape (n,)."""
        if not self.is_sending_changes:
            return np.zeros(len(rows), dtype=np.bool_)
        counts = says_nothing_new & (found.sent_at >= self.fresh_since) & (found.sent_at <= self.fresh_until)
        if self.source:
            # Line 0: an id that is gone, which is sent once.
            counts &= (found.sources == self.source) & (rows.lines != 0)
        return counts

    def _own(self, rows: Rows, is_free: Flags) -> dict[int, frozenset[str]]:
        """The parameters of what free rows say themselves, of ids of which a row was lost: no other is overtaken."""
        own: dict[int, frozenset[str]] = {}
        for index in np.flatnonzero(np.isin(rows.hashes, self.ids_lost()) & is_free).tolist():
            cells = zip(self.parameters, rows.text(index)[:-1].split(b",")[1:], strict=False)
            # Two ids may have the same hash.
            hash_ = int(rows.hashes[index])
            own[hash_] = own.get(hash_, frozenset()) | {name for name, cell in cells if cell}
        return own

    @property
    def digested(self) -> Digested:
        """The parameters and the salt by which rows are digested that are compared."""
        return Digested(self.parameters, self.salt)


def max_row_bytes(job: Job, parameters: tuple[str, ...]) -> int:
    """The most bytes that a row of a job may take in a batch of its own. `parameters`: of its header."""
    return job.settings.batch.max_bytes - len(f"batch={','.join((job.export.id_kind, *parameters))}\n")


def sieve_of(job: Job, parameters: tuple[str, ...]) -> Sieve | None:
    """The sieve of a job; None without a memory. What was lost and is sent again is compared with nothing."""
    memory, settings = job.state.memory, job.settings.memory
    if memory is None:
        return None
    now = job.clock.utc_now()
    return Sieve(
        memory,
        job.state.ledger.salt,
        job.export.id_kind,
        parameters,
        is_sending_changes=settings.send == "changes" and job.record.retry_of is None,
        fresh_since=minutes_of(now - timedelta(days=settings.refresh_days)),
        fresh_until=minutes_of(now + AHEAD),
        is_filling_in=memory.has_values,
        max_row_bytes=max_row_bytes(job, parameters),
        ids_lost=job.state.ids_lost,
    )
