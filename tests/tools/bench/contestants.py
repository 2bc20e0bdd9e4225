"""Who takes part in the benchmark: what each does with an export, and how it is run and timed.

Those written in Python time themselves, without start-up and imports; the others, and our whole load, are timed from
outside, from before they are started until they have ended. Slow ones do the first rows of the file only, cut at the
end of a record: what they do takes the same time for each row, and without start-up a part stands for the whole.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.tools.bench import loading
from tests.tools.bench.processes import run

TRANSFORM = "transform"
LOAD = "load"

#: Splits an export by lines and sends the pieces as they are, each behind `batch=` and the header line.
_SPLIT_AND_CURL = """
cd "$2" && tail -n +2 "$1" | split -l 500000 - part- || exit
for part in part-*; do
  { printf 'batch='; head -n 1 "$1"; cat "$part"; } | curl --silent --show-error --fail --data-binary @- "$3" || exit
done
"""


@dataclass(frozen=True, slots=True)
class Export:
    """An export of the benchmark, a folder for what is made of it, and the URL to send it to."""

    path: Path
    rows: int
    folder: Path
    url: str

    @property
    def row_bytes(self) -> float:
        return self.path.stat().st_size / self.rows

    @property
    def post_url(self) -> str:
        return f"{self.url}/m2/demo/v2/profile/batchUpdate"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: rows it did, seconds on the wall and of processor time, and the peak memory in bytes."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.wall_s


@dataclass(frozen=True, slots=True)
class Contestant:
    """One who takes part: does at most `max_rows` rows of an export, and needs these system tools."""

    name: str
    label: str
    run: Callable[[Export, int], Run]
    max_rows: int = sys.maxsize
    tools: tuple[str, ...] = ()

    @property
    def missing(self) -> str | None:
        """The first of its tools that is not on this machine."""
        return next((tool for tool in self.tools if shutil.which(tool) is None), None)


def run_cat(export: Export, rows: int) -> Run:
    return _timed_outside(["sh", "-c", 'cat "$1" > /dev/null', "sh", str(export.path)], rows)


def run_split_and_curl(export: Export, rows: int) -> Run:
    parts = export.folder / "parts"
    parts.mkdir()
    result = _timed_outside(["sh", "-c", _SPLIT_AND_CURL, "sh", str(export.path), str(parts), export.post_url], rows)
    shutil.rmtree(parts)
    return result


def run_usual(stage: str) -> Callable[[Export, int], Run]:
    """A stage of what people write."""

    def run_stage(export: Export, rows: int) -> Run:
        return _timed_inside([f"{__package__}.usual", stage, str(export.path), str(rows), export.post_url], rows)

    return run_stage


def run_transform(export: Export, rows: int) -> Run:
    return _timed_inside([f"{__package__}.transform", str(export.path)], rows)


def run_load(export: Export, rows: int) -> Run:
    state = export.folder / "state"
    used = loading.load(export.path, rows, loading.configuration(state, export.url), state)
    return Run(rows, used.wall_s, used.cpu_s, used.peak_bytes)


def _timed_outside(command: list[str], rows: int) -> Run:
    used = run(command)
    return Run(rows, used.wall_s, used.cpu_s, used.peak_bytes)


def _timed_inside(module: list[str], rows: int) -> Run:
    used = run([sys.executable, "-m", *module])
    told = orjson.loads(used.output)
    if told.get("rows", rows) != rows:
        sys.exit(f"{module} read {told['rows']} rows of {rows}")
    return Run(rows, told["wall_s"], told["cpu_s"], used.peak_bytes)


CONTESTANTS = (
    Contestant("cat", "cat to /dev/null", run_cat, tools=("cat",)),
    Contestant("split", "split -l + curl: sent as it is", run_split_and_curl, tools=("split", "curl")),
    Contestant("read", "csv.reader alone", run_usual("read"), max_rows=1_000_000),
    Contestant("quote", "csv + quote: nothing sent", run_usual("quote"), max_rows=500_000),
    Contestant("script", "csv + quote + merge + requests", run_usual("script"), max_rows=500_000),
    Contestant(TRANSFORM, "our transform alone", run_transform),
    Contestant(LOAD, "our whole load", run_load),
)
OURS = tuple(contestant for contestant in CONTESTANTS if contestant.name in (TRANSFORM, LOAD))
