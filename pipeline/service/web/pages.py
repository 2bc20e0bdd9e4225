"""The pages for people: the overview, and a job. `pipeline.edges.views` draws them, from what was read last.

What draws them is imported when somebody looks: a service that only programs ask does without.
"""

from datetime import datetime

from aiohttp import web

from pipeline.jobs.status.job_page import job_view
from pipeline.jobs.status.overview import histories_of, overview
from pipeline.jobs.status.tenants import Statuses
from pipeline.service.web.latest import Latest
from pipeline.settings.tenants import Configuration

HTML = "text/html"


def is_wanted(request: web.Request) -> bool:
    """True if whoever asks is a browser, which shows pages; all others get JSON at the same address."""
    return HTML in request.headers.get("Accept", "")


class Pages:
    """The pages, each drawn at most once a second."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest

    async def overview(self, _: web.Request) -> web.Response:
        """The page of all that goes on."""
        told = await self._latest.status()
        return _page(await self._latest.read("overview", lambda of, now: _draw_overview(of, told.statuses, now)))

    async def job(self, job_id: str) -> web.Response:
        """The page of a job. Raises `PipelineError` (64) if there is none of this id."""
        return _page(await self._latest.read(("page", job_id), lambda of, now: _draw_job(of, job_id, now)))


def _draw_overview(configuration: Configuration, told: Statuses, now: datetime) -> str:
    from pipeline.edges.views.overview_page import overview_page

    return overview_page(overview(told, now, histories_of(configuration, told, now)))


def _draw_job(configuration: Configuration, job_id: str, now: datetime) -> str:
    from pipeline.edges.views.frame import Site
    from pipeline.edges.views.page import job_page

    return job_page(job_view(configuration, job_id, now), Site(is_overview=False))


def _page(text: str) -> web.Response:
    """A page with its policy as a header, which can also say that no other page frames it."""
    from pipeline.edges.views.frame import content_security_policy

    policy = f"{content_security_policy(is_live=True)}; frame-ancestors 'none'"
    return web.Response(text=text, content_type=HTML, headers={"Content-Security-Policy": policy})
