"""What keeps the memory right, taken out of the product one by one, see `mutants`. No mutants are

- that a batch is remembered only when it is released, and not when it is complete: nobody asks for its ids before. By
  then what became of its rows is certain, so that nothing is ever taken back;
- that a batch whose release is durable is not remembered anew: whoever releases it once more also releases the later
  ones of its ids once more, in their order, and what came last is on top again;
- that a batch is remembered before it is let go of at the end of its job: another one would have to begin just then;
- that rows are compared anew of which an earlier job let go while they were compared: it would have to do so just then.
"""

from tests.simulation.mutant import Mutant
from tests.simulation.weather import (
    REMEMBERING_AND_CRASHING,
    REMEMBERING_AND_LOSING,
    REMEMBERING_AND_OVERLAPPING,
    REMEMBERING_AND_REFRESHING,
    REMEMBERING_AND_RETRYING,
    REMEMBERING_AND_SQUEEZING,
)

GATHERING = "pipeline/jobs/gathering"
MEMORY = "pipeline/edges/store/memory"
PRODUCER = "pipeline/jobs/producer.py"
REMEMBERED = "pipeline/core/memory"

OF_THE_MEMORY = [
    # What is remembered, and when.
    Mutant(
        "ids are freed before they are remembered",
        PRODUCER,
        "        await remember(self._job.state, due.batch_id)\n        earlier: dict",
        "        if self._sieve is not None:\n"
        "            await self._place_freed(self._placer.release(due.batch_id, {}))\n"
        "            return await remember(self._job.state, due.batch_id)\n"
        "        earlier: dict",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "a release does not enter what is remembered in the ledger",
        "pipeline/edges/store/ledger.py",
        "        if (file := remembered.get(batch_id)) is not None:\n",
        "        if remembered.get(batch_id) is not None:\n            return\n"
        "        if (file := remembered.get(batch_id)) is not None:\n",
        REMEMBERING_AND_CRASHING,
    ),
    Mutant(
        "what is remembered and not in the ledger yet is not asked",
        f"{MEMORY}/files.py",
        "            numbers = {*self._files, *(file.number for file in self._pending.values())} - bases\n",
        "            numbers = {*self._files} - bases\n",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "a refused row is remembered as sent",
        f"{REMEMBERED}/row_fates.py",
        "is_of_one_split else Fate.REFUSED)",
        "is_of_one_split else Fate.SENT)",
        REMEMBERING_AND_LOSING,
    ),
    Mutant(
        "an unconfirmed row counts as sent",
        f"{REMEMBERED}/row_fates.py",
        "return RowFates(Fate.DOUBTFUL if",
        "return RowFates(Fate.SENT if",
        REMEMBERING_AND_LOSING,
    ),
    Mutant(
        "a row that Target names as failed counts as sent",
        f"{REMEMBERED}/row_fates.py",
        "last.failed + last.unconfirmed, doubtful, refused)",
        "last.unconfirmed, last.unconfirmed_ids, ())",
        REMEMBERING_AND_LOSING,
    ),
    Mutant(
        "a row that Target failed is taken for refused though another attempt may be applied",
        f"{REMEMBERED}/row_fates.py",
        "        if is_another_open:\n",
        "        if False:\n",
        REMEMBERING_AND_LOSING,
    ),
    Mutant(
        "rows that Target lost and did not name count as sent",
        f"{REMEMBERED}/row_fates.py",
        "        if self.others is Fate.SENT and np.count_nonzero(fates) < self.lost:\n",
        "        if False:\n",
        REMEMBERING_AND_LOSING,
    ),
    Mutant(
        "a refused row takes the remembered values of its id off",
        f"{REMEMBERED}/entries.py",
        "rows.taken(_last_of_each(rows.has_cells[order], firsts, order, newest))",
        "rows.taken(newest)",
        REMEMBERING_AND_LOSING,
    ),
    # The files.
    Mutant(
        "the merge of a partition keeps the older entry",
        f"{MEMORY}/files.py",
        "latest([file.part(partition, rows, part) for file, rows, part in some])",
        "latest([file.part(partition, rows, part) for file, rows, part in some][::-1])",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "a merge removes runs that other partitions need",
        f"{MEMORY}/files.py",
        "        return all(\n            run.number <= partitions",
        "        return any(\n            run.number <= partitions",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "gathered rows are placed again after a crash",
        f"{GATHERING}/gathered_rows.py",
        "self._read_all(gathered.runs, gathered.done)",
        "self._read_all(gathered.runs, 0)",
        REMEMBERING_AND_CRASHING,
    ),
    # Rows, compared with it.
    Mutant(
        "a held row is compared before its batch is released",
        f"{GATHERING}/sieve.py",
        "        free = np.flatnonzero(~(waits | is_again))\n",
        "        free = np.arange(len(waits))\n",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "rows are held for an id that an earlier job let go of",
        PRODUCER,
        "        return self._sieve is not None and self._placer.tracker.has_loose\n",
        "        return False\n",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "a freed row does not carry what is remembered",
        PRODUCER,
        "self._sift(keyed, self._placer.tracker.is_in_flight(keyed.hashes))",
        "self._sift(keyed, np.ones(len(keyed), dtype=np.bool_))",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "a row that says nothing new takes its remembered values off",
        f"{GATHERING}/sieve.py",
        "np.where(is_unchanged[unsure], -1, found.indexes)",
        "np.where(says_nothing_new, -1, found.indexes)",
        REMEMBERING_AND_REFRESHING,
    ),
    Mutant(
        "a row that says nothing new is left out however long ago it was sent",
        f"{GATHERING}/sieve.py",
        "counts = says_nothing_new & (found.sent_at >= self.fresh_since) & ",
        "counts = says_nothing_new & ",
        REMEMBERING_AND_REFRESHING,
    ),
    Mutant(
        "a row that lacks what is remembered is sent as it is",
        f"{REMEMBERED}/comparison.py",
        "    says_all: Flags = has_cells_of(own, found.patterns) & ",
        "    says_all: Flags = (own > 0) & (found.patterns > 0) & ",
        REMEMBERING_AND_OVERLAPPING,
    ),
    Mutant(
        "what was lost is compared with what is remembered, and left out",
        f"{GATHERING}/sieve.py",
        'settings.send == "changes" and job.record.retry_of is None',
        'settings.send == "changes"',
        REMEMBERING_AND_RETRYING,
    ),
    Mutant(
        "values that were filled in overtake what was lost",
        "pipeline/edges/store/state.py",
        "            values = own.get(hash_) or {",
        "            values = {",
        REMEMBERING_AND_RETRYING,
    ),
    Mutant(
        "a row that finds no room is held with what it was filled in with",
        PRODUCER,
        "sifted.unfilled if sifted else None",
        "None",
        REMEMBERING_AND_SQUEEZING,
    ),
    Mutant(
        "a lost row comes back with what it was filled in with",
        "pipeline/jobs/retries/lost_rows.py",
        "            if hash_ in filled_in:\n",
        "            if False:\n",
        REMEMBERING_AND_RETRYING,
    ),
]
