"""The heap of this process: threads share one, and what is free of it returns to the system.

The allocator of the GNU C library keeps what was freed, by default in a separate heap for each thread that ever
allocated. Memory that a worker thread freed after one batch is then useless to the thread that works on the next: a
load of millions of rows took 60 MB more than it used.
"""

import ctypes
from functools import cache

#: The parameter of `mallopt` for the number of heaps, from malloc.h.
_M_ARENA_MAX = -8


def share_heap() -> None:
    """Make all threads share one heap from now on. Call it before there are any threads."""
    if option := _function("mallopt"):
        option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free memory to the system, if the C library can do so. Takes milliseconds: not in the event loop."""
    if trim := _function("malloc_trim"):
        # 0: keep no free bytes at the top of the heap.
        trim(0)


@cache
def _function(name: str) -> "ctypes._NamedFuncPointer | None":
    try:
        function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        # Another C library (macOS, musl), which has no such function.
        return None
    return function
