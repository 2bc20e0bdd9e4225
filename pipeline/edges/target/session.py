"""The connections to Target: which certificates are trusted, by which proxy they go, and that each carries one call."""

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection

from pipeline import __version__
from pipeline.edges.target.addresses import NotPublicError, PublicResolver
from pipeline.edges.target.authorities import trusting, wrong_with_name, wrong_with_tls
from pipeline.edges.target.proxy import proxy_for

#: Closed so, a connection is reset, and what was not sent is dropped (`struct linger`: on, no seconds).
_AT_ONCE = struct.pack("ii", 1, 0)


class Request(aiohttp.ClientRequest):
    """A request that goes by the proxy which the environment names for its host.

    When its call ends, no more of it leaves this machine. Else what waits for a peer that does not read would leave as
    soon as it reads again: hours after the call was given up, when its batch is held no longer and newer rows were
    sent. And the connection would stay open for as long.
    """

    def update_proxy(self, *_: Any) -> None:
        """Choose the proxy; credentials go into its own header."""
        proxy = proxy_for(str(self.url))
        auth = aiohttp.BasicAuth(proxy.user, proxy.password) if proxy and (proxy.user or proxy.password) else None
        super().update_proxy(yarl.URL(proxy.url) if proxy else None, auth, None)

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send it; what has not left when the connection is given back is dropped, and the connection reset."""
        conn.add_callback(partial(self._drop_unsent, conn.transport))
        return await super().send(conn)

    def _drop_unsent(self, transport: asyncio.Transport | None) -> None:
        if transport is None or not (connected := transport.get_extra_info("socket")):
            return
        # Linux: SIOCOUTQ, the bytes that the kernel has still to send, or that may have to be sent again.
        (in_kernel,) = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)))
        if in_kernel or transport.get_write_buffer_size():
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()


@asynccontextmanager
async def open_session(
    url: str,
    *,
    tls: ssl.SSLContext | None = None,
    ca_file: Path | None = None,
    status_hosts: tuple[str, ...] = (),
    is_named: bool = True,
    resolver: AbstractResolver | None = None,
    request_class: type[aiohttp.ClientRequest] = Request,
) -> AsyncIterator[aiohttp.ClientSession]:
    """The connections to Target at `url`, through the proxy that the environment names, but to loopback by plain http.

    `tls`: the certificates to trust, by default those of the system and of `ca_file`. `status_hosts`: hosts that may
    be called besides; those that are named without a pattern may lie in private networks. `is_named`: the configuration
    names the host of `url`, so that it may too. `resolver`: resolves names.
    Raises `FatalError` (78) if `ca_file` or the proxy cannot be used.
    """
    proxy = proxy_for(url)
    own = {urlsplit(url).hostname} if is_named else set()
    named = {*own, *(urlsplit(f"//{entry}").hostname for entry in status_hosts if "*" not in entry)}
    if proxy:
        named.add(proxy.host.lower())
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            force_close=True,
            limit=0,
            ssl=tls or trusting(ca_file) or True,
            resolver=PublicResolver(frozenset(host for host in named if host), resolver),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"profile-pipeline/{__version__}"},
        # Else the library reads `.netrc` too, and sends what stands there.
        trust_env=False,
        request_class=request_class,
    ) as session:
        # Else the library would repeat a GET whose connection is reset, and the budget would not count it.
        session._retry_connection = False
        yield session


def wrong_with_connection(error: BaseException) -> str | None:
    """The reason why no connection was made, in our words; None if the error came later. It quotes nothing."""
    match error:
        case aiohttp.ClientHttpProxyError():
            hint = "give its user and password in HTTPS_PROXY" if error.status == 407 else "does it let Target through?"
            return f"the proxy answers HTTP {error.status}; {hint}"
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy: see HTTPS_PROXY and NO_PROXY"
        case aiohttp.ClientConnectorCertificateError():
            return wrong_with_connection(error.certificate_error)
        case aiohttp.ClientConnectorError():
            return wrong_with_connection(error.os_error)
        case NotPublicError():
            return str(error)
    return wrong_with_tls(error) or wrong_with_name(error)
