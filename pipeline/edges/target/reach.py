"""Reaches for Target as a load does, through the same proxy, and sends nothing: the connection is opened and closed."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, NoReturn

from pipeline.edges.target.session import Request, open_session


class _ReachedError(Exception):
    """The connection is there."""


class _NoRequest(Request):
    """A request that is not sent once there is a connection for it."""

    async def send(self, conn: Any) -> NoReturn:
        raise _ReachedError


async def reach(
    url: str, *, tls: ssl.SSLContext | None = None, ca_file: Path | None = None, is_named: bool = True, limit_s: float
) -> None:
    """Open the connection for a call and close it; the arguments are those of `open_session`.

    Raises `OSError`, its subclasses, an error of aiohttp, or the errors of `open_session`.
    """
    async with (
        asyncio.timeout(limit_s),
        open_session(url, tls=tls, ca_file=ca_file, is_named=is_named, request_class=_NoRequest) as session,
    ):
        try:
            await session.get(url, allow_redirects=False)
        except _ReachedError:
            return
