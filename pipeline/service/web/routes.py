"""The addresses at which the service shows itself, and what each answers: `own_routes` lists them, but `metrics_route`.

A further one is a further `Route` in that list: `openapi` describes it, and `application` lets nobody without the token
have it, unless it is open.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipeline.core.errors import ExitCode, PipelineError
from pipeline.jobs.status.job import JobStatus
from pipeline.jobs.status.listing import JobsPage
from pipeline.jobs.status.tenants import Statuses
from pipeline.service.web.answers import JSON, Health, Readiness, answer, answer_of, problem
from pipeline.service.web.events import EVENT_STREAM, Events
from pipeline.service.web.latest import Latest
from pipeline.service.web.metrics import EXPOSITION, Scrape
from pipeline.service.web.pages import HTML, Pages, is_wanted
from pipeline.service.web.readiness import Condition

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Jobs that a page of them has, unless `limit` says otherwise, and at most. Ours.
_JOBS, _MOST_JOBS = 20, 100
_COUNT = re.compile(r"[0-9]{1,9}")
#: Ids of jobs consist of these characters.
_JOB_ID = re.compile(r"[A-Za-z0-9._-]{1,120}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an address, and the JSON schema of its values; one in the path is required."""

    name: str
    description: str
    schema: Mapping[str, Any]
    is_in_path: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """An address.

    `path`: with `{NAME}` for parameters in it.
    `summary`: what it answers, in words.
    `answers`: by HTTP status, the class of what is written as JSON, or None. Problems aside.
    `media_types`: the formats of these answers.
    `is_open`: whoever asks needs no token.
    `has_head`: HEAD is answered too.
    """

    path: str
    answer: Answer
    summary: str
    answers: Mapping[int, Any]
    media_types: tuple[str, ...] = (JSON,)
    is_open: bool = False
    parameters: tuple[Parameter, ...] = ()
    problems: Mapping[int, str] = field(default_factory=dict)
    has_head: bool = True


def own_routes(latest: Latest, condition: Condition, events: Events) -> list[Route]:
    """All addresses."""
    pages = Pages(latest)
    asked = _Asked(latest, condition, pages)
    return [
        Route("/", pages.overview, "The page of all that goes on, for people.", {200: None}, media_types=(HTML,)),
        Route("/healthz", asked.health, "The event loop turns; Target may be away.", {200: Health}, is_open=True),
        Route(
            "/readyz",
            asked.readiness,
            "The directories and the ledger can be used, and exports are taken.",
            {200: Readiness, 503: Readiness},
            is_open=True,
        ),
        Route("/status", asked.status, "What `status --json` tells.", {200: Statuses}),
        Route(
            "/jobs",
            asked.jobs,
            "The jobs that were entered last, the latest first.",
            {200: JobsPage},
            parameters=(_LIMIT, _BEFORE),
            problems={400: "A parameter has a value that it cannot have."},
        ),
        Route(
            "/jobs/{job}",
            asked.job,
            "A job; a page for whoever asks for `text/html`, as browsers do.",
            {200: JobStatus},
            media_types=(JSON, HTML),
            parameters=(_JOB,),
            problems={404: "There is no job of this id."},
        ),
        Route(
            "/events",
            events.answer,
            "An event whenever /status shows something else; the first one at once.",
            {200: None},
            media_types=(EVENT_STREAM,),
            has_head=False,
        ),
    ]


def metrics_route(scrape: Scrape) -> Route:
    """The address of the metrics, for Prometheus, which sends no token by itself."""

    async def answer_metrics(_: web.Request) -> web.Response:
        return web.Response(body=await scrape.text(), headers={"Content-Type": EXPOSITION})

    told = "Counts and figures in the format of Prometheus; docs/metrics.md lists them."
    return Route("/metrics", answer_metrics, told, {200: None}, media_types=(EXPOSITION,), is_open=True)


_LIMIT = Parameter(
    "limit", f"At most so many jobs; {_JOBS} by default.", {"type": "integer", "minimum": 1, "maximum": _MOST_JOBS}
)
_JOB_ID_SCHEMA = {"type": "string", "pattern": f"^{_JOB_ID.pattern}$"}
_BEFORE = Parameter("before", "Only jobs whose ids come before this one: `next_before` of a page.", _JOB_ID_SCHEMA)
_JOB = Parameter("job", "The id of the job.", _JOB_ID_SCHEMA, is_in_path=True)


class _Asked:
    """The answers to what is asked."""

    def __init__(self, latest: Latest, condition: Condition, pages: Pages) -> None:
        self._latest = latest
        self._condition = condition
        self._pages = pages

    async def health(self, _: web.Request) -> web.Response:
        return answer(Health(is_well=True))

    async def readiness(self, _: web.Request) -> web.Response:
        reasons = (*self._condition.reasons, *await self._latest.unusable())
        return answer(Readiness(not reasons, reasons), 503 if reasons else 200)

    async def status(self, _: web.Request) -> web.Response:
        return answer_of((await self._latest.status()).body)

    async def jobs(self, request: web.Request) -> web.Response:
        limit, before = request.query.get("limit", str(_JOBS)), request.query.get("before")
        if not _COUNT.fullmatch(limit) or not 1 <= int(limit) <= _MOST_JOBS:
            return problem(400, f"limit is a number from 1 to {_MOST_JOBS}.")
        if before is not None and not _JOB_ID.fullmatch(before):
            return problem(400, "before is the id of a job, the next_before of another page.")
        return answer(await self._latest.jobs(before, int(limit)))

    async def job(self, request: web.Request) -> web.Response:
        job_id, found = request.match_info["job"], None
        try:
            if _JOB_ID.fullmatch(job_id):
                found = await self._pages.job(job_id) if is_wanted(request) else answer(await self._latest.job(job_id))
        except PipelineError as error:
            if error.exit_code is not ExitCode.USAGE:
                raise
        if found is None:
            found = problem(404, "There is no job of this id; /jobs lists them.")
        found.headers["Vary"] = "Accept"
        return found
