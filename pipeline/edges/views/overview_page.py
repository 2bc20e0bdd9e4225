"""Makes the overview: a pure function from what is known to HTML, with no row and no id in it."""

from datetime import datetime

from markupsafe import Markup

from pipeline.core.drop.signals import shown
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.edges.views.days import days_in_words, drawing
from pipeline.edges.views.figures import duration_in_words, short_time, time_ago, time_on_page
from pipeline.edges.views.frame import Site, framed
from pipeline.edges.views.marks import mark_of
from pipeline.edges.views.overview_view import JobLine, OverviewView
from pipeline.edges.views.page import with_code
from pipeline.edges.views.verdict import verdict
from pipeline.edges.views.wording import MEANINGS

_BAR = 1_000


def overview_page(view: OverviewView) -> str:
    """The page of all that goes on: is everything well, what runs, what waits for what, and how the last days went."""
    found, site = verdict(view), Site(is_overview=True)
    return framed(
        "overview.html",
        title=f"{'OK' if not found.urgent else f'{len(found.urgent)} to do'}: profile-pipeline",
        mark=found.mark,
        at=time_on_page(view.now),
        site=site,
        view=view,
        verdict=found,
        unfinished=[job for job in view.jobs if job.finished_at is None],
        ended=[_row(job, job.finished_at) for job in view.jobs if job.finished_at is not None],
        states={state: _state(state) for state in {job.state for job in _all_jobs(view)}},
        jobs=site.job(""),
        with_code=with_code,
        drawing=drawing,
        days_in_words=days_in_words,
        counted=counted,
        bar_of=_bar,
        bar_words=_bar_in_words,
        progress=lambda job: _progress(job, view),
        ago=lambda at: time_ago(at, view.now),
        name=lambda job: shown(job.export),
    )


def _all_jobs(view: OverviewView) -> list[JobLine]:
    latest = [route.latest for tenant in view.tenants for route in tenant.routes if route.latest is not None]
    return [*view.jobs, *latest]


def _state(state: str) -> Markup:
    """The mark and the word of a state: made once, however many jobs have it."""
    mark = mark_of(state)
    drawn = '<svg class="mark {}" aria-hidden="true" focusable="false"><use href="#m-{}"/></svg>'
    return Markup(f'<span class="state {{}}">{drawn}{{}}</span>').format(  # noqa: S704 - constants
        mark.tone, mark.tone, mark.form, printable(mark.short)
    )


def _row(job: JobLine, ended_at: datetime) -> tuple[JobLine, str, str, str, str, str, str]:
    """A job that has ended, with what its row tells: name, rows read, rejected and lost, duration, end."""
    rejected, took = f"{job.rows.get('rejected', 0):,}", duration_in_words(job.seconds)
    return job, shown(job.export), f"{job.read:,}", rejected, f"{job.lost:,}", took, short_time(ended_at)


def _progress(job: JobLine, view: OverviewView) -> str:
    read = counted(job.read, "row") + " read" if job.read else "not a row read yet"
    entered = f"; entered {time_ago(job.started_at, view.now)}" if job.started_at else ""
    return f"{read}, {job.rows.get('confirmed', 0):,} confirmed{entered}" if job.read else f"{read}{entered}"


def _bar(job: JobLine) -> list[tuple[str, float, float]]:
    """Class, begin and width of each piece of the bar."""
    pieces, x = [], 0.0
    for name in MEANINGS:
        if count := job.rows.get(name, 0):
            width = max(4.0, count / job.read * _BAR)
            pieces.append((name, round(x, 1), round(width, 1)))
            x += width
    return pieces


def _bar_in_words(job: JobLine) -> str:
    return ", ".join(f"{job.rows[name]:,} {name}" for name in MEANINGS if job.rows.get(name))
