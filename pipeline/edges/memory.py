"""Gives memory that is free inside the process back to the system.

The allocator of the GNU C library keeps what was freed, and by itself in a heap for each thread that ever asked for
memory. What a worker thread freed after one batch is then of no use to the thread that works for the next: a load of
millions of rows took 60 MB more than it used.
"""

import ctypes
from functools import cache

#: The parameter of `mallopt` for the number of heaps, from malloc.h.
_M_ARENA_MAX = -8


def share_heap() -> None:
    """All threads take their memory from one heap from now on. Call it before there are any."""
    if option := _function("mallopt"):
        option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Free memory goes back to the system, where the C library can do so. Takes milliseconds: not in the event loop."""
    if trim := _function("malloc_trim"):
        # The argument: how many bytes to keep at the top of the heap.
        trim(0)


@cache
def _function(name: str) -> "ctypes._NamedFuncPointer | None":
    try:
        function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        # Another C library: macOS, musl. They have other ways.
        return None
    return function
