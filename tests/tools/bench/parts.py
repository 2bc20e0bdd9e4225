"""A directory of many parts against one file with the same rows: the same batches, and the calls of both.

    python -m tests.tools.bench.parts [--parts 200] [--rows 25000]

Both are loaded by the real command line into its sandbox.
"""

import sys
import tempfile
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.tools.bench.processes import run

PARTS, ROWS_OF_A_PART = 200, 25_000
_HEADER = "id,tier,n\n"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load: what its report says, and its seconds from the start of the process to its end."""

    report: dict[str, Any]
    wall_s: float

    @property
    def batches(self) -> list[tuple[int, str]]:
        return [(batch["rows"], batch["sha256"]) for batch in self.report["batches"]]

    @property
    def posts(self) -> int:
        return sum(batch["attempts"] for batch in self.report["batches"])

    def told(self, what: str) -> str:
        return (
            f"{what}: {len(self.batches):,} batches, {self.posts:,} POSTs, {self.report['calls']:,} calls in all, "
            f"{self.wall_s:,.1f} s"
        )


def compared(parts: int = PARTS, rows: int = ROWS_OF_A_PART) -> str:
    """Both loads in words. Ends the benchmark unless all rows of both were confirmed in the same batches."""
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-parts-") as folder:
        directory, file = Path(folder) / "parts", Path(folder) / "all.csv"
        directory.mkdir()
        with file.open("w") as together:
            together.write(_HEADER)
            for number in range(parts):
                text = "".join(f"u{each},gold,{each % 97}\n" for each in range(number * rows, (number + 1) * rows))
                together.write(text)
                (directory / f"part-{number:05d}.csv").write_text(_HEADER + text)
        in_parts, in_one = load(directory, parts * rows), load(file, parts * rows)
    # A POST that takes too long on a busy machine is made once more: that says nothing of the parts.
    if in_parts.batches != in_one.batches:
        sys.exit(f"{in_parts.told('parts')}; {in_one.told('one file')}: not the same batches")
    total = f"{parts * rows:,} rows"
    return (
        f"{in_parts.told(f'{total} in {parts:,} parts')}; {in_one.told('in one file')}. The batches of both are the "
        "same, byte for byte."
    )


def load(export: Path, rows: int) -> Loaded:
    """Load an export into a sandbox."""
    used = run([sys.executable, "-m", "pipeline", "load", str(export), "--sandbox", "--id-column", "id", "--json"])
    report = orjson.loads(used.output)
    if report["state"] != "done" or report["rows"]["confirmed"] != rows:
        sys.exit(f"the load did not end well: {report}")
    return Loaded(report, used.wall_s)


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", type=int, default=PARTS)
    parser.add_argument("--rows", type=int, default=ROWS_OF_A_PART, help="of each part")
    options = parser.parse_args()
    print(compared(options.parts, options.rows))


if __name__ == "__main__":
    main()
