"""The text of the configuration file. A probe reads it too, so this imports next to nothing."""

import codecs
import os
import stat
from pathlib import Path

from pipeline.core.errors import ConfigurationError

#: Bytes; ours. A file of a thousand routes has a tenth of it: what is longer is an export, or no file of ours at all.
MAX_BYTES = 8_388_608
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_of(file: Path) -> str:
    """The text of a file that an editor may have begun with a byte order mark.

    Raises `OSError` or `ValueError` if it cannot be read, and `ConfigurationError` (78) if it is none. Neither a pipe
    nor a device is waited for: the file is read again when the service is told to.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"the configuration {file} is a pipe or a device: name a file with --config.")
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(
            f"the configuration file {file} is longer than {MAX_BYTES:,} bytes, which none is: name another with "
            "--config."
        )
    if content.startswith(_UTF_16) or b"\0" in content[:4]:
        raise ConfigurationError(f"the configuration file {file} is UTF-16: save it as UTF-8.")
    return content.removeprefix(codecs.BOM_UTF8).decode()
