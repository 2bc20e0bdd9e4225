"""One client code in the world: its exports, its state directory, and what Target has of it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from csv import DictReader
from datetime import datetime
from pathlib import Path
from shutil import copytree, rmtree

from pipeline.core.batches.lifecycle import Begun, Failed, GivenUp, SeenComplete, SeenStuck, Taken
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode
from pipeline.core.model import Batch
from pipeline.core.target.replies import Complete, PostOutcome, StatusOutcome
from pipeline.edges.exports import Export, Parts
from pipeline.edges.store.ledger import open_ledger
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.edges.store.mailbox import Mailbox
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.edges.store.spool import Spool
from pipeline.settings.settings import Settings
from pipeline.settings.tenants import Tenant
from tests.simulation.exports import GrowingExport, Row, open_whole
from tests.simulation.process import AT_ONCE_S, BEGAN_AT
from tests.simulation.target import HOLD_S, Body, Copy, Own, Target, Version

#: Target refuses every batch that holds it; encoding leaves it as it is.
POISON = b"POISON"


class Client:
    """A client code with its exports in `directory`, and its state too. `time` is the time of the world."""

    def __init__(self, directory: Path, settings: Settings, time: Callable[[], float]) -> None:
        self.tenant = Tenant.of_one(settings)
        self.code = self.tenant.client_code
        self.state = self.tenant.directory
        self.target = Target()
        self.exports: list[GrowingExport] = []
        #: Exports that no job was entered for yet.
        self.dropped: list[GrowingExport] = []
        self.reports: list[Report] = []
        self.is_idle = False
        #: Whether the product has a bug, or had one.
        self.is_cursed = False
        #: What was seen of broken promises: within the product, where it may take that for a bug and go on.
        self.broken: list[AssertionError] = []
        self.ended_by: list[str] = []
        #: The bodies of all batches that were ever written, by batch.
        self.bodies: dict[int, Body] = {}
        #: When Target last said something that is news of a batch.
        self.answered_at: dict[int, float] = {}
        #: Since when it is written down that nothing more is to be sent; None while it is not.
        self.paused_since: float | None = None
        #: By id and parameter the values that were drawn for exports, in their order.
        self.drawn: dict[tuple[bytes, str], list[bytes]] = {}
        #: The jobs that somebody asked to send though they are in quarantine.
        self.approved: set[str] = set()
        #: When the memory was emptied last.
        self.rebuilt_at: float | None = None
        #: When each export was dropped.
        self.dropped_at: dict[Path, float] = {}
        self.time = time
        self._directory = directory
        self._ledger: LedgerReader | None = None
        self._sealed_by: dict[int, JobRecord] = {}

    # Exports

    def drop(self, columns: Sequence[str], parts: Sequence[Sequence[Row]]) -> GrowingExport:
        """One more export is there to be loaded, with these rows by part; none of them can be read yet."""
        path = self._directory / f"export-{len(self.exports)}{'.csv' if len(parts) == 1 else ''}"
        export = GrowingExport(path, columns, parts, self.time)
        self.exports.append(export)
        self.dropped.append(export)
        self.dropped_at[export.path] = self.time()
        return export

    def owns(self, path: Path) -> bool:
        """Whether a file is one of this client code's."""
        return path.is_relative_to(self._directory)

    def open_export(
        self, path: Path, _: str | None = None, parts: Parts = (), /
    ) -> AbstractAsyncContextManager[Export]:
        """Open an export: one of those dropped, or another file."""
        known = next((export for export in self.exports if export.path == path), None)
        return open_whole(path, None, parts) if known is None else known.open(parts)

    # What a process tells

    def note_entered(self) -> None:
        """A job was entered for the next export."""
        del self.dropped[0]

    def note_report(self, report: Report) -> None:
        """A job has ended, or could not be finished."""
        whys = [report.error, *(batch.why for batch in report.batches)]
        is_bug = report.exit_code is ExitCode.OUR_BUG or any("a bug" in (why or "") for why in whys)
        assert self.is_cursed or not is_bug, whys
        self.reports.append(report)

    def take(self, settings: Settings) -> None:
        """Its settings are changed."""
        self.tenant = Tenant.of_one(settings)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done, nor asked for."""
        mailbox = Mailbox(self.state)
        is_asked = bool(mailbox.requests() or mailbox.taken())
        return self.is_idle and not self.dropped and not is_asked and not self.ledger.jobs(unfinished_only=True)

    def note_body(self, batch: Batch) -> None:
        """The body of a batch is in the spool."""
        spool = Spool(self.state / "spool", min_free_bytes=0)
        text, lines = spool.body(batch.batch_id).read_bytes(), spool.lines(batch.batch_id).tolist()
        self.bodies[batch.batch_id] = Body.of(text, lines)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what breaks a promise in the body, since it is raised within the product."""
        try:
            yield
        except AssertionError as error:
            self.broken.append(error)
            raise

    def begin_post(self, batch_id: int, body: Path) -> None:
        """The first byte of a batch leaves."""
        assert body.read_bytes() == self.bodies[batch_id].text, "what is sent is what was sealed"
        self.note_pause()
        is_late = self.paused_since is not None and self.time() - self.paused_since > AT_ONCE_S
        assert not is_late, "it is sent while sending is paused"
        self._check_guard(self.job_of(batch_id))
        self.leave_what_is_given_up()
        versions, own = self.versions(batch_id), self._own(batch_id)
        self.target.begin_post(batch_id, self.bodies[batch_id], versions, self.time(), own)

    def _check_guard(self, job: JobRecord) -> None:
        """An export with fewer rows than the guard asks for is sent only if somebody has approved it."""
        export = next((each for each in self.exports if each.path == job.export), None)
        if export is None or export.is_altered:
            return
        is_held_back = len(export.rows) < self.least_rows and job.job_id not in self.approved
        assert not is_held_back, f"{job.job_id} is sent, and nobody has approved it"

    def _own(self, batch_id: int) -> Own | None:
        """What the rows of a batch say themselves, if they may be filled in with what is remembered."""
        if self.remembers == "nothing":
            return None
        own: Own = {}
        for row in self.rows_of(self.job_of(batch_id)):
            for name, cell in row.cells.items():
                own.setdefault(row.profile_id, {}).setdefault(name, set()).add(cell)
        return own

    def rows_of(self, job: JobRecord) -> Sequence[Row]:
        """The rows of the export of a job: one that was dropped, or what is sent again."""
        export = next((each for each in self.exports if each.path == job.export), None)
        if export is not None:
            return export.rows
        with job.export.open() as file:
            reader = DictReader(file)
            names = list(reader.fieldnames or [])
            return [
                Row(line, cells[names[0]].encode(), {name: cells[name].encode() for name in names[1:] if cells[name]})
                for line, cells in enumerate(reader, start=2)
            ]

    def note_cut_off(self, batch_id: int, *, is_taken: bool) -> None:
        """An attempt ends without an answer."""
        if is_taken and not self.is_refused(batch_id):
            self.accept(batch_id, is_followed=False)

    # Target

    def accept(self, batch_id: int, *, is_followed: bool) -> Copy:
        """Target takes a batch."""
        return self.target.accept(
            batch_id, self.bodies[batch_id], self.versions(batch_id), self.time(), is_followed=is_followed
        )

    def is_refused(self, batch_id: int) -> bool:
        """Whether Target refuses a batch for what is in it."""
        return POISON in self.bodies[batch_id].text

    def note_answer(self, batch_id: int | None, status_url: str, outcome: PostOutcome | StatusOutcome) -> None:
        """Target has answered a call."""
        if batch_id is None:
            copy = self.target.copy_at(status_url)
            if copy.was_complete:
                # Somebody looks whether its status is kept.
                return
            copy.was_complete = isinstance(outcome, Complete)
            batch_id = copy.batch_id
        self.answered_at[batch_id] = self.time()

    def leave_what_is_given_up(self) -> None:
        """Copies that nobody follows any more may be applied for the hold only."""
        followed = [copy for copy in self.target.pending(self.time()) if copy.until == math.inf]
        for copy in followed:
            record = self.ledger.batch(copy.batch_id)
            given_up_at = _given_up_at(record, self.target.url_of(copy)) if record else None
            if given_up_at is not None:
                copy.until = given_up_at + HOLD_S
            elif record is None or not isinstance(record.latest, Begun | Taken):
                # What was answered was never written down.
                copy.until = copy.ended_at + HOLD_S

    # The state directory

    @property
    def ledger(self) -> LedgerReader:
        """The ledger, to be looked at; there is one as soon as a process has begun."""
        if self._ledger is None:
            self._ledger = read_ledger(self.state / "ledger.db")
            assert self._ledger is not None
        return self._ledger

    @property
    def has_ledger(self) -> bool:
        """Whether a process has come to make a ledger."""
        return (self.state / "ledger.db").exists()

    def save(self) -> None:
        """Keep a copy of the state directory as it is."""
        self.close()
        rmtree(self._saved, ignore_errors=True)
        copytree(self.state, self._saved)

    def restore(self) -> None:
        """Put the copy in the place of the state directory."""
        self.close()
        rmtree(self.state)
        self._saved.rename(self.state)

    @property
    def _saved(self) -> Path:
        return self._directory / "saved"

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def pause(self) -> None:
        """Pause sending while no process is there."""
        ledger = open_ledger(self.state / "ledger.db", self.code, lambda: "", is_new=not self.has_ledger)
        ledger.pause(is_paused=True)
        ledger.close()

    def rebuild(self) -> None:
        """Empty the memory while no process is there."""
        ledger = open_ledger(self.state / "ledger.db", self.code, lambda: "", is_new=False)
        ledger.clear_memory()
        ledger.close()
        self.rebuilt_at = self.time()

    @property
    def remembers(self) -> str:
        """What is remembered of each row that was sent."""
        return self.tenant.settings.memory.remember

    @property
    def least_rows(self) -> int:
        """The rows that a guard asks of an export; 0 without one."""
        return self.tenant.settings.guard.min_rows

    def in_quarantine(self) -> list[JobRecord]:
        """The jobs that wait until somebody approves them."""
        if not self.has_ledger or not self.least_rows:
            return []
        return [job for job in self.ledger.jobs(unfinished_only=True) if self.ledger.is_quarantined(job)]

    def note_pause(self) -> None:
        """Look whether sending is paused."""
        is_paused = self.has_ledger and self.ledger.is_paused
        self.paused_since = (self.paused_since or self.time()) if is_paused else None

    def ask(self, command: str, job: str | None) -> None:
        """Leave a request for the process that holds the directory."""
        if command == "approve" and job is not None:
            self.approved.add(job)
        Mailbox(self.state).ask(command, job)

    # Versions

    def job_of(self, batch_id: int) -> JobRecord:
        """The job of a batch that was sealed; of what changes in it, that it was when this was first asked."""
        if batch_id not in self._sealed_by:
            record = self.ledger.batch(batch_id)
            assert record is not None, f"batch {batch_id} is sent, and not sealed"
            (self._sealed_by[batch_id],) = (job for job in self.ledger.jobs() if job.seq == record.job)
        return self._sealed_by[batch_id]

    def versions(self, batch_id: int) -> dict[bytes, Version]:
        """The version of each id in a batch; of a row that is sent again, that of when it was sent first."""
        body = self.bodies[batch_id]
        return {profile_id: self.version(batch_id, profile_id) for profile_id in body.rows}

    def version(self, batch_id: int, profile_id: bytes) -> Version:
        """The version of an id in a batch."""
        job = self.job_of(batch_id)
        original = None if job.retry_of is None else self.ledger.job(job.retry_of)
        if original is None:
            return job.seq, self.bodies[batch_id].lines[profile_id]
        lost = [
            record.batch.batch_id
            for record in self.ledger.batches(job=original)
            if profile_id in self.bodies[record.batch.batch_id].rows and is_lost(record, profile_id)
        ]
        assert lost, f"{profile_id!r} is sent again, and was not lost"
        return max(self.version(each, profile_id) for each in lost)


def _given_up_at(record: BatchRecord, status_url: str) -> float | None:
    """When a copy was followed no more though it was not complete; None if that is not so."""
    following = ""
    for fact, at in zip(record.facts, record.times, strict=True):
        if isinstance(fact, Taken):
            following = fact.status_url
        elif isinstance(fact, SeenStuck | GivenUp) and following == status_url:
            return (datetime.fromisoformat(at) - BEGAN_AT).total_seconds()
        elif isinstance(fact, SeenStuck):
            following = ""
    return None


def is_lost(record: BatchRecord, profile_id: bytes) -> bool:
    """Whether the row of an id in a batch failed, or may not have been applied."""
    match record.latest:
        case GivenUp() | Failed():
            return True
        case SeenComplete(lost_ids=lost_ids):
            return profile_id.decode() in lost_ids
    return False
