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


def test_docstrings_name_the_thing_first() -> None:
    files = sorted((ROOT / "pipeline").rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(ROOT)}:{line}: {doc}"
        for file in files
        for line, doc in questions(file.read_text(encoding="utf-8"), SHOWN)
    ]
    assert found == []


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
