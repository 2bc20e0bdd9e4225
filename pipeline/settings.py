"""What a configuration may hold, and how it is read: command line over environment over file over defaults.

`Settings` is frozen, knows every key with its bounds and its reason, and refuses unknown keys. It reads
nothing by itself; `load_settings` does, through the sources of pydantic-settings. `config/default.toml` shows
all keys.
"""

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pipeline.core.allowance import ALLOWANCE_PATTERN, Allowance
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.mapping import parameter_name_problem
from pipeline.settings_errors import Problems

ENV_PREFIX = "PROFILE_PIPELINE__"

#: Bytes of one POST body; Adobe asks for "less than 50 MB", read as 50,000,000.
TARGET_MAX_BYTES = 49_999_999
#: Data rows of one batch, header excluded; Adobe's documented limit.
TARGET_MAX_ROWS = 500_000
#: Calls per minute of all senders of a client code above which Target answers 503; Adobe's documentation.
TARGET_CALLS_PER_MINUTE = 50
#: Seconds in a day and a week: upper bounds of durations, against a slip of the unit.
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
#: `*` in the first label only, and two whole labels after it: fewer would allow hosts of anybody.
_HOST_PATTERN = re.compile(rf"(?=.{{1,253}}\Z)[a-z0-9_*-]{{1,63}}(?:\.{_LABEL})+\.(?=[a-z0-9-]*[a-z]){_LABEL}")
_BASE_URL_RULE = (
    "must be https://HOST or https://HOST:PORT, without path, query or credentials; "
    "http:// only for this machine (127.0.0.0/8, ::1, localhost)"
)
_STATUS_HOST_RULE = (
    "must be HOST or HOST:PORT; HOST may hold * inside its first label, "
    "with at least two more labels after it (*.example.com), as fewer would allow any host"
)


def is_loopback(host: str) -> bool:
    """Whether the host can only be this machine: localhost, 127.0.0.0/8 or ::1 (without brackets)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    if ":" in host:
        return ipaddress.IPv6Address(host) is not None
    return _HOST.fullmatch(host) is not None


def _host_and_port(parts: SplitResult) -> str:
    host = parts.hostname or ""
    port = parts.port
    if parts.username is not None or parts.password is not None or port == 0 or parts.query or parts.fragment:
        raise ValueError("not only a host and a port")
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def _base_url(text: str) -> str:
    if not text:
        return text
    try:
        parts = urlsplit(text)
        url = f"{parts.scheme}://{_host_and_port(parts)}"
        known = _is_host(parts.hostname or "") and parts.path in ("", "/")
    except ValueError:
        raise ValueError(_BASE_URL_RULE) from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    # urlsplit drops some blanks and an empty query without a word; the comparison does not.
    if not (known and secure and text.lower() in (url, f"{url}/")):
        raise ValueError(_BASE_URL_RULE)
    return url


def _status_host(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        entry = _host_and_port(parts)
        host = parts.hostname or ""
        known = _HOST_PATTERN.fullmatch(host) is not None if "*" in host else _is_host(host)
    except ValueError:
        raise ValueError(_STATUS_HOST_RULE) from None
    if not known or entry != text.lower():
        raise ValueError(_STATUS_HOST_RULE)
    return entry


def _path(value: object) -> object:
    """Text that can name a file; a token put where its file belongs is refused, as paths are shown."""
    text = str(value)
    if "\0" in text or "\n" in text or text.startswith("Bearer ") or (len(text) > 100 and "/" not in text):
        raise ValueError("must be the path of a file or directory, not what is in it")
    return value or None


def _allowance(value: Any) -> Allowance:
    return value if isinstance(value, Allowance) else Allowance.parse(value)


AllowanceText = Annotated[
    Allowance,
    NoDecode,
    PlainValidator(_allowance),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^({ALLOWANCE_PATTERN})$"}]}),
]


class Section(BaseModel):
    """What all sections have in common: frozen, no unknown key, no infinite number, defaults checked too."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("no key takes true or false")  # which would else count as 1 and 0
        return value


