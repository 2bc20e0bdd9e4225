"""What keeps an export back that a guard finds odd, taken out of the product one by one, see `mutants`."""

from tests.simulation.mutant import Mutant
from tests.simulation.weather import GUARDING

PRODUCER = "pipeline/jobs/producer.py"
GATHER = "pipeline/jobs/gathering/gather.py"

OF_THE_GUARD = [
    Mutant(
        "rows are sent before the guard has judged them",
        PRODUCER,
        "            if job.state.memory is None and not is_judged:\n",
        "            if job.state.memory is None:\n",
        GUARDING,
    ),
    Mutant(
        "a job in quarantine is sent though nobody has approved it",
        PRODUCER,
        "    await check_quarantine(job)\n",
        "",
        GUARDING,
    ),
    Mutant(
        "what the guard finds is not written down together with the rows",
        GATHER,
        "    if is_judged:\n",
        "    checkpoint.gathered = Gathered((*runs.written, *gone.runs), rows, is_whole=True)\n"
        "    await job.state.in_turn(job.state.ledger.note_checkpoint, job.record, checkpoint)\n"
        "    if is_judged:\n",
        GUARDING,
    ),
    Mutant(
        "jobs behind one in quarantine begin",
        "pipeline/jobs/runner.py",
        "        return None if await self.state.in_turn(self.state.ledger.is_quarantined, record) else record\n",
        "        if await self.state.in_turn(self.state.ledger.is_quarantined, record):\n"
        "            return await next_job({*self._running, *self._quarantined})\n"
        "        return record\n",
        GUARDING,
    ),
]
