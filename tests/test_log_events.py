"""docs/log.md lists every event of the log, with its level and its fields: no more, and no fewer."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
#: Every line of a job has it, bound once in `load.Runner.run`.
BOUND = "job"


@dataclass(frozen=True, slots=True)
class Event:
    """What is logged somewhere."""

    name: str
    level: str
    fields: frozenset[str]


def is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="log"):
            return True
        case ast.Call(func=ast.Attribute(attr="get_logger")):
            return True
    return False


def events_in(source: str) -> list[Event]:
    """All that is logged in a module. Raises `AssertionError` where what is logged cannot be told by reading."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=level)) if is_logger(value) and level in LEVELS:
                assert len(node.args) == 1, f"line {node.lineno}: an event and fields by name, nothing else"
                (event,) = node.args
                assert isinstance(event, ast.Constant), f"line {node.lineno}: an event's name stands where it is logged"
                names = [keyword.arg for keyword in node.keywords]
                assert None not in names, f"line {node.lineno}: fields stand where they are logged, without **"
                level = "error" if level == "exception" else level
                found.append(Event(str(event.value), level, frozenset(map(str, names))))
            case ast.Call(func=ast.Attribute(value=value, attr=level)) if is_logger(value):
                raise AssertionError(f"line {node.lineno}: {level} is no level of the log")
    return found


def all_events() -> dict[str, Event]:
    """By name."""
    events: dict[str, Event] = {}
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        for event in events_in(file.read_text()):
            assert events.setdefault(event.name, event) == event, f"{event.name} is logged in two ways"
    return events


def listed_events() -> dict[str, Event]:
    """As the page of the log has them."""
    page = (ROOT / "docs" / "log.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| .+ \|$", page, re.MULTILINE)
    events = [Event(name, level, frozenset(re.findall(r"`(\w+)`", fields))) for name, level, fields in rows]
    assert len({event.name for event in events}) == len(events), "listed twice"
    assert [event.name for event in events] == sorted(event.name for event in events)
    return {event.name: event for event in events}


def test_the_page_lists_them() -> None:
    logged, listed = all_events(), listed_events()
    assert len(logged) > 20
    assert logged.keys() - listed.keys() == set(), "logged, and not in docs/log.md"
    assert listed.keys() - logged.keys() == set(), "in docs/log.md, and never logged"
    for name, event in logged.items():
        assert listed[name] == event


def test_names_are_in_snake_case() -> None:
    for event in all_events().values():
        for name in (event.name, *event.fields):
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name), (event.name, name)


def test_what_is_about_a_batch_names_it() -> None:
    for event in all_events().values():
        assert not event.name.startswith(("batch_", "attempt_")) or "batch" in event.fields, event
        assert not event.name.startswith("attempt_") or "attempt" in event.fields, event


@pytest.mark.parametrize(
    "source",
    ["log.info(name)", 'log.info(f"a_{b}")', 'log.info("a", "b")', 'log.info("a", **b)', "log.bind(a=1)"],
)
def test_what_cannot_be_told_by_reading_is_refused(source: str) -> None:
    with pytest.raises(AssertionError):
        events_in(source)


def test_what_is_found() -> None:
    source = 'structlog.get_logger().exception("a", b=1)\nif x:\n    log.warning("c")\nother.info("d")\n'
    assert events_in(source) == [Event("a", "error", frozenset({"b"})), Event("c", "warning", frozenset())]
