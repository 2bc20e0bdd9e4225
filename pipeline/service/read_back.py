"""Reads a sample of each ended job back from Target, when [verify] after_s has passed since its end.

It keeps nothing waiting: each profile is one call of the budget, behind all POSTs, and one at a time. A row of an id
that a later batch has too is left out: its values may differ for a good reason. The result stands in `verified.json` of
the job's folder, beside the report, which is written once and stays as it is.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import unquote

import numpy as np
import structlog

from pipeline.core.display.counts import READ_BACK
from pipeline.core.errors import FatalError
from pipeline.core.explain.fates import Fate, fate_in_batch
from pipeline.core.explain.sample import draws
from pipeline.core.model import Hashes
from pipeline.core.rows.id_forms import hashes_of
from pipeline.core.target.profile_replies import NoProfile, NotRead, Profile, compared
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.job_rows.sample_files import Sampled
from pipeline.edges.store.job_rows.sent_ids import read_sent
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State, life_of
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.profiles import ProfileReader, profile_reader
from pipeline.jobs.ending import Ending
from pipeline.jobs.status.explain.live import endpoint_of
from pipeline.settings.settings import Settings

log = structlog.get_logger()

#: Seconds between two looks for jobs whose sample is due. Ours.
_LOOK_S = 30.0
#: Profiles in a row that cannot be read, after which all the rest waits, and the seconds for which it does. Ours.
_MOST_NOT_READ, _AGAIN_S = 3, 600.0
#: The time for which a sample that cannot be read back is tried again. Ours.
_TRIED_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that was sent: its batch, the encoded id with its kind and hash, its values by parameter."""

    batch_id: int
    encoded: bytes
    id_kind: str
    hash: int
    values: dict[str, str]


