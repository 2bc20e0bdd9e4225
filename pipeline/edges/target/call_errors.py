"""Errors of a call in words of our own: the text of a library's error may quote an answer, or the call."""

import errno
import re
import socket
import ssl

import aiohttp

from pipeline.edges.target.addresses import NotPublicError

#: Why a certificate is not trusted, by the number that OpenSSL has for it.
_CERTIFICATES = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself",
    19: "it is signed by nobody that this machine trusts",
    20: "it is signed by nobody that this machine trusts",
    21: "it is signed by nobody that this machine trusts",
    62: "it is for another host",
    64: "it is for another address",
}
_ADDRESS_ERRORS = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
#: How OpenSSL writes its reasons, which are a list of its own.
_REASON = re.compile(r"[A-Z0-9_]{1,80}")


def is_expected(error: Exception) -> bool:
    """True for the errors that the HTTP library and the network are known to raise; any other is met all the same."""
    return isinstance(error, aiohttp.ClientError | TimeoutError | OSError)


def kind_of(error: Exception) -> str:
    """The kind of an error."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "no connection, because of TLS"
        case aiohttp.ClientConnectorDNSError():
            return "no address for its name"
        case aiohttp.ClientProxyConnectionError():
            return "no connection to the proxy"
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return "the connection broke off"
        case aiohttp.ClientHttpProxyError(status=int(status)):
            return f"the proxy answers HTTP {status}"
        case aiohttp.ClientResponseError():
            return "an answer that is no HTTP"
    return "an error of the network" if is_expected(error) else f"an error that no call should meet ({_type_of(error)})"


def in_words(error: Exception) -> str:
    """The kind of an error, and what is known of its reason."""
    reason = None if isinstance(error, TimeoutError) else _reason(error)
    return f"{kind_of(error)} ({reason})" if reason else kind_of(error)


def _reason(error: Exception) -> str | None:
    """The reason of an error, in words or by the name that the system has for it; None if nothing is known of it."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, NotPublicError):
        return str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError):
        number = getattr(cause, "verify_code", None)
        return _CERTIFICATES.get(number, f"its certificate is not trusted, {number:d}") if number else None
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None)
        return reason if reason and _REASON.fullmatch(reason) else None
    return _name_of(cause.errno) if isinstance(cause, OSError) else None


def _name_of(number: int | None) -> str | None:
    """The name of an error of the system, such as `ECONNREFUSED`."""
    return None if number is None else errno.errorcode.get(number) or _ADDRESS_ERRORS.get(number)


def _type_of(error: Exception) -> str:
    return type(error).__qualname__
