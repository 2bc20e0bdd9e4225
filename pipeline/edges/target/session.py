"""The connections to Target: which certificates are trusted, by which proxy they go, and that each carries one call."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from pipeline import __version__


@asynccontextmanager
async def open_session(
    url: str, *, tls: ssl.SSLContext | None = None, request_class: type[aiohttp.ClientRequest] = aiohttp.ClientRequest
) -> AsyncIterator[aiohttp.ClientSession]:
    """The connections to Target at `url`: through the proxy that the environment names, but to loopback by plain http.

    `tls`: the certificates to trust, by default those of the system.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0, ssl=tls or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"profile-pipeline/{__version__}"},
        trust_env=not url.startswith("http:"),
        request_class=request_class,
    ) as session:
        # Else the library would repeat a GET whose connection is reset, and the budget would not count it.
        session._retry_connection = False
        yield session
