"""The application: for each request who asks, under which name, for what; and an answer, whatever happens."""

from collections.abc import Sequence

from aiohttp import web

from pipeline.core.errors import ConfigurationError, PipelineError
from pipeline.jobs.ending import tell_unexpected
from pipeline.service.web.access import Token, wrong_name
from pipeline.service.web.answers import problem, protect
from pipeline.service.web.connections import Connections
from pipeline.service.web.routes import Answer, Route
from pipeline.settings.sections.web import WebSettings

#: Nothing is sent here; whoever sends something all the same sends no more than this (bytes).
_MAX_BODY_BYTES = 1_024
#: Browsers ask for user and password then; the password is the token, and the user may be anything.
_CHALLENGE = 'Basic realm="profile-pipeline", charset="UTF-8"'


def application(
    routes: Sequence[Route], settings: WebSettings, token: Token, connections: Connections
) -> web.Application:
    """All addresses, each guarded."""
    door = _Door(settings, token, connections)
    app = web.Application(middlewares=[door.guard], client_max_size=_MAX_BODY_BYTES)
    for route in routes:
        answered = route.answer if route.is_open else door.with_token(route.answer)
        app.router.add_get(route.path, answered, allow_head=route.has_head)
    app.on_response_prepare.append(_protect)
    return app


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    protect(response)


class _Door:
    """The way in: whoever asks passes it, with each request."""

    def __init__(self, settings: WebSettings, token: Token, connections: Connections) -> None:
        self._settings = settings
        self._token = token
        self._connections = connections

    def with_token(self, answer: Answer) -> Answer:
        """The same answer, for those who send the token."""

        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                is_sent = await self._token.is_sent_in(request.headers.get("Authorization", ""))
            except ConfigurationError as error:
                return problem(503, f"Nobody is let in: {error}")
            if is_sent:
                return await answer(request)
            refused = problem(401, "Send the token of [web] token_file: as bearer token, or as password of any user.")
            refused.headers.extend([("WWW-Authenticate", _CHALLENGE), ("WWW-Authenticate", "Bearer")])
            return refused

        return answered

    @web.middleware
    async def guard(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Answer a request, or say why not."""
        with self._connections.busy(request.transport):
            if why := wrong_name(request.headers.getall("Host", []), self._settings):
                return problem(421, f"This is not the address of the service: {why}.")
            try:
                return await handler(request)
            except web.HTTPMethodNotAllowed as error:
                allowed = ", ".join(sorted(error.allowed_methods))
                return problem(405, f"Only {allowed}: nothing can be changed here.", {"Allow": allowed})
            except web.HTTPException as error:
                detail = "There is nothing here; /openapi.json says what there is." if error.status == 404 else ""
                return problem(error.status, detail)
            except PipelineError as error:
                return problem(503, str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the service goes on
                tell_unexpected(error)
                return problem(500, "This is a bug of profile-pipeline; the log says more.")
