"""Files that not even root can rename, as `chattr +i` and `chattr +a` make them."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GET, _SET = 0x80086601, 0x40086602
IMMUTABLE, APPEND_ONLY = 0x10, 0x20


@contextmanager
def fixed(path: Path, attribute: int = IMMUTABLE) -> Iterator[None]:
    """A file or directory with this attribute while the body runs. Skips the test where this cannot be done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (before,) = struct.unpack_from("i", fcntl.ioctl(descriptor, _GET, bytes(8)))
        fcntl.ioctl(descriptor, _SET, struct.pack("l", before | attribute))
    except OSError:
        os.close(descriptor)
        pytest.skip("attributes of files cannot be set here")
    try:
        yield
    finally:
        fcntl.ioctl(descriptor, _SET, struct.pack("l", before))
        os.close(descriptor)
