"""The sandbox without its HTTP: its answers and its memory.

One lock guards everything that changes. The server calls the methods that may take long (`submit`, `status_of`,
`profiles`, `state`) in worker threads, so that 500,000 rows do not stop the event loop.
"""

import asyncio
import hmac
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from hashlib import sha256
from itertools import islice

from pipeline.sandbox import replies
from pipeline.sandbox.acceptance import Accepted, AcceptedBatches, Submission
from pipeline.sandbox.batch import Batch, Refusal, read_body, updates
from pipeline.sandbox.budget import CallBudget
from pipeline.sandbox.calls import COUNTED, Denial, Post
from pipeline.sandbox.faults import LOST_UNKNOWN, THROTTLING, Fault, FaultPlan
from pipeline.sandbox.mistakes import MISTAKES_KEPT, Mistake, MistakeKind, Mistakes
from pipeline.sandbox.options import SandboxOptions

FORM = "application/x-www-form-urlencoded"


class Sandbox:
    """One sandbox. `token` and `faults` may be set at any time."""

    def __init__(
        self,
        options: SandboxOptions | None = None,
        *,
        faults: FaultPlan | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options = options or SandboxOptions()
        self.token = self.options.token
        self.sleep = sleep
        self.calls: Counter[str] = Counter()
        self._monotonic = monotonic
        self._started_s = monotonic()
        self._lock = threading.RLock()
        #: Reading several batches at once would not be faster, and take more memory.
        self._reading = threading.Lock()
        self._log = Mistakes()
        calls = self.options.calls_per_minute
        left = None if calls is None else max(0, calls - self.options.neighbour_calls)
        self._budget = CallBudget(left, self.options.minute_s)
        delays = random.Random(self.options.seed)  # noqa: S311 - must be repeatable
        self._batches = AcceptedBatches(self.options, self._log, delays, round(wall() * 1000))
        self._faults_met: list[dict[str, object]] = []
        self.faults = faults or FaultPlan()

    @property
    def faults(self) -> FaultPlan:
        """The plan in force. A new plan restarts the numbering of calls."""
        return self._faults

    @faults.setter
    def faults(self, plan: FaultPlan) -> None:
        with self._lock:
            self._faults = plan
            self._numbers: Counter[str] = Counter()

    @property
    def mistakes(self) -> list[Mistake]:
        """The mistakes of senders so far, in order; due batches are applied before."""
        with self._lock:
            self._batches.apply_due(self._now_s())
            return list(self._log.kept)

    def profiles(self, id_kind: str = "thirdPartyId") -> dict[str, dict[str, str]]:
        """The attributes of each id as of now."""
        with self._lock:
            self._batches.apply_due(self._now_s())
            return self._batches.profiles.attributes(id_kind)

    def profile_lines(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """(kind of id, id, attributes) of each profile as of now; later ids are left out."""
        with self._lock:
            self._batches.apply_due(self._now_s())
            known = self._batches.profiles.by_kind
            ids = [(kind, profile_id) for kind, profiles in known.items() for profile_id in profiles]
        for kind, profile_id in ids:
            with self._lock:
                attributes = dict(known[kind][profile_id].attributes)
            yield kind, profile_id, attributes

    def find_profile(self, id_kind: str, profile_id: str) -> Mapping[str, object] | None:
        """A profile in the form in which it is read back; None if there is none yet."""
        with self._lock:
            self.calls["profile_reads"] += 1
            self._batches.apply_due(self._now_s())
            found = self._batches.profiles.by_kind[id_kind].get(profile_id)
            return None if found is None else replies.profile(self.options.client_code, profile_id, found)

    def apply_all(self) -> None:
        """Apply all waiting batches now, in due order."""
        with self._lock:
            self._batches.apply_all(self._now_s())

    def state(self) -> dict[str, object]:
        """The history so far, as shown at `/sandbox/state`; times are seconds since the start."""
        with self._lock:
            now_s = self._now_s()
            self._batches.apply_due(now_s)
            return {
                "client_code": self.options.client_code,
                "override": self.options.override,
                "decode": self.options.decode,
                "now_s": now_s,
                "calls": {name: self.calls[name] for name in COUNTED},
                "profiles": len(self._batches.profiles),
                "batches": [batch.to_json() for batch in self._batches.all],
                "repeats": [{"batch_id": again, "of": first} for again, first in self._batches.repeats],
                "mistakes": [mistake.to_json() for mistake in self._log.kept],
                "mistake_counts": {str(kind): n for kind, n in self._log.counts.items()},
                "faults": self._faults.to_json(),
                "faults_met": list(self._faults_met),
            }

    def counts(self) -> dict[str, int]:
        """The numbers of `batches`, `profiles` and `mistakes`."""
        with self._lock:
            self._batches.apply_due(self._now_s())
            return {
                "batches": len(self._batches.all),
                "profiles": len(self._batches.profiles),
                "mistakes": self._log.counts.total(),
            }

    def admit(self, authorization: str | None, *, costs: bool = True) -> Denial | None:
        """Take a call from the budget, if it costs one, and check the token; the reason for a denial, or None."""
        with self._lock:
            if costs and not self._budget.take(self._now_s()):
                self.calls["throttled"] += 1
                detail = f"more than {self.options.calls_per_minute} calls in {self.options.minute_s:g} s"
                # Nobody can know how many calls others make.
                if not self.options.neighbour_calls:
                    self.note(MistakeKind.THROTTLED, detail)
                return Denial.THROTTLED
            wanted = self.token
            if wanted is None or hmac.compare_digest((authorization or "").encode(), f"Bearer {wanted}".encode()):
                return None
            self.calls["unauthorised"] += 1
            self.note(MistakeKind.WRONG_TOKEN, "another token" if authorization else "no token")
            return Denial.UNAUTHORISED

    def next_fault(self, call: str) -> tuple[int, Fault | None]:
        """The number of this `post` or `status` call under the plan, and the fault it meets."""
        with self._lock:
            self._numbers[call] += 1
            number = self._numbers[call]
            fault = self._faults.for_post(number) if call == "post" else self._faults.for_status(number)
            if fault in THROTTLING:
                self._budget.give_back()
            if fault and len(self._faults_met) < MISTAKES_KEPT:
                self._faults_met.append({"call": call, "number": number, "fault": fault})
            return number, fault

    def submit(self, post: Post) -> Accepted | Refusal:
        """Take a batch, or refuse it. Takes about a second for the largest batch."""
        digest = sha256(post.body).hexdigest()
        if post.fault is Fault.REFUSE_EMPTY:
            return Refusal("Batch is empty")
        if post.fault in LOST_UNKNOWN or post.fault is Fault.REFUSE:
            with self._lock:
                if post.fault in LOST_UNKNOWN:
                    self._batches.order_of(digest)
            return Refusal("Batch could not be queued")
        with self._reading:
            options = self.options
            read = self._wrong_headers(post) or read_body(post.body, options.max_rows, options.decode)
        with self._lock:
            if isinstance(read, Refusal):
                for mistake in read.mistakes:
                    self._log.note(mistake)
                return read
            plan = self._faults
            submission = Submission(
                batch=read,
                sha256=digest,
                size_bytes=len(post.body),
                api_version=post.api_version,
                fault=post.fault,
                failing=_failing_ids(read, plan) if post.fault is Fault.FAIL_ROWS else frozenset(),
                applies=post.fault is not Fault.STUCK or plan.applies_stuck(post.number),
            )
            return self._batches.accept(submission, self._now_s())

    def status_of(self, path: str, query: Mapping[str, str], *, details: bool) -> str:
        """The answer to a status GET. A status is known only at the URL that was given with the batch."""
        with self._lock:
            now_s = self._now_s()
            self._batches.apply_due(now_s)
            batch = self._batches.find(query.get("batchId", ""), now_s)
            if batch is None:
                return replies.NOT_FOUND
            given = replies.status_path_and_query(batch, self.options)
            if (path, query) != given:
                self.note(MistakeKind.STATUS_URL, f"{path} with {dict(query)}, given was {given}", batch.batch_id)
                return replies.NOT_FOUND
            return replies.status(batch, details=details)

    def forget(self, batch_id: str) -> None:
        """Lose the status of a batch."""
        with self._lock:
            self._batches.forget(batch_id)

    def note(self, kind: MistakeKind, detail: str, batch_id: str | None = None) -> None:
        """Record a mistake."""
        with self._lock:
            self._log.note(Mistake(kind, detail, batch_id))

    def _wrong_headers(self, post: Post) -> Refusal | None:
        if post.client_code != self.options.client_code:
            mistake = Mistake(MistakeKind.WRONG_CLIENT, f"{post.client_code!r}")
            return Refusal(f"Invalid client code {post.client_code}", (mistake,))
        if post.content_type != FORM:
            mistake = Mistake(MistakeKind.CONTENT_TYPE, f"{post.content_type!r}, not {FORM}")
            return Refusal("Unsupported content type", (mistake,))
        if post.content_encoding:
            mistake = Mistake(MistakeKind.CONTENT_ENCODING, f"{post.content_encoding!r}")
            return Refusal("Unsupported content encoding", (mistake,))
        return None

    def _now_s(self) -> float:
        return self._monotonic() - self._started_s


def _failing_ids(batch: Batch, plan: FaultPlan) -> frozenset[str]:
    """The ids of the batch that fail on Target's side under the plan."""
    if plan.failing_ids:
        return plan.failing_ids & batch.ids
    return frozenset(profile_id for profile_id, _ in islice(updates(batch), plan.failing_rows))
