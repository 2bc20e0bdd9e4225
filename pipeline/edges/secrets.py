"""Opens the files that hold secrets, and keeps secrets out of the log.

The latter is a second line, since nothing that a server says is logged as it is.
"""

import os
import stat
from pathlib import Path
from typing import Any

import structlog

from pipeline.core.errors import ConfigurationError
from pipeline.core.target.messages import without


class SecretsLeftOut:
    """A step of the log that puts `***` in place of the secrets that this process has read."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def __call__(self, _: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
        for secret in self.secrets:
            for name, value in event.items():
                if value is not None and not isinstance(value, bool | int | float):
                    text = str(value)
                    cleared = without(secret, text)
                    event[name] = value if cleared == text else cleared
        return event


def keep_out_of_log(secret: str) -> None:
    """Leave this secret out of all lines from now on."""
    for step in structlog.get_config()["processors"]:
        if isinstance(step, SecretsLeftOut):
            step.secrets.add(secret)


def readable_by_others(file: Path, info: os.stat_result) -> str | None:
    """The fact that others can read this file, and what to do, in words; None if only its owner can.

    A file of another owner may be readable by its group: Kubernetes gives secrets to non-root users in this way.
    """
    too_open = stat.S_IROTH | (stat.S_IRGRP if info.st_uid == os.geteuid() else 0)
    if not info.st_mode & too_open:
        return None
    return f"{file} can be read by other users (mode {stat.S_IMODE(info.st_mode):04o}): chmod 600 {file}"


def open_secret(file: Path, max_bytes: int) -> tuple[bytes | None, os.stat_result]:
    """The content of a file, up to a byte more than the secret may have, and what the file is; None if it is no file.

    Raises `OSError` or `ValueError`. Neither a pipe nor a device is waited for.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        info = os.fstat(descriptor)
        return (os.read(descriptor, max_bytes + 1) if stat.S_ISREG(info.st_mode) else None), info
    finally:
        os.close(descriptor)


def read_secret(file: Path, name: str, max_bytes: int, *, holds: str = "it") -> bytes:
    """The content of a file, up to a byte more than the secret may have. Blocks, and never waits.

    `name`: that of the key, with the file. `holds`: the words for what is in the file.

    Raises `ConfigurationError` (78), which quotes nothing of it.
    """
    try:
        content, _ = open_secret(file, max_bytes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its path cannot be used"
        raise ConfigurationError(f"cannot read {name}: {reason}.") from error
    if content is None:
        raise ConfigurationError(f"{name} is not a file; name the file that holds {holds}.")
    return content
