"""Documents cannot rot: what they name exists, and where they point to there is something."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.errors import EXIT_PRECEDENCE, ExitCode
from pipeline.core.model import Reason

ROOT = Path(__file__).resolve().parents[1]
#: Every document but the ones that a virtual environment or a cache brings.
DOCUMENTS = sorted(
    file.relative_to(ROOT)
    for file in [
        *ROOT.glob("*.md"),
        *ROOT.glob(".github/**/*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("tests/*.md"),
    ]
)
#: Those that name files, modules, classes and functions of the program.
ABOUT_CODE = [Path(name) for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "tests/README.md")]
DECISIONS = [file for file in DOCUMENTS if file.parent == Path("docs/decisions") and file.name != "README.md"]
#: Where a path in a document begins.
TOPS = ("pipeline/", "tests/", "docs/", "config/", ".github/", ".ci/")
#: What ends a name of a file, so that `report.json` is no attribute of a module.
ENDINGS = {
    *("body", "bytes", "csv", "db", "html", "ids", "json", "jsonl", "lines", "lock", "md", "part", "py", "ready", "sh"),
    *("svg", "tmp", "toml", "txt", "yaml", "yml"),
}
#: What looks like a name, and is a reason of a reject.
REASONS = {*Reason, TARGET_REFUSED, "target.failed"}


def without_blocks(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def code_in(document: Path) -> list[str]:
    """Everything in backticks, blocks left out."""
    return re.findall(r"`([^`\n]+)`", without_blocks((ROOT / document).read_text()))


@cache
def names() -> dict[str, set[str]]:
    """By class and by module (its last name) what is defined in it; under an empty name whatever is defined."""
    found: dict[str, set[str]] = {"": set()}
    for file in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        tree = ast.parse(file.read_text())
        found.setdefault(file.stem, set()).update(defined(tree))
        found[""] |= found[file.stem]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(defined(node))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[""].add(node.name)
    return found


def defined(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Functions, classes and values of a module or class, and attributes that its methods set."""
    for node in scope.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name
    for inner in ast.walk(scope):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            yield inner.attr


def is_name(text: str) -> bool:
    """`module.function`, `Class.method` or `Class.attribute`; no file, and no reason of a reject."""
    owner, dot, name = text.partition(".")
    return bool(dot) and owner.isidentifier() and name.isidentifier() and name not in ENDINGS and text not in REASONS


def is_there(text: str) -> bool:
    """Whether what a document names exists; True for what is no name of a file, module, class or function."""
    if text.startswith(TOPS):
        return (ROOT / text).exists() and (ROOT / text).is_dir() == text.endswith("/")
    if is_name(text):
        owner, _, name = text.partition(".")
        return name in names().get(owner, ())
    if text.endswith("()"):
        return text[:-2] in names()[""]
    if re.fullmatch(r"[A-Z][a-z]+[A-Za-z]*", text):
        return text in names()[""] or (ROOT / text).exists()
    return True


@pytest.mark.parametrize("document", [*ABOUT_CODE, *DECISIONS], ids=str)
def test_what_is_named_exists(document: Path) -> None:
    assert [text for text in code_in(document) if not is_there(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        *("pipeline/nowhere.py", "pipeline/core", "tests/test_documents.py/", "Tracker.nothing", "nowhere.fold"),
        *("lifecycle.nothing", "Nothing.fold", "not_there()", "NoSuchThing"),
    ],
)
def test_what_does_not_exist_is_noticed(text: str) -> None:
    assert not is_there(text)


@pytest.mark.parametrize(
    "text",
    [
        *("pipeline/core/", "tests/test_documents.py", "Tracker.hold", "lifecycle.fold", "Checkpoint.turn", "fold()"),
        *("Tracker", "Fact", "Dockerfile", "report.json", "local.empty_id", "STATE/jobs", "make check"),
    ],
)
def test_what_exists_or_is_no_name_is_not_complained_of(text: str) -> None:
    assert is_there(text)


@pytest.mark.parametrize("document", ABOUT_CODE, ids=str)
def test_something_is_named(document: Path) -> None:
    assert any(text.startswith(TOPS) for text in code_in(document))


def anchors(document: Path) -> set[str]:
    """What a link can point to in a document, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    """Relative links of all documents."""
    return [
        (document, link)
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks((ROOT / document).read_text()))
        if not re.match(r"[a-z]+:", link)
    ]


@pytest.mark.parametrize(("document", "link"), links(), ids=lambda value: str(value))
def test_links_lead_somewhere(document: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_every_document_is_linked_to() -> None:
    pointed_at = {((ROOT / document).parent / link.partition("#")[0]).resolve() for document, link in links()}
    alone = {file for file in DOCUMENTS if file.parts[0] != ".github" and (ROOT / file).resolve() not in pointed_at}
    assert alone <= {Path("README.md")}


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        name for document in DOCUMENTS for text in code_in(document) for name in re.findall(r"^make ([a-z-]+)", text)
    }
    assert named <= targets
    assert len(named) > 10


def test_hooks_are_checks_of_make() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local", "nothing is downloaded"
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck: ")[2].partition("\n\n")[0]
    assert tools == {f".venv/bin/{tool}" for tool in re.findall(r"@\$\(BIN\)/([\w-]+)", recipe)}


def test_the_tests_that_stand_for_a_defence_exist() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    threats = [row for row in rows if not row.startswith("| threat ")]
    assert len(threats) > 20
    for row in threats:
        tests = re.findall(r"`(tests/[^`]+)`", row.rpartition(" | ")[2])
        assert tests, row
        for test in tests:
            file, _, name = test.partition("::")
            last = name.rpartition("::")[2]
            assert not last or re.search(rf"(def|class) {last}\b", (ROOT / file).read_text()), test
            assert (ROOT / file).is_file(), test


class TestReadme:
    TEXT = (ROOT / "README.md").read_text()

    def test_it_is_short(self) -> None:
        assert len(self.TEXT.splitlines()) <= 200

    def test_it_points_to_every_page(self) -> None:
        pages = {file.name for file in (ROOT / "docs").glob("*.md")} - {"README.md"}
        assert pages <= set(re.findall(r"\(docs/([\w-]+\.md)", self.TEXT))
        assert pages <= set(re.findall(r"\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))


class TestExitCodes:
    TEXT = (ROOT / "docs" / "commands.md").read_text()

    def test_each_is_explained(self) -> None:
        assert [int(code) for code in re.findall(r"^\| (\d+) \|", self.TEXT, re.MULTILINE)] == sorted(ExitCode)

    def test_which_comes_first(self) -> None:
        order = " ".join(str(int(code)) for code in EXIT_PRECEDENCE if code is not ExitCode.DONE)
        assert f"the first of {order} that occurred" in self.TEXT


class TestDecisions:
    def test_they_are_numbered_and_listed_in_order(self) -> None:
        index = (ROOT / "docs" / "decisions" / "README.md").read_text()
        assert [file.name for file in DECISIONS] == re.findall(r"\((\d{4}-[\w-]+\.md)\)", index)
        assert [int(file.name[:4]) for file in DECISIONS] == list(range(1, len(DECISIONS) + 1))

    @pytest.mark.parametrize("decision", DECISIONS, ids=str)
    def test_each_says_what_and_why(self, decision: Path) -> None:
        headings = re.findall(r"^## (.+)$", (ROOT / decision).read_text(), re.MULTILINE)
        assert headings == ["Status", "What", "Why", "What was rejected", "Measured"]
