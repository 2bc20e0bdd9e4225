"""Each guard is missed: with any of them taken out of the product, some schedule breaks the promise, and soon.

A run of the tests takes out a share of them, each run another; `make simulate` takes out all.
"""

import re
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from subprocess import PIPE, Popen
from typing import Any

import orjson
import pytest

from tests.simulation.mutant import Mutant
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import ROOT, EditedImport
from tests.simulation.schedule import is_broken
from tests.tools.drawn import share

#: Most are found in a handful.
SCHEDULES = 200
#: So many mutants of a run.
SHARE = 12


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[[str], dict[str, Any]]]:
    """A process that runs one mutant after the other; it has imported all libraries when it is asked first."""
    server = [sys.executable, "-W", "ignore", "-m", "tests.simulation.mutation"]
    with Popen(server, stdin=PIPE, stdout=PIPE, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        asked, answers = process.stdin, process.stdout

        def ask(name: str) -> dict[str, Any]:
            asked.write(f"{SCHEDULES} {name}\n".encode())
            asked.flush()
            return dict(orjson.loads(answers.readline()))

        yield ask
        asked.close()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_fits(mutant: Mutant) -> None:
    edited = EditedImport(mutant.file, mutant.old, mutant.new)
    module = mutant.file.removesuffix(".py").replace("/", ".")
    found = edited.find_spec(module, None)
    assert found is not None
    assert isinstance(found.loader, SourceFileLoader)
    assert found.loader.get_code(module) is not None


@pytest.mark.parametrize("mutant", share(MUTANTS, SHARE), ids=lambda mutant: mutant.name)
def test_without_this_guard_the_promise_breaks(mutant: Mutant, ask: Callable[[str], dict[str, Any]]) -> None:
    said = ask(mutant.name)
    assert said["found"], f"{said['why']} in {said['schedules']} schedules"
    assert not is_broken(said["schedules"] - 1, mutant.climate), "it breaks with the guard, too"


def test_the_architecture_names_mutants_that_there_are() -> None:
    rows = [line for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if re.match(r"\| I\d \|", line)]
    named = [name for row in rows for name in re.findall(r'"([^"]+)"', row.rpartition(" | ")[2])]
    assert len(rows) == 6
    assert set(named) <= {mutant.name for mutant in MUTANTS}


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_an_edit_that_fits_nowhere_is_found_out() -> None:
    with pytest.raises(ValueError, match="stands 0 times"):
        EditedImport("pipeline/jobs/load.py", "no such line", "")


def test_what_breaks_nothing_is_not_taken_for_a_mutant_that_is_found(ask: Callable[[str], dict[str, Any]]) -> None:
    assert ask("no such mutant")["why"].startswith("StopIteration")
