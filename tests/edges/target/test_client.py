"""The real client against the sandbox, and against servers that note what they get or answer what they should not."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
import trustme
from aiohttp import web

from pipeline import __version__
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import Batch
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.replies import (
    MAX_REPLY_BYTES,
    Accepted,
    Ambiguous,
    Complete,
    Incomplete,
    PostOutcome,
    Refused,
    StatusLost,
    StatusUnavailable,
    Stuck,
    Throttled,
    Unauthorized,
    Unreachable,
    WrongAddress,
)
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.client import ANSWER_S, SLICE_BYTES, TargetClient, connect
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.token_file import read_token
from pipeline.sandbox import Fault, FaultPlan, Sandbox, SandboxOptions, serving
from pipeline.sandbox.faults import POST_FAULTS, STATUS_FAULTS
from pipeline.sandbox.server import application
from tests.tools.support import CLOSED, answering, listening, loop_clock, run_fast, until

BODY = b"batch=thirdPartyId,tier\nu1,gold\nu2,silver\n"
ACCEPTED = (
    "<response><success>true</success><batchStatus>{url}/m2/demo/profile/batchStatus?batchId=demo-1&m2Node=x"
    "</batchStatus><message>Batch submitted for processing</message></response>"
)
COMPLETE = "<response><status>complete</status><batchSize>2</batchSize></response>"


@dataclass
class Client:
    """A client of the code under test and what can be seen of it; `begun` are the POSTs whose turn came."""

    target: TargetClient
    directory: Path
    begun: int = 0

    async def post(self, body: bytes = BODY) -> PostOutcome:
        file = self.directory / "1.body"
        file.write_bytes(body)

        async with self.target.turn_to_post(batch_of(body), file) as send:
            self.begun += 1
            return await send()


def batch_of(body: bytes) -> Batch:
    return Batch(1, 1, body.count(b"\n") - 1, len(body), sha256(body).hexdigest())


def endpoint_of(url: str) -> Endpoint:
    return Endpoint(
        url=url,
        client_code="demo",
        api_version="v2",
        status_hosts=(),
        token_file=None,
        min_rate_bytes_s=100_000,
    )


@asynccontextmanager
async def client_of(
    url: str, directory: Path, *, clock: Clock | None = None, tls: ssl.SSLContext | None = None, **endpoint: Any
) -> AsyncIterator[Client]:
    used = clock or loop_clock()
    calls = CallQueue(CallBudget(1_000), used)
    async with connect(replace(endpoint_of(url), **endpoint), calls, used, tls=tls) as target:
        yield Client(target, directory)


@asynccontextmanager
async def talking(
    directory: Path, *, faults: FaultPlan | None = None, options: Mapping[str, Any] | None = None, **endpoint: Any
) -> AsyncIterator[tuple[Client, Sandbox]]:
    behaviour = {"apply_min_s": 0.0, "apply_max_s": 0.0, "calls_per_minute": None, **(options or {})}
    sandbox = Sandbox(SandboxOptions(**behaviour), faults=faults)
    async with serving(sandbox) as run, client_of(run.base_url, directory, **endpoint) as client:
        yield client, sandbox


async def follow(client: Client, posted: PostOutcome) -> object:
    assert isinstance(posted, Accepted)
    return await client.target.status(posted.status_url)


class TestSilence:
    """Since when calls have had no usable answer, and the last one in our words: an error's own may quote anything."""

    @pytest.mark.parametrize(
        ("fault", "last"),
        [
            (Fault.HTTP_500, "HTTP 500"),
            (Fault.THROTTLE_503, "too many calls (HTTP 429 or 503)"),
            (Fault.RESET_BEFORE_BODY, "the connection broke off"),
            (Fault.GARBAGE_LOST, "HTTP 200 with an answer that cannot be read"),
        ],
    )
    async def test_it_begins_with_an_answer_of_no_use(self, tmp_path: Path, fault: Fault, last: str) -> None:
        async with talking(tmp_path, faults=FaultPlan(posts={1: fault})) as (client, _):
            await client.post()
            silence, now = client.target._calls.silence, loop_clock().monotonic()
            assert silence.last == last
            assert silence.since(now + 60.0) is not None
            assert silence.since(now) is None, "one failed call is no absence"

    async def test_it_ends_with_one_of_use(self, tmp_path: Path) -> None:
        async with talking(tmp_path, faults=FaultPlan(posts={1: Fault.HTTP_500, 2: Fault.REFUSE})) as (client, _):
            for is_silent in (True, False):
                await client.post()
                since = client.target._calls.silence.since(loop_clock().monotonic() + 60.0)
                assert (since is not None) is is_silent

    async def test_nobody_listens(self, tmp_path: Path) -> None:
        async with client_of(CLOSED, tmp_path) as client:
            await client.post()
            assert client.target._calls.silence.last == "no connection"


