"""What keeps the promise, taken out of the product one by one: each is an edit of a file, and each must be found.

Where an edit is found seldom in the weather of all schedules, its `climate` has more of what it takes. A guard that no
schedule misses is not needed, or the schedules are too tame: find out which. No mutants are

- that a split is one transaction: no crash comes inside of a blocking call here. The tests of kills at every system
  call have them;
- that jobs go on in the order in which they began: here that is the order in which they were entered. The tests of
  claims have others;
- that an answer of Target is written down at once: an attempt without it is in doubt after a crash, and as safe;
- that a batch comes into the views before its ids leave what its job holds: nothing can come in between.
"""

from tests.simulation.climate import Climate
from tests.simulation.mutant import Mutant
from tests.simulation.mutants_of_guard import OF_THE_GUARD
from tests.simulation.mutants_of_memory import OF_THE_MEMORY
from tests.simulation.weather import (
    ABANDONING,
    AGAIN,
    CRASHING,
    DOUBTFUL,
    ENDING,
    FORGOTTEN,
    FORGOTTEN_AND_OVERLAPPING,
    GIVEN_UP,
    LONG,
    OVERLAPPING,
    OVERLAPPING_AND_CRASHING,
    PAUSING,
    POISONED,
    SPLITTING,
    SPLITTING_AND_CRASHING,
    STUCK,
)

BATCHES = "pipeline/core/batches"
DELIVERY = "pipeline/jobs/delivery/courier.py"
PRODUCER = "pipeline/jobs/producer.py"
RECOVERY = "pipeline/jobs/recovery.py"
RUNNER = "pipeline/jobs/runner.py"
SOURCE = "pipeline/jobs/row_source/rows.py"
LEDGER = "pipeline/edges/store/ledger.py"
STATE = "pipeline/edges/store/state.py"


