"""The page of dependencies names what is installed, and nothing else."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()


def rows(heading: str) -> set[str]:
    """The packages in the first column of the table below a heading."""
    table = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")][1:]
    return {name.strip() for cell in cells for name in cell.split(",")}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ;]", line)[0] for line in requirements}


def test_what_the_program_asks_for_has_a_reason() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert rows("Asked for by the program itself") == names(asked)


def test_all_that_is_installed_is_named() -> None:
    locked = names([line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0].isalnum()])
    assert rows("Asked for by the program itself") | rows("Needed by those") == locked


def test_a_lock_file_names_no_place_to_get_it_from() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        assert not re.search(r"https?:|file:|index-url|@ ", lock.read_text()), lock.name
