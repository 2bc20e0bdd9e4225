"""What must hold (I1 to I6), looked at from outside: ledger, exports, what Target got, and the reports.

While it goes on, `check_while_it_runs` looks at what is in flight and at the counts. At the end `check_at_the_end`
compares every row of every export with what became of it. That older values never win, and that each attempt sends the
same bytes, is seen by the model of Target itself.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pipeline.core.batches.lifecycle import (
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    NeverSent,
    RefusedAs,
    Released,
    RowRejected,
    SeenComplete,
    SeenStuck,
    SplitUp,
    Taken,
)
from pipeline.core.errors import FatalError
from pipeline.edges.store.records import BatchRecord, JobRecord
from pipeline.jobs.report import NOT_COUNTED
from tests.simulation.client import POISON, Client, is_lost
from tests.simulation.exports import Row
from tests.simulation.process import Process
from tests.simulation.remembered import Said, check_remembered
from tests.simulation.target import Cells, Version
from tests.simulation.world import World


def check_while_it_runs(world: World) -> None:
    """I1 as far as is durable, I4 should the process end now, and I2 and I3 as Target has seen them."""
    for client in world.clients:
        check_what_was_seen(client)
        if client.has_ledger and not world.process.disk.is_crashed:
            check_ids_in_flight(client)
    check_counts(world.process)


def check_at_the_end(world: World) -> None:
    """I4 from batches and exports alone, and I5 under both readings of "override"."""
    for client in world.clients:
        check_what_was_seen(client)
        check_ids_in_flight(client)
        check_bodies_of_lost_rows(client)
        rows = RowsOf(client)
        for job in client.ledger.jobs():
            rows.check_classes(job)
            world.figures.unchanged += job.report.rows.unchanged if job.report else 0
        if client.remembers == "nothing":
            rows.check_profiles()
        else:
            check_remembered(client, rows.said())


def check_what_was_seen(client: Client) -> None:
    """What the model of Target saw, where the product took the error for a bug of its own, and went on."""
    for error in client.broken:
        raise error


def check_ids_in_flight(client: Client) -> None:
    """I1: at most one batch in flight holds an id, as far as is durable; and its body is there."""
    ids: Counter[bytes] = Counter()
    for record in client.ledger.batches():
        body = client.state / "spool" / f"{record.batch.batch_id:08d}.body"
        assert body.exists(), f"the body of batch {record.batch.batch_id} is gone while it may be asked for"
        if Released() not in record.facts:
            ids.update(client.bodies[record.batch.batch_id].rows.keys())
    assert all(count == 1 for count in ids.values()), f"in flight in two batches: {ids}"


def check_bodies_of_lost_rows(client: Client) -> None:
    """What was lost can be sent again: the bodies are kept."""
    for job in client.ledger.jobs():
        for record in client.ledger.batches(job=job):
            batch_id = record.batch.batch_id
            if any(is_lost(record, profile_id) for profile_id in client.bodies[batch_id].rows):
                assert (client.state / "spool" / f"{batch_id:08d}.body").exists(), f"lost, and gone: batch {batch_id}"


def check_counts(process: Process) -> None:
    """I4, at any moment: every row read is in exactly one class, should the run end here."""
    for job in [] if process.disk.is_crashed else process.jobs:
        try:
            job.progress.close()
            job.progress.close(goes_on=True)
        except FatalError as error:
            raise AssertionError(f"{job.record.job_id}: {error}") from error


@dataclass(frozen=True, slots=True)
class Sent:
    """A row in a batch that stands for itself, and its class: or `dropped` where it was never sent."""

    version: Version
    record: BatchRecord
    profile_id: bytes
    outcome: str

    @property
    def batch_id(self) -> int:
        """The batch."""
        return self.record.batch.batch_id

    @property
    def was_given_up_refused(self) -> bool:
        """True for a batch that met a bug when it was refused: Target has nothing of it, whatever its class."""
        facts = self.record.facts
        may_be_applied = any(isinstance(fact, Taken | InDoubt) for fact in facts)
        was_refused = any(isinstance(fact, RefusedAs) for fact in facts)
        return was_refused and not may_be_applied and any(isinstance(fact, GivenUp) for fact in facts)


class RowsOf:
    """All rows of the exports of a client code, and what became of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jobs = {job.seq: job for job in client.ledger.jobs()}
        self._exports = {export.path: export for export in client.exports}
        self._sendable = {seq: self._rows_to_send(job) for seq, job in self._jobs.items()}
        self._sent = [self._of_job(job) for job in self._jobs.values()]

    def _of_job(self, job: JobRecord) -> list[Sent]:
        """The rows of a job in batches that were not split, in their order."""
        client = self._client
        sent = [
            Sent((job.seq, line), record, profile_id, _outcome(record.latest, profile_id, body.rows))
            for record in client.ledger.batches(job=job)
            for body in [client.bodies[record.batch.batch_id]]
            if not any(isinstance(fact, SplitUp) for fact in record.facts)
            for profile_id, line in body.lines.items()
        ]
        return sorted(sent, key=lambda each: each.version)

    # I4

    def check_classes(self, job: JobRecord) -> None:
        """Each row read is somewhere, and nowhere twice; the report says so."""
        assert job.report, "every job has ended"
        rows, sent = asdict(job.report.rows), self._sent[job.seq - 1]
        assert rows["read"] == sum(count for name, count in rows.items() if name != "read"), rows
        lines = Counter(each.version for each in sent)
        assert all(count == 1 for count in lines.values()), f"rows in two batches: {lines}"
        counts = Counter(each.outcome for each in sent)
        if NOT_COUNTED in (job.report.error or ""):
            assert self._client.is_cursed
            assert rows["unconfirmed"] >= counts["lost"]
            return
        self._check_parts(job)
        everything = self._client.rows_of(job)
        read = everything[: rows["read"]]
        to_send = {row.line: row for row in self._sendable[job.seq] if row in read}
        in_batches = {each.version[1] for each in sent if each.outcome != "dropped"}
        rest = [line for line in to_send if line not in in_batches]
        local = sum(self._is_rejected(job, row) for row in read)
        assert rows["rejected"] == local + counts["rejected"], (rows, local, counts)
        assert rows["excluded"] == 0
        assert rows["empty"] == rows["read"] - local - len(to_send)
        assert rows["confirmed"] == counts["confirmed"]
        assert rows["failed"] + rows["unconfirmed"] == counts["lost"]
        assert rows["superseded"] + rows["unchanged"] + rows["unsent"] == len(rest)
        if job.report.state in ("done", "incomplete"):
            assert rows["read"] == len(everything)
            assert not rows["unsent"]
            by_id = {to_send[line].profile_id: line for line in sorted(in_batches)}
            left_out = {to_send[line].profile_id for line in rest if line > by_id.get(to_send[line].profile_id, 0)}
            never_sent = left_out & by_id.keys()
            assert not never_sent, f"the last rows of {never_sent} in job {job.seq} were never sent"
            assert rows["unchanged"] == len(left_out), f"{left_out} of job {job.seq} were never sent"
        else:
            export = self._exports.get(job.export)
            allowed = (*((65, 66) if export and export.is_altered else ()), *((70,) if self._client.is_cursed else ()))
            assert job.is_abandoned or job.report.exit_code in allowed, job.report.error

    def _check_parts(self, job: JobRecord) -> None:
        """The report has each part that was begun, with the rows read of it."""
        export = self._exports.get(job.export)
        if export is None or not job.report or len(export.files) == 1:
            return
        parts, left = job.report.parts, job.report.rows.read
        for part, file, rows in zip(parts, export.files, export.parts, strict=False):
            assert (part.name, part.rows) == (file.name, min(left, len(rows))), parts
            left -= part.rows
        assert not left, parts
        assert job.report.state not in ("done", "incomplete") or len(parts) == len(export.files), parts

    def _rows_to_send(self, job: JobRecord) -> list[Row]:
        return [row for row in self._client.rows_of(job) if row.cells and not self._is_rejected(job, row)]

    def _is_rejected(self, job: JobRecord, row: Row) -> bool:
        """Whether a row must not be sent: for its id, or because it fits in no batch."""
        header = ",".join(("thirdPartyId", *job.checkpoint.parameters))
        most = self._client.tenant.settings.batch.max_bytes - len(f"batch={header}\n")
        export = self._exports.get(job.export)
        return b"/" in row.profile_id or (export is not None and len(export.text_of(row)) + 1 > most)

    # I5

    def said(self) -> dict[bytes, list[Said]]:
        """Of each id what the jobs say, in their order, but for what was never sent."""
        said: dict[bytes, list[Said]] = {}
        for job in self._jobs.values():
            assert job.report, "every job has ended"
            sent = {each.profile_id: each for each in self._sent[job.seq - 1]}
            is_cut_short = bool(job.report.rows.unsent) or job.report.state not in ("done", "incomplete")
            cells: dict[bytes, Cells] = {}
            for row in self._sendable[job.seq]:
                cells[row.profile_id] = cells.get(row.profile_id, {}) | row.cells
            if job.retry_of is not None:
                cells = dict.fromkeys(said, Cells()) | cells
            for profile_id, own in cells.items():
                each = sent.get(profile_id)
                if each is None or each.outcome != "dropped" or self._may_have_arrived(each.record):
                    batch = each.record if each else None
                    said.setdefault(profile_id, []).append(Said(job, own, batch, is_cut_short))
        return said

    def _may_have_arrived(self, record: BatchRecord | None) -> bool:
        """Whether Target may have a batch that was never sent, since it may have one that was split."""
        while record is not None and record.batch.parent is not None:
            record = self._client.ledger.batch(record.batch.parent)
            if record is not None and any(isinstance(fact, InDoubt | SeenStuck) for fact in record.facts):
                return True
        return False

    def check_profiles(self) -> None:
        """Of each id of which no row was lost, the newest value of each attribute won."""
        versions: dict[bytes, list[Sent]] = {}
        for each in (each for sent in self._sent for each in sent if each.outcome != "dropped"):
            versions.setdefault(each.profile_id, []).append(each)
        for profile_id, sent in versions.items():
            firsts = [each for each in sent if self._jobs[each.version[0]].retry_of is None]
            again = {self._client.version(each.batch_id, profile_id): each for each in sent if each not in firsts}
            parts = [self._said_between(before, each) for before, each in zip([None, *firsts], firsts, strict=False)]
            self._check_poison(firsts, parts)
            if any(again.get(each.version, each).outcome != "confirmed" for each in firsts):
                continue
            assert self._client.target.merged.get(profile_id, {}) == _merged(parts), f"{profile_id!r}, merged"
            for number in range(1, len(firsts)):
                self._check_carried(firsts[number - 1], firsts[number], parts[number], [*again.values()])
            if any(version < firsts[-1].version for version in again):
                # Values that no later row has were sent again, behind that row: where a batch replaces all, it goes.
                continue
            last = again.get(firsts[-1].version, firsts[-1])
            cells = self._client.bodies[last.batch_id].cells(profile_id)
            assert self._client.target.replaced.get(profile_id, {}) == cells, f"{profile_id!r}, replaced"

    def _check_carried(self, before: Sent, each: Sent, own: Cells, again: list[Sent]) -> None:
        """A row that waited for an earlier one has what was in that; any other has it, or only what is its own.

        Where an earlier version was sent `again` meanwhile, it may have been that for which the row waited.
        """
        bodies, name = self._client.bodies, each.profile_id
        cells, carried = bodies[each.batch_id].cells(name), bodies[before.batch_id].cells(name) | own
        if any(cells == bodies[other.batch_id].cells(name) | own for other in again):
            return
        assert cells in (own, carried), f"{name!r}: {cells} is neither {own} nor {carried}"
        is_to_carry = self._waited(before, each) and not self._is_cut_short(before, each)
        if is_to_carry and self._fits(before, each) and not before.was_given_up_refused:
            assert cells == carried, f"{name!r}: {each.version} lost what {before.version} had: {carried}"

    def _waited(self, before: Sent, each: Sent) -> bool:
        """Whether the first row of a version was certainly placed before the version before it was released."""
        if self._client.least_rows:
            # All rows were gathered before any was placed.
            return False
        export = self._exports[self._jobs[each.version[0]].export]
        (first, *_) = self._between(before, each)
        answered_at = self._client.answered_at.get(before.batch_id, 0.0)
        return export.placed_at.get(first.line, float("inf")) < answered_at

    def _fits(self, before: Sent, each: Sent) -> bool:
        """Whether all that was said in between, and each part of it, fits in a batch with what is to be carried."""
        parameters = self._client.bodies[each.batch_id].parameters
        said = [self._client.bodies[before.batch_id].cells(each.profile_id)]
        said += [row.cells for row in self._between(before, each)]
        longest = {name: max(len(cells.get(name, b"")) for cells in said) for name in parameters}
        row = len(each.profile_id) + sum(1 + size for size in longest.values()) + len("\n")
        header = f"batch={','.join(('thirdPartyId', *parameters))}\n"
        return len(header) + row <= self._client.tenant.settings.batch.max_bytes

    def _is_cut_short(self, before: Sent, each: Sent) -> bool:
        """Whether a job from one to the other ended early: nothing is carried past what it held."""
        jobs = [self._jobs[seq] for seq in range(before.version[0], each.version[0] + 1)]
        return any(job.report is None or job.report.rows.unsent for job in jobs)

    def _check_poison(self, sent: list[Sent], parts: list[Cells]) -> None:
        """A row is not rejected for what it carries from a row that was rejected for the same."""
        for before, each, own in zip([None, *sent], sent, parts, strict=False):
            latest = each.record.latest
            is_poisoned = isinstance(latest, RowRejected) and POISON.decode() in latest.row
            if is_poisoned and not any(POISON in cell for cell in own.values()):
                assert before and before.outcome != "rejected", f"{each} is rejected for what {before} held"

    def _said_between(self, before: Sent | None, each: Sent) -> Cells:
        """What the rows of an id say behind one version of it and up to another."""
        return _merged(row.cells for row in self._between(before, each))

    def _between(self, before: Sent | None, each: Sent) -> list[Row]:
        """The rows of the job of a version behind an earlier one and up to it."""
        place, last = each.version
        first = before.version[1] + 1 if before and before.version[0] == place else 0
        rows = self._sendable[place]
        return [row for row in rows if first <= row.line <= last and row.profile_id == each.profile_id]


def _merged(parts: Iterable[Cells]) -> Cells:
    """Per attribute the last value."""
    merged: Cells = {}
    for part in parts:
        merged |= part
    return merged


def _outcome(latest: Fact | None, profile_id: bytes, rows: Iterable[bytes]) -> str:
    match latest:
        case SeenComplete(unconfirmed=0, failed_ids=failed_ids):
            return "lost" if profile_id.decode() in failed_ids else "confirmed"
        case SeenComplete(failed=0):
            # Which rows were not consumed is not told; here it is the first, by id.
            return "lost" if profile_id == min(rows) else "confirmed"
        case GivenUp() | Failed():
            return "lost"
        case RowRejected():
            return "rejected"
        case NeverSent():
            return "dropped"
    raise AssertionError(f"a batch has no outcome: {latest}")
