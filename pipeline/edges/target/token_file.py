"""The file with the bearer token."""

from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.edges.secrets import open_secret

#: Bytes; no bearer token is longer, and servers refuse headers of this size.
MAX_TOKEN_BYTES = 16_384
#: It is read again when Target refuses the token, and what is no file has nothing to read then.
_NO_FILE = "is not a file; name the file that holds the token, as it is read again when Target refuses the token"


def read_token(file: Path) -> str:
    """The bearer token in a file, without white space around it. Raises `FatalError` (78), and never waits."""
    try:
        content, _ = open_secret(file, MAX_TOKEN_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its path cannot be used"
        raise ConfigurationError(f"cannot read [target] token_file {file}: {reason}.") from error
    if content is None:
        raise ConfigurationError(f"[target] token_file {file} {_NO_FILE}.")
    if problem := token_problem(content):
        raise ConfigurationError(f"[target] token_file {file} must hold one token and nothing else: it {problem}.")
    return content.strip().decode("ascii")


def token_problem(content: bytes) -> str | None:
    """The reason why a content is no token, and what to do; None if it is one."""
    token = content.strip()
    if not token:
        return "is empty; put the token in it"
    if len(content) > MAX_TOKEN_BYTES:
        return f"holds more than {MAX_TOKEN_BYTES} bytes, which no token does; put only the token in it"
    if len(token.split()) > 1:
        return 'holds blanks or line breaks inside the token; put only the token in it, without "Bearer"'
    if any(not 0x21 <= byte <= 0x7E for byte in token):
        return (
            "holds characters that no token has (a byte order mark?), or other characters than ASCII; "
            "write it as plain ASCII"
        )
    return None
