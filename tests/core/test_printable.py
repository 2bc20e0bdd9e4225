"""Text of others, as it may be shown: nothing in it is obeyed, hidden or turned around, and it can be read back."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import FatalError
from pipeline.core.printable import printable, printable_json, printable_lines, printable_toml

ATTACKS = [
    ("\x1b[2J", "\\x1b[2J"),
    ("\x9b31m", "\\x9b31m"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("a\rb", "a\\rb"),
    ("a\bb", "a\\x08b"),
    ("a\nb", "a\\nb"),
    ("a\tb", "a\\tb"),
    ("a\x0bb\x0cc", "a\\x0bb\\x0cc"),
    ("a\x7fb", "a\\x7fb"),
    ("a\x85b", "a\\x85b"),
    ("\u202egnp.csv", "\\u202egnp.csv"),
    ("\u2066a\u2069", "\\u2066a\\u2069"),
    ("\u200ea\u061c", "\\u200ea\\u061c"),
    ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
    ("a\u2028b\u2029", "a\\u2028b\\u2029"),
    ("a\udc9bb", "a\\udc9bb"),
    ("\U000e0041", "\\U000e0041"),
    ("\x00", "\\x00"),
]


@pytest.mark.parametrize(("text", "shown"), ATTACKS)
def test_what_a_terminal_obeys_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown in printable_lines(text) or "\n" in text
    assert str(FatalError(f"about {text}")).replace("\n", "").isprintable(), "the message of an error is printable"


@given(st.text(st.characters(exclude_categories=())))
def test_everything_that_is_printable_stays(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))
    assert printable_lines(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert printable(text) == printable_lines(text) == text


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_printable_and_means_the_same(value: Any) -> None:
    text = printable_json(value)
    assert text.isprintable()
    assert json.loads(text) == value


@pytest.mark.parametrize("value", ["a\udc9b\x9b", {"a\udcff": ["\u202e"]}, 2**70])
def test_json_of_what_orjson_does_not_know(value: Any) -> None:
    assert printable_json(value).isprintable()
    assert json.loads(printable_json(value)) == value


@given(st.text(st.characters(codec="utf-8")))
def test_toml_is_printable_and_means_the_same(text: str) -> None:
    assert printable_toml(text).isprintable()
    assert tomllib.loads(f"a = {printable_toml(text)}") == {"a": text}
