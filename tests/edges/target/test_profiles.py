"""Profiles read back from the sandbox, and from servers that answer what they should not."""

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pipeline.core.errors import FatalError
from pipeline.core.rows.encoding import encode
from pipeline.core.target.pacing import CallBudget
from pipeline.core.target.profile_replies import NoProfile, NotRead, Profile, ProfileOutcome
from pipeline.edges.clock import Clock
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.profiles import profile_reader
from pipeline.sandbox import SandboxOptions, running
from tests.tools.support import CLOSED, answering

ODD_IDS = ["u1", "a b", "50%", "caf\u00e9", "a?b#c", "a,b", "%C3", ".", ".."]


async def read(url: str, encoded: bytes, *, kind: str = "thirdPartyId", token: Path | None = None) -> ProfileOutcome:
    endpoint = Endpoint(
        url=url, client_code="demo", api_version="v2", status_hosts=(), token_file=token, min_rate_bytes_s=1
    )
    calls = CallQueue(CallBudget(50), Clock())
    async with profile_reader(endpoint, calls) as reader:
        outcome = await reader.read(kind, encoded)
    assert calls.made == 1
    return outcome


@pytest.mark.parametrize("kind", ["thirdPartyId", "pcId"])
async def test_ids_of_both_kinds_with_any_characters(kind: str) -> None:
    async with running(SandboxOptions(apply_min_s=0.0, apply_max_s=0.0, decode="after")) as run:
        encoded = [encode(each.encode()) for each in ODD_IDS]
        body = f"batch={kind},tier\n".encode() + b"".join(each + b",gold\n" for each in encoded)
        accepted = await post(run.base_url, body)
        assert b"<success>true" in accepted
        run.sandbox.apply_all()
        known = run.sandbox.profiles(kind)
        for profile_id, form in zip(ODD_IDS, encoded, strict=True):
            assert profile_id in known
            assert await read(run.base_url, form, kind=kind) == Profile({"tier": "gold"}), profile_id
        assert await read(run.base_url, b"nobody", kind=kind) == NoProfile()


async def post(url: str, body: bytes) -> bytes:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/m2/demo/v2/profile/batchUpdate", data=body, headers=headers) as response,
    ):
        return await response.read()


ANSWERS = {
    401: "HTTP 401",
    403: "HTTP 403",
    500: "HTTP 500",
    503: "too many calls (HTTP 503)",
    302: "HTTP 302",
    200: "an answer that cannot be read",
}


@pytest.mark.parametrize("status", ANSWERS)
async def test_what_is_no_profile_is_said_in_our_words(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="MARK", headers={"Location": "/MARK"} if status == 302 else {})

    async with answering(answer) as url:
        assert await read(url, b"MARK") == NotRead(ANSWERS[status])


async def test_nobody_there() -> None:
    outcome = await read(CLOSED, b"u1")
    assert isinstance(outcome, NotRead)
    assert "no connection" in outcome.why


async def test_the_token_goes_along_and_one_that_is_missing_is_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    async with running(SandboxOptions(token="secret")) as run:
        assert await read(run.base_url, b"u1", token=token) == NoProfile()
        assert await read(run.base_url, b"u1") == NotRead("HTTP 401")
        with pytest.raises(FatalError, match="token_file"):
            await read(run.base_url, b"u1", token=tmp_path / "none")
