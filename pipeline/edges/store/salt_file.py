"""The file with the salt of hashes: read as the token's is, and never shown."""

from hashlib import sha256
from pathlib import Path

from pipeline.core.errors import ConfigurationError
from pipeline.edges.secrets import read_secret

#: Bytes; a salt of 32 cannot be guessed, and a longer file is another file.
MAX_SALT_BYTES = 1_024
#: Bytes below which somebody with the hashes might try all salts. Ours.
SAFE_SALT_BYTES = 16
_NAME = "[mapping] salt_file"


def read_salt(file: Path) -> bytes:
    """The salt in a file, without line breaks at its end. Raises `FatalError` (78), and never waits. Blocks."""
    name = f"{_NAME} {file}"
    content = read_secret(file, name, MAX_SALT_BYTES, holds="the salt")
    if problem := salt_problem(content):
        raise ConfigurationError(f"{name} {problem}.")
    return content.rstrip(b"\r\n")


def salt_problem(content: bytes) -> str | None:
    """The reason why a content is no salt, and what to do; None if it is one."""
    if len(content) > MAX_SALT_BYTES:
        return f"holds more than {MAX_SALT_BYTES} bytes; put only the salt in it"
    if not content.rstrip(b"\r\n"):
        return "is empty; put the salt in it, a line of text that nobody can guess"
    return None


def salt_digest(salt: bytes) -> str:
    """The digest by which a salt is known again."""
    return sha256(b"salt of [mapping]\0" + salt).hexdigest()[:16]
