"""The access to the web server: under which names it is asked, and by whom.

On a loopback address it answers only if it is asked under a name of this machine. Otherwise a web page from elsewhere
could have its own name point to 127.0.0.1, and read with the browser of somebody who is at this machine (DNS
rebinding). On other addresses any name will do: pods and probes are asked under addresses that nobody knows before, and
whatever is not open wants the token, which a browser sends to no other name than it was typed in for.
"""

import re
from base64 import b64decode
from binascii import Error as NoBase64Error
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.errors import ConfigurationError
from pipeline.core.target.hosts import is_host, is_loopback
from pipeline.edges.clock import Clock
from pipeline.edges.secrets import keep_out_of_log, read_secret
from pipeline.edges.target.token_file import token_problem
from pipeline.settings.sections.web import WebSettings

log = structlog.get_logger()

#: Bytes; a header with more is refused.
MAX_WEB_TOKEN_BYTES = 4_096
#: Seconds after which the file of the token is read again. Ours.
_READ_AGAIN_S = 1.0
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\s]+)(?::\d{1,5})?")


def wrong_name(asked_under: Sequence[str], settings: WebSettings) -> str | None:
    """The reason why the server is not to be asked under this name, the `Host` headers of a request; None if it is."""
    found = _HOST.fullmatch(asked_under[0]) if len(asked_under) == 1 else None
    host = found.group(1).strip("[]").lower() if found else ""
    if not is_host(host):
        return "the header Host names no host"
    if is_loopback(settings.host) and not is_loopback(host):
        return (
            f"it listens on {settings.host} only, so it is asked as localhost, 127.0.0.1 or [::1]; a proxy in front of "
            "it has to send one of them as Host"
        )
    return None


class Token:
    """The token that whoever asks has to send, from its file, which may change."""

    def __init__(self, file: Path | None, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._read_at_s = -_READ_AGAIN_S
        self._digest: bytes | None = None
        self._why: str | None = None
        self._one_reads = anyio.Lock()

    async def is_sent_in(self, authorization: str) -> bool:
        """True if this `Authorization` header holds the token, as bearer or as the password of any user.

        True too if none is wanted. Raises `ConfigurationError` if the file cannot be read: nobody is let in then.
        """
        if self._file is None:
            return True
        await self._read_again(self._file)
        if self._digest is None:
            raise ConfigurationError(self._why or "")
        sent = _sent(authorization)
        # Digests take the same time to compare, however much of them is right.
        return sent is not None and compare_digest(sha256(sent).digest(), self._digest)

    async def _read_again(self, file: Path) -> None:
        async with self._one_reads:
            if self._clock.monotonic() - self._read_at_s < _READ_AGAIN_S:
                return
            self._read_at_s = self._clock.monotonic()
            try:
                token = await run_sync(read_web_token, file)
            except ConfigurationError as error:
                if self._why is None:
                    log.warning("web_token_not_read", why=str(error), now="pages and JSON are shown to nobody")
                self._digest, self._why = None, str(error)
                return
            keep_out_of_log(token.decode())
            self._digest, self._why = sha256(token).digest(), None


def read_web_token(file: Path) -> bytes:
    """The token in a file, without white space around it. Raises `ConfigurationError`. Blocks."""
    name = f"[web] token_file {file}"
    content = read_secret(file, name, MAX_WEB_TOKEN_BYTES, holds="the token")
    if len(content) > MAX_WEB_TOKEN_BYTES:
        raise ConfigurationError(f"{name} holds more than {MAX_WEB_TOKEN_BYTES} bytes.")
    if found := token_problem(content):
        raise ConfigurationError(f"{name} must hold one token and nothing else: it {found}.")
    return content.strip()


def _sent(authorization: str) -> bytes | None:
    """The token in a header `Authorization: Bearer TOKEN`, or in that of a browser that was given it as password."""
    scheme, _, credentials = authorization.partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer":
        return credentials.encode(errors="surrogateescape")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except (NoBase64Error, ValueError):
        return None
