"""Reaches for Target as a load does, through the same proxy, and sends nothing: the connection is opened and closed."""

import asyncio
import ssl
from typing import Any, NoReturn

import aiohttp
import yarl
from aiohttp.helpers import get_env_proxy_for_url

from pipeline.edges.target.session import open_session


class _ReachedError(Exception):
    """The connection is there."""


class _NoRequest(aiohttp.ClientRequest):
    """A request that is not sent once there is a connection for it."""

    async def send(self, conn: Any) -> NoReturn:
        raise _ReachedError


async def reach(url: str, *, tls: ssl.SSLContext | None, limit_s: float) -> None:
    """Open the connection for a call and close it. Raises `OSError`, its subclasses, or an error of aiohttp."""
    async with asyncio.timeout(limit_s), open_session(url, tls=tls, request_class=_NoRequest) as session:
        try:
            await session.get(url, allow_redirects=False)
        except _ReachedError:
            return


def proxy_to(url: str) -> str | None:
    """Host and port of the proxy on the way to `url`, without credentials; None if there is none."""
    if url.startswith("http:"):
        return None
    try:
        proxy, _ = get_env_proxy_for_url(yarl.URL(url))
    except LookupError:
        return None
    return f"{proxy.host}:{proxy.port}"