class TestPostFaults:
    OUTCOMES: ClassVar[dict[Fault, type]] = {
        Fault.REFUSE: Refused,
        Fault.REFUSE_EMPTY: Refused,
        Fault.HTTP_500: Ambiguous,
        Fault.HTTP_500_TAKEN: Ambiguous,
        Fault.HTTP_502: Ambiguous,
        Fault.THROTTLE_503: Throttled,
        Fault.THROTTLE_429: Throttled,
        Fault.RESET_BEFORE_BODY: Ambiguous,
        Fault.RESET_DURING_BODY: Ambiguous,
        Fault.RESET_AFTER_BODY_LOST: Ambiguous,
        Fault.RESET_AFTER_BODY_TAKEN: Ambiguous,
        Fault.HANG_LOST: Ambiguous,
        Fault.HANG_TAKEN: Ambiguous,
        Fault.GARBAGE_LOST: Ambiguous,
        Fault.GARBAGE_TAKEN: Ambiguous,
        Fault.STUCK: Accepted,
        Fault.SLOW: Accepted,
        Fault.FAIL_ROWS: Accepted,
        Fault.STATUS_LOST: Accepted,
    }

    def test_every_fault_is_here(self) -> None:
        assert self.OUTCOMES.keys() == POST_FAULTS

    @pytest.mark.parametrize("fault", sorted(POST_FAULTS))
    @pytest.mark.parametrize("rows", [2, 20_000], ids=["small", "large"])
    def test_outcome(self, tmp_path: Path, fault: Fault, rows: int) -> None:
        body = b"batch=thirdPartyId,tier\n" + b"".join(b"u%d,%s\n" % (n, b"x" * 90) for n in range(rows))
        plan = FaultPlan(posts={1: fault}, slow_bytes_s=20_000_000.0)

        async def attempt() -> tuple[PostOutcome, int, dict[str, Any]]:
            async with talking(tmp_path, faults=plan) as (client, sandbox):
                outcome = await client.post(body)
                return outcome, client.begun, sandbox.profiles()

        outcome, begun, profiles = run_fast(attempt())
        assert type(outcome) is self.OUTCOMES[fault], outcome
        assert begun == 1
        # What is certainly not taken must not be there; the other way round nothing is promised.
        if isinstance(outcome, Refused | Throttled):
            assert profiles == {}

    async def test_what_it_says(self, tmp_path: Path) -> None:
        plan = FaultPlan(
            posts={1: Fault.REFUSE, 2: Fault.HTTP_502, 3: Fault.THROTTLE_503, 4: Fault.THROTTLE_429}, retry_after_s=7
        )
        async with talking(tmp_path, faults=plan, clock=skipping()) as (client, _):
            outcomes = [await client.post() for _ in range(4)]
        assert outcomes == [
            Refused("Batch could not be queued"),
            Ambiguous("HTTP 502"),
            Throttled(None),
            Throttled(7.0),
        ]


