"""All rows, from the module of each subject."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from tests.mends import Mend

_NO_ROWS = ("table", "taken_out", "test_mends", "__main__")


def all_mends() -> list[Mend]:
    """The rows of all subjects, in the order of their modules' names."""
    names = sorted(module.name for module in iter_modules([str(Path(__file__).parent)]))
    modules = [import_module(f"tests.mends.{name}") for name in names if name not in _NO_ROWS]
    return [mend for module in modules for mend in module.MENDS]
