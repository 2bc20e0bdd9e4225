"""The rooms of the house: imports run strictly downwards, never in a circle, and no folder grows into a corridor.

    cli -> service -> jobs -> edges, settings -> core        cli -> sandbox

A room may import itself and every room below it. The core touches nothing of the world.
"""

import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pipeline"

#: What each room may import beside itself. The package's `__init__` holds the version, which every room may read.
BELOW: dict[str, tuple[str, ...]] = {
    "__main__": ("cli", "service", "edges"),
    "cli": ("service", "jobs", "edges", "settings", "core", "sandbox"),
    "service": ("jobs", "edges", "settings", "core"),
    "jobs": ("edges", "settings", "core"),
    "edges": ("core",),
    "settings": ("core",),
    "core": (),
    "sandbox": (),
}
#: The same inside the core and the edges, for their folders and for the modules that lie beside them.
BELOW_IN: dict[str, dict[str, tuple[str, ...]]] = {
    "core": {
        "survey": ("batches", "rows", "values", "formats", "target", "model", "errors", "plural", "printable"),
        "explain": ("batches", "rows", "model", "plain"),
        "display": ("batches", "model"),
        "erasure": ("batches", "rows", "values", "formats", "model"),
        "memory": ("batches", "rows", "model"),
        "batches": ("rows", "formats", "target", "model", "errors", "plain", "plural", "printable"),
        "rows": ("values", "formats", "model", "errors", "plural", "printable"),
        "values": ("model",),
        "formats": ("model", "errors", "printable"),
        "target": ("model", "errors", "plural"),
        "drop": ("errors", "plain", "printable"),
        "expectations": ("batches", "rows", "target", "model", "plural"),
        "notifications": ("batches", "plural", "printable"),
        "model": ("errors", "plain"),
        "plain": (),
        "plural": (),
        "errors": ("printable",),
        "printable": (),
        "duration": (),
    },
    "edges": {
        "store": ("host", "exports", "durable", "lock", "process", "clock", "secrets"),
        "drop": ("exports", "durable", "lock", "clock", "changed"),
        "target": ("durable", "clock", "changed", "secrets"),
        "notify": ("target", "durable", "clock", "host", "secrets"),
        "views": ("terminal",),
        "host": ("target", "drop", "exports", "traces", "clock"),
        "export_start": ("exports", "host"),
        "exports": ("containers",),
        "containers": (),
        "traces": (),
        "lock": ("durable",),
        "durable": (),
        "log": ("standard_streams", "terminal", "secrets"),
        "process": (),
        "secrets": (),
        "terminal": (),
        "standard_streams": (),
        "clock": (),
        "changed": (),
    },
}
#: The top level has about ten entries; a folder beyond twenty is a corridor.
MOST_AT_THE_TOP = 11
MOST_IN_A_FOLDER = 20

#: Modules of the standard library that do I/O, know the time, draw random numbers, run things at once, or log.
TOUCHES_THE_WORLD = frozenset(
    [
        *[
            "aifc",
            "argparse",
            "cmd",
            "codeop",
            "code",
            "configparser",
            "ctypes",
            "curses",
            "dbm",
            "faulthandler",
        ],
        *[
            "fcntl",
            "fileinput",
            "filecmp",
            "ftplib",
            "getopt",
            "getpass",
            "glob",
            "gzip",
            "http",
            "imaplib",
            "importlib",
        ],
        *["io", "linecache", "locale", "mailbox", "mmap", "netrc", "nntplib", "os", "pathlib", "pdb", "pickle"],
        *[
            "pkgutil",
            "platform",
            "poplib",
            "posix",
            "posixpath",
            "pty",
            "pwd",
            "readline",
            "resource",
            "runpy",
            "shelve",
        ],
        *[
            "shutil",
            "site",
            "smtplib",
            "socket",
            "socketserver",
            "sqlite3",
            "ssl",
            "stat",
            "subprocess",
            "sys",
            "syslog",
        ],
        *[
            "tarfile",
            "telnetlib",
            "tempfile",
            "termios",
            "tokenize",
            "tty",
            "webbrowser",
            "wsgiref",
            "xmlrpc",
            "zipapp",
        ],
        *["zipfile", "zipimport", "urllib.request", "urllib.robotparser", "urllib.response", "xml.sax"],
        *["asyncio", "concurrent", "contextvars", "multiprocessing", "queue", "sched", "select", "selectors", "signal"],
        *["threading", "_thread", "asyncore", "asynchat", "atexit"],
        # Not datetime: a time of day may be a value. That nobody asks what time it is, is looked for below.
        *["calendar", "time", "timeit", "zoneinfo"],
        *["random", "secrets", "uuid"],
        *["logging", "trace", "traceback", "warnings"],
    ]
)
#: What unpacks bytes. The functions and classes of these modules that open files are told by their names, below.
UNPACKS = frozenset(["isal", "backports.zstd", "compression.zstd"])
#: Built-in functions by which a module could do the same without an import.
TOUCHING_BUILTINS = frozenset(["open", "print", "input", "breakpoint", "exec", "eval", "compile", "__import__"])


