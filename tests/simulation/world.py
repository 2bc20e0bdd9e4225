"""The world around one process after another: what happens to them, drawn from a seed, and how it all ends.

`World.act` lets one thing happen, `World.finish` takes all faults away and lets everything come to its end.
"""

from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeVar

from pipeline.core.errors import ExitCode
from pipeline.core.target.replies import PostOutcome, StatusOutcome
from tests.simulation.answers import post_outcome, status_outcome
from tests.simulation.client import Client
from tests.simulation.climate import DAY_S, Climate
from tests.simulation.disk import Curse, Failing, Fuse
from tests.simulation.exports import Row
from tests.simulation.figures import Figures
from tests.simulation.limits import defaults, settings_with
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Call, Process
from tests.simulation.target import HOLD_S, Cells

Item = TypeVar("Item")

#: Rounds in which everything comes to its end, or never does.
_ROUNDS = 250
#: After so long a process has come to rest if nobody answers it, and no hold is over that began with it (seconds).
_REST_S = HOLD_S * 0.75
#: The share of exports that can be read at once, where some are snapshots.
_AT_ONCE = 0.6
#: A job that could not be finished in so many of them is given up, as somebody would who sees it refused for ever.
_PATIENCE = 40


class World:
    """One or two client codes and a process, on a loop of their own in `directory`; `seed` decides what happens."""

    def __init__(self, directory: Path, seed: int, climate: Climate) -> None:
        self.random = Random(seed)
        self.climate = climate
        self.figures = Figures(schedules=1)
        self.loop = VirtualLoop()
        self.is_full = False
        self._values = 0
        self._curse_of_now: Curse | None = None
        self._directory = directory
        self.clients = [self._new_client(f"client{number}") for number in range(self.one(climate.clients))]
        for client in self.clients:
            self.drop_export(client)
        self.process = self._start()

    def one(self, items: "tuple[Item, ...] | list[Item]") -> Item:
        """One of these, drawn."""
        return self.random.choice(items)

    def _new_client(self, code: str) -> Client:
        directory = self._directory / code
        directory.mkdir()
        settings = settings_with(
            defaults(),
            target={"client_code": code, "calls_per_minute": 10_000},
            batch={"max_rows": self.one(self.climate.max_rows), "max_bytes": self.one(self.climate.max_bytes)},
            tracker={"held_max_rows": self.one([2, 100])},
            settle={"status_window": self.one([2, 10, "auto"])},
            state={"directory": directory / "state"},
            memory=self._memory(),
            guard=self._guard(),
        )
        return Client(directory, settings, self.loop.time)

    def _memory(self) -> dict[str, object]:
        """The section of what is remembered; nothing is drawn where there is no choice."""
        kinds = self.climate.memory
        memory = self.one(kinds) if len(kinds) > 1 else kinds[0]
        days = memory.refresh_days * DAY_S / 86_400
        return {"remember": memory.remember, "send": memory.send, "refresh_days": days}

    def _guard(self) -> dict[str, object]:
        """The section of what holds an export back; nothing is drawn where there is no choice."""
        least = self.climate.least_rows
        return {"min_rows": self.one(least) if len(least) > 1 else least[0]}

    def _start(self) -> Process:
        self.process = self._new_process()
        self._settle()
        return self.process

    def _new_process(self) -> Process:
        async def start() -> Process:
            offset_s = float(self.random.randint(-5_000, 5_000))
            process = Process(self.clients, self.figures, self.random.random, offset_s=offset_s)
            process.disk.is_full, process.disk.curse = self.is_full, self._curse_of_now
            return process

        return self.loop.run(start())

    # What happens.

    def act(self) -> None:
        """Let one thing happen."""
        action = self.one(self.climate.actions)
        getattr(self, f"_{action}")()
        self._settle()
        for client in self.clients:
            client.note_pause()

    def drop_export(self, client: Client) -> None:
        """An export is there to be loaded."""
        climate = self.climate
        ids = list[bytes]()
        if climate.snapshots and self.random.random() < climate.snapshots:
            ids = sorted(set(climate.ids))
            self.random.shuffle(ids)
        columns = max(climate.columns, key=len) if ids else self.one(climate.columns)
        count = len(ids) or self.random.randint(2, climate.rows)
        cuts = sorted(self.random.randint(0, count) for _ in range(self.one(self.climate.parts) - 1))
        line, parts = 0, list[list[Row]]()
        for begin, end in pairwise([0, *cuts, count]):
            # Each part has a header of its own.
            drawn = [
                (ids[row], self.one(climate.kinds_of_snapshots))
                if ids
                else (self.one(climate.ids), self.one(climate.kinds))
                for row in range(begin, end)
            ]
            parts.append([self._row(client, line + 2 + at, columns, *each) for at, each in enumerate(drawn)])
            line += 1 + end - begin
        export = client.drop(columns, parts)
        if climate.snapshots and self.random.random() < _AT_ONCE:
            export.allow(count)

    def _row(self, client: Client, line: int, columns: tuple[str, ...], profile_id: bytes, kinds: str) -> Row:
        cells: Cells = {}
        for name, kind in zip(columns, kinds, strict=False):
            self._values += 1
            value = f"{name}{self._values}".encode()
            drawn = client.drawn.setdefault((profile_id, name), [])
            if kind in "so" and drawn:
                value = drawn[-1] if kind == "s" else self.one(drawn)
            if kind in "vlso":
                cells[name] = value.ljust(40, b".") if kind == "l" else value
                drawn.append(cells[name])
            elif kind == "p":
                cells[name] = b"POISON" + value
        return Row(line, profile_id + b"/" * (kinds == "bad"), cells)

    @property
    def _client(self) -> Client:
        return self.one(self.clients)

    def _drop(self) -> None:
        client = self._client
        if len(client.exports) < self.climate.exports:
            self.drop_export(client)

    def _grow(self) -> None:
        growing = [export for export in self._client.exports if not export.is_whole]
        if growing:
            growing[0].allow(self.random.randint(1, 6))

    def _answer(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            calls = self.process.open_calls()
            if not calls or self.process.disk.is_crashed:
                return
            self._answer_call(self.one(calls), self.one(self.climate.outcomes), self.one(self.climate.words))
            self._settle()

    def _calm(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            self._answer_kindly()

    def _apply(self) -> None:
        client = self._client
        client.leave_what_is_given_up()
        if pending := client.target.pending(self.loop.time()):
            client.target.apply(self.one(pending))

    def _wait(self) -> None:
        self._advance(self.one(self.climate.waits))

    def _crash(self) -> None:
        self.process.disk.fuse = Fuse(self.random.randint(0, 8), self.climate.crash_before)
        if self.random.random() < 0.2:
            self.process.disk.is_crashed = True

    def _fail(self) -> None:
        self.process.disk.fuse = Fuse(self.random.randint(0, 8), self.climate.crash_before, Failing.BEFORE)

    def _fail_late(self) -> None:
        how = self.one([Failing.BEHIND, Failing.BEHIND, Failing.PARTLY])
        self.process.disk.fuse = Fuse(self.random.randint(0, 8), self.climate.crash_before, how)

    def _fill(self) -> None:
        self._take_room(is_full=True)

    def _make_room(self) -> None:
        self._take_room(is_full=False)

    def _take_room(self, *, is_full: bool) -> None:
        self.is_full = self.process.disk.is_full = is_full

    def _curse(self) -> None:
        """From some call on there is a bug, in one call or in each of that name of a job."""
        if self._curse_of_now is None or self._curse_of_now.is_lifted:
            stays, is_done = self.random.random() < 0.5, self.random.random() < 0.5
            self._curse_of_now = Curse(self.random.randint(0, 40), is_done=is_done, stays=stays)
            self.process.disk.curse = self._curse_of_now
            for client in self.clients:
                client.is_cursed = True

    def _terminate(self) -> None:
        self.process.terminate()

    def _ask(self) -> None:
        client = self._client
        if not client.has_ledger:
            return
        command = self.one(self.climate.commands)
        if command in ("pause", "resume"):
            client.ask(command, None)
        # Now and then of a job that can be neither.
        is_any = self.random.random() < 0.1
        jobs = [job for job in client.ledger.jobs() if is_any or (job.state is None) == (command == "abandon")]
        if command == "approve":
            jobs = client.in_quarantine()
        if jobs and command in ("abandon", "retry", "approve"):
            client.ask(command, self.one(jobs).job_id)

    def _rebuild(self) -> None:
        """Somebody empties the memory of a client code while no process is there."""
        client = self._client
        if client.remembers == "nothing" or not client.has_ledger:
            return
        self._crash_and_bury()
        client.rebuild()
        self._start()

    def _reload(self) -> None:
        client = self._client
        client.take(
            settings_with(
                client.tenant.settings,
                batch={"max_rows": self.one(self.climate.max_rows)},
                upload={"concurrency": self.one([1, 2, 3])},
                settle={"poll_first_s": self.one([0.1, 0.2])},
            )
        )
        self.process.reload(client)

    def _vanish(self) -> None:
        """A file of an export is removed, or replaced by another one; what is no job yet goes whole."""
        client = self._client
        export = self.one(client.exports)
        path = self.one(export.files)
        export.is_altered = True
        if self.random.random() < 0.5:
            for each in export.files if export in client.dropped else [path]:
                each.unlink(missing_ok=True)
        elif path.exists():
            path.write_bytes(path.read_bytes() + b"u9,late\n")

    # How Target answers.

    def _answer_call(self, call: Call, outcome: str, word: str) -> None:
        if call.batch_id is not None:
            answer: PostOutcome | StatusOutcome = post_outcome(call.client, call.batch_id, outcome)
        else:
            answer = status_outcome(call.client, call.status_url, word)
        call.client.note_answer(call.batch_id, call.status_url, answer)
        call.answer.set_result(answer)

    def _answer_kindly(self) -> None:
        """Answer everything that waits as if nothing were ever wrong."""
        for call in [*self.process.open_calls()]:
            if call.is_open and not self.process.disk.is_crashed:
                self._answer_call(call, "taken", "complete")
                self._settle()

    # How time passes, and processes end.

    def _settle(self) -> None:
        self._advance(0.0)

    def _advance(self, seconds: float) -> None:
        """Let time pass; a process that has ended is followed by another one."""
        self.loop.advance(seconds)
        if self.process.disk.is_crashed:
            self._restart_after_crash()
        elif self.process.task.done():
            self.process.task.result()
            self._start()

    def recover(self, fuse: Fuse | None) -> None:
        """Let the process crash, and another one come to rest, in which nothing is sent.

        With a `fuse` that one crashes too, there or when it has come to rest, and one more follows.
        """
        self._crash_and_bury()
        for client in self.clients:
            client.pause()
        if fuse is not None:
            self.process = self._new_process()
            self.process.disk.fuse = fuse
            self.loop.advance(_REST_S)
            self._crash_and_bury()
        self.process = self._new_process()
        self.loop.advance(_REST_S)

    def _restart_after_crash(self) -> None:
        self._crash_and_bury()
        self._start()
        if self.random.random() < 0.3:
            # Another one comes while it recovers, or a step of that fails.
            kinds = self.climate.in_recovery
            getattr(self, f"_{kinds[0] if len(kinds) == 1 else self.one(kinds)}")()

    def _crash_and_bury(self) -> None:
        """The process is gone where it stands; the next one finds its state directories as they are now."""
        self.figures.crashes += 1
        process = self.process
        process.disk.is_crashed = True
        for call in process.open_calls():
            if call.batch_id is not None:
                call.client.note_cut_off(call.batch_id, is_taken=self.random.random() < 0.5)
        begun = [client for client in self.clients if client.has_ledger]
        for client in begun:
            client.save()
        self._bury(process)
        for client in begun:
            client.restore()

    def _bury(self, process: Process) -> None:
        """Let the tasks of a crashed process come to their end, without effect."""
        process.vanish()
        self.loop.advance(0.0)
        for _ in range(10):
            if process.task.done():
                break
            self.loop.advance(1.0)
        assert process.task.done(), "a process that is cancelled does not end"
        if not process.task.cancelled():
            process.task.exception()

    def finish(self) -> None:
        """Take all faults away, and let everything come to its end."""
        self.climate = self.climate.without_faults()
        self.process.disk.fuse = None
        self._make_room()
        if self._curse_of_now is not None:
            self._curse_of_now.is_lifted = True
        for client in self.clients:
            client.paused_since = None
            client.ask("resume", None)
            for export in client.exports:
                export.allow(len(export.rows))
        for passed in range(_ROUNDS):
            if all(client.is_over for client in self.clients):
                break
            self._answer_kindly()
            self._advance(self.one([0.5, 1.0]))
            for client in self.clients:
                for job in client.in_quarantine():
                    client.ask("approve", job.job_id)
            if passed and passed % _PATIENCE == 0:
                self._give_up()
        else:
            raise AssertionError("it never ends")
        self._begin_anew()
        for client in self.clients:
            client.leave_what_is_given_up()
            for copy in client.target.pending(self.loop.time()):
                client.target.apply(copy)

    def _begin_anew(self) -> None:
        """One more process begins, and finds nothing to do."""
        self.process.terminate()
        for _ in range(_PATIENCE):
            self._advance(0.5)
            if self.process.terminated_at is None and all(client.is_over for client in self.clients):
                break
        else:
            raise AssertionError("another process finds something to do, or this one does not end")

    def _give_up(self) -> None:
        """Do what an operator does where nothing goes on."""
        for client in self.clients:
            # The process that took the request on may have ended before it carried it out, and its answer says so.
            if client.ledger.is_paused:
                client.ask("resume", None)
            # Other jobs may have ended behind it, each with a report that says so.
            latest = {report.job: report.exit_code for report in client.reports}
            for job in client.ledger.jobs(unfinished_only=True):
                if latest.get(job.job_id) is ExitCode.REFUSED_BY_TARGET:
                    client.ask("abandon", job.job_id)

    def close(self) -> None:
        """End the process, and let go of what is open."""
        self._bury(self.process)
        for client in self.clients:
            client.close()
        self.loop.close()