class TargetSettings(Section):
    """Where batches go, and how often Target may be called."""

    client_code: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$",
        max_length=63,
        description="Required. Target's name for your account, in its host name and in each path.",
    )
    api_version: Literal["v1", "v2"] = Field(
        "v2",
        description="v2 creates missing profiles and counts rows; v1 updates existing profiles only.",
    )
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        "",
        description="Scheme, host and port to send to; empty: https://CLIENTCODE.tt.omtrdc.net. "
        "Plain http is for loopback only, since rows and token would be readable on the way.",
    )
    status_hosts: tuple[Annotated[str, AfterValidator(_status_host)], ...] = Field(
        ("mboxedge*.tt.omtrdc.net",),
        description="Hosts, or hosts with ports, that a status URL may name besides base_url's own: "
        "Target answers with a URL on another host, and the token follows only to these.",
    )
    token_file: Annotated[Path | None, BeforeValidator(_path)] = Field(
        None,
        description="Path of the file with the bearer token, needed if Target requires "
        "authentication; empty: no token. It is read again when refused, so a new token needs no restart.",
    )
    calls_per_minute: int = Field(
        45,
        ge=1,
        le=100_000,
        description="Calls per minute, POSTs and status GETs together. Target allows 50 to all senders "
        "of a client code and answers 503 above; the rest is left to others. More is for the sandbox only.",
    )

    @property
    def url(self) -> str:
        """Scheme, host and port of Target, without a slash at the end."""
        return self.base_url or f"https://{self.client_code}.tt.omtrdc.net"


