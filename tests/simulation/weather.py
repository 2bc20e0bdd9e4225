"""Climates in which something that is seldom happens often."""

from dataclasses import replace

from tests.simulation.climate import DAY_S, KINDS, NOTHING, Climate, Remembering
from tests.simulation.target import HOLD_S

_BUSY = (*["answer"] * 12, *["grow"] * 8, *["wait"] * 6)
_FEW_IDS = (b"u1", b"u1", b"u2", b"u3")

#: Attempts of which nobody knows what became of them, and rows that wait for those.
DOUBTFUL = Climate(
    actions=_BUSY,
    outcomes=("taken", "taken", "lost after"),
    words=("complete",),
    waits=(0.2, 0.2, 0.6),
    ids=_FEW_IDS,
    clients=(1,),
    least=40,
    most=80,
)
STUCK = replace(DOUBTFUL, outcomes=("taken",), words=("complete", "complete", "stuck"))
FORGOTTEN = replace(DOUBTFUL, outcomes=("taken",), words=("complete", "complete", "lost"))
#: Processes that crash before something is written down of a batch.
CRASHING = replace(DOUBTFUL, actions=(*_BUSY, *["crash"] * 5), crash_before=frozenset(["add_fact"]))
#: Steps that fail, before, in or behind what they do; full disks; and all of that in recoveries too.
FAILING = Climate(
    actions=(
        *_BUSY,
        *["drop"] * 3,
        "ask",
        *["fail", "fail_late"] * 3,
        "fill",
        "make_room",
        "make_room",
        "crash",
        "calm",
    ),
    commands=("pause", "resume", "abandon", "retry"),
    in_recovery=("crash", "fail", "fail_late", "fail_late"),
    least=20,
)
SPLITTING = replace(DOUBTFUL, outcomes=("taken", "lost after", "refused", "refused"))
#: Processes that crash between the attempts of a batch, what is refused of it, and those of its children.
SPLITTING_AND_CRASHING = replace(
    SPLITTING,
    actions=(*["answer"] * 16, *["grow"] * 6, *["wait"] * 4, *["crash"] * 5),
    outcomes=(*["taken"] * 2, *["lost after"] * 3, *["refused"] * 3),
    waits=(0.2,),
    ids=(b"u1", b"u1", b"u2"),
    max_rows=(2,),
    least=60,
    most=140,
    # What comes back goes on at once: the attempts are open for a short time only.
    in_recovery=("answer",),
)
#: Exports of few ids, one behind the other.
OVERLAPPING = Climate(
    actions=(*_BUSY, *["grow"] * 4, *["drop"] * 5, "crash", "calm"),
    outcomes=("taken", "taken", "taken", "refused"),
    clients=(1,),
    least=40,
    most=80,
)
OVERLAPPING_AND_CRASHING = Climate(
    actions=(*_BUSY, *["grow"] * 4, *["drop"] * 3, *["crash"] * 5),
    crash_before=frozenset(["seal", "remove"]),
    outcomes=("taken",),
    words=("complete",),
    columns=(("a", "b"),),
    kinds=("v-", "-v"),
    clients=(1,),
    least=40,
    most=80,
)
FORGOTTEN_AND_OVERLAPPING = replace(
    FORGOTTEN, actions=(*_BUSY, *["drop"] * 4, *["crash"] * 3, *["calm"] * 2), rows=5, exports=4
)
#: Rows that do not fit beside what is held of their ids.
LONG = replace(
    DOUBTFUL,
    actions=(*_BUSY, *["calm"] * 2),
    outcomes=("taken",),
    ids=(b"u1", b"u1", b"u1", b"u2"),
    kinds=("l-", "-l", "l-", "-l", "v-"),
    columns=(("a", "b"),),
    max_bytes=(100,),
    max_rows=(3,),
    rows=30,
)
ABANDONING = Climate(
    actions=(*["answer"] * 8, *["grow"] * 12, *["wait"] * 8, *["drop"] * 6, "ask", "crash", "crash"),
    commands=("abandon",),
    outcomes=("taken", "lost after", "lost after"),
    words=("complete",),
    waits=(0.6,),
    ids=_FEW_IDS,
    rows=6,
    clients=(1,),
    least=40,
    most=100,
)
#: Jobs that are given up while they hold rows for which those of the next one wait.
GIVEN_UP = replace(
    ABANDONING,
    actions=(*["answer"] * 8, *["grow"] * 16, *["wait"] * 3, *["drop"] * 8, "ask"),
    outcomes=("taken", *["lost after"] * 4),
    ids=(b"u1", b"u1", b"u2"),
    max_rows=(2,),
    rows=5,
    least=30,
    most=60,
)
#: Rows that are lost, and sent again, among others of their ids.
AGAIN = Climate(
    actions=(*_BUSY, *["drop"] * 4, *["ask"] * 4, *["calm"] * 2),
    commands=("retry",),
    outcomes=("taken",),
    words=("complete", "lost"),
    waits=(0.6, 0.6, 4.0),
    ids=_FEW_IDS,
    rows=5,
    exports=5,
    clients=(1,),
    least=60,
    most=120,
)
POISONED = Climate(
    kinds=(*KINDS, *["vpv", "pvv"] * 6), outcomes=("taken", "taken", "lost", "lost after"), clients=(1,), least=30
)
PAUSING = Climate(actions=(*_BUSY, *["ask"] * 3), commands=("pause",))
ENDING = Climate(actions=(*_BUSY, "terminate", "terminate"))

