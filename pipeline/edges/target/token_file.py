"""The file with the bearer token."""

from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.edges.secrets import read_secret

#: Bytes; no bearer token is longer, and servers refuse headers of this size.
MAX_TOKEN_BYTES = 16_384
#: It is read again when Target refuses the token, and what is no file has nothing to read then.
_HOLDS = "the token, as it is read again when Target refuses the token"


def read_token(file: Path) -> str:
    """The bearer token in a file, without white space around it. Raises `FatalError` (78), and never waits."""
    name = f"[target] token_file {file}"
    content = read_secret(file, name, MAX_TOKEN_BYTES, holds=_HOLDS)
    if problem := token_problem(content):
        raise ConfigurationError(f"{name} must hold one token and nothing else: it {problem}.")
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
