"""The check of the status URL that Target returned.

The URL is on another host than the batch went to, plain http, and not always built alike. So it is followed as given,
not rebuilt. But it comes from outside. So it is asked only if it is written as RFC 3986 has it, in ASCII and not too
long; only on base_url's own host and port, or on a host that the configuration allows; and only over TLS (plain http on
loopback, if base_url itself uses it). What passes is taken by every library that it meets.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.core.target.hosts import is_host, is_listed, is_loopback
from pipeline.core.target.messages import ANSWERS_FILE

#: Characters of a status URL at most. Ours: those seen have 150, and servers refuse requests beyond 8 KB.
MAX_URL_CHARS = 4_096
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535
# Without the quote that RFC 3986 allows: no URL of Target's has one.
_TEXT = r"(?:[a-z0-9\-._~!$&()*+,;=:@/{more}]|%[0-9a-f]{{2}})*"
_URL = re.compile(
    rf"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{{1,5}}))?"
    rf"(/{_TEXT.format(more='')})?(?:\?({_TEXT.format(more='?')}))?(?:#{_TEXT.format(more='?')})?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The URL must not be asked; `wrong` says what is wrong with it, in words that quote nothing of it."""

    wrong: str

    @property
    def why(self) -> str:
        """The same, and where the URL itself is to be found."""
        return f"{self.wrong} (see {ANSWERS_FILE} in the job's folder)"


def status_request(returned: str, *, base_url: str, status_hosts: tuple[str, ...]) -> str | NotAllowed:
    """The URL to GET for a status with its details.

    `returned`: the URL that Target gave.
    `base_url`: the URL to which batches are posted.
    `status_hosts`: the allowed hosts, `HOST` or `HOST:PORT`; the first label may hold `*`.
    """
    if len(returned) > MAX_URL_CHARS:
        return NotAllowed(f"the status URL has more than {MAX_URL_CHARS:,} characters")
    found = _URL.fullmatch(returned)
    if found is None:
        return NotAllowed("the status URL is not written as one of http or https is")
    scheme, host = found[1].lower(), found[2].lower().strip("[]")
    port = int(found[3] or _DEFAULT_PORTS[scheme])
    if not is_host(host) or not 0 < port <= _MAX_PORT:
        return NotAllowed("the status URL names no host and port that there can be")
    base = urlsplit(base_url)
    may_stay_plain = scheme == base.scheme == "http" and is_loopback(host)
    if scheme == "http" and port == _DEFAULT_PORTS["http"] and not may_stay_plain:
        port = _DEFAULT_PORTS["https"]
    is_own = host == base.hostname and port == (base.port or _DEFAULT_PORTS[base.scheme])
    if not is_own and not is_listed(host, port, status_hosts):
        return NotAllowed("the status URL is on a host and port that [target] status_hosts does not allow")
    path, query = found[4] or "/", found[5] or ""
    query = query if "showDetails=" in query else f"{query}&showDetails=true".removeprefix("&")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{'http' if may_stay_plain else 'https'}://{shown_host}:{port}{path}?{query}"
