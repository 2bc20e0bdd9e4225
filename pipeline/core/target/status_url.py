"""The check of the status URL that Target returned.

The URL is on another host than the batch went to, plain http, and not always built alike. So it is followed as given,
not rebuilt. But it comes from outside. So it is asked only on base_url's own host and port, or on a host that the
configuration allows, and only over TLS (plain http on loopback, if base_url itself uses it).
"""

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pipeline.core.target.hosts import is_listed, is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The URL must not be asked; `why` says what is wrong with it."""

    why: str


def status_request(returned: str, *, base_url: str, status_hosts: tuple[str, ...]) -> str | NotAllowed:
    """The URL to GET for a status with its details.

    `returned`: the URL that Target gave.
    `base_url`: the URL to which batches are posted.
    `status_hosts`: the allowed hosts, `HOST` or `HOST:PORT`; the first label may hold `*`.
    """
    try:
        url, base = urlsplit(returned), urlsplit(base_url)
        has_port_zero = url.port == 0
    except ValueError:
        return NotAllowed("the status URL cannot be read")
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or has_port_zero:
        return NotAllowed("the status URL is not one of http or https with a host")
    if url.username is not None or url.password is not None:
        return NotAllowed("the status URL holds a user name")
    host, port = url.hostname, url.port or _DEFAULT_PORTS[url.scheme]
    may_stay_plain = url.scheme == base.scheme == "http" and is_loopback(host)
    if url.scheme == "http" and port == 80 and not may_stay_plain:
        port = 443
    is_own = host == base.hostname and port == (base.port or _DEFAULT_PORTS[base.scheme])
    if not is_own and not is_listed(host, port, status_hosts):
        return NotAllowed(f"the status URL is on {host}:{port}, which is not in [target] status_hosts")
    query = url.query if "showDetails=" in url.query else f"{url.query}&showDetails=true".removeprefix("&")
    shown_host = f"[{host}]" if ":" in host else host
    scheme = "http" if may_stay_plain else "https"
    return urlunsplit((scheme, f"{shown_host}:{port}", url.path, query, ""))
