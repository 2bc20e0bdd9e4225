"""The benchmark of the memory, with few rows: its table is whole, and what changed is what was sent."""

from argparse import Namespace
from pathlib import Path

from tests.tools.bench.memory_store import table
from tests.tools.bench.peer import peer


def test_the_table_of_the_memory(tmp_path: Path) -> None:
    options = Namespace(ids=2_000, delta=200, batch_rows=500, remember=["values"])
    with peer() as url:
        head, _, *lines, size = table(tmp_path, url, options)
    assert head.startswith("| 2,000 rows")
    growth = [line for line in lines if "over a row of 200 rows" in line]
    assert len(growth) == 1
    batches = [int(line.split("|")[4]) for line in lines if line not in growth]
    # The first load with a memory, 2 % changed, nothing new, a delta of a tenth.
    assert batches[1:] == [4, 1, 0, 1]
    assert "bytes an id" in size