class TestStatusFaults:
    OUTCOMES: ClassVar[dict[Fault, type]] = {
        Fault.THROTTLE_503: Throttled,
        Fault.THROTTLE_429: Throttled,
        Fault.STATUS_LOST: StatusLost,
        Fault.STATUS_500: StatusUnavailable,
        Fault.STATUS_GARBAGE: StatusUnavailable,
        Fault.STATUS_REDIRECT: StatusUnavailable,
        Fault.STATUS_OVERSIZED: StatusUnavailable,
        Fault.RESET_BEFORE_BODY: StatusUnavailable,
        Fault.HANG_LOST: StatusUnavailable,
    }

    def test_every_fault_is_here(self) -> None:
        assert self.OUTCOMES.keys() == STATUS_FAULTS

    @pytest.mark.parametrize("fault", sorted(STATUS_FAULTS))
    def test_outcome(self, tmp_path: Path, fault: Fault) -> None:
        async def attempt() -> object:
            async with talking(tmp_path, faults=FaultPlan(statuses={1: fault, 2: fault})) as (client, sandbox):
                outcome = await follow(client, await client.post())
                assert sandbox.mistakes == [], "the sandbox notes a redirect that is followed"
                return outcome

        assert type(run_fast(attempt())) is self.OUTCOMES[fault]

    async def test_a_reset_is_one_call(self, tmp_path: Path) -> None:
        plan = FaultPlan(statuses={1: Fault.RESET_BEFORE_BODY})
        async with talking(tmp_path, faults=plan) as (client, sandbox):
            await follow(client, await client.post())
            assert sandbox.calls["statuses"] == 1

    async def test_states(self, tmp_path: Path) -> None:
        plan = FaultPlan(posts={1: Fault.FAIL_ROWS, 2: Fault.STUCK}, failing_ids=frozenset({"u2"}))
        async with talking(tmp_path, faults=plan) as (client, _):
            complete = await follow(client, await client.post())
            stuck = await follow(client, await client.post())
        assert complete == Complete(batch_size=2, consumed=2, not_found=0, failed=1, failed_ids=("u2",), updated=1)
        assert stuck == Stuck()
        async with talking(tmp_path, options={"apply_min_s": 99.0, "apply_max_s": 99.0}) as (client, _):
            assert await follow(client, await client.post()) == Incomplete()


class TestUnreachable:
    """Nothing of the batch has left the machine, and nothing says that it has."""

    async def assert_unreachable(self, url: str, directory: Path, tls: ssl.SSLContext | None = None) -> None:
        async with client_of(url, directory, tls=tls) as client:
            assert client.target.silent_s == 0.0
            outcome = await client.post()
            assert isinstance(outcome, Unreachable)
            assert outcome.why
            assert client.begun == 1, "the intent is there before anything is tried"
            assert client.target.silent_s > 0.0
            status = await client.target.status(f"{url}/m2/demo/profile/batchStatus?batchId=1")
            assert isinstance(status, StatusUnavailable)

    async def test_connection_refused(self, tmp_path: Path) -> None:
        await self.assert_unreachable(CLOSED, tmp_path)

    async def test_no_such_host(self, tmp_path: Path) -> None:
        await self.assert_unreachable("https://nowhere.invalid", tmp_path)

    @pytest.mark.parametrize("trusting", [None, "another"])
    async def test_unknown_certificate(self, tmp_path: Path, trusting: str | None) -> None:
        context = None
        if trusting:
            context = ssl.create_default_context()
            trustme.CA().configure_trust(context)
        async with answering(never, ssl_context=certified(trustme.CA(), "localhost")) as url:
            await self.assert_unreachable(url, tmp_path, context)

    async def test_certificate_of_another_host(self, tmp_path: Path) -> None:
        authority = trustme.CA()
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with answering(never, ssl_context=certified(authority, "elsewhere.example")) as url:
            await self.assert_unreachable(url, tmp_path, context)

    async def test_no_tls_where_tls_is_wanted(self, tmp_path: Path) -> None:
        async with answering(never) as url:
            await self.assert_unreachable(url.replace("http:", "https:"), tmp_path)