_WITH_VALUES = (
    Remembering("values", "changes", 1),
    Remembering("values", "changes", 1_000),
    Remembering("values", "all"),
)
#: Days on which deltas and snapshots come, of ids of which something is remembered.
REMEMBERING = Climate(
    actions=(
        *["answer"] * 10,
        *["grow"] * 3,
        *["wait"] * 6,
        *["drop"] * 5,
        *["calm"] * 6,
        *["crash"] * 2,
        *["ask", "ask", "apply", "terminate", "fail", "fail_late", "rebuild"],
    ),
    commands=("retry", "retry", "abandon", "pause", "resume", "resume"),
    outcomes=(*["taken"] * 12, "failed", "not consumed", "lost", "lost after", "lost after", "refused"),
    words=(*["complete"] * 8, "stuck", "lost"),
    waits=(0.2, 0.2, 0.6, HOLD_S, DAY_S, 2 * DAY_S),
    memory=(
        *_WITH_VALUES,
        *_WITH_VALUES,
        Remembering("digests", "changes", 1),
        Remembering("digests", "changes", 1_000),
        Remembering("digests", "all"),
        NOTHING,
    ),
    kinds=(*["vv", "vs", "sv", "ss", "os", "s-", "-s", "v-", "-v", "-o"], "lv", "--", "bad", "vp"),
    snapshots=0.4,
    kinds_of_snapshots=(*["sss"] * 6, "vss", "ssv", "s-s", "os-", "--s", "svs"),
    columns=(("a", "b"), ("b", "c"), ("c",), ("b", "a"), ("a", "b", "c")),
    max_bytes=(400,),
    ids=(b"u1", b"u1", b"u2", b"u2", b"u3", b"u4"),
    clients=(1,),
    rows=6,
    exports=8,
    least=30,
    most=110,
)
REMEMBERING_AND_FAILING = replace(
    REMEMBERING,
    actions=(*REMEMBERING.actions, *["fail", "fail_late"] * 3, *["crash"] * 2, "fill", "make_room", "make_room"),
    in_recovery=FAILING.in_recovery,
)
#: Values are remembered of rows that overlap, are lost, or of jobs that crash.
REMEMBERING_AND_OVERLAPPING = replace(
    REMEMBERING,
    actions=(*_BUSY, *["drop"] * 8, *["calm"] * 4, "wait", "wait", "crash"),
    outcomes=(*["taken"] * 4, "lost after"),
    waits=(0.2, 0.2, 0.6, HOLD_S),
    words=("complete",),
    memory=_WITH_VALUES,
    ids=_FEW_IDS,
    least=40,
    most=80,
)
REMEMBERING_AND_LOSING = replace(
    REMEMBERING,
    actions=(*_BUSY, *["drop"] * 6, *["calm"] * 6, *["wait"] * 3, "ask"),
    commands=("retry",),
    outcomes=("taken", "taken", "failed", "failed", "not consumed", "lost after", "refused"),
    words=("complete", "complete", "complete", "lost"),
    kinds=(*REMEMBERING.kinds, *["vp", "ss"] * 2),
    memory=_WITH_VALUES,
    least=40,
    most=80,
)
REMEMBERING_AND_CRASHING = replace(
    REMEMBERING,
    actions=(*_BUSY, *["drop"] * 5, *["calm"] * 4, *["crash"] * 4),
    outcomes=(*["taken"] * 4, "lost after"),
    words=("complete",),
    memory=_WITH_VALUES,
    least=40,
    most=80,
)
#: Rows that are lost and sent again, behind others of their ids that were filled in.
REMEMBERING_AND_RETRYING = replace(
    AGAIN,
    outcomes=("taken", "taken", "failed"),
    memory=_WITH_VALUES,
    snapshots=0.2,
    kinds=("vv", "vs", "v-", "-v"),
    kinds_of_snapshots=("sss", "svs"),
    columns=(("a",), ("b",), ("a", "c"), ("c", "b")),
    max_bytes=(400,),
)
#: So, where rows that are free at once find no room in one batch.
REMEMBERING_AND_SQUEEZING = replace(
    REMEMBERING_AND_RETRYING, max_rows=(1, 2), ids=(b"u1", b"u2", b"u3"), actions=(*_BUSY, *["drop"] * 8, *["ask"] * 4)
)
#: Days go by, and rows say what was said before.
REMEMBERING_AND_REFRESHING = replace(
    REMEMBERING_AND_OVERLAPPING,
    waits=(0.6, HOLD_S, DAY_S, 2 * DAY_S),
    outcomes=("taken",),
    memory=(Remembering("values", "changes", 1), Remembering("values", "all")),
    kinds=("ss", "s-", "-s", "vs"),
)
#: Exports are held back before anything of them is sent, approved or given up, with and without a memory.
GUARDING = Climate(
    actions=(
        *["answer"] * 10,
        *["grow"] * 8,
        *["ask"] * 5,
        *["crash"] * 4,
        *["drop"] * 4,
        *["calm"] * 3,
        "wait",
        "fail",
    ),
    commands=(*["approve"] * 6, "abandon", "pause", "resume", "resume", "retry"),
    memory=(NOTHING, NOTHING, Remembering("values", "all")),
    least_rows=(1, 6, 10, 100),
    kinds=("vvv", "v-v", "-v-", "vl-", "---", "bad"),
    exports=4,
    least=30,
    most=80,
)
