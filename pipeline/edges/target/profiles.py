"""Reads profiles back from Target, one call each; nothing is retried, and nothing of an answer gets into the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import yarl

from pipeline.core.errors import PipelineError
from pipeline.core.target.profile_replies import NoProfile, NotRead, ProfileOutcome, parse_profile
from pipeline.core.target.replies import MAX_REPLY_BYTES
from pipeline.edges.secrets import keep_out_of_log
from pipeline.edges.target.call_errors import in_words
from pipeline.edges.target.call_queue import CallQueue
from pipeline.edges.target.endpoint import Endpoint
from pipeline.edges.target.session import open_session
from pipeline.edges.target.token_file import read_token

#: Seconds that a call may take, and that making a connection may.
_ANSWER_S, _CONNECT_S = 30.0, 20.0


class ProfileReader:
    """Reads profiles; made by `profile_reader`. `calls`: the budget that each call uses, behind all others."""

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, calls: CallQueue) -> None:
        self._endpoint = endpoint
        self._session = session
        self._calls = calls

    async def read(self, id_kind: str, encoded_id: bytes) -> ProfileOutcome:
        """The profile of an encoded id. Raises `FatalError` (78) for a token that cannot be read."""
        try:
            async with (
                self._calls.call(can_wait=True),
                self._session.get(
                    yarl.URL(self._url(id_kind, encoded_id.decode()), encoded=True),
                    headers=self._headers(),
                    timeout=aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S),
                    allow_redirects=False,
                ) as response,
            ):
                return await self._outcome(response)
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is the outcome of this call only
            return NotRead(in_words(error))

    async def _outcome(self, response: aiohttp.ClientResponse) -> ProfileOutcome:
        if response.status == 404:
            return NoProfile()
        if response.status in (429, 503):
            self._calls.exhaust()
            return NotRead(f"too many calls (HTTP {response.status})")
        if response.status != 200:
            return NotRead(f"HTTP {response.status}")
        body = await response.content.read(MAX_REPLY_BYTES)
        while len(body) < MAX_REPLY_BYTES and (more := await response.content.read(MAX_REPLY_BYTES - len(body))):
            body += more
        return parse_profile(body) or NotRead("an answer that cannot be read")

    def _url(self, id_kind: str, encoded_id: str) -> str:
        # A path of dots alone would name another one.
        name = encoded_id if encoded_id.strip(".") else encoded_id.replace(".", "%2E")
        kind = "thirdPartyId/" if id_kind == "thirdPartyId" else ""
        return f"{self._endpoint.url}/rest/v1/profiles/{kind}{name}?client={self._endpoint.client_code}"

    def _headers(self) -> dict[str, str]:
        if self._endpoint.token_file is None:
            return {}
        token = read_token(self._endpoint.token_file)
        keep_out_of_log(token)
        return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def profile_reader(endpoint: Endpoint, calls: CallQueue) -> AsyncIterator[ProfileReader]:
    """A reader of the profiles of an endpoint, with connections of its own."""
    async with open_session(
        endpoint.url, ca_file=endpoint.ca_file, status_hosts=endpoint.status_hosts, is_named=endpoint.is_named
    ) as session:
        yield ProfileReader(endpoint, session, calls)