class ReadBack:
    """Reads the samples of ended jobs back. `settings`: gives those of now. `calls`: the queue of the client code."""

    def __init__(self, state: State, settings: Callable[[], Settings], calls: CallQueue, ending: Ending) -> None:
        self._state = state
        self._settings = settings
        self._calls = calls
        self._ending = ending
        self._ended = 0

    def note_ended(self) -> None:
        """Note that a job has ended, of which a sample may be due at once."""
        self._ended += 1
        self._ending.changed.tell()

    async def run(self, went_well: Callable[[], None]) -> None:
        """Look for samples that are due, again and again, until the process ends; each time it tells that it went well.

        What is wrong with the disk or the token ends nothing: it is tried again.
        """
        while not self._ending.is_due:
            ended, wait_s = self._ended, _AGAIN_S
            try:
                wait_s = await self._look()
            except FatalError as error:
                log.warning("sample_not_read_back", why=str(error))
            went_well()
            has_to_go_on = partial(self._is_to_go_on, ended)
            await self._ending.changed.until(has_to_go_on, within_s=wait_s)

    def _is_to_go_on(self, ended: int) -> bool:
        return self._ending.is_due or self._ended > ended

    async def _look(self) -> float:
        """Read back all samples that are due; return the seconds until the next look."""
        wait_s = _LOOK_S
        for job_id in [] if self._state.is_paused else await self._state.host.run_blocking(self._pending):
            due_in_s = await self._read_if_due(job_id)
            if due_in_s is None:
                return _AGAIN_S
            wait_s = min(wait_s, due_in_s)
        return wait_s

    def _pending(self) -> list[str]:
        """The jobs that have a sample."""
        return sorted(found.parent.parent.name for found in self._state.outcomes.glob("*/rows/sample"))

    async def _read_if_due(self, job_id: str) -> float | None:
        """Read the sample of a job back, if it is due; the seconds until it may be, None if Target does not tell."""
        state, settings = self._state, self._settings()
        record = await state.in_turn(state.ledger.job, job_id)
        if record is None or record.state is None or record.report is None:
            return _LOOK_S
        folder = state.folder(job_id)
        if record.state not in ("done", "incomplete") or not settings.verify.sample:
            await state.host.run_blocking(folder.sample.remove)
            return _LOOK_S
        ended = datetime.fromisoformat(record.report.finished_at).astimezone(UTC)
        due, now = ended + timedelta(seconds=settings.verify.after_s), state.host.clock.utc_now()
        if now >= due:
            is_last = now >= due + _TRIED_FOR
            return _LOOK_S if await self._is_read_back(record, folder, settings, is_last=is_last) else None
        return (due - now).total_seconds()

    async def _is_read_back(self, record: JobRecord, folder: JobFolder, settings: Settings, *, is_last: bool) -> bool:
        """Read the sample of a job back; False if Target does not tell, so that it is to be tried again."""
        state, found, in_a_row = self._state, Counter[str](), 0
        rows = await state.in_turn(self._rows, record, folder)
        async with profile_reader(endpoint_of(settings), self._calls) as reader:
            for row in rows:
                asked = found.total() - found["newer"]
                if asked >= settings.verify.sample:
                    break
                told = await self._compare(record, row, reader)
                found[told] += 1
                in_a_row = in_a_row + 1 if told == "not_read" else 0
                if in_a_row >= _MOST_NOT_READ or self._ending.is_due:
                    break
        if (in_a_row >= _MOST_NOT_READ and not is_last) or self._ending.is_due:
            return False
        counts = {name: found[name] for name in READ_BACK}
        at = state.host.clock.utc_now().isoformat(timespec="seconds")
        await state.in_turn(folder.write_verified, {"at": at, **counts})
        await state.host.run_blocking(folder.sample.remove)
        state.host.counts[settings.target.client_code].read_back.update(counts)
        _tell(record.job_id, found)
        return True

    async def _compare(self, record: JobRecord, row: _Row, reader: ProfileReader) -> str:
        """The word for what Target has of a row: `equal`, `different`, `missing`, `newer` or `not_read`."""
        if await self._state.in_turn(self._is_newer_sent, record, row):
            return "newer"
        outcome = await reader.read(row.id_kind, row.encoded)
        if isinstance(outcome, NotRead):
            return "not_read"
        states = set(compared(row.values, outcome).values())
        if states <= {"equal"} and isinstance(outcome, Profile):
            return "equal"
        if await self._state.in_turn(self._is_newer_sent, record, row):
            # Sealed while Target was asked.
            return "newer"
        return "missing" if isinstance(outcome, NoProfile) or states <= {"equal", "missing"} else "different"

    def _rows(self, record: JobRecord, folder: JobFolder) -> list[_Row]:
        """The rows of the sample that Target has applied, in the order in which they are drawn. Blocks."""
        rows = [row for batch, sampled in folder.sample.read().items() for row in self._rows_of(batch, sampled)]
        order = np.argsort(draws(np.array([row.hash for row in rows], dtype=np.uint64), record.job_id))
        return [rows[place] for place in order.tolist()]

    def _rows_of(self, batch_id: int, sampled: Sampled) -> Iterator[_Row]:
        ledger = self._state.ledger
        record = ledger.batch(batch_id)
        if record is None:
            return
        life = life_of(ledger, record)
        for text in sampled.rows:
            profile_id, *cells = text.split(",")
            encoded = profile_id.encode()
            # Of one that was split nothing is told here: its parts have other numbers.
            if fate_in_batch(life, encoded)[0] is Fate.CONFIRMED:
                values = dict(zip(sampled.parameters, map(unquote, cells), strict=False))
                hash_ = int(hashes_of([encoded], ledger.salt)[0])
                yield _Row(batch_id, encoded, sampled.id_kind, hash_, values)

    def _is_newer_sent(self, record: JobRecord, row: _Row) -> bool:
        """True if a later batch has the id of a row, or may have it. Blocks."""
        for seq, batch_ids in self._state.ledger.batches_behind(record).items():
            job = self._state.ledger.job_at(seq)
            for batch_id in batch_ids:
                if batch_id <= row.batch_id or job is None:
                    continue
                sent = read_sent(self._state.folder(job.job_id).sent / str(batch_id))
                if sent is None or _has(sent[0], row.hash):
                    return True
        return False


def _tell(job_id: str, found: Counter[str]) -> None:
    equal, different, missing = found["equal"], found["different"], found["missing"]
    newer, not_read = found["newer"], found["not_read"]
    if different or missing:
        log.warning(
            "sample_differs",
            job=job_id,
            equal=equal,
            different=different,
            missing=missing,
            newer=newer,
            not_read=not_read,
        )
    else:
        log.info(
            "sample_read_back",
            job=job_id,
            equal=equal,
            different=different,
            missing=missing,
            newer=newer,
            not_read=not_read,
        )


def _has(hashes: Hashes, wanted: int) -> bool:
    place = int(np.searchsorted(hashes, np.uint64(wanted)))
    return place < len(hashes) and int(hashes[place]) == wanted
