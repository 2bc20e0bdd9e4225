"""The file with the bearer token."""

from pathlib import Path

from pipeline.core.errors import ConfigurationError


def read_token(file: Path) -> str:
    """The bearer token in a file, without white space around it. Raises `FatalError` (78)."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds other characters than ASCII"
        raise ConfigurationError(f"cannot read [target] token_file {file}: {reason}.") from error
    if not token or any(character.isspace() for character in token):
        raise ConfigurationError(f"[target] token_file {file} must hold one token and nothing else.")
    return token
