"""The problems of a configuration, as a text to act on: one line for each.

A line names the key as the file has it, its value, its origin, and the allowed values. The value of an unknown key is
never shown, nor are credentials in a URL: either may be a secret.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from pydantic_core import ErrorDetails

from pipeline.core.errors import ConfigurationError, FatalError
from pipeline.core.printable import printable, printable_toml
from pipeline.settings.file_advice import lines_to_paste

#: The key of the file's top level that is a list of tables; all others are tables of keys.
WINDOWS = "windows"
#: The section in which all keys but a few are names of columns.
MAPPING = "mapping"
#: The keys of [notify] whose values may be secrets, or hold one that was put where its file belongs.
_SECRETS_OF_NOTIFY = ("webhook", "webhook_file", "secret_file", "heartbeat_url")
#: Characters of a value that a message shows.
MAX_SHOWN = 80
#: The least likeness (0 to 1) for a variable to be suggested: the names of sections are alike already.
ALIKE_VARIABLE = 0.75
#: The least likeness (0 to 1) for a key of another section to be suggested.
ALIKE_ELSEWHERE = 0.85


class Problems:
    """The problems of one configuration.

    `describe`: gives the JSON schema of each section by its name. It is only called if there is a problem: a valid
    configuration does not wait for the schema.
    """

    def __init__(self, describe: Callable[[], Mapping[str, Mapping[str, Any]]], env_prefix: str) -> None:
        self.lines: list[str] = []
        self._describe = describe
        self._env_prefix = env_prefix
        #: Required keys without a value, and the sections that a source has.
        self._missing: dict[tuple[str, str], None] = {}
        self._present: set[str] = set()

    @cached_property
    def variables(self) -> dict[str, str]:
        """Name of an environment variable -> its key as TOML has it."""
        return {
            self._variable(section, key): f"[{section}] {key}"
            for section, content in self._sections.items()
            if section != WINDOWS
            for key in content["properties"]
        } | {f"{self._env_prefix}{WINDOWS.upper()}": f"[[{WINDOWS}]]"}

    @cached_property
    def _sections(self) -> Mapping[str, Mapping[str, Any]]:
        return self._describe()

    def add(self, where: str, origin: str | None, text: str) -> None:
        """Add a problem.

        `where`: the key, with its value.
        `origin`: the file or variable that set it, or None.
        `text`: the advice.
        """
        self.lines.append(printable(f"{where}{f' (from {origin})' if origin else ''}: {text}"))

    @contextmanager
    def within(self, where: str) -> Iterator[None]:
        """Put `where` in front of the problems that are added in this context."""
        known = len(self.lines)
        yield
        self.lines[known:] = [f"{where}: {line}" for line in self.lines[known:]]

    def add_unknown_section(self, name: str, origin: str) -> None:
        """Add the problem of a name on the file's top level that is no section."""
        names = {section: f"[[{section}]]" if section == WINDOWS else f"[{section}]" for section in self._sections}
        meant = self._key_elsewhere(name) or _quoted([names[each] for each in get_close_matches(name, names, 1)], "{}")
        sections = ", ".join(names.values())
        self.add(name, origin, f"unknown section; {_did_you_mean(meant, f'there are {sections}')}")

    def add_unknown_variable(self, name: str) -> None:
        """Add the problem of an environment variable that has the prefix and names no key."""
        # Without the prefix, which is alike in all.
        short = {variable.removeprefix(self._env_prefix): variable for variable in self.variables}
        alike = get_close_matches(name.upper().removeprefix(self._env_prefix), short, 1, ALIKE_VARIABLE)
        meant = _quoted([short[each] for each in alike], "{}")
        self.add(
            name,
            "the environment",
            f"names no key; {_did_you_mean(meant, f'names are {self._env_prefix}SECTION__KEY')}",
        )

    def add_refused(self, detail: ErrorDetails, origins: Mapping[tuple[str, str], str]) -> None:
        """Add a problem that validation found. `origins`: (section, key) -> origin of the value."""
        if detail["loc"][0] == WINDOWS:
            self._add_refused_window(detail, origins.get((WINDOWS, "")))
            return
        if detail["loc"][0] == MAPPING:
            self._add_refused_mapping(detail, origins)
            return
        section, *keys = map(str, detail["loc"])
        if not keys:
            self.add(f"[{section}]", None, str(detail.get("ctx", {}).get("error") or "must be a table of keys"))
            return
        key, *rest = keys
        where = f"[{section}] {key}" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)
        origin = origins.get((section, key))
        content = self._sections[section]
        if detail["type"] == "extra_forbidden":
            self.add(where, origin, f"unknown key; {self._known_key(section, key)}")
        elif key in content.get("required", []) and (detail["type"] == "missing" or not detail["input"]):
            what = content["properties"][key]["description"].removeprefix("Required. ")
            self.add(where, origin, f"is required, also as {self._variable(section, key)}. {what}")
            self._missing[section, key] = None
            self._present.update(section for section, _ in origins)
        else:
            shown = _shown(section, key, detail["input"])
            meant = _choice_meant(content["properties"][key], detail["input"])
            own_text = detail.get("ctx", {}).get("error") if detail["type"] == "value_error" else None
            allowed = str(own_text or f"must be {_allowed(content['properties'][key])}")
            self.add(f"{where} = {shown}", origin or "the default", allowed + meant)

    def _add_refused_window(self, detail: ErrorDetails, origin: str | None) -> None:
        _, *where = detail["loc"]
        own_text = detail.get("ctx", {}).get("error")
        if len(where) < 2:
            title = f"[[{WINDOWS}]]{f' number {int(where[0]) + 1}' if where else ''}"
            self.add(title, origin, str(own_text or f"must be tables of keys, each below a [[{WINDOWS}]] of its own"))
            return
        number, key = int(where[0]) + 1, str(where[1])
        title, properties = f"[[{WINDOWS}]] number {number}, {key}", self._sections[WINDOWS]["properties"]
        if detail["type"] == "extra_forbidden":
            meant = _quoted(get_close_matches(key, properties, 1), "{}")
            there_are = f"there are {', '.join(properties)}"
            self.add(title, origin, f"unknown key; {_did_you_mean(meant, there_are)}")
        elif detail["type"] == "missing":
            self.add(title, origin, f"is required. {properties[key]['description'].removeprefix('Required. ')}")
        else:
            shown = _shown(WINDOWS, key, detail["input"])
            self.add(f"{title} = {shown}", origin, str(own_text or f"must be {_allowed(properties[key])}"))

    def _add_refused_mapping(self, detail: ErrorDetails, origins: Mapping[tuple[str, str], str]) -> None:
        _, *where = map(str, detail["loc"])
        own_text = detail.get("ctx", {}).get("error")
        if not where:
            self.add(f"[{MAPPING}]", None, str(own_text))
            return
        column, *rest = where
        origin, content = origins.get((MAPPING, column)), self._sections[MAPPING]
        is_column = column not in content["properties"]
        title = _title_of_mapping(column, rest, is_column=is_column)
        keys = content["$columns"]["properties"] if is_column else content["properties"]
        if is_column and detail["type"] == "extra_forbidden":
            meant = _quoted(get_close_matches(rest[-1], keys, 1), "{}")
            there_are = f"there are {', '.join(keys)}"
            self.add(title, origin, f"unknown key; {_did_you_mean(meant, there_are)}")
            return
        key = rest[0] if is_column and rest else column
        meant = _choice_meant(keys[key], detail["input"]) if key in keys else ""
        allowed = str(own_text or (f"must be {_allowed(keys[key])}" if key in keys else detail["msg"]))
        if column in content["properties"] and column != "examples" and detail["type"] != "value_error":
            allowed += f" (a column named {column!r} cannot be mapped: give it another name in the export)"
        shown = "" if own_text and not rest else f" = {_shown(MAPPING, key, detail['input'])}"
        self.add(f"{title}{shown}", origin, f"{allowed}{meant}")

    def as_error(self) -> FatalError:
        """All problems as one error, in the order in which they were found."""
        text = "\n".join(["the configuration cannot be used:", *(f"  {line}" for line in self.lines)])
        return ConfigurationError(text, example="\n".join(lines_to_paste(list(self._missing), self._present)))

    def _variable(self, section: str, key: str) -> str:
        return f"{self._env_prefix}{section.upper()}__{key.upper()}"

    def _known_key(self, section: str, key: str) -> str:
        own = self._sections[section]["properties"]
        meant = _quoted(get_close_matches(key, own, 1), "{}") or self._key_elsewhere(key)
        return _did_you_mean(meant, f"there are {', '.join(own)}")

    def _key_elsewhere(self, key: str) -> str | None:
        names = {
            name: f"[{section}] {name}"
            for section, content in self._sections.items()
            if section != WINDOWS
            for name in content["properties"]
        }
        return _quoted([names[name] for name in get_close_matches(key, names, 1, ALIKE_ELSEWHERE)], "{}")


