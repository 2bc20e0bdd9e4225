"""The first line of the overview: is everything well, and if not, what is it and what is to be done?"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from pipeline.core.drop.signals import shown
from pipeline.core.plural import counted
from pipeline.edges.views.figures import time_ago
from pipeline.edges.views.marks import MARKS, TO_DO, Mark
from pipeline.edges.views.overview_view import JobLine, Notice, OverviewView

#: Time for which Target may apply a batch before it is told as slow, and before somebody is asked to act. Usual is less
#: than an hour, and Adobe documents up to a day.
_SLOW, _TOO_SLOW = timedelta(hours=1), timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline with its mark and what is going on; what somebody has to act on, and what else is to be known."""

    mark: Mark
    headline: str
    going_on: str
    urgent: tuple[Notice, ...]
    others: tuple[Notice, ...]


def verdict(view: OverviewView) -> Verdict:
    """The verdict on all that is known."""
    several = len(view.tenants) > 1
    told = [
        *view.notices,
        *(_named(notice, tenant.client_code, several) for tenant in view.tenants for notice in tenant.notices),
        *_about_jobs(view),
    ]
    urgent = tuple(notice for notice in told if notice.is_urgent)
    others = tuple(notice for notice in told if not notice.is_urgent)
    if not urgent:
        headline = "All is well." if view.jobs or view.tenants else "Nothing is configured."
        mark = MARKS["done"]
    else:
        more = len(urgent) - 1
        headline = urgent[0].told + (f" And {counted(more, 'thing more', 'things more')}, below." if more else "")
        mark = TO_DO
    return Verdict(mark, headline, _going_on(view), urgent, others)


def _named(notice: Notice, client_code: str, is_named: bool) -> Notice:  # noqa: FBT001
    if not is_named:
        return notice
    return Notice(f"{client_code}: {notice.told}", notice.to_do, notice.is_urgent)


def _about_jobs(view: OverviewView) -> Iterator[Notice]:
    """Jobs that wait for somebody, and routes whose latest job lost rows or failed."""
    for job in view.jobs:
        if job.state == "quarantined":
            yield Notice(
                f"{shown(job.export)} is in quarantine, nothing of it was sent.",
                (f"{job.error[:1].upper()}{job.error[1:]}. " if job.error else "")
                + f"If it is right, `profile-pipeline approve {job.job} --config FILE` sends it; if not, "
                f"`profile-pipeline abandon {job.job} --config FILE` drops it.",
                is_urgent=True,
            )
        elif job.state == "unfinished":
            yield Notice(
                f"{shown(job.export)} is not finished, and no process is at it.",
                "`profile-pipeline serve --config FILE` goes on with it.",
                is_urgent=True,
            )
        elif job.oldest_accepted is not None and view.now - job.oldest_accepted >= _SLOW:
            yield Notice(
                f"Target is slow: it has not applied a batch of {shown(job.export)} that it accepted "
                f"{time_ago(job.oldest_accepted, view.now)}.",
                f"It may take a day. `profile-pipeline status {job.job} --config FILE` says when it is given up; if it "
                "goes on, ask Adobe.",
                is_urgent=view.now - job.oldest_accepted >= _TOO_SLOW,
            )
    for tenant in view.tenants:
        for route in tenant.routes:
            if route.latest is not None and not route.latest.is_sent_again:
                yield from _about_latest(route.latest)


def _about_latest(job: JobLine) -> Iterator[Notice]:
    name = shown(job.export)
    match job.state:
        case "incomplete":
            yield Notice(
                f"{name} lost {counted(job.lost, 'row') if job.lost else 'rows'}.",
                f"`profile-pipeline retry {job.job} --config FILE` sends them again.",
                is_urgent=True,
            )
        case "failed":
            why = f"{job.error[:1].upper()}{job.error[1:].rstrip('.')}. " if job.error else ""
            why = why.replace("?. ", "? ")
            yield Notice(f"{name} failed.", f"{why}Remove the cause, then drop the export anew.", is_urgent=True)
        case "done" if rejected := job.rows.get("rejected", 0):
            have = "row of it has a mistake and was" if rejected == 1 else "rows of it have mistakes and were"
            yield Notice(f"{name}: {rejected:,} {have} not sent.", "Its page says why.")


def _going_on(view: OverviewView) -> str:
    """The jobs that run and wait, and the last end, in a sentence."""
    running = sum(job.state == "running" for job in view.jobs)
    waiting = sum(job.state == "waiting" for job in view.jobs) + view.waiting_jobs
    told = []
    if running:
        told.append(f"{counted(running, 'job is', 'jobs are')} running")
    if waiting:
        told.append(f"{counted(waiting, 'job waits', 'jobs wait')}")
    parts = [", ".join(told)] if told else []
    ends = [job for job in view.jobs if job.finished_at is not None]
    if ends:
        last = max(ends, key=lambda job: job.finished_at.timestamp() if job.finished_at else 0.0)
        ago = time_ago(last.finished_at or view.now, view.now)
        parts.append(f"the last one to end was {shown(last.export)}, {ago}")
    text = "; ".join(parts) or "no export has come yet"
    return f"{text[0].upper()}{text[1:]}."
