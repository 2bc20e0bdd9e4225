"""The hosts that the program may talk to: those a configuration may name, and those a status URL may point to."""

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
#: `*` only in the first label, and two whole labels after it: fewer would allow anybody's hosts.
_HOST_PATTERN = re.compile(rf"(?=.{{1,253}}\Z)[a-z0-9_*-]{{1,63}}(?:\.{_LABEL})+\.(?=[a-z0-9-]*[a-z]){_LABEL}")
_BASE_URL_RULE = (
    "must be https://HOST or https://HOST:PORT, without path, query or credentials; "
    "http:// only for this machine (127.0.0.0/8, ::1, localhost)"
)
_STATUS_HOST_RULE = (
    "must be HOST or HOST:PORT; HOST may hold * inside its first label, "
    "with at least two more labels after it (*.example.com), as fewer would allow any host"
)


def is_loopback(host: str) -> bool:
    """True if the host can only be this machine: localhost, 127.0.0.0/8 or ::1 (without brackets)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_host(host: str) -> bool:
    """True if this can be the name of a host in lower case: labels of at most 63 characters, 253 in all; or IPv6."""
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return ipaddress.IPv6Address(host) is not None
    except ValueError:
        return False


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else "")


def checked_base_url(text: str) -> str:
    """The base URL in its normal form; empty stays empty. Raises `ValueError`, which says what is allowed."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        url = f"{parts.scheme}://{_host_and_port(parts)}"
        known = is_host(parts.hostname or "")
    except ValueError:
        raise ValueError(_BASE_URL_RULE) from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    # Anything else in the text (path, query, credentials, port 0, blanks) makes it differ from the URL.
    if not (known and secure and text.lower() in (url, f"{url}/")):
        raise ValueError(_BASE_URL_RULE)
    return url


def checked_status_host(text: str) -> str:
    """An entry of `status_hosts` in its normal form. Raises `ValueError`, which says what is allowed."""
    try:
        parts = urlsplit(f"//{text}")
        entry = _host_and_port(parts)
        host = parts.hostname or ""
        known = _HOST_PATTERN.fullmatch(host) is not None if "*" in host else is_host(host)
    except ValueError:
        raise ValueError(_STATUS_HOST_RULE) from None
    if not known or entry != text.lower():
        raise ValueError(_STATUS_HOST_RULE)
    return entry


def is_listed(host: str, port: int, status_hosts: tuple[str, ...]) -> bool:
    """True if the host and port match an entry: `HOST` (port 443) or `HOST:PORT`."""
    for entry in status_hosts:
        listed = urlsplit(f"//{entry}")
        pattern = listed.hostname or ""
        # `*` stands for a part of one label: `edge*.example.com` must not allow `edge.evil.example.com`.
        same_depth = pattern.count(".") == host.count(".")
        if same_depth and fnmatchcase(host, pattern) and port == (listed.port or 443):
            return True
    return False


_WEBHOOK_RULE = (
    "must be https://HOST/PATH, without user, password and fragment; "
    "http:// only for this machine (127.0.0.0/8, ::1, localhost)"
)
#: Characters of a URL that is called. Ours: none of a chat has half of them.
_LONGEST_URL = 2_000


def checked_webhook(text: str) -> str:
    """A URL that notifications may be sent to; empty stays empty. Raises `ValueError`, which says what is allowed."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        known = is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        raise ValueError(_WEBHOOK_RULE) from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    is_plain = text.isascii() and text.isprintable() and not any(sign in text for sign in ' \\#"<>')
    if not (known and secure and is_plain and "@" not in parts.netloc and len(text) <= _LONGEST_URL):
        raise ValueError(_WEBHOOK_RULE)
    return text


def masked_webhook(url: str) -> str:
    """A URL that may be shown: the path and query of one to which a chat listens are a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/***" if parts.path.strip("/") or parts.query else url
