"""The order of sending by which the sandbox tells a stale overwrite: copies of the same bytes, or a new statement."""

import random
from hashlib import sha256

from pipeline.sandbox import Fault, SandboxOptions
from pipeline.sandbox import MistakeKind as M
from pipeline.sandbox.acceptance import Accepted, AcceptedBatches, Submission
from pipeline.sandbox.batch import Batch, read_body
from pipeline.sandbox.mistakes import Mistakes
from tests.contract.talk import rows


class _Delays(random.Random):
    """The delays that it is told, one after the other."""

    next_s = 0.0

    def uniform(self, a: float, b: float) -> float:
        assert a <= self.next_s <= b
        return self.next_s


class Sent:
    """Batches of one id as they arrive, each with the time at which it is applied."""

    def __init__(self, *, says_all_once: bool = False) -> None:
        self._log = Mistakes()
        self._delays = _Delays()
        options = SandboxOptions(apply_min_s=0.0, apply_max_s=60.0, says_all_once=says_all_once)
        self._batches = AcceptedBatches(options, self._log, self._delays, 0)

    def arrives(self, tier: str, *, at_s: float, due_s: float, fault: Fault | None = None) -> Accepted:
        body = rows(f"u1,{tier}").encode()
        batch = read_body(body, 1)
        assert isinstance(batch, Batch)
        self._delays.next_s = due_s - at_s
        digest = sha256(body).hexdigest()
        submission = Submission(batch=batch, sha256=digest, size_bytes=len(body), api_version="v2", fault=fault)
        return self._batches.accept(submission, at_s)

    def stale(self) -> list[str | None]:
        """The batches that were applied over newer ones, once all are applied."""
        self._batches.apply_all(100.0)
        return [mistake.batch_id for mistake in self._log.kept if mistake.kind is M.STALE_OVERWRITE]


def test_no_copy_of_a_batch_is_older_than_another() -> None:
    sent = Sent()
    sent.arrives("gold", at_s=0.0, due_s=1.0)
    sent.arrives("gold", at_s=0.5, due_s=9.0)
    # Its sender can know that the first is applied; the second is not.
    sent.arrives("gold", at_s=2.0, due_s=5.0)
    assert sent.stale() == []


def test_a_copy_that_comes_while_another_waits_is_older_than_what_was_sent_between_them() -> None:
    sent = Sent()
    sent.arrives("gold", at_s=0.0, due_s=1.0)
    second = sent.arrives("gold", at_s=0.5, due_s=9.0)
    sent.arrives("silver", at_s=2.0, due_s=3.0)
    third = sent.arrives("gold", at_s=4.0, due_s=5.0)
    assert sent.stale() == [third.batch_id, second.batch_id]


def test_when_no_copy_waits_and_one_was_answered_the_same_bytes_are_a_new_statement() -> None:
    for first, second in ((None, Fault.GARBAGE_TAKEN), (Fault.GARBAGE_TAKEN, None)):
        sent = Sent()
        sent.arrives("gold", at_s=0.0, due_s=1.0, fault=first)
        sent.arrives("gold", at_s=0.5, due_s=2.0, fault=second)
        sent.arrives("silver", at_s=3.0, due_s=4.0)
        sent.arrives("gold", at_s=5.0, due_s=6.0)
        assert sent.stale() == []


def test_what_is_sent_again_without_an_answer_is_in_doubt_again() -> None:
    sent = Sent()
    sent.arrives("gold", at_s=0.0, due_s=1.0)
    sent.arrives("gold", at_s=0.5, due_s=3.0, fault=Fault.GARBAGE_TAKEN)
    sent.arrives("gold", at_s=2.0, due_s=4.0, fault=Fault.GARBAGE_TAKEN)
    sent.arrives("silver", at_s=5.0, due_s=6.0)
    last = sent.arrives("gold", at_s=7.0, due_s=8.0)
    assert sent.stale() == [last.batch_id]


def test_where_nothing_is_said_twice_a_late_copy_is_as_old_as_the_first() -> None:
    sent = Sent(says_all_once=True)
    sent.arrives("gold", at_s=0.0, due_s=1.0)
    sent.arrives("silver", at_s=2.0, due_s=3.0)
    late = sent.arrives("gold", at_s=4.0, due_s=5.0)
    assert sent.stale() == [late.batch_id]
