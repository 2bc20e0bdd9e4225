"""The settings of a configuration, read from the command line over the environment over the file over the defaults.

`Settings` is frozen, knows every key with its bounds and its reason, and refuses unknown keys. It reads nothing by
itself; `load_settings` does. `config/default.toml` shows all keys. `routes` makes the settings of routes.
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pipeline.core.errors import ConfigurationError
from pipeline.core.printable import printable_toml
from pipeline.settings.file_advice import of_missing, of_no_toml
from pipeline.settings.file_text import text_of
from pipeline.settings.problems import MAPPING, WINDOWS, Problems
from pipeline.settings.sections.drop import DropSettings
from pipeline.settings.sections.engine import (
    BatchSettings,
    ServiceSettings,
    SettleSettings,
    StateSettings,
    TargetSettings,
    TrackerSettings,
    UploadSettings,
)
from pipeline.settings.sections.expect import ExpectSettings
from pipeline.settings.sections.export import ExportSettings
from pipeline.settings.sections.guard import GuardSettings
from pipeline.settings.sections.mapping import ColumnMapping, MappingSettings
from pipeline.settings.sections.memory import MemorySettings
from pipeline.settings.sections.notify import NotifySettings, with_masked_urls
from pipeline.settings.sections.verify import VerifySettings
from pipeline.settings.sections.web import WebSettings
from pipeline.settings.sections.windows import WindowSettings

ENV_PREFIX = "PROFILE_PIPELINE__"
#: The key of the file's top level for routes: a list of tables, each with a name and sections of its own.
ROUTES = "routes"


class Settings(BaseModel):
    """All sections. It takes what it is given and reads no environment by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    target: TargetSettings
    export: ExportSettings
    batch: BatchSettings = Field(default_factory=BatchSettings)
    tracker: TrackerSettings = Field(default_factory=TrackerSettings)
    upload: UploadSettings = Field(default_factory=UploadSettings)
    settle: SettleSettings = Field(default_factory=SettleSettings)
    drop: DropSettings = Field(default_factory=DropSettings)
    state: StateSettings
    service: ServiceSettings = Field(default_factory=ServiceSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    mapping: MappingSettings = Field(default_factory=MappingSettings)
    memory: MemorySettings = Field(default_factory=MemorySettings)
    guard: GuardSettings = Field(default_factory=GuardSettings)
    expect: ExpectSettings = Field(default_factory=ExpectSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    windows: tuple[WindowSettings, ...] = ()

    @field_validator("mapping")
    @classmethod
    def _check_mapping(cls, mapping: MappingSettings, info: ValidationInfo) -> MappingSettings:
        export = info.data.get("export")
        if export is not None and (problems := mapping.problems(export)):
            raise ValueError("; ".join(problems))
        return mapping

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, memory: MemorySettings, info: ValidationInfo) -> MemorySettings:
        export, mapping = info.data.get("export"), info.data.get("mapping")
        if export is not None and mapping is not None and (problems := memory.problems(export, mapping)):
            raise ValueError("; ".join(problems))
        return memory

    @property
    def outcome_directory(self) -> Path:
        """The directory for the folders of jobs."""
        return self.drop.outcome_directory or self.state.directory / "jobs"


@dataclass(slots=True)
class Said:
    """The contents of all sources, overlaid.

    `problems`: those found so far.
    `overrides`: from the command line; they override everything.
    `values`: section -> its keys and values.
    `origins`: (section, key) -> the source of the value.
    `routes`: the tables of routes, as they are in the source `routes_origin`.
    """

    problems: Problems
    overrides: Mapping[str, Any]
    values: dict[str, Any]
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    routes: list[Any] = field(default_factory=list)
    routes_origin: str = ""


def load_settings(
    file: Path | None, *, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of the file's top level, overridden by `env` (default: the process's environment) and `overrides`.

    `overrides` has the shape of the file: `{"target": {"client_code": "demo"}}`. A value replaces the one below it as a
    whole, lists and tables too. Raises `FatalError` (78) with all problems.
    """
    return settings_of(read_sources(file, env, overrides))


def read_sources(file: Path | None, env: Mapping[str, str] | None, overrides: Mapping[str, Any] | None) -> Said:
    """Read file, environment and overrides; `env` None is the process's environment."""
    problems = Problems(_schema_by_section, ENV_PREFIX)
    layers = [
        *([(str(file), _from_file(file))] if file else []),
        *_from_environment(os.environ if env is None else env, problems),
        ("the command line", overrides or {}),
    ]
    said = Said(problems, overrides or {}, {section: {} for section in Settings.model_fields if section != WINDOWS})
    for origin, layer in layers:
        for section, keys in layer.items():
            if section == ROUTES:
                said.routes, said.routes_origin = keys, origin
            elif section == WINDOWS:
                said.values[WINDOWS], said.origins[WINDOWS, ""] = keys, origin
            elif section not in said.values:
                problems.add_unknown_section(section, origin)
            elif not isinstance(keys, Mapping):
                problems.add(f"[{section}]", origin, "must be a table of keys")
            else:
                said.values[section].update(keys)
                said.origins.update(dict.fromkeys([(section, key) for key in keys], origin))
    return said


def settings_of(said: Said) -> Settings:
    """The settings of the top level. Raises `FatalError` (78) with all problems."""
    problems = said.problems
    try:
        settings = Settings.model_validate(said.values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problems.add_refused(detail, said.origins)
        raise problems.as_error() from error
    if problems.lines:
        raise problems.as_error()
    return settings


def _schema_by_section() -> dict[str, dict[str, Any]]:
    definitions = schema()["$defs"]
    names = {section: field.annotation for section, field in Settings.model_fields.items()}
    names[WINDOWS] = WindowSettings
    sections = {section: definitions[name.__name__] for section, name in names.items() if name is not None}
    sections[MAPPING]["$columns"] = definitions[ColumnMapping.__name__]
    return sections


def _from_file(file: Path) -> dict[str, Any]:
    try:
        if not file.exists() or file.is_dir():
            raise ConfigurationError(f"there is no configuration file {file}; {of_missing(file)}")
        said = tomllib.loads(text_of(file))
    except OSError as error:
        text = f"the configuration file {file} cannot be read: {error.strerror}"
        raise ConfigurationError(text) from error
    except (ValueError, RecursionError) as error:  # of TOML, and of UTF-8 below it
        text = f"the configuration file {file} is not valid TOML: {error}{of_no_toml(file)}"
        raise ConfigurationError(text) from error
    sections: dict[str, Any] = {}
    for name, keys in said.items():
        # A section's name may be in capitals; if it is there in two spellings, the first counts.
        sections.setdefault(name.lower() if name.lower() in Settings.model_fields else name, keys)
    return sections


def _from_environment(env: Mapping[str, str], problems: Problems) -> list[tuple[str, dict[str, Any]]]:
    """Each variable as a layer of its own, so that a problem can name it. A variable that names no key is a problem."""
    names = sorted(name for name in env if name.upper().startswith(ENV_PREFIX))
    if not names:
        return []
    # Imported late: most loads by hand set no variable, and need not wait for pydantic-settings.
    from pipeline.settings.environment import NotJsonError, Variables

    variables = Variables(Settings, ENV_PREFIX)
    layers = []
    for name in names:
        if name not in problems.variables:
            problems.add_unknown_variable(name)
            continue
        try:
            layers.append((name, variables.read(name, env[name])))
        except NotJsonError:
            problems.add(problems.variables[name], name, 'must be JSON, such as ["a", "b"] or {"a": "b"}')
    return layers


def show(settings: Settings) -> str:
    """The effective configuration as TOML that `load_settings` can read back.

    It holds no secret: the token is only in its file, a URL with credentials is refused, and those of [notify] are
    masked.
    """
    sections = with_masked_urls(settings.model_dump(mode="json"))
    del sections[WINDOWS]
    tables = [
        *((f"[{name}]", keys) for name, keys in sections.items()),
        *((f"[[{WINDOWS}]]", keys) for keys in shown_windows(settings)),
    ]
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {as_toml(value)}\n" for key, value in keys.items()) for title, keys in tables
    )


def shown_windows(settings: Settings) -> list[dict[str, Any]]:
    """The windows as tables of the keys that are set."""
    windows = settings.model_dump(mode="json")[WINDOWS]
    return [{key: value for key, value in keys.items() if value is not None} for keys in windows]


def as_toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    # An unset path is an empty text.
    return printable_toml(value or "") if value is None or isinstance(value, str) else json.dumps(value)


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, with unit and reason of each key as its description."""
    return Settings.model_json_schema()


def config_digest(settings: Settings) -> str:
    """The SHA-256 of the effective configuration, in hexadecimal; the origin of the values makes no difference."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
