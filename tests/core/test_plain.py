"""Dataclasses as plain values, and back."""

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest

from pipeline.core.errors import ExitCode
from pipeline.core.plain import of_plain, plain, written


@dataclass(frozen=True)
class Part:
    name: str
    size_bytes: int = written("bytes", default=0)
    why: str | None = written(default=None, if_default=False)


@dataclass(frozen=True)
class Whole:
    code: ExitCode = ExitCode.DONE
    part: Part = Part("none")
    parts: tuple[Part, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)


WHOLE = Whole(ExitCode.UNFINISHED, Part("a", 1), (Part("b"), Part("c", 2, "late")), Counter(x=3), [4])
WRITTEN = {
    "code": 75,
    "part": {"name": "a", "bytes": 1},
    "parts": [{"name": "b", "bytes": 0}, {"name": "c", "bytes": 2, "why": "late"}],
    "counts": {"x": 3},
    "lines": [4],
}


def test_what_is_written() -> None:
    assert json.dumps(plain(WHOLE)) == json.dumps(WRITTEN)


def test_what_was_written_is_read() -> None:
    for whole in (WHOLE, Whole()):
        assert of_plain(Whole, json.loads(json.dumps(plain(whole)))) == whole
    found = of_plain(Whole, WRITTEN)
    assert (type(found.code), type(found.counts)) == (ExitCode, Counter)


def test_what_is_missing_has_its_default_and_what_is_unknown_is_left_out() -> None:
    assert of_plain(Whole, {"mood": "good", "part": {"name": "a", "mood": "bad"}}) == Whole(part=Part("a"))


@pytest.mark.parametrize("values", [{"part": {}}, {"code": 1}, {"parts": 3}, {"part": "a"}])
def test_what_cannot_have_been_written_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        of_plain(Whole, values)
