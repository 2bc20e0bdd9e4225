"""The files of [notify]: the one with a URL and the one with the secret of signatures. Neither is ever shown."""

from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.core.target.hosts import checked_webhook
from pipeline.edges.secrets import read_secret

#: Bytes of such a file; a longer one is another file.
MAX_SECRET_BYTES = 4_096
#: Bytes below which somebody with a notification might try all secrets. Ours.
SAFE_SECRET_BYTES = 16


def read_webhook(file: Path) -> str:
    """The URL in a file. Raises `FatalError` (78), which does not quote it, and never waits. Blocks."""
    name = f"[notify] webhook_file {file}"
    try:
        url = checked_webhook(_content(file, name).decode("ascii").strip())
    except ValueError as error:
        rule = "it must be ASCII" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigurationError(f"{name} holds no URL that may be called: {rule}.") from None
    if not url:
        raise ConfigurationError(f"{name} is empty: put the URL in it, and nothing else.")
    return url


def read_signing_secret(file: Path) -> bytes:
    """The secret in a file, without line breaks at its end. Raises `FatalError` (78), and never waits. Blocks."""
    name = f"[notify] secret_file {file}"
    secret = _content(file, name).rstrip(b"\r\n")
    if len(secret) < SAFE_SECRET_BYTES:
        raise ConfigurationError(
            f"{name} holds {len(secret)} bytes: put at least {SAFE_SECRET_BYTES} in it that nobody can guess, as "
            "`openssl rand -hex 32` makes them."
        )
    return secret


def _content(file: Path, name: str) -> bytes:
    content = read_secret(file, name, MAX_SECRET_BYTES)
    if len(content) > MAX_SECRET_BYTES:
        raise ConfigurationError(f"{name} holds more than {MAX_SECRET_BYTES} bytes: it is another file.")
    return content
