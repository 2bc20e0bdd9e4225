"""Docstrings name the thing first: none begins with a question word where a noun will do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings.shown import configuration_schema

ROOT = Path(__file__).resolve().parents[1]
QUESTION = re.compile(r"(What|Whether|How|When|Which)\b")
#: Folders and files whose docstrings are still to be rewritten. An entry that nothing needs any more has to go.
EXEMPT = (
    "pipeline/jobs",
    "pipeline/service",
    "pipeline/cli",
    "pipeline/core/batches/lifecycle.py",
    "pipeline/core/batches/progress.py",
    "pipeline/core/batches/in_flight.py",
)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def questions(text: str, shown: frozenset[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Line number and first line of each docstring that begins with a question word and is not `shown` to users."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, Documented):
            continue
        doc = ast.get_docstring(node)
        if doc and QUESTION.match(doc) and doc not in shown:
            yield node.body[0].lineno, doc.partition("\n")[0]


def descriptions(schema: Any) -> Iterator[str]:
    """All descriptions in a JSON schema, at any depth."""
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema["description"]
        for part in schema.values():
            yield from descriptions(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from descriptions(part)


#: `config schema` shows the docstrings of sections to users, for whom "How an export is read" is the better text.
SHOWN = frozenset(descriptions(configuration_schema()))
FOUND = {
    path.relative_to(ROOT).as_posix(): [*questions(path.read_text(encoding="utf-8"), SHOWN)]
    for path in sorted((ROOT / "pipeline").rglob("*.py"))
}


def is_in(file: str, entry: str) -> bool:
    """True if the entry is this file, or a folder that holds it."""
    return file == entry or file.startswith(f"{entry}/")


def test_docstrings_name_the_thing_first() -> None:
    found = [
        f"{file}:{line}: {doc}"
        for file, docs in FOUND.items()
        if not any(is_in(file, entry) for entry in EXEMPT)
        for line, doc in docs
    ]
    assert found == []


@pytest.mark.parametrize("entry", EXEMPT)
def test_an_exemption_is_needed(entry: str) -> None:
    assert any(docs for file, docs in FOUND.items() if is_in(file, entry)), f"remove {entry} from EXEMPT"


@pytest.mark.parametrize("word", ["What", "Whether", "How", "When", "Which"])
@pytest.mark.parametrize(
    "text",
    [
        '"""{word} it is."""',
        'class A:\n    """{word} it is."""',
        'class A:\n    def a(self):\n        """{word}, and more.\n\n        More.\n        """',
        'async def a():\n    """\n    {word} it is.\n    """',
    ],
)
def test_a_question_is_found_wherever_it_is(text: str, word: str) -> None:
    assert len([*questions(text.format(word=word))]) == 1


@pytest.mark.parametrize("doc", ["The rows that wait.", "True if it waits.", "Whatever it is.", "Rows: what they are."])
def test_other_docstrings_are_left_alone(doc: str) -> None:
    assert [*questions(f'def a():\n    """{doc}"""')] == []


def test_a_docstring_that_users_see_is_left_alone() -> None:
    text = 'class A:\n    """How it is read."""'
    assert [*questions(text, frozenset({"How it is read."}))] == []
    assert len([*questions(text)]) == 1
