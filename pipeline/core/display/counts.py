"""The counts of what a process did for a client code since it began; each thing is counted where it happens.

Whoever shows them reads them when it is asked. Nothing in here is the id or value of a row, or the name of a file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.core.model import RowCounts

#: The classes of rows that are counted: all that are final, and `read`, which is their sum in the end.
ROW_CLASSES = tuple(name for name in asdict(RowCounts()) if name not in ("read", "pending"))
#: The states of reports after which a job is over; after any other one it is run again.
OVER = ("done", "incomplete", "failed", "skipped")
#: What is found of an id that is read back; `newer` if a later row of it was sent meanwhile.
READ_BACK = ("equal", "different", "missing", "newer", "not_read")
#: Seconds. Ours: from a small batch on a fast line to 50 MB on the slowest that is waited for.
UPLOAD_BOUNDS_S = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: Seconds. Ours: from minutes, as the field saw, to the 24 hours that Adobe allows itself.
COMPLETION_BOUNDS_S = (5.0, 15.0, 60.0, 180.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0)


class Durations:
    """Durations by size. `bounds_s`: the upper bounds, in seconds; what is longer counts behind the last."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.sum_s = 0.0
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)

    def note(self, seconds: float) -> None:
        """Count a duration."""
        self.sum_s += seconds
        self._counts[sum(bound < seconds for bound in self._bounds_s)] += 1

    @property
    def up_to(self) -> list[tuple[float, int]]:
        """For each bound, and at last for infinity, how many durations were not longer."""
        found, total = [], 0
        for bound, count in zip((*self._bounds_s, float("inf")), self._counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Counts:
    """The counts of one client code. A route stands first in a key of two.

    `runs`: by route and state of the report, how often a job was run to the end of the job or of the run.
    `read`: by route, the rows that were read. `rows`, `rejects`: by route and class, and by route and reason.
    `settled`: batches by outcome. `posts`, `statuses`: calls by their answer. `posted_bytes`: of accepted batches.
    `read_back`: the ids of ended jobs that were read back from Target, by what was found.
    `upload_s`: from the beginning of a POST to its acceptance. `completion_s`: from there until `complete` was seen.
    `unfinished`: by job that is not over and does not run, the state in which its latest run left it.
    `done_at`: by route, when its last export was done (UTC in ISO 8601); empty if none is known.
    """

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()
        self.read: Counter[str] = Counter()
        self.rows: Counter[tuple[str, str]] = Counter()
        self.rejects: Counter[tuple[str, str]] = Counter()
        self.settled: Counter[str] = Counter()
        self.posts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.read_back: Counter[str] = Counter()
        self.posted_bytes = 0
        self.upload_s = Durations(UPLOAD_BOUNDS_S)
        self.completion_s = Durations(COMPLETION_BOUNDS_S)
        self.unfinished: dict[str, str] = {}
        self.done_at: dict[str, str] = {}
        #: Of each job that is not over, what is counted or was so by an earlier process.
        self._noted: dict[str, dict[tuple[str, str], int]] = {}

    def begin_run(self, job_id: str, rows: RowCounts, rejects: Mapping[str, int]) -> None:
        """Note that a job is run, with the rows that earlier processes counted; what this one did counts on."""
        self.unfinished.pop(job_id, None)
        self._noted.setdefault(job_id, _by_kind(rows, rejects))

    def note_rows(self, job_id: str, route: str, rows: RowCounts, rejects: Mapping[str, int]) -> None:
        """Count those rows of a job that are not counted yet. A run that goes on behind a seal reads some again."""
        noted = self._noted.get(job_id)
        if noted is None:
            return
        for key, count in _by_kind(rows, rejects).items():
            more = count - noted.get(key, 0)
            if more <= 0:
                continue
            noted[key] = count
            match key:
                case ("read", _):
                    self.read[route] += more
                case ("row", name):
                    self.rows[route, name] += more
                case (_, reason):
                    self.rejects[route, reason] += more

    def end_run(self, job_id: str, route: str, state: str, rows: RowCounts, rejects: Mapping[str, int]) -> None:
        """Count a run that has ended, and its rows."""
        self.note_rows(job_id, route, rows, rejects)
        self.runs[route, state] += 1
        if state in OVER:
            self._noted.pop(job_id, None)
        else:
            self.unfinished[job_id] = state


def _by_kind(rows: RowCounts, rejects: Mapping[str, int]) -> dict[tuple[str, str], int]:
    by_class = asdict(rows)
    return {
        ("read", ""): rows.read,
        **{("row", name): by_class[name] for name in ROW_CLASSES},
        **{("reject", reason): count for reason, count in rejects.items()},
    }
