"""What is held of a packed export while it is read stays small, however much is in it."""

import bz2
import gzip
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

PIECE = b"".join(b"u%d,gold,%d\n" % (number, number * number) for number in range(50_000))
#: All that is read comes to some 26 MB.
PIECES = 24
#: What may be held of it at once: some blocks, and what the archive was packed with.
MOST_BYTES = 12_000_000
#: Reads the first export to have everything imported, then the second one, and tells by how much that made the process
#: larger at its largest.
_PROGRAM = """
import asyncio, sys
from pathlib import Path
from pipeline.edges.exports import open_export

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

async def read(path):
    size = 0
    async with open_export(Path(path), "auto") as export:
        while block := await export.read_block():
            size += len(block)
    return size

asyncio.run(read(sys.argv[1]))
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
size = asyncio.run(read(sys.argv[2]))
print(size, status("VmHWM") - before)
"""


def _members(pack: Callable[[bytes], bytes]) -> Callable[[Path, int], object]:
    """Writes an archive of two members, the second with nearly all."""
    return lambda path, pieces: path.write_bytes(pack(PIECE) + pack(PIECE * (pieces - 1)))


def _zip(path: Path, pieces: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.csv", PIECE * pieces)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_members(lambda content: gzip.compress(content, 1)), id="gzip"),
        pytest.param(_members(lambda content: zstd.compress(content, 1)), id="zstd"),
        pytest.param(_members(lambda content: bz2.compress(content, 1)), id="bzip2"),
        pytest.param(_members(lambda content: lzma.compress(content, preset=0)), id="xz"),
        pytest.param(_zip, id="zip"),
    ],
)
def test_memory_does_not_grow_with_what_is_unpacked(write: Callable[[Path, int], object], tmp_path: Path) -> None:
    write(short := tmp_path / "short", 2)
    write(long := tmp_path / "long", PIECES)
    command = [sys.executable, "-c", _PROGRAM, str(short), str(long)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == PIECES * len(PIECE)
    assert grown < MOST_BYTES, f"{grown:,} bytes of {size:,}"
