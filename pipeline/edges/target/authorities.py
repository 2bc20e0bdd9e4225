"""The certificate authorities that are trusted, and what is wrong with a certificate, in our words."""

import socket
import ssl
from pathlib import Path

from pipeline.core.errors import ConfigurationError

#: Codes of OpenSSL (https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/) -> what is wrong, and what to do.
_WRONG = {
    9: "it is not valid yet): see whether the clocks of both machines are right",
    10: "it has expired): whoever runs it has to renew it; see whether the clock of this machine is right",
    18: "it is signed by itself): put it into the file of [target] ca_file, if it is to be trusted",
    62: "it is for another host): see whether the address is right, and whether a proxy opens TLS",
    64: "it is for another address): see whether the address is right, and whether a proxy opens TLS",
}
_UNKNOWN = (
    "it is of an authority that is not known here): see whether a proxy opens TLS, and put its authority into the file "
    "of [target] ca_file, if it is to be trusted"
)


def trusting(ca_file: Path | None) -> ssl.SSLContext | None:
    """The authorities of the system and those of a PEM file; None if there is no such file. Blocks.

    Raises `FatalError` (78) if the file cannot be used.
    """
    if ca_file is None:
        return None
    where = f"[target] ca_file {ca_file}"
    context = ssl.create_default_context()
    try:
        # Opened once more by the library, which says nothing of use about what is no file.
        if not ca_file.is_file():
            raise ConfigurationError(f"{where} is not there, or is no file: name the file with the certificates, PEM.")
        before = len(context.get_ca_certs())
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        text = f"{where} holds no certificate that can be read: it must be PEM, with BEGIN CERTIFICATE."
        raise ConfigurationError(text) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its path cannot be used"
        raise ConfigurationError(f"cannot read {where}: {reason}.") from error
    if len(context.get_ca_certs()) == before and not _has_certificate(ca_file):
        raise ConfigurationError(f"{where} holds no certificate: put the authority's into it, as PEM.")
    return context


def _has_certificate(ca_file: Path) -> bool:
    # A certificate that the system trusts already adds none.
    return b"-----BEGIN " in ca_file.read_bytes()


def wrong_with_tls(error: BaseException) -> str | None:
    """The reason why there is no secure connection, in our words; None if TLS is not the reason."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({_WRONG.get(error.verify_code, _UNKNOWN)}"
        case ssl.SSLError():
            return "no TLS handshake (1.2 or newer): see what answers at this port, and whether a proxy stands between"
    return None


def wrong_with_name(error: BaseException) -> str | None:
    """The reason why a name has no address, in our words; None if that is not the reason."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return "the name cannot be resolved: see whether it is right, and whether this machine has a working DNS"
    return None