MUTANTS = [
    # The core: what is in flight, and for how long.
    Mutant(
        "rows of an id in flight are not held",
        f"{BATCHES}/tracker.py",
        "        return self._in_flight.contain(hashes)\n",
        "        return self._in_flight.contain(hashes) & False\n",
    ),
    Mutant(
        "a later row does not wait behind one that was freed and found no room",
        f"{BATCHES}/tracker.py",
        "        if self._has_loose:\n            found |=",
        "        if False:\n            found |=",
        LONG,
    ),
    Mutant(
        "held rows carry from any batch of their id, not the newest",
        f"{BATCHES}/tracker.py",
        "        return set(self._held.ids(numbers[~is_elsewhere]))\n",
        "        return set(self._held.ids(numbers))\n",
        OVERLAPPING,
    ),
    Mutant(
        "an attempt that a crash cut off is not in doubt",
        f"{BATCHES}/lifecycle.py",
        '    fact = InDoubt("the process ended in the middle of it")\n',
        "    return replace(life, phase=Phase.READY), None\n",
        CRASHING,
    ),
    Mutant(
        "a batch is released before its hold is over",
        f"{BATCHES}/lifecycle.py",
        "    return max([settled_at, *(since + hold_s for since in life.open_since)])\n",
        "    return settled_at\n",
        DOUBTFUL,
    ),
    Mutant(
        "the hold does not begin anew at a restart",
        f"{BATCHES}/lifecycle.py",
        "open_since=(now,) * len(life.open_since), posted_at=now)",
        "open_since=(now - 1e6,) * len(life.open_since), posted_at=now)",
        CRASHING,
    ),
    Mutant(
        "an attempt that got stuck is not open",
        f"{BATCHES}/lifecycle.py",
        "stuck=life.stuck + 1, last=fact)\n            return replace(life, open_since=(*life.open_since, at))",
        "stuck=life.stuck + 1, last=fact)\n            return life",
        STUCK,
    ),
    Mutant(
        "an attempt that is not followed any more is not open",
        f"{BATCHES}/lifecycle.py",
        "            if life.phase is Phase.FOLLOWING:\n                life = replace(life, open_since",
        "            if False:\n                life = replace(life, open_since",
        FORGOTTEN,
    ),
    Mutant(
        "an attempt without a usable answer is not open",
        f"{BATCHES}/lifecycle.py",
        "            return replace(life, open_since=(*life.open_since, at), last=fact)\n",
        "            return replace(life, last=fact)\n",
        DOUBTFUL,
    ),
    Mutant(
        "what was refused is carried",
        f"{BATCHES}/lifecycle.py",
        "        if isinstance(self.last, RowRejected | Failed | NeverSent):\n",
        "        if isinstance(self.last, NeverSent):\n",
        POISONED,
    ),
    Mutant(
        "what a read job holds is not in flight for later ones",
        f"{BATCHES}/in_flight.py",
        "        self._holding[job] = _Holding(hashes, parameters)\n",
        "        hashes = hashes[:0]\n        self._holding[job] = _Holding(hashes, parameters)\n",
        OVERLAPPING,
    ),
    Mutant(
        "what earlier jobs have in flight is not so for a later one",
        f"{BATCHES}/in_flight.py",
        "            if job in flight.awaited_by:\n                view.put(",
        "            if False:\n                view.put(",
        OVERLAPPING,
    ),
    Mutant(
        "what an earlier job seals is not in flight for later ones",
        f"{BATCHES}/in_flight.py",
        "        flight = _Flight(parameters, due, set(self._from(job)))\n",
        "        flight = _Flight(parameters, due, {job})\n",
        OVERLAPPING,
    ),
    Mutant(
        "later jobs do not know of the children of a batch that was split",
        f"{BATCHES}/in_flight.py",
        "        for view in self._awaiting(flight):\n            view.tracker.split(batch_id, children)\n",
        "        for view in self._awaiting(flight)[:1]:\n            view.tracker.split(batch_id, children)\n"
        "        for view in self._awaiting(flight)[1:]:\n            view.tracker.forget(batch_id)\n",
        Climate(actions=OVERLAPPING.actions, outcomes=("taken", "refused"), clients=(1,)),
    ),
    Mutant(
        "a body goes with the first seal behind its release, though another job awaits the batch",
        f"{BATCHES}/in_flight.py",
        "if each in flights and flights[each].awaited_by <= {job}])",
        "if each in flights])",
        OVERLAPPING_AND_CRASHING,
    ),
    Mutant(
        "a job that ends closes batches that others await",
        f"{BATCHES}/in_flight.py",
        "release_at <= now and flight.awaited_by <= {job}\n",
        "release_at <= now\n",
        OVERLAPPING,
    ),
    Mutant(
        "what a job held is held for ever",
        f"{BATCHES}/in_flight.py",
        "                    self._views[other].note_due(Due.at_once(-job))\n",
        "                    pass\n",
        GIVEN_UP,
    ),
    # The parts of an export.
    Mutant(
        "lines of a part are not counted through those before it",
        SOURCE,
        "            self._enter(start, _behind_lines(start.end, before), start.behind)\n",
        "            self._enter(start, start.end, start.behind)\n",
    ),
    Mutant(
        "parts that are over are forgotten",
        f"{BATCHES}/checkpoint.py",
        "        self.parts = (*self.parts, *parts)\n",
        "        self.parts = tuple(parts)\n",
    ),
    Mutant(
        "a process goes on in the first part",
        SOURCE,
        "        checkpoint.part, begin.offset,",
        "        0, begin.offset,",
        CRASHING,
    ),
    # The state directory.
    Mutant(
        "changes of held rows are not in the seal",
        LEDGER,
        "            write_held(database, job.seq, held)\n",
        "            pass\n",
    ),
    Mutant(
        "a release is not written down while another job awaits the batch",
        LEDGER,
        "                self._release(batch_id, remembered)\n                if batch_id not in awaited:\n",
        "                if batch_id not in awaited:\n                    self._release(batch_id, remembered)\n",
        OVERLAPPING,
    ),
    Mutant(
        "a batch that was split stays open",
        LEDGER,
        "(children[0].batch_id, children[1].batch_id)))\n            self._close(parent.batch_id)\n",
        "(children[0].batch_id, children[1].batch_id)))\n",
        SPLITTING,
    ),
    Mutant(
        "the children of a batch do not have its open attempts after a restart",
        STATE,
        "    life = Life() if parent is None else born_of(life_of(ledger, parent))\n",
        "    life = Life()\n",
        SPLITTING_AND_CRASHING,
    ),
    Mutant(
        "what is in flight is swept away at the start",
        STATE,
        "lambda batch_id: batch_id in open_ids or batch_id in state.lost)",
        "lambda batch_id: batch_id in state.lost)",
    ),
    Mutant(
        "what was lost is swept away at the start",
        STATE,
        "lambda batch_id: batch_id in open_ids or batch_id in state.lost)",
        "lambda batch_id: batch_id in open_ids)",
        FORGOTTEN_AND_OVERLAPPING,
    ),
    # The order of the steps: to be looked at anew wherever a file of `jobs` is.
    Mutant(
        "an attempt is not written down before its first byte",
        DELIVERY,
        "        life = await self._record(batch, Begun(passage.post_number))\n",
        "        self._book.record(batch.batch_id, Begun(passage.post_number), now=0.0, hold_s=0.0)\n",
        CRASHING,
    ),
    Mutant(
        "what a status said is not written down",
        DELIVERY,
        "        await self._record(batch, fact)\n        if life.post_number is not None:\n",
        "        self._book.record(batch.batch_id, fact, now=self._job.clock.monotonic(), hold_s=self._limits.hold_s)\n"
        "        if life.post_number is not None:\n",
    ),
    Mutant(
        "the children of a batch do not have its open attempts",
        f"{BATCHES}/book.py",
        "            self._put(child, born_of(whole))\n",
        "            self._put(child, Life())\n",
        SPLITTING,
    ),
    Mutant(
        "other jobs are not told of a split",
        DELIVERY,
        "        job.in_flight.split(batch.batch_id, hashes)\n",
        "",
        SPLITTING,
    ),
    Mutant(
        "a batch that waits unsent is counted for ever",
        DELIVERY,
        "            self._limits.unsent.release()\n",
        "            pass\n",
    ),
    Mutant(
        "a status that was seen is waited for all the same",
        DELIVERY,
        "            window.forget(life.post_number)\n",
        "            pass\n",
    ),
    Mutant(
        "what was lost is not known as lost",
        DELIVERY,
        "        job.state.note_lost(BatchRecord(batch, job.record.seq, (life.last,) if life.last else ()))\n",
        "",
        AGAIN,
    ),
    Mutant(
        "a batch that was split has no outcome",
        f"{BATCHES}/book.py",
        "        self._lives[batch_id] = split\n        self._settle(batch_id, now, hold_s=0.0)\n",
        "        self._lives[batch_id] = split\n",
        SPLITTING,
    ),
    Mutant(
        "held rows carry nothing",
        PRODUCER,
        "            earlier = await self._job.host.run_blocking(\n"
        "                self._carried, due.batch_id, waiting - encoded_forms(due.failed_ids)\n"
        "            )\n",
        "            pass\n",
    ),
    Mutant(
        "what is carried stands under the header of another job",
        PRODUCER,
        "        if theirs == ours:\n            return rows\n",
        "        return rows\n",
        OVERLAPPING,
    ),
    Mutant(
        "what Target cannot have is carried",
        PRODUCER,
        "            and due.may_be_applied\n",
        "",
        POISONED,
    ),
    Mutant(
        "a body goes when its batch is released, not with the seal behind it",
        PRODUCER,
        "        await self._place_freed(self._placer.release(due.batch_id, earlier))\n",
        "        if due.batch_id > 0:\n"
        "            await self._job.state.in_turn(self._job.spool.remove, due.batch_id)\n"
        "        await self._place_freed(self._placer.release(due.batch_id, earlier))\n",
    ),
    Mutant(
        "the checkpoint of a seal goes on while it is written down",
        PRODUCER,
        "deepcopy(checkpoint), own",
        "checkpoint, own",
    ),
    Mutant(
        "the ids of a batch that is being written are not in flight",
        PRODUCER,
        "            self._placer.tracker.seal(batch_id, seal.content.hashes)\n",
        "            pass\n",
    ),
    Mutant(
        "rows of a batch that is being written are in no class",
        PRODUCER,
        "        sealed = self._sealing.rows if self._sealing else 0\n",
        "        sealed = 0\n",
    ),
    Mutant(
        "what a later row overtakes is not noted",
        PRODUCER,
        "                overtaken = await job.state.in_turn(job.state.overtaken_by, job.record, batch, own)\n",
        "                overtaken = {}\n",
        AGAIN,
    ),
    Mutant(
        "attempts that were cut off are not recorded",
        RECOVERY,
        "        if each.fact:\n",
        "        if False:\n",
        CRASHING,
    ),
    Mutant(
        "nothing that is in flight is taken up by a job that goes on",
        RECOVERY,
        "            await _take_up(job.in_flight, state, record, due)\n",
        "            pass\n",
    ),
    Mutant(
        "what ended jobs have in flight is not taken up",
        RECOVERY,
        "            await _take_up(in_flight, state, record, _due(record, life, clock.monotonic(), hold_s))\n",
        "            pass\n",
        FORGOTTEN_AND_OVERLAPPING,
    ),
    Mutant(
        "what was settled before a restart is not counted",
        f"{BATCHES}/book.py",
        "        self._put(batch, life)\n        self._settle(batch.batch_id, now, hold_s)\n        return fact\n",
        "        self._put(batch, life)\n        return fact\n",
    ),
    Mutant(
        "the next job does not wait until the one before is read",
        RUNNER,
        "        return is_room and all(run.in_flight.is_read(seq) for seq in self._running)\n",
        "        return is_room\n",
        OVERLAPPING,
    ),
    Mutant(
        "what is sent again is not looked at anew when its job begins",
        RUNNER,
        "                record = await rows_left(self.state, record)\n",
        "                pass\n",
        AGAIN,
    ),
    Mutant(
        "what is sent again runs beside others",
        RUNNER,
        "if record is not None and not (record.retry_of and self._running):\n",
        "if record is not None:\n",
        AGAIN,
    ),
    Mutant(
        "batches that were never sent are not dropped with their job",
        "pipeline/jobs/report.py",
        "        never_sent=never_sent,\n",
        "        never_sent=[],\n",
        ABANDONING,
    ),
    Mutant(
        "a job that has ended is still there for others",
        "pipeline/jobs/report.py",
        "    job.in_flight.finish(job.record.seq, never_sent)\n",
        "",
        GIVEN_UP,
    ),
    Mutant(
        "sending goes on while it is paused",
        "pipeline/jobs/delivery/send_gate.py",
        "        return inf if self._job.state.is_paused else self._limits.calls.windows.pause_s\n",
        "        return self._limits.calls.windows.pause_s\n",
        PAUSING,
    ),
    Mutant(
        "sending goes on though the process is to end",
        "pipeline/jobs/ending.py",
        "        return max(self._stage, above)\n",
        "        return self._stage\n",
        ENDING,
    ),
    Mutant(
        "what was lost and overtaken is sent again",
        "pipeline/jobs/retries/lost_rows.py",
        "            if hash_ in later:\n",
        "            if False:\n",
        AGAIN,
    ),
    Mutant(
        "of what was lost, overtaken values are sent again with the others",
        "pipeline/jobs/retries/lost_rows.py",
        '[b"" if name in overtaken else cell for name, cell in zip(names, cells[1:], strict=False)]',
        "cells[1:]",
        AGAIN,
    ),
    # The memory of what was sent.
    *OF_THE_MEMORY,
    # The guard.
    *OF_THE_GUARD,
]
