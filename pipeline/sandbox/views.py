"""The other routes of a sandbox: profiles read back as from Target, and `/sandbox/` for people and tests."""

import asyncio
from itertools import islice

import orjson
from aiohttp import web

from pipeline.sandbox import replies
from pipeline.sandbox.calls import Denial
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.mistakes import MistakeKind
from pipeline.sandbox.sandbox import Sandbox

#: The target of a redirected status GET.
REDIRECT_TARGET = "/sandbox/redirected"
#: Profiles that are encoded at a time when all are listed.
_PROFILES_PER_CHUNK = 5_000

OVERVIEW = """\
This is a sandbox: it stands in for Adobe Target and forgets everything when it ends.

POST /m2/{client}/v2/profile/batchUpdate   take a batch; profiles are created
POST /m2/{client}/profile/batchUpdate      take a batch; only known profiles are updated
GET  the URL in its answer                 how far it is; &showDetails=true for the counts
GET  /rest/v1/profiles/thirdPartyId/ID?client={client}, /rest/v1/profiles/PCID?client={client}

GET  /sandbox/state      batches, calls, and what the sender did wrong (JSON)
GET  /sandbox/profiles   every profile, one JSON object a line
GET  /sandbox/faults     the faults planned; POST the same JSON to plan others
POST /sandbox/token      {{"token": "..."}} or {{"token": null}}: the bearer token wanted from now on
POST /sandbox/apply      apply every waiting batch now

{batches} batches accepted, {profiles} profiles, {mistakes} mistakes of the sender so far.
"""


def add_routes(app: web.Application, sandbox: Sandbox) -> None:
    """Add all routes except those of the Bulk Profile Update API."""
    views = Views(sandbox)
    app.router.add_get("/rest/v1/profiles/thirdPartyId/{id}", views.third_party_profile)
    app.router.add_get("/rest/v1/profiles/{id}", views.pc_profile)
    app.router.add_get("/sandbox", views.overview)
    app.router.add_get("/sandbox/", views.overview)
    app.router.add_get("/sandbox/state", views.state)
    app.router.add_get("/sandbox/profiles", views.profiles)
    app.router.add_get("/sandbox/faults", views.faults)
    app.router.add_post("/sandbox/faults", views.plan_faults)
    app.router.add_post("/sandbox/token", views.change_token)
    app.router.add_post("/sandbox/apply", views.apply)
    app.router.add_get(REDIRECT_TARGET, views.redirected)


class Views:
    """Answers the calls that are about neither a batch nor a status."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def third_party_profile(self, request: web.Request) -> web.Response:
        """`GET /rest/v1/profiles/thirdPartyId/ID?client=CODE`."""
        return await self._profile(request, "thirdPartyId")

    async def pc_profile(self, request: web.Request) -> web.Response:
        """`GET /rest/v1/profiles/PCID?client=CODE`."""
        return await self._profile(request, "pcId")

    async def overview(self, _request: web.Request) -> web.Response:
        """An overview for people."""
        counts = await asyncio.to_thread(self._sandbox.counts)
        return web.Response(text=OVERVIEW.format(client=self._sandbox.options.client_code, **counts))

    async def state(self, _request: web.Request) -> web.Response:
        """All that the sandbox knows, except the profiles."""
        return _json(await asyncio.to_thread(lambda: orjson.dumps(self._sandbox.state())))

    async def profiles(self, request: web.Request) -> web.StreamResponse:
        """Every profile, one JSON object a line: `{"id", "kind", "attributes"}`."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        rows = self._sandbox.profile_lines()

        def encode_some() -> bytes:
            return b"".join(
                orjson.dumps({"id": i, "kind": kind, "attributes": attributes}) + b"\n"
                for kind, i, attributes in islice(rows, _PROFILES_PER_CHUNK)
            )

        while chunk := await asyncio.to_thread(encode_some):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def faults(self, _request: web.Request) -> web.Response:
        """The plan in force."""
        return _json(orjson.dumps(self._sandbox.faults.to_json()))

    async def plan_faults(self, request: web.Request) -> web.Response:
        """Put another plan in force; calls are counted from 1 again."""
        try:
            self._sandbox.faults = FaultPlan.from_json(orjson.loads(await request.read()))
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return await self.faults(request)

    async def change_token(self, request: web.Request) -> web.Response:
        """Require another token from now on, or none."""
        try:
            token = orjson.loads(await request.read())["token"]
        except (ValueError, KeyError, TypeError):
            token = 0
        if not isinstance(token, str | None):
            return web.Response(status=400, text='expected {"token": "..."} or {"token": null}\n')
        self._sandbox.token = token
        return web.Response(text="ok\n")

    async def apply(self, _request: web.Request) -> web.Response:
        """Apply all waiting batches."""
        await asyncio.to_thread(self._sandbox.apply_all)
        return web.Response(text="ok\n")

    async def redirected(self, request: web.Request) -> web.Response:
        """Note a sender that followed a redirect, which no sender should do."""
        self._sandbox.note(MistakeKind.REDIRECT_FOLLOWED, request.path_qs)
        return web.Response(text=replies.NOT_FOUND, content_type="application/xml")

    async def _profile(self, request: web.Request, id_kind: str) -> web.Response:
        if self._sandbox.admit(request.headers.get("Authorization"), costs=False) is Denial.UNAUTHORISED:
            return web.Response(status=401, text="Unauthorized")
        profile_id = request.match_info["id"]
        client_code = request.query.get("client", "")
        found = None
        if client_code == self._sandbox.options.client_code:
            found = await asyncio.to_thread(self._sandbox.find_profile, id_kind, profile_id)
        if found is None:
            return _json(orjson.dumps(replies.no_profile(client_code, id_kind, profile_id)), status=404)
        return _json(orjson.dumps(found))


def _json(text: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=text, status=status, content_type="application/json")
