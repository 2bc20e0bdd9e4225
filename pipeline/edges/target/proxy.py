"""The proxy on the way to Target, as the environment names it: HTTPS_PROXY and NO_PROXY, in capitals or small letters.

Nothing else of the environment is read, above all no `.netrc`: it holds passwords of other programs, and the HTTP
library would send them.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from pipeline.core.errors import ConfigurationError

_DEFAULT_PORT = 80
_ADVICE = "set HTTPS_PROXY to http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT, or unset it."


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `user` and `password` are empty if it is given none, and are shown nowhere."""

    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Its URL without credentials."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for a URL; None for plain http, which is for loopback only, and for hosts that NO_PROXY names.

    Raises `FatalError` (78) if it is named in a way that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        return None
    named = getproxies_environment()
    text = named.get("https", "").strip()
    if not text or proxy_bypass_environment(parts.hostname or "", named):
        return None
    try:
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        host, port = proxy.hostname, proxy.port
    except ValueError:
        host, port, proxy = None, None, urlsplit("")
    if proxy.scheme != "http" or not host or not host.isascii() or not host.isprintable():
        # Its text is not shown: it may hold a password.
        raise ConfigurationError(f"the proxy in HTTPS_PROXY cannot be used: {_ADVICE}")
    return Proxy(host, port or _DEFAULT_PORT, unquote(proxy.username or ""), unquote(proxy.password or ""))
