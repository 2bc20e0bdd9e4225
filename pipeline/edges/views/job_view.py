"""A job as a page shows it: its report, or how it stands, with the way of its batches and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core.batches.report import LastRun, Report
from pipeline.core.duration import time_in_words
from pipeline.core.errors import ExitCode
from pipeline.core.plural import counted
from pipeline.edges.views.batch_track import BatchTrack

#: States of jobs that have not ended, as `JobView.state` has them.
NOT_ENDED = ("running", "waiting", "unfinished")


@dataclass(frozen=True, slots=True)
class JobView:
    """A job. `report`: of one that has not ended, what it would say now.

    `state`: that of the report; of a job that has not ended `running`, `waiting` for its turn or for the service, or
    `unfinished` if no process is at it.
    `tracks`: its batches, as far as they are known.
    `waits_for`: each thing that it waits for, until when, in words.
    `tasks`: what there is to do, as `to_do` has it.
    `files`: the names of files beside the page, to which it may point; none where it is not in the job's folder.
    `read_to_line`: None once the export is read to its end. `export_bytes`: its size; 0 if that is not known.
    `last_run`: the end of its latest run, if that left it unfinished. `set_aside`: the bug for which it only ends.
    `came_back`: by job that loaded rejected rows of this one, mended, their number.
    `read_back`: the ids of its sample by what was found in Target; empty before that, and without one.
    """

    report: Report
    state: str
    tracks: tuple[BatchTrack, ...] = ()
    route: str = ""
    waits_for: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    folder: str = ""
    read_to_line: int | None = None
    read_bytes: int = 0
    export_bytes: int = 0
    last_run: LastRun | None = None
    set_aside: str | None = None
    is_abandoned: bool = False
    came_back: Mapping[str, int] = field(default_factory=dict)
    read_back: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """True if nothing more happens to it."""
        return self.state not in NOT_ENDED and self.state != "quarantined"

    @property
    def moment(self) -> datetime:
        """The time up to which things are told: the end of the job, or the time at which they were read."""
        return datetime.fromisoformat(self.report.finished_at)


def happened(job: JobView) -> str:
    """The fate of an export, in a sentence."""
    match job.state:
        case "quarantined":
            return (
                "Nothing of this export was sent: it is not like those before it, so it waits until you say what to do."
            )
        case "running" | "waiting":
            return _happening(job)
    return _ended(job.report)


def _happening(job: JobView) -> str:
    """The progress of a job that goes on, in a sentence."""
    rows = job.report.rows
    if not rows.read:
        return "No row of it is read yet." if job.state == "running" else "It has not begun: it waits."
    who = "The sandbox" if job.report.is_of_sandbox else "Target"
    told = f"{who} has applied {rows.confirmed:,} of {counted(rows.read, 'row')} read so far"
    left = f", {rows.pending:,} {'is' if rows.pending == 1 else 'are'} on the way" if rows.pending else ""
    lost = f", {rows.lost:,} may not have arrived" if rows.lost else ""
    return f"{told}{left}{lost}."


def _ended(report: Report) -> str:
    rows, who = report.rows, "the sandbox" if report.is_of_sandbox else "Target"
    read = counted(rows.read, "row")
    match report.state:
        case "failed":
            applied = f"of {read} read, {who} applied {rows.confirmed:,}" if rows.read else "not a row of it was read"
            return f"This export could not be used: {applied}."
        case "skipped":
            return f"This was a trial: {read} were read and checked, and nothing was sent to Target."
        case "unfinished" if not rows.read:
            return "This load was stopped before a row was read. The next run goes on with it."
    if not rows.read:
        return "This export has a header and no rows, so there was nothing to send."
    needless = rows.superseded + rows.empty
    is_well = rows.confirmed + needless + rows.unchanged + rows.excluded == rows.read
    applied = "all" if rows.confirmed == rows.read else f"{rows.confirmed:,} of"
    told = [f"{who[0].upper()}{who[1:]} applied {applied} {read}"]
    told += [
        f"{count:,} {one if count == 1 else more}"
        for count, one, more in (
            (needless, "needed no sending", "needed no sending"),
            (rows.unchanged, "said nothing new", "said nothing new"),
            (rows.excluded, "was left out as [mapping] asks", "were left out as [mapping] asks"),
            (rows.rejected, "has a mistake and was not sent", "have a mistake and were not sent"),
            (rows.unsent, "was not sent", "were not sent"),
            (rows.pending, "is on its way", "are on their way"),
            (rows.failed + rows.unconfirmed, "may not have arrived", "may not have arrived"),
        )
        if count
    ]
    more = " The next run goes on with it." if report.state == "unfinished" else ""
    return ("All is well: " if is_well else "") + ", ".join(told) + f".{more}"


def tasks_of(job: JobView) -> list[str]:
    """The things to do about a job that has not ended; commands stand in backquotes."""
    name = job.report.job
    if job.state == "quarantined":
        return [
            f"if it is right, `profile-pipeline approve {name} --config FILE` sends all of it",
            f"if it is not, `profile-pipeline abandon {name} --config FILE` drops it",
        ]
    if job.state == "unfinished" and job.tasks == ():
        is_stopped = job.last_run is None or job.last_run.exit_code is ExitCode.UNFINISHED
        first = "" if is_stopped else "remove the cause, then "
        return [f"{first}`profile-pipeline serve --config FILE` goes on with it: no process is at work"]
    return []


def standing(job: JobView) -> list[str]:
    """The other things to be known of a job that has not ended, one a line."""
    told = []
    if job.read_to_line is not None and job.report.rows.read:
        of = (
            f", {100 * job.read_bytes / job.export_bytes:.0f} % of the file"
            if job.export_bytes and job.read_bytes
            else ""
        )
        told.append(f"It is read up to line {job.read_to_line:,}{of}.")
    if job.last_run is not None:
        at = time_in_words(job.last_run.finished_at)
        told.append(f"Its run ended unfinished at {at} (exit code {job.last_run.exit_code:d}): {job.last_run.why}")
    if job.set_aside:
        told.append(f"It was set aside, so it is only followed to its end: {job.set_aside}")
    if job.is_abandoned:
        told.append("It is abandoned: what Target may have is followed to its end, the rest will not be sent.")
    return told
