"""Takes a guard out of the product: one file is edited as it is imported, in a process of its own, never on the disk.

`python -m tests.simulation.mutation` serves: it reads the name of a mutant and a number of schedules, a line each, and
answers in a line of JSON what became of them. All libraries are imported once, and each mutant is a fork that imports
the product anew, so that it costs a quarter of a second.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
#: Longer than any mutant takes that is found at all (seconds).
_HANGS_AFTER_S = 120
#: What is imported anew: the product, and what drives it.
_OURS = ("pipeline", "tests.simulation")


class _Edited(SourceFileLoader):
    """Loads a module from a source that is not quite that of its file."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """The code of the edited source."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


class EditedImport:
    """Finds the module of one file edited: `old`, which stands in it once, is `new`. Raises `ValueError` otherwise."""

    def __init__(self, file: str, old: str, new: str) -> None:
        self._path = ROOT / file
        self._module = file.removesuffix(".py").replace("/", ".")
        source = self._path.read_text()
        if source.count(old) != 1:
            raise ValueError(f"what is to be edited stands {source.count(old)} times in {file}: {old!r}")
        self._source = source.replace(old, new)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The edited module; None for any other."""
        if fullname != self._module:
            return None
        return spec_from_file_location(fullname, self._path, loader=_Edited(fullname, str(self._path), self._source))


def run_mutant(name: str, schedules: int) -> dict[str, Any]:
    """Run schedules in the mutant's climate until one breaks the promise: `found`, after how many, and what broke."""
    from tests.simulation.mutants import MUTANTS

    mutant = next(each for each in MUTANTS if each.name == name)
    for module in [module for module in sys.modules if module.startswith(_OURS) and module != __name__]:
        del sys.modules[module]
    sys.meta_path.insert(0, EditedImport(mutant.file, mutant.old, mutant.new))
    schedule = importlib.import_module("tests.simulation.schedule")
    # The climate of the modules that were imported anew.
    climate = next(
        each.climate for each in importlib.import_module("tests.simulation.mutants").MUTANTS if each.name == name
    )
    for seed in range(schedules):
        try:
            schedule.run_schedule(seed, climate)
        except schedule.PromiseBrokenError as error:
            return {"found": True, "schedules": seed + 1, "why": str(error).partition("\n")[0]}
    return {"found": False, "schedules": schedules, "why": "no promise was broken"}


def in_a_fork(name: str, schedules: int) -> dict[str, Any]:
    """What `run_mutant` says, in a process of its own."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        return dict(json.loads(text or b'{"found": false, "schedules": 0, "why": "it hangs, or dies"}'))
    signal.alarm(_HANGS_AFTER_S)
    try:
        said = run_mutant(name, schedules)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test that asked is told
        said = {"found": False, "schedules": 0, "why": f"{type(error).__name__}: {error}"}
    os.write(writing, json.dumps(said).encode())
    os._exit(0)


def serve() -> None:
    """Answer until there is nothing more to answer."""
    importlib.import_module("tests.simulation.schedule")
    importlib.import_module("pipeline.edges.views.page")
    for line in sys.stdin:
        schedules, _, name = line.strip().partition(" ")
        print(json.dumps(in_a_fork(name, int(schedules))), flush=True)


if __name__ == "__main__":
    serve()
