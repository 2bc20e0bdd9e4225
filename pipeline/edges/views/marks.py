"""The states of jobs and days as they are shown: a mark that is told by its form, a word, and a tone besides."""

from dataclasses import dataclass

from pipeline.edges.views.wording import STATES


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a state. `form`: the id of its drawing. `tone`: good, odd, bad, info or soft. `short`: for tables."""

    form: str
    word: str
    tone: str
    short: str


#: State of a job or of a day -> its mark. A running job is `unfinished` in its report.
MARKS = {
    "done": Mark("check", STATES["done"], "good", "done"),
    "incomplete": Mark("warning", STATES["incomplete"], "odd", "incomplete"),
    "failed": Mark("cross", STATES["failed"], "bad", "failed"),
    "unfinished": Mark("half", STATES["unfinished"], "bad", "not finished"),
    "skipped": Mark("dash", STATES["skipped"], "info", "nothing sent"),
    "quarantined": Mark("hand", STATES["quarantined"], "odd", "quarantined"),
    "running": Mark("play", "running", "info", "running"),
    "waiting": Mark("clock", "waits", "info", "waits"),
    "abandoned": Mark("dash", "abandoned", "odd", "abandoned"),
    "missing": Mark("missing", "missing", "bad", "missing"),
    "none": Mark("dot", "nothing", "soft", "nothing"),
}


#: The mark of the overview while somebody has to act.
TO_DO = Mark("warning", "to do", "bad", "to do")


def mark_of(state: str) -> Mark:
    """The mark of a state; one that this version does not know is shown by its name."""
    return MARKS.get(state) or Mark("dot", state, "soft", state)


#: State of a batch -> its mark.
_OF_BATCHES = {
    "sealed": Mark("clock", "waits to be sent", "info", "waits to be sent"),
    "sending": Mark("play", "is being sent", "info", "is being sent"),
    "accepted": Mark("play", "is being applied", "info", "is being applied"),
    "refused": Mark("warning", "was refused", "odd", "was refused"),
    "complete": Mark("check", "complete", "good", "complete"),
    "failed": Mark("cross", "failed", "bad", "failed"),
    "unconfirmed": Mark("warning", "unconfirmed", "odd", "unconfirmed"),
    "split": Mark("split", "split", "soft", "split"),
    "rejected": Mark("cross", "rejected", "odd", "rejected"),
    "unsent": Mark("dash", "never sent", "soft", "never sent"),
}


def mark_of_batch(state: str) -> Mark:
    """The mark of a batch in this state; one that this version does not know is shown by its name."""
    return _OF_BATCHES.get(state) or Mark("dot", state, "soft", state)