@dataclass(frozen=True, slots=True)
class Import:
    """`importer` imports `imported`, a module or a name in one; at run time unless it is for type checkers only."""

    importer: str
    imported: str
    at_run_time: bool = True

    def is_of(self, package: str) -> bool:
        return is_in(self.imported, package)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources(root: Path) -> dict[str, tuple[str, bool]]:
    """By module name: its text, and whether it is a package."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    return {module_name(file, root): (file.read_text(), file.name == "__init__.py") for file in files}


def imports_of(
    module: str, text: str, *, is_package: bool = False, known: frozenset[str] = frozenset()
) -> list[Import]:
    """Everything a module imports anywhere in it; `from PACKAGE import MODULE` is the module, where it is known."""
    tree = ast.parse(text)
    for_types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = resolve(module, node, is_package=is_package)
            names = [
                inner if (inner := f"{source}.{alias.name}") in known or source == "" else source
                for alias in node.names
            ]
        else:
            continue
        found += [Import(module, name, node not in for_types_only) for name in names]
    return found


def resolve(module: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """The module that a `from` import names, with the dots of a relative one resolved."""
    if not node.level:
        return node.module or ""
    package = module.split(".")
    package = package[: len(package) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def all_imports(sources: dict[str, tuple[str, bool]]) -> list[Import]:
    known = frozenset(sources)
    return [
        each
        for module, (text, is_package) in sources.items()
        for each in imports_of(module, text, is_package=is_package, known=known)
    ]


def violation(each: Import) -> str | None:
    """Why an import breaks the rule."""
    importer, imported = each.importer, each.imported
    if is_in(importer, "pipeline.core") and not each.is_of(PACKAGE):
        if is_in(imported, "numpy"):
            return "the core draws random numbers" if is_in(imported, "numpy.random") else None
        if any(is_in(imported, name) for name in TOUCHES_THE_WORLD):
            return "the core touches the world"
        if any(is_in(imported, name) for name in UNPACKS):
            return None
        if imported.partition(".")[0] not in {*sys.stdlib_module_names, "orjson"}:
            return "the core imports other than itself, the standard library, numpy, orjson and what unpacks"
        return None
    if not each.is_of(PACKAGE):
        return None
    if imported == PACKAGE:
        return None if room(importer) not in ("core", "sandbox") else "the core and the sandbox know nothing above them"
    if room(importer) != room(imported):
        return None if room(imported) in BELOW.get(room(importer), ()) else "this is not a room below"
    inside = BELOW_IN.get(room(importer), {})
    ours, theirs = room(importer, 2), room(imported, 2)
    if inside and theirs and ours != theirs and theirs not in inside.get(ours, ()):
        return "this is not a folder below"
    return None


def room(module: str, depth: int = 1) -> str:
    """The room of a module, or with `depth` 2 its folder there; an empty string for the package itself."""
    parts = module.split(".")
    return parts[depth] if len(parts) > depth else ""


def violations(sources: dict[str, tuple[str, bool]]) -> list[str]:
    return [
        f"{each.importer} imports {each.imported}: {why}" for each in all_imports(sources) if (why := violation(each))
    ]


def cycle(sources: dict[str, tuple[str, bool]]) -> list[str]:
    """Modules that import each other in a circle, be it for type checkers only."""
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for each in all_imports(sources):
        if each.imported in graph:
            graph[each.importer].add(each.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        modules: list[str] = error.args[1]
        return modules
    return []


def touching_names(text: str) -> set[str]:
    """Built-in functions used that touch the world, `numpy.random` and file functions of numpy, and clocks."""
    tree = ast.parse(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & TOUCHING_BUILTINS
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    clocks = {name for name in attributes if name.rpartition(".")[2] in ("now", "utcnow", "today", "fromtimestamp")}
    touching = {"np.random", "np.load", "np.save", "np.fromfile", "np.memmap", "np.loadtxt"}
    files = {name for name in attributes if name in ("lzma.open", "lzma.LZMAFile", "bz2.open", "bz2.BZ2File")}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return names | clocks | files | (attributes & touching) | (imported & {"open", "LZMAFile", "BZ2File", "ZstdFile"})


SOURCES = read_sources(ROOT)


def test_the_modules_are_found() -> None:
    found = {"pipeline", "pipeline.core", "pipeline.core.formats.framing", "pipeline.edges.target", "pipeline.cli.app"}
    assert found <= set(SOURCES)
    assert Import("pipeline.core.rows.mapping", "pipeline.core.formats.framing") in all_imports(SOURCES)


def test_every_room_has_its_place_in_the_rule() -> None:
    assert {room(module) for module in SOURCES} - {""} == BELOW.keys()
    for name, inside in BELOW_IN.items():
        assert {room(module, 2) for module in SOURCES if room(module) == name} - {""} == inside.keys()


def test_every_folder_says_in_one_line_what_lives_there() -> None:
    for module, (text, is_package) in SOURCES.items():
        doc = ast.get_docstring(ast.parse(text)) if is_package else "."
        assert doc and doc.partition("\n")[0].endswith("."), module


def test_no_folder_is_a_corridor() -> None:
    for folder in [ROOT / PACKAGE, *(ROOT / PACKAGE).rglob("*/")]:
        entries = [entry for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()]
        assert len(entries) <= (MOST_AT_THE_TOP if folder == ROOT / PACKAGE else MOST_IN_A_FOLDER), folder


def test_the_import_rule() -> None:
    assert violations(SOURCES) == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert cycle(SOURCES) == []


def test_the_core_has_no_async_and_uses_nothing_that_touches_the_world() -> None:
    for module, (text, _) in SOURCES.items():
        if is_in(module, "pipeline.core"):
            assert touching_names(text) == set(), module
            asynchronous = ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await
            assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, asynchronous)], module


# The checks themselves.


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("pipeline.core.a", "import time"),
        ("pipeline.core.a", "import os.path"),
        ("pipeline.core.a", "from zoneinfo import ZoneInfo"),
        ("pipeline.core.a", "from urllib.request import urlopen"),
        ("pipeline.core.a", "import logging.handlers as x"),
        ("pipeline.core.a", "import asyncio"),
        ("pipeline.core.a", "import random"),
        ("pipeline.core.a", "import anyio"),
        ("pipeline.core.a", "import structlog"),
        ("pipeline.core.a", "from numpy.random import default_rng"),
        ("pipeline.core.a", "import pipeline"),
        ("pipeline.core.a", "from pipeline import edges"),
        ("pipeline.core.a", "from pipeline.edges import b"),
        ("pipeline.core.a", "from ..edges.b import c"),
        ("pipeline.core.a", "from .. import settings"),
        ("pipeline.core.a", "def f():\n    import time"),
        ("pipeline.core.a", "def f():\n    if True:\n        from ..load import g"),
        ("pipeline.core.a", "if TYPE_CHECKING:\n    from pipeline.edges import b"),
        ("pipeline.edges.b", "import pipeline.settings"),
        ("pipeline.edges.b", "from pipeline.settings import Settings"),
        ("pipeline.edges.b", "from pipeline import settings"),
        ("pipeline.edges.b", "from .. import jobs"),
        ("pipeline.edges.b", "from pipeline.sandbox import runner"),
        ("pipeline.edges.b", "from pipeline.corelike import x"),
        ("pipeline.sandbox.c", "from pipeline.core import a"),
        ("pipeline.sandbox.c", "from pipeline import __version__"),
        ("pipeline.sandbox.c", "from ..core.a import x"),
        ("pipeline.core.rows.a", "from pipeline.core.batches.b import c"),
        ("pipeline.core.model", "from pipeline.core.rows import b"),
        ("pipeline.edges.store.a", "from pipeline.edges.target.b import c"),
        ("pipeline.edges.views.a", "from pipeline.edges.store.b import c"),
        ("pipeline.settings.a", "from pipeline.edges.b import c"),
        ("pipeline.settings.a", "from pipeline.jobs import load"),
        ("pipeline.jobs.load", "from pipeline.service.b import c"),
        ("pipeline.jobs.load", "from pipeline.sandbox import running"),
        ("pipeline.jobs.load", "from pipeline.cli import app"),
        ("pipeline.jobs.load", "from ..cli.app import main"),
        ("pipeline.service.a", "from pipeline.cli.app import main"),
        ("pipeline.edges.b", "def f():\n    from pipeline.cli import main"),
    ],
)
def test_what_breaks_the_rule(importer: str, statement: str) -> None:
    packages = (PACKAGE, "pipeline.cli", "pipeline.settings", "pipeline.jobs", "pipeline.edges", "pipeline.core")
    sources = dict.fromkeys(packages, ("", True))
    assert len(violations(sources | {importer: (statement, False)})) == 1


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("pipeline.core.a", "import re"),
        ("pipeline.core.a", "from urllib.parse import urlsplit"),
        ("pipeline.core.a", "from xml.etree import ElementTree"),
        ("pipeline.core.a", "from collections import deque"),
        ("pipeline.core.a", "import numpy as np\nimport numpy.typing as npt"),
        ("pipeline.core.a", "import orjson"),
        ("pipeline.core.rows.a", "from . import b\nfrom .b import c\nfrom pipeline.core.rows import b"),
        ("pipeline.edges.a", "from pipeline import __version__"),
        ("pipeline.edges.drop.a", "import time, aiohttp\nfrom ...core.b import c\nfrom .b import d"),
        ("pipeline.sandbox.a", "import random\nfrom . import b"),
        ("pipeline.core.batches.a", "from pipeline.core.rows.b import c\nfrom pipeline.core import model"),
        ("pipeline.edges.store.a", "from pipeline.edges import durable\nfrom pipeline.core.batches.b import c"),
        ("pipeline.jobs.load", "import pipeline.settings\nfrom pipeline.core import a\nfrom pipeline.edges import b"),
        ("pipeline.service.a", "from pipeline.jobs import load"),
        ("pipeline.cli.a", "from pipeline.sandbox import running\nfrom pipeline.service.b import c"),
        ("pipeline.__main__", "from pipeline.cli import main"),
    ],
)
def test_what_keeps_the_rule(importer: str, statement: str) -> None:
    assert violations({PACKAGE: ("", True), importer: (statement, False)}) == []


@pytest.mark.parametrize(
    ("texts", "in_cycle"),
    [
        ({"a": "from pipeline import b", "b": "import pipeline.a"}, {"a", "b"}),
        ({"a": "from . import b", "b": "from .c import x", "c": "def f():\n    from pipeline.a import x"}, set("abc")),
        ({"a": "from pipeline import b", "b": "if TYPE_CHECKING:\n    from pipeline import a"}, {"a", "b"}),
        ({"a": "from . import b, c", "b": "from . import c", "c": "import a"}, set()),
        ({"a": "from .a import x"}, {"a"}),
    ],
)
def test_cycles_are_found(texts: dict[str, str], in_cycle: set[str]) -> None:
    sources = {PACKAGE: ("", True)} | {f"pipeline.{name}": (text, False) for name, text in texts.items()}
    assert set(cycle(sources)) == {f"pipeline.{name}" for name in in_cycle}


def test_relative_imports_in_a_package_are_resolved() -> None:
    text = "from . import b\nfrom .c import d\nfrom .. import e\n"
    known = frozenset(["pipeline.sandbox.b", "pipeline.e"])
    found = imports_of("pipeline.sandbox", text, is_package=True, known=known)
    assert [each.imported for each in found] == ["pipeline.sandbox.b", "pipeline.sandbox.c", "pipeline.e"]


@pytest.mark.parametrize(
    "text",
    ["open('x')", "f = print", "np.random.default_rng()", "x = __import__('os')", "datetime.now()", "date.today()"],
)
def test_names_that_touch_the_world_are_found(text: str) -> None:
    assert len(touching_names(text)) == 1
    assert touching_names("np.sort(x).open") == set()
