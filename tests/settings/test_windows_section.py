"""The `[[windows]]` of a configuration: what they may say, and what is told of those that cannot be used."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.target.time_windows import Limits
from pipeline.settings.sections.windows import schedule_of
from pipeline.settings.settings import config_digest, load_settings, show

REQUIRED = {"target": {"client_code": "demo"}, "export": {"id_column": "id"}, "state": {"directory": "state"}}
WINDOW: dict[str, Any] = {
    "days": ["mon", "fri"],
    "from": "09:00",
    "to": "18:00",
    "time_zone": "Europe/Berlin",
    "calls_per_minute": 20,
}
VARIABLE = "PROFILE_PIPELINE__WINDOWS"


def load(*windows: Any, env: dict[str, str] | None = None) -> Any:
    overrides: dict[str, Any] = {**REQUIRED, **({"windows": list(windows)} if windows else {})}
    return load_settings(None, env=env or {}, overrides=overrides)


def refusals(*windows: Any, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(FatalError) as caught:
        load(*windows, env=env)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    title, *lines = str(caught.value).splitlines()
    assert title == "the configuration cannot be used:"
    return [line.strip() for line in lines]


def limits_at(settings: Any, text: str) -> Limits:
    return schedule_of(settings.windows).at(datetime.fromisoformat(text).replace(tzinfo=UTC)).limits


def test_what_a_window_says() -> None:
    settings = load(WINDOW, {**WINDOW, "from": "22:00", "to": "06:00", "calls_per_minute": None, "pause": True})
    assert limits_at(settings, "2026-11-23T08:30") == Limits(calls_per_minute=20)
    assert limits_at(settings, "2026-11-24T08:30") == Limits()
    assert limits_at(settings, "2026-11-24T04:30") == Limits(is_paused=True)
    assert limits_at(settings, "2026-11-23T17:30") == Limits()


def test_there_are_none_unless_they_are_set() -> None:
    assert load().windows == ()


def test_a_whole_day() -> None:
    settings = load({**WINDOW, "from": "00:00", "to": "24:00"})
    assert limits_at(settings, "2026-11-22T23:00") == Limits(calls_per_minute=20)
    assert limits_at(settings, "2026-11-23T22:59") == Limits(calls_per_minute=20)
    assert limits_at(settings, "2026-11-23T23:00") == Limits()


def test_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(show(load(WINDOW)))
    assert "[[windows]]" in file.read_text()
    assert load_settings(file, env={}) == load(WINDOW)
    other = {**WINDOW, "to": "17:00"}
    assert load_settings(file, env={VARIABLE: orjson.dumps([other]).decode()}) == load(other)
    assert load_settings(file, env={VARIABLE: "[]"}).windows == ()


def test_they_belong_to_what_the_digest_is_of() -> None:
    assert len({config_digest(each) for each in (load(), load(WINDOW), load({**WINDOW, "to": "17:00"}))}) == 3


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("days", [], "must be a list of days, each once, out of mon, tue, wed, thu, fri, sat, sun"),
        ("days", ["mon", "mon"], "must be a list of days"),
        ("days", ["Monday"], "must be a list of days"),
        ("days", "mon", "must be a list of texts"),
        ("from", "24:00", 'must be a time from "00:00" to "23:59"'),
        ("from", "9:00", "must be a time"),
        ("from", "٠9:00", "must be a time"),
        ("from", 9, "must be a text"),
        ("to", "24:01", 'must be a time from "00:00" to "24:00"'),
        ("to", "18:00\n", "must be a time"),
        ("time_zone", "Europe/Berln", "is no time zone that is known here; did you mean Europe/Berlin?"),
        ("time_zone", "../../etc/passwd", 'is no time zone that is known here; names are such as "Europe/Berlin"'),
        ("time_zone", "/etc/localtime", "is no time zone"),
        ("time_zone", "Europe", "is no time zone"),
        ("time_zone", "", "is no time zone"),
        ("time_zone", "a\0b", "is no time zone"),
        ("calls_per_minute", 0, "must be a whole number from 1 to 100000"),
        ("calls_per_minute", True, "no key takes true or false"),
        ("concurrency", 33, "must be a whole number from 1 to 32"),
        ("pause", "yes", "must be true or false"),
        ("pause", 1, "must be true or false"),
    ],
)
def test_what_a_key_cannot_be(key: str, value: object, text: str) -> None:
    (line,) = refusals(WINDOW, {**WINDOW, key: value})
    assert line.startswith(
        f"[[windows]] number 2, {key} = {json.dumps(value, ensure_ascii=False)} (from the command line): "
    )
    assert text in line


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"to": "09:00"}, '`from` and `to` are the same; a whole day is from "00:00" to "24:00"'),
        ({"calls_per_minute": None}, "nothing holds in it: give calls_per_minute, concurrency, or pause = true"),
        ({"calls_per_minute": None, "pause": False}, "nothing holds in it"),
        ({"pause": True}, "pause = true leaves nothing to limit"),
    ],
)
def test_what_does_not_go_together(changed: dict[str, Any], text: str) -> None:
    (line,) = refusals({**WINDOW, **changed})
    assert line.startswith(f"[[windows]] number 1 (from the command line): {text}")


def test_keys_that_lack_or_are_unknown() -> None:
    unknown, lacking = sorted(
        refusals({**WINDOW, "concurrncy": 1}, {key: WINDOW[key] for key in WINDOW if key != "to"})
    )
    assert unknown == (
        "[[windows]] number 1, concurrncy (from the command line): unknown key; did you mean concurrency?"
    )
    assert lacking.startswith("[[windows]] number 2, to (from the command line): is required. When it ends: 18:00")


@pytest.mark.parametrize("text", ["5", "[5]", '{"days": ["mon"]}'])
def test_what_is_no_list_of_tables(text: str) -> None:
    (line,) = refusals(env={VARIABLE: text})
    assert line.endswith(f"(from {VARIABLE}): must be tables of keys, each below a [[windows]] of its own")


def test_what_is_no_json() -> None:
    (line,) = refusals(env={VARIABLE: "[mon"})
    assert line.startswith(f"[[windows]] (from {VARIABLE}): must be JSON")


def test_a_slip_of_the_name(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(show(load(WINDOW)).replace("[[windows]]", "[[window]]"))
    with pytest.raises(FatalError, match=r"window \(from .*\): unknown section; did you mean \[\[windows\]\]\?"):
        load_settings(file, env={})