async def test_tls_with_a_trusted_certificate(tmp_path: Path) -> None:
    """The status URL comes back as http and is asked for over TLS."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    sandbox = Sandbox(SandboxOptions(status_base_url="http://localhost:{port}", apply_min_s=0.0, apply_max_s=0.0))
    server = listening(application(sandbox), ssl_context=certified(authority, "localhost"))
    async with server as url, client_of(url, tmp_path, tls=context) as client:
        posted = await client.post()
        assert isinstance(posted, Accepted)
        assert posted.status_url.startswith("http://")
        assert isinstance(await client.target.status(posted.status_url), Complete)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def never(_request: web.Request) -> web.Response:
    raise AssertionError("no request may come here")


@dataclass
class Notes:
    """A server that notes every request and answers what it is told to."""

    status: int = 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        text = self.text or ACCEPTED.format(url=f"http://{request.host}")
        return web.Response(status=self.status, text=text, headers=self.headers)


class TestRequests:
    async def test_a_post(self, tmp_path: Path) -> None:
        notes = Notes()
        token = tmp_path / "token"
        token.write_text("s3cret\n")
        async with answering(notes.answer) as url, client_of(url, tmp_path, token_file=token) as client:
            assert isinstance(await client.post(), Accepted)
        ((method, path, headers, body),) = notes.requests
        assert (method, path) == ("POST", "/m2/demo/v2/profile/batchUpdate")
        assert body == BODY
        assert headers["Content-Length"] == str(len(BODY))
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert headers["Authorization"] == "Bearer s3cret"
        assert headers["User-Agent"] == f"profile-pipeline/{__version__}"
        assert "Transfer-Encoding" not in headers
        assert "Expect" not in headers
        assert "Content-Encoding" not in headers

    @pytest.mark.parametrize("size", [SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 900_000])
    async def test_bytes_of_a_body_of_many_slices(self, tmp_path: Path, size: int) -> None:
        notes = Notes()
        body = bytes(n * n % 251 for n in range(size))
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            assert isinstance(await client.post(body), Accepted)
        assert notes.requests[0][3] == body
        assert client.begun == 1

    async def test_the_old_version_and_no_token(self, tmp_path: Path) -> None:
        notes = Notes()
        async with answering(notes.answer) as url, client_of(url, tmp_path, api_version="v1") as client:
            await client.post()
        ((_, path, headers, _),) = notes.requests
        assert path == "/m2/demo/profile/batchUpdate"
        assert "Authorization" not in headers

    async def test_a_status(self, tmp_path: Path) -> None:
        notes = Notes()
        token = tmp_path / "token"
        token.write_text("s3cret")
        async with answering(notes.answer) as url, client_of(url, tmp_path, token_file=token) as client:
            posted = await client.post()
            notes.text = COMPLETE
            assert await follow(client, posted) == Complete(batch_size=2)
        _, (method, path, headers, body) = notes.requests
        assert (method, path) == ("GET", "/m2/demo/profile/batchStatus?batchId=demo-1&m2Node=x&showDetails=true")
        assert headers["Authorization"] == "Bearer s3cret"
        assert body == b""

    async def test_the_escapes_of_a_status_url_stay_as_they_are(self, tmp_path: Path) -> None:
        notes = Notes(text=COMPLETE)
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            await client.target.status(f"{url}/a%2Fb?batchId=x%20y%2Bz")
        assert notes.requests[0][1] == "/a%2Fb?batchId=x%20y%2Bz&showDetails=true"

    async def test_every_post_has_a_connection_of_its_own(self, tmp_path: Path) -> None:
        ports: list[object] = []

        async def answer(request: web.Request) -> web.Response:
            assert request.transport is not None
            ports.append(request.transport.get_extra_info("peername")[1])
            return web.Response(text=ACCEPTED.format(url=""))

        async with answering(answer) as url, client_of(url, tmp_path) as client:
            for _ in range(3):
                await client.post()
        assert len(set(ports)) == 3

    async def test_cookies_are_not_kept(self, tmp_path: Path) -> None:
        notes = Notes(headers={"Set-Cookie": "mbox=1; Path=/"})
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            await client.post()
            await client.post()
        assert all("Cookie" not in headers for _, _, headers, _ in notes.requests)


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            *((status, WrongAddress) for status in (301, 302, 303, 307, 308, 402, 404, 405, 406, 407, 409, 410, 411)),
            *((status, WrongAddress) for status in (414, 415, 421, 425, 426, 428, 431, 451)),
            (400, Refused),
            (422, Refused),
            (401, Unauthorized),
            (403, Unauthorized),
            (408, Ambiguous),
            (413, Refused),
            (429, Throttled),
            (500, Ambiguous),
            (502, Ambiguous),
            (503, Throttled),
            (504, Ambiguous),
        ],
    )
    async def test_of_a_post(self, tmp_path: Path, status: int, outcome: type) -> None:
        notes = Notes(status=status, text="Sorry", headers={"Location": "/elsewhere"})
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            assert type(await client.post()) is outcome
        assert len(notes.requests) == 1, "no redirect is followed"

    @pytest.mark.parametrize("status", [201, 202, 204, 206])
    async def test_success_of_another_kind_is_ambiguous(self, tmp_path: Path, status: int) -> None:
        """It may well have been taken: to call it refused would free its ids at once."""
        notes = Notes(status=status, text="" if status == 204 else "ok")
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            assert isinstance(await client.post(), Ambiguous)

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            (302, StatusUnavailable),
            (401, Unauthorized),
            (403, Unauthorized),
            (404, StatusLost),
            (410, StatusLost),
            (429, Throttled),
            (500, StatusUnavailable),
            (503, Throttled),
        ],
    )
    async def test_of_a_status(self, tmp_path: Path, status: int, outcome: type) -> None:
        notes = Notes(status=status, text="Sorry", headers={"Location": "/elsewhere"})
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            assert type(await client.target.status(f"{url}/status?batchId=1")) is outcome
        assert len(notes.requests) == 1

    async def test_an_oversized_answer_to_a_post(self, tmp_path: Path) -> None:
        """Only its beginning is read, and the connection ends there."""
        written = 0

        async def endless(request: web.Request) -> web.StreamResponse:
            nonlocal written
            await request.read()
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while written < 500 * MAX_REPLY_BYTES:
                    await response.write(b" " * MAX_REPLY_BYTES)
                    written += MAX_REPLY_BYTES
            except ConnectionError:
                pass
            return response

        async with answering(endless) as url, client_of(url, tmp_path) as client:
            assert isinstance(await client.post(), Ambiguous)
        assert written < 500 * MAX_REPLY_BYTES

    async def test_a_long_list_of_failed_ids_is_cut_after_a_whole_one(self, tmp_path: Path) -> None:
        listed = "".join(f"<profile><id>id{n:06}</id><status>failed</status></profile>" for n in range(3_000))
        notes = Notes(
            text="<response><status>complete</status><batchSize>9000</batchSize><consumedCount>9000</consumedCount>"
            f"<failedUpdates>3000</failedUpdates>{listed}</response>"
        )
        async with answering(notes.answer) as url, client_of(url, tmp_path) as client:
            outcome = await client.target.status(f"{url}/status?batchId=1")
        assert isinstance(outcome, Complete)
        assert outcome.failed == 3_000
        assert 1_000 < len(outcome.failed_ids) < 3_000
        assert outcome.failed_ids == tuple(f"id{n:06}" for n in range(len(outcome.failed_ids)))

    async def test_silence(self, tmp_path: Path) -> None:
        """It lasts from the first call without an answer of use to the next with one, POST or status."""
        now = 100.0

        def monotonic() -> float:
            return now

        usable, useless = (200, ""), (500, "")
        calls: list[tuple[str, tuple[int, str], float]] = [
            ("post", usable, 0.0),
            ("post", useless, 1.0),
            ("post", (200, "garbage"), 2.0),
            ("status", (500, ""), 3.0),
            ("post", (200, "<response><success>false</success></response>"), 0.0),
            ("post", useless, 1.0),
            ("post", (401, ""), 0.0),
            ("post", useless, 1.0),
            ("post", (400, ""), 0.0),
            ("post", (404, ""), 1.0),
            ("status", useless, 2.0),
            ("status", (200, COMPLETE), 0.0),
            ("post", useless, 1.0),
            ("status", (404, ""), 0.0),
            # The last, as nothing more may be asked for a minute.
            ("status", useless, 1.0),
            ("status", (503, ""), 2.0),
        ]
        notes = Notes()
        clock = Clock(monotonic=monotonic)
        async with answering(notes.answer) as url, client_of(url, tmp_path, clock=clock) as client:
            assert client.target.silent_s == 0.0, "nothing was asked yet"
            for kind, (notes.status, notes.text), silent_s in calls:
                await (client.post() if kind == "post" else client.target.status(f"{url}/status?batchId=1"))
                now += 1.0
                assert client.target.silent_s == silent_s, (kind, notes.status, notes.text)


class TestToken:
    async def test_is_read_again_once_it_is_refused(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("old")
        async with talking(tmp_path, options={"token": "old"}, token_file=token) as (client, sandbox):
            posted = await client.post()
            assert isinstance(posted, Accepted)
            token.write_text("new")
            assert isinstance(await client.post(), Accepted), "not read at every call"
            sandbox.token = "new"
            assert await client.post() == Unauthorized(401, is_final=False)
            assert isinstance(await client.post(), Accepted)
            token.write_text("newer")
            sandbox.token = "newer"
            assert await client.target.status(posted.status_url) == Unauthorized(401, is_final=False)
            assert isinstance(await client.target.status(posted.status_url), Complete)

    async def test_the_same_once_more_is_final(self, tmp_path: Path) -> None:
        """There is no use in going on, until the file holds another one."""
        token = tmp_path / "token"
        token.write_text("wrong")
        async with talking(tmp_path, options={"token": "right"}, token_file=token) as (client, _):
            assert await client.post() == Unauthorized(401, is_final=True)
            token.write_text("wrong\n")
            assert await client.post() == Unauthorized(401, is_final=True)
            token.write_text("wrong-as-well")
            assert await client.post() == Unauthorized(401, is_final=False)
            token.write_text("right")
            assert await client.post() == Unauthorized(401, is_final=False)
            assert isinstance(await client.post(), Accepted)

    async def test_none_is_wanted_where_none_is_given(self, tmp_path: Path) -> None:
        async with talking(tmp_path, options={"token": "right"}) as (client, _):
            assert await client.post() == Unauthorized(401, is_final=True, had_token=False)

    async def test_a_file_that_is_gone_when_it_is_read_again(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text("old")
        async with talking(tmp_path, options={"token": "right"}, token_file=token) as (client, _):
            await client.post()
            token.unlink()
            with pytest.raises(FatalError, match="cannot read") as caught:
                await client.post()
            assert caught.value.exit_code is ExitCode.CONFIGURATION

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "No such file"),
            (b"", "must hold one token"),
            (b"two tokens", "must hold one token"),
            (b"tok\nen", "must hold one token"),
            ("tökén".encode(), "other characters than ASCII"),
        ],
    )
    async def test_a_file_that_holds_none(self, tmp_path: Path, content: bytes | None, message: str) -> None:
        token = tmp_path / "token"
        if content is not None:
            token.write_bytes(content)
        async with talking(tmp_path, token_file=token) as (client, sandbox):
            with pytest.raises(FatalError, match=message) as caught:
                await client.post()
            assert caught.value.exit_code is ExitCode.CONFIGURATION
            assert str(token) in str(caught.value)
            assert sandbox.calls["posts"] == 0
            assert client.begun == 0, "it goes wrong before the attempt counts"

    def test_a_line_ending_behind_it_is_left_out(self, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_bytes(b"  abc.def\r\n")
        assert read_token(token) == "abc.def"


class TestStatusHosts:
    async def test_another_host_that_is_allowed(self, tmp_path: Path) -> None:
        sandbox = Sandbox(SandboxOptions(status_base_url="http://localhost:{port}", apply_min_s=0.0, apply_max_s=0.0))
        async with serving(sandbox) as run:
            port = run.base_url.rpartition(":")[2]
            hosts = (f"localhost:{port}",)
            async with client_of(run.base_url, tmp_path, status_hosts=hosts) as client:
                assert isinstance(await follow(client, await client.post()), Complete)

    @pytest.mark.parametrize(
        "url", ["http://localhost:{port}", "http://mboxedge45.tt.omtrdc.net", "http://127.0.0.1:1", "ftp://127.0.0.1"]
    )
    async def test_another_host_that_is_not(self, tmp_path: Path, url: str) -> None:
        """It is not asked, and the token does not go there."""
        async with talking(tmp_path, options={"status_base_url": url}) as (client, sandbox):
            assert isinstance(await follow(client, await client.post()), StatusLost)
            assert sandbox.calls["statuses"] == 0


class TestTime:
    @pytest.mark.parametrize(("size", "rate", "allowed_s"), [(len(BODY), 100_000, ANSWER_S), (40_000, 1_000, 70.0)])
    def test_a_hanging_post_ends(self, tmp_path: Path, size: int, rate: int, allowed_s: float) -> None:
        body = BODY.ljust(size, b"\n")

        async def attempt() -> tuple[PostOutcome, float]:
            loop = asyncio.get_running_loop()
            plan = FaultPlan(posts={1: Fault.HANG_TAKEN})
            async with talking(tmp_path, faults=plan, min_rate_bytes_s=rate) as (client, _):
                began = loop.time()
                return await client.post(body), loop.time() - began

        outcome, took_s = run_fast(attempt())
        assert outcome == Ambiguous("no answer in time")
        assert allowed_s - 1 <= took_s < allowed_s + 15

    def test_an_answer_that_never_ends(self, tmp_path: Path) -> None:
        """Headers and a first byte are no answer."""
        left = asyncio.Event()

        async def dribble(request: web.Request) -> web.StreamResponse:
            await request.read()
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"<response>")
            assert request.transport is not None
            await until(request.transport.is_closing, within_s=300.0)
            left.set()
            return response

        async def attempt() -> PostOutcome:
            async with answering(dribble) as url, client_of(url, tmp_path) as client:
                outcome = await client.post()
                await left.wait()
                return outcome

        assert run_fast(attempt()) == Ambiguous("no answer in time")

    @pytest.mark.parametrize("fault", [Fault.THROTTLE_503, Fault.THROTTLE_429])
    async def test_too_many_calls_use_up_a_minute_of_all(self, tmp_path: Path, fault: Fault) -> None:
        plan = FaultPlan(posts={1: fault}, retry_after_s=90)
        clock = skipping()
        async with talking(tmp_path, faults=plan, clock=clock) as (client, sandbox):
            began = clock.monotonic()
            await client.post()
            assert clock.monotonic() == began
            assert isinstance(await client.post(), Accepted)
            assert clock.monotonic() - began == (60.0 if fault is Fault.THROTTLE_503 else 90.0)
            assert sandbox.calls["posts"] == 2

    @pytest.mark.parametrize("kind", ["post", "status"])
    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("headers", "wait_s"),
        [
            ({"Retry-After": "7"}, 7.0),
            ({"Retry-After": "7200"}, 3_600.0),
            ({"Retry-After": "soon"}, 60.0),
            # Its clock differs from ours.
            ({"Retry-After": "Tue, 01 Jan 2030 00:00:20 GMT", "Date": "Tue, 01 Jan 2030 00:00:00 GMT"}, 20.0),
            ({}, 60.0),
        ],
    )
    async def test_what_the_server_asks_for(
        self, tmp_path: Path, headers: dict[str, str], wait_s: float, status: int, kind: str
    ) -> None:
        notes, clock = Notes(status=status, text="Sorry", headers=headers), skipping()
        async with answering(notes.answer) as url, client_of(url, tmp_path, clock=clock) as client:
            began = clock.monotonic()
            for _ in range(2):
                asked = client.post() if kind == "post" else client.target.status(f"{url}/status?batchId=1")
                assert isinstance(await asked, Throttled)
            assert clock.monotonic() - began == wait_s


def skipping() -> Clock:
    """A clock on which only sleeping takes time."""
    now = 1_000.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    return Clock(monotonic=lambda: now, sleep=sleep)


class TestATurn:
    async def test_nothing_leaves_before_it_is_sent(self, tmp_path: Path) -> None:
        async with talking(tmp_path) as (client, sandbox):
            body = written(tmp_path)
            async with client.target.turn_to_post(batch_of(BODY), body):
                assert is_open(body)
            assert not is_open(body)
            assert (client.target.calls_made, sandbox.calls["posts"]) == (0, 0)
            assert isinstance(await client.post(), Accepted)
            assert (client.target.calls_made, sandbox.calls["posts"]) == (1, 1)
            assert not is_open(body)

    async def test_its_place_in_the_budget_is_kept_until_it_ends_and_a_minute_longer(self, tmp_path: Path) -> None:
        clock = skipping()
        calls = CallQueue(CallBudget(1), clock)
        async with connect(endpoint_of(CLOSED), calls, clock) as target:
            async with target.turn_to_post(batch_of(BODY), written(tmp_path)):
                await clock.sleep(600.0)
                assert calls.pressure == 1.0
            await clock.sleep(59.0)
            assert calls.pressure == 1.0
            await clock.sleep(1.0)
            assert calls.pressure == 0.0

    async def test_one_that_is_given_up_while_it_waits_leaves_nothing_open(self, tmp_path: Path) -> None:
        clock = loop_clock()
        (tmp_path / "other").mkdir()
        other = written(tmp_path / "other")
        async with connect(endpoint_of(CLOSED), CallQueue(CallBudget(1), clock), clock) as target:
            async with target.turn_to_post(batch_of(BODY), written(tmp_path)), anyio.create_task_group() as tasks:
                tasks.start_soon(entered, target, other)
                await until(lambda: is_open(other))
                tasks.cancel_scope.cancel()
            assert not is_open(other)

    async def test_a_token_that_cannot_be_read_leaves_nothing_open(self, tmp_path: Path) -> None:
        async with client_of(CLOSED, tmp_path, token_file=tmp_path / "token") as client:
            with pytest.raises(FatalError, match="No such file"):
                await client.post()
            assert not is_open(tmp_path / "1.body")

    async def test_a_body_that_is_gone(self, tmp_path: Path) -> None:
        async with client_of(CLOSED, tmp_path) as client:
            with pytest.raises(FatalError, match="cannot read the batch") as caught:
                await entered(client.target, tmp_path / "9.body")
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


def written(directory: Path) -> Path:
    file = directory / "1.body"
    file.write_bytes(BODY)
    return file


async def entered(target: TargetClient, body: Path) -> None:
    async with target.turn_to_post(batch_of(BODY), body):
        raise AssertionError("its turn came")


def is_open(file: Path) -> bool:
    """Whether this process has the file open."""
    return any(os.path.realpath(each) == str(file) for each in Path("/proc/self/fd").iterdir())
