"""What schedules are made of: the more often something is named, the more often it happens."""

from dataclasses import dataclass, replace

from tests.simulation.target import HOLD_S

#: Cells of a row, column by column: a value, a long one, none (`-`), or poison; the latest value of that id again
#: (`s`), or any earlier one (`o`). `bad`: its id is.
KINDS = (*["vvv"] * 6, *["v-v", "-v-"] * 3, *["vl-", "lv-", "l-v", "-lv", "-vl"] * 3, "---", "bad", "vpv")
OUTCOMES = (
    *["taken"] * 9,
    *["failed", "not consumed", "lost", "throttled", "unreachable", "token"],
    *["lost after", "refused"] * 3,
)
WORDS = (*["complete"] * 6, *["stuck", "lost"] * 2, *["incomplete"] * 2, "unavailable", "throttled")
ACTIONS = (
    *["answer"] * 12,
    *["grow"] * 8,
    *["crash"] * 4,
    *["drop"] * 3,
    *["wait"] * 6,
    *["apply", "fail", "calm"] * 2,
    *["ask", "ask", "terminate", "reload"],
    "curse",
)

#: What passes for a day (seconds): the memory's clock counts minutes.
DAY_S = 60.0


@dataclass(frozen=True, slots=True)
class Remembering:
    """What is remembered, and what is done with it: the section `[memory]`; `refresh_days` of so many `DAY_S`."""

    remember: str = "nothing"
    send: str = "all"
    refresh_days: int = 10


NOTHING = Remembering()


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """Of what a schedule is drawn.

    `least` to `most` things happen, in which at most so many `exports` of so many `rows` come for each client code, in
    so many `parts`.
    `memory` is what a client code may remember. Of the exports, `snapshots` (a share) have a row of each id, of these
    `kinds_of_snapshots`, in all columns.
    `least_rows` is what a guard may ask of an export: 0, no guard.
    `crash_before` are durable steps by name, before which a process crashes or which fail; None: any. `in_recovery` is
    what happens at once to some processes that follow on a crash.
    """

    least: int = 5
    most: int = 70
    clients: tuple[int, ...] = (1, 1, 1, 2)
    exports: int = 3
    rows: int = 14
    parts: tuple[int, ...] = (1, 1, 1, 2, 3)
    ids: tuple[bytes, ...] = (b"u1", b"u1", b"u2", b"u2", b"u3", b"u4")
    kinds: tuple[str, ...] = KINDS
    columns: tuple[tuple[str, ...], ...] = (("a", "b"), ("b", "c"), ("c",), ("a", "b", "c"))
    max_rows: tuple[int, ...] = (2, 3)
    max_bytes: tuple[int, ...] = (110, 400)
    actions: tuple[str, ...] = ACTIONS
    outcomes: tuple[str, ...] = OUTCOMES
    words: tuple[str, ...] = WORDS
    waits: tuple[float, ...] = (*[0.2] * 4, *[0.6] * 2, *[HOLD_S / 2] * 2, HOLD_S, 8.0)
    commands: tuple[str, ...] = ("pause", "resume", "resume", "abandon", "retry")
    memory: tuple[Remembering, ...] = (NOTHING,)
    snapshots: float = 0.0
    kinds_of_snapshots: tuple[str, ...] = ()
    least_rows: tuple[int, ...] = (0,)
    crash_before: frozenset[str] | None = None
    in_recovery: tuple[str, ...] = ("crash",)

    def without_faults(self) -> "Climate":
        """In which all goes well from now on."""
        return replace(self, actions=("calm",), outcomes=("taken",), words=("complete",))


#: Everything may happen.
ANY = Climate()
