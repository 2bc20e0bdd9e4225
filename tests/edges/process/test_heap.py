"""What is asked of the allocator of the C library, of which these tests ask what came of it."""

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="only the GNU C library tells of its heaps"
)

_MB = 1_000_000
#: Takes memory in four threads, and lets the C library tell of its heaps.
_IN_THREADS = """
import ctypes, sys, threading
from pipeline.edges.process.heap import share_heap
if sys.argv[1] == "shared":
    share_heap()
all_have, told, held = threading.Barrier(5), threading.Event(), []
def take():
    held.append(bytearray(100_000))
    all_have.wait()
    told.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
all_have.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
told.set()
"""
#: Takes 60 MB in pieces, each followed by a small one that stays, and tells what is resident before and after.
_GIVING_BACK = """
import sys
from pipeline.edges.process.heap import give_back
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
pieces = [(bytearray(60_000), bytearray(600)) for _ in range(1000)]
kept = [small for _, small in pieces]
pieces.clear()
before = resident()
give_back()
print(before, resident())
"""


def output_of(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_threads_share_one_heap() -> None:
    assert output_of(_IN_THREADS, "shared").count("<heap nr=") == 1


def test_else_each_thread_has_its_own() -> None:
    assert output_of(_IN_THREADS, "as it is").count("<heap nr=") == 5


def test_what_is_free_goes_back_to_the_system() -> None:
    before, after = map(int, output_of(_GIVING_BACK).split())
    assert before - after > 50 * _MB
