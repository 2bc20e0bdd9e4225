"""Whether a load stays small and even: peak memory, and seconds a row, at 5 and at 20 million rows.

`make bench-memory`, or `python -m tests.tools.bench.memory --rows 200000 800000 --batch-rows 20000`. Each is a whole
load of a plain export, once with 10 batches unsettled all the time and once with 40: the peer shows a batch as
incomplete until so many more were accepted, or nearly all rows have come. A file of fewer batches has as many unsettled
as it has.
"""

import tempfile
from argparse import ArgumentParser
from pathlib import Path

from tests.tools.bench import loading
from tests.tools.bench.generator import write_export
from tests.tools.bench.peer import peer
from tests.tools.bench.processes import Used

UNSETTLED = (10, 40)
#: With so much of an export's rows at the peer, what is left are held rows, which wait for batches to be complete.
NEARLY_ALL = 0.95


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=(5_000_000, 20_000_000), metavar=("FEW", "MANY"))
    parser.add_argument("--batch-rows", type=int, default=500_000, help="smaller, to try it with a small export")
    parser.add_argument("--unsettled", type=int, nargs="+", default=UNSETTLED)
    options = parser.parse_args()
    few, many = options.rows
    with tempfile.TemporaryDirectory(prefix="profile-pipeline-memory-") as folder:
        export = Path(folder) / "export.csv"
        runs: dict[tuple[int, int], Used] = {}
        for rows in (few, many):
            write_export(export, rows)
            for unsettled in options.unsettled:
                runs[rows, unsettled] = load(export, rows, unsettled, options.batch_rows)
                print(told(runs[rows, unsettled], rows, unsettled), flush=True)
    for unsettled in options.unsettled:
        print(compared(runs[few, unsettled], runs[many, unsettled], few, many, unsettled))


def load(export: Path, rows: int, unsettled: int, batch_rows: int) -> Used:
    """One load, with a peer of its own."""
    with peer(unsettled, round(rows * NEARLY_ALL)) as url:
        state = export.with_name(f"state-{rows}-{unsettled}")
        # Twice as wide as need be: what waits for a status must not wait for the window.
        window = 2 * unsettled
        config = loading.configuration(state, url, status_window=window, batch_rows=batch_rows)
        return loading.load(export, rows, config, state)


def told(used: Used, rows: int, unsettled: int) -> str:
    return (
        f"{rows:,} rows, {unsettled} batches unsettled: peak {used.peak_bytes / 1e6:,.0f} MB, {used.wall_s:,.1f} s, "
        f"{used.wall_s / rows * 1e6:.2f} s a million rows ({used.cpu_s / rows * 1e6:.2f} s of processor time)"
    )


def compared(small: Used, large: Used, few: int, many: int, unsettled: int) -> str:
    """The larger export over the smaller one."""
    wall, cpu = ((large.wall_s / many) / (small.wall_s / few), (large.cpu_s / many) / (small.cpu_s / few))
    return (
        f"{many:,} over {few:,} rows, {unsettled} batches unsettled: {wall:.2f} × the seconds a row "
        f"({cpu:.2f} × the processor time), {large.peak_bytes / small.peak_bytes:.2f} × the memory"
    )


if __name__ == "__main__":
    main()