class ExportSettings(Section):
    """How an export is read, and what of it is sent."""

    id_column: str = Field(
        min_length=1, description="Required. Name of the column that holds the profile id, as in the header."
    )
    id_kind: Literal["thirdPartyId", "pcId"] = Field(
        "thirdPartyId",
        description="Kind of the ids: thirdPartyId (mbox3rdPartyId on pages) or pcId (Target's own).",
    )
    columns: dict[str, str] = Field(
        default={},
        description="Source column = parameter name; Target shows the parameter tier as profile.tier.",
    )
    unlisted: Literal["stop", "ignore", "send"] = Field(
        "stop",
        description="A column that is not in `columns`: stop (nobody decided that it may leave the house), "
        "ignore, or send under its own name.",
    )
    delimiter: Literal["auto", ",", ";", "\t", "|"] = Field(
        "auto", description="Character between cells; auto finds it in the header line."
    )
    on_delimiter: Literal["encode", "replace", "reject"] = Field(
        "encode",
        description="A comma or line break inside a value: encode it (%2C, %0A), replace it, or reject "
        "the row. Nobody has published whether Target decodes before it splits rows.",
    )
    replacement: str = Field(
        " ", max_length=64, description="Text put for a comma or line break when on_delimiter is replace."
    )
    max_rejects: AllowanceText = Field(
        Allowance(percent=1.0),
        json_schema_extra={"default": "1%"},
        description="Rejected rows tolerated before the export is given up: a percentage, judged from "
        "10,000 rows on and at the end, or a count of rows, judged at once.",
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        problems = []
        source_of: dict[str, str] = {}
        for source, name in columns.items():
            if problem := parameter_name_problem(name):
                problems.append(f"{name!r} cannot be a parameter name: it {problem}")
            if name in source_of:
                problems.append(f"{source_of[name]!r} and {source!r} both go to {name!r}, which can hold one value")
            source_of[name] = source
        if problems:
            raise ValueError("; ".join(problems))
        return columns

    @field_validator("replacement")
    @classmethod
    def _check_replacement(cls, text: str) -> str:
        if set(text) & set(",\r\n\0"):
            raise ValueError("must hold no comma, line break or NUL, as it stands in for them")
        return text


class BatchSettings(Section):
    """When a batch is full: whichever cap is reached first."""

    max_bytes: int = Field(
        TARGET_MAX_BYTES,
        ge=1_024,
        le=TARGET_MAX_BYTES,
        description="Bytes of a POST's body, header included; Target takes less than 50,000,000.",
    )
    max_rows: int = Field(
        TARGET_MAX_ROWS,
        ge=1,
        le=TARGET_MAX_ROWS,
        description="Data rows of a batch, header excluded; Target takes 500,000.",
    )


class TrackerSettings(Section):
    """How much may wait in memory because its profile id is in flight."""

    held_max_rows: int = Field(
        1_000_000,
        ge=1,
        le=100_000_000,
        description="Held rows; above it the reader waits, so that memory stays bounded.",
    )
    held_max_bytes: int = Field(
        134_217_728,
        ge=1_024,
        le=17_179_869_184,
        description="Bytes of held rows; above it the reader waits, so that memory stays bounded.",
    )


class UploadSettings(Section):
    """How batches are sent, and when sending one is given up."""

    concurrency: int = Field(
        4, ge=1, le=32, description="POSTs at once; more helps only where one upload does not fill the line."
    )
    attempts: int = Field(
        8,
        ge=1,
        le=100,
        description="Ambiguous attempts per batch; throttling, no connection and 401/403 use none of them.",
    )
    backoff_s: float = Field(
        1.0,
        gt=0,
        le=3_600,
        description="Seconds; longest wait before the first repeat, then doubling; drawn at random below.",
    )
    backoff_max_s: float = Field(
        120.0, gt=0, le=DAY_S, description="Seconds; the longest wait between repeats, at least backoff_s."
    )
    min_rate_bytes_s: int = Field(
        100_000,
        ge=1_000,
        le=1_000_000_000,
        description="Bytes per second an upload must reach: a POST may take its size over this, plus 30 s.",
    )
    give_up_after_s: float = Field(
        21_600.0,
        gt=0,
        le=30 * DAY_S,
        description="Seconds Target may be unavailable before load and --drain end with exit code 69; "
        "serve goes on waiting.",
    )

    @field_validator("backoff_max_s")
    @classmethod
    def _not_below_first(cls, longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get("backoff_s", 0):
            raise ValueError("must not be less than backoff_s")
        return longest


class SettleSettings(Section):
    """How the outcome of accepted batches is learnt."""

    poll_first_s: float = Field(
        5.0,
        gt=0,
        le=3_600,
        description="Seconds to a batch's first status GET, then doubling; each costs a call of the budget.",
    )
    poll_max_s: float = Field(
        300.0,
        gt=0,
        le=DAY_S,
        description="Seconds; the longest wait between status GETs, at least poll_first_s.",
    )
    deadline_s: float = Field(
        DAY_S,
        gt=0,
        le=WEEK_S,
        description="Seconds after which an accepted batch without outcome is unconfirmed; Target keeps "
        "statuses for 24 hours.",
    )
    ambiguous_hold_s: float = Field(
        3_600.0,
        gt=0,
        le=WEEK_S,
        description="Seconds the ids of a batch that Target may still apply are kept back, since an old copy "
        "applied late would win over newer values; usually Target applies within an hour.",
    )
    status_window: int = Field(
        10,
        ge=1,
        le=1_000,
        description="POSTs from the oldest unsettled batch on, itself counted; Target may forget the "
        "statuses of all but the last 10, and a forgotten batch ends unconfirmed.",
    )
    max_lost: AllowanceText = Field(
        Allowance(percent=0.1),
        json_schema_extra={"default": "0.1%"},
        description="Failed and unconfirmed rows tolerated before a job ends with exit code 76: a percentage "
        "or a count of rows. Adobe does not promise the last 0.1 % of a large batch.",
    )

    @field_validator("poll_max_s")
    @classmethod
    def _not_below_first(cls, longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get("poll_first_s", 0):
            raise ValueError("must not be less than poll_first_s")
        return longest


class StateSettings(Section):
    """Where the program keeps what must outlive it."""

    directory: Annotated[Path, BeforeValidator(_path)] = Field(
        description="Required. Directory for ledger, spool, jobs and requests; its disk must outlive the container."
    )
    min_free_bytes: int = Field(
        2_147_483_648,
        ge=0,
        le=2**50,
        description="Bytes that must stay free on the state directory's disk; below it nothing new is begun.",
    )


class Settings(BaseSettings):
    """All sections. It takes what it is given and reads no environment by itself."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_nested_max_split=1,
    )

    target: TargetSettings
    export: ExportSettings
    batch: BatchSettings = Field(default_factory=BatchSettings)
    tracker: TrackerSettings = Field(default_factory=TrackerSettings)
    upload: UploadSettings = Field(default_factory=UploadSettings)
    settle: SettleSettings = Field(default_factory=SettleSettings)
    state: StateSettings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments: `load_settings` lays the sources over one another, to tell whose a value is."""
        return (init_settings,)


def load_settings(
    file: Path | None, *, env: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of the file, with `env` (default: the process's environment) and then `overrides` over it.

    `overrides` has the shape of the file: `{"target": {"client_code": "demo"}}`. A value replaces the one
    below it whole, lists and tables too. All that is wrong comes in one `FatalError` with exit code 78.
    """
    problems = Problems(_schema_by_section(), ENV_PREFIX)
    layers = [
        *([(str(file), _from_file(file))] if file else []),
        *_from_environment(os.environ if env is None else env, problems),
        ("the command line", overrides or {}),
    ]
    values: dict[str, dict[str, Any]] = {section: {} for section in Settings.model_fields}
    origins: dict[tuple[str, str], str] = {}
    for origin, layer in layers:
        for section, keys in layer.items():
            if section not in values:
                problems.add_unknown_section(section, origin)
            elif not isinstance(keys, Mapping):
                problems.add(f"[{section}]", origin, "must be a table of keys")
            else:
                values[section].update(keys)
                origins.update(dict.fromkeys([(section, key) for key in keys], origin))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problems.add_refused(detail, origins)
        raise problems.as_error() from error
    if problems.lines:
        raise problems.as_error()
    return settings


def _schema_by_section() -> dict[str, dict[str, Any]]:
    definitions = schema()["$defs"]
    names = {section: field.annotation for section, field in Settings.model_fields.items()}
    return {section: definitions[name.__name__] for section, name in names.items() if name is not None}


def _from_file(file: Path) -> dict[str, Any]:
    try:
        # The source of pydantic-settings takes a missing file for an empty one.
        if not file.is_file():
            raise FatalError(
                f"there is no configuration file {file}; name one with --config",
                exit_code=ExitCode.CONFIGURATION,
            )
        return TomlConfigSettingsSource(Settings, file)()
    except OSError as error:
        text = f"the configuration file {file} cannot be read: {error.strerror}"
        raise FatalError(text, exit_code=ExitCode.CONFIGURATION) from error
    except ValueError as error:  # of TOML, and of UTF-8 below it
        text = f"the configuration file {file} is not valid TOML: {error}"
        raise FatalError(text, exit_code=ExitCode.CONFIGURATION) from error


def _from_environment(env: Mapping[str, str], problems: Problems) -> list[tuple[str, dict[str, Any]]]:
    """Each variable as a layer of its own, so that a problem can name it; a name without key is a problem."""
    source = EnvSettingsSource(Settings)
    layers = []
    for name in sorted(name for name in env if name.upper().startswith(ENV_PREFIX)):
        if name not in problems.variables:
            problems.add_unknown_variable(name)
            continue
        source.env_vars = {name.lower(): env[name]}
        try:
            layers.append((name, source()))
        except SettingsError:
            problems.add(problems.variables[name], name, 'must be JSON, such as ["a", "b"] or {"a": "b"}')
    return layers


def show(settings: Settings) -> str:
    """The effective configuration as TOML that `load_settings` reads back.

    It holds no secret: the token is only in its file, and a URL with credentials is refused.
    """
    sections = settings.model_dump(mode="json").items()
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key} = {_as_toml(value)}\n" for key, value in keys.items())
        for section, keys in sections
    )


def _as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_as_toml(key)} = {_as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    # A JSON text is a TOML text but for DEL, which TOML wants escaped; an unset path is an empty text.
    return json.dumps("" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def schema() -> dict[str, Any]:
    """JSON schema of the configuration, with unit and reason of each key as its description."""
    return Settings.model_json_schema()


def config_digest(settings: Settings) -> str:
    """SHA-256 in hex of the effective configuration, the same for the same values wherever they came from."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
