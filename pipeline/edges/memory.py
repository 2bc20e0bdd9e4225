"""Gives memory that is free inside the process back to the system.

The allocator of the GNU C library keeps what was freed, in a heap for each thread that ever asked for memory. What a
worker thread freed after one batch is of no use to the thread that works for the next: a load of millions of rows took
60 MB more than it used.
"""

import ctypes
from functools import cache


def give_back() -> None:
    """Free memory goes back to the system, where the C library can do so. Takes milliseconds: not in the event loop."""
    if trim := _trimming():
        # The argument: how many bytes to keep at the top of the heap.
        trim(0)


@cache
def _trimming() -> "ctypes._NamedFuncPointer | None":
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        # Another C library: macOS, musl. They have other ways.
        return None