def _title_of_mapping(column: str, rest: list[str], *, is_column: bool) -> str:
    if not is_column:
        return f"[{MAPPING}] {column}" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)
    name = column if re.fullmatch("[A-Za-z0-9_-]+", column) else printable_toml(column)
    return f"[{MAPPING}.{name}]" + "".join(f" {part}" for part in rest[:1])


def _choice_meant(key: Mapping[str, Any], value: object) -> str:
    """The hint at the likeliest of the values that a key allows; empty if none is alike."""
    choices = [str(choice) for choice in key.get("enum", ()) if choice != value]
    meant = get_close_matches(value.lower(), choices, 1) if isinstance(value, str) else []
    return f"; did you mean {json.dumps(meant[0])}?" if meant else ""


def _quoted(matches: list[str], form: str) -> str | None:
    return form.format(matches[0]) if matches else None


def _did_you_mean(meant: str | None, otherwise: str) -> str:
    return f"did you mean {meant}?" if meant else otherwise


def _shown(section: str, key: str, value: object) -> str:
    if key == "token_file" or (section == "notify" and key in _SECRETS_OF_NOTIFY):
        value = "***" if value else ""
    elif section == "target":
        value = _without_credentials(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _without_credentials(url: object) -> object:
    if not isinstance(url, str):
        return "***" if "@" in str(url) else url
    before, at, after = url.rpartition("@")
    address, query, _ = after.partition("?")
    return ("***@" if at else before) + address + ("?***" if query else "")


def _allowed(key: Mapping[str, Any]) -> str:
    """The values that the JSON schema of a key allows, in words."""
    if "enum" in key:
        return "one of " + ", ".join(json.dumps(value) for value in key["enum"])
    if "pattern" in key:
        return f"text of 1 to {key['maxLength']} characters out of {key['pattern'].strip('^+$')}"
    if key.get("type") in ("integer", "number"):
        kind = "a whole number" if key["type"] == "integer" else "a number"
        low = f"above {key['exclusiveMinimum']}," if "exclusiveMinimum" in key else f"from {key['minimum']}"
        high = str(key["maximum"]).removesuffix(".0")
        return f"{kind} {low} {'up ' if low.endswith(',') else ''}to {high}"
    most = f" of at most {key['maxLength']} characters" if "maxLength" in key else ""
    return {"array": "a list of texts", "object": "a table of texts"}.get(str(key.get("type")), f"a text{most}")
