"""What a run of the benchmark shows: the tables and the picture."""

from pathlib import Path
from typing import Any

from tests.tools.bench import picture, table
from tests.tools.bench.__main__ import ratio, summary
from tests.tools.bench.contestants import LOAD, TRANSFORM, Contestant, Export, Run


def run_of(rows: int, wall_s: float) -> Run:
    return Run(rows, wall_s, cpu_s=wall_s / 2, peak_bytes=50_000_000)


def never(export: Export, rows: int) -> Run:
    raise AssertionError


def results() -> dict[str, Any]:
    """The script does a tenth of the rows in the same time as our load does all."""
    runs = {
        TRANSFORM: [run_of(1_000, wall_s) for wall_s in (1.0, 2.0, 4.0)],
        LOAD: [run_of(1_000, wall_s) for wall_s in (2.0, 4.0, 8.0)],
        "script": [run_of(100, wall_s) for wall_s in (2.0, 4.0, 8.0)],
    }
    ours = {"bytes_per_s": 80e6, "relative": 1.0, "peak_bytes": 50_000_000}
    return {
        "machine": {"processors": 2, "python": "3.11", "system": "Linux"},
        "rounds": 3,
        "rows": 1_000,
        "row_bytes": 80.0,
        "contestants": [
            {"name": name, "label": f"the {name}"} | summary(runs, Contestant(name, name, never)) for name in runs
        ]
        + [{"name": "split", "label": "the split", "skipped": "curl is not installed"}],
        "variants": [{"name": "plain", "rows": 1_000, "bytes": 80_000, TRANSFORM: ours, LOAD: ours}],
        "startup": {"first_read_s": 0.3, "imports_s": 0.2, "ratio": 1.5},
    }


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [run_of(10, wall_s) for wall_s in (1.0, 10.0, 1.0)]
    theirs = [run_of(10, wall_s) for wall_s in (2.0, 30.0, 9.0)]
    assert ratio(ours, theirs) == 3.0


def test_the_table_has_the_fastest_first_and_says_what_was_left_out() -> None:
    head, *lines = table.main_table(results())
    assert head[-2:] == ["our transform is", "our whole load is"]
    assert [line[0] for line in lines] == ["the transform", "the load", "the script", "the split"]
    assert lines[1] == ["the load", "250", "0.0", "2000.00", "50", "all", "2.0 ×", "1.0 ×"]
    assert lines[2][5:] == ["first 100", "20 ×", "10 ×"]
    assert lines[3][1] == "skipped: curl is not installed"


def test_both_kinds_of_table_say_the_same() -> None:
    text, markdown = table.as_text(results()), table.as_markdown(results())
    for cell in ("the script", "first 100", "1.50 × of", "medians of 3", "curl is not installed"):
        assert cell in text
        assert cell in markdown
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("| the")}) == 1


def test_a_picture_of_the_same_results_has_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    picture.draw(results(), one)
    picture.draw(results(), other)
    assert one.read_bytes() == other.read_bytes()
    assert "the script" in one.read_text()
    assert "20 ×" in one.read_text()
