"""The sections of a configuration: every key with its default, its bounds, its unit and its reason."""

import codecs
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from pipeline.core.drop.signals import is_temporary
from pipeline.core.rows.allowance import ALLOWANCE_PATTERN, Allowance
from pipeline.core.rows.header import parameter_name_problem
from pipeline.core.target.hosts import checked_base_url, checked_status_host

#: Bytes of one POST body; Adobe asks for "less than 50 MB", read as 50,000,000.
TARGET_MAX_BYTES = 49_999_999
#: Data rows of one batch, header excluded; Adobe's documented limit.
TARGET_MAX_ROWS = 500_000
#: Calls per minute of all senders of a client code above which Target answers 503; Adobe's documentation.
TARGET_CALLS_PER_MINUTE = 50
#: Seconds of a day and of a week: upper bounds of durations, in case of a wrong unit.
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


def _path(value: object) -> object:
    """A path as given, or None for an empty one.

    Refuses a text that cannot name a file, such as a token put where its file belongs: paths are shown, tokens are not.
    """
    text = str(value)
    if "\0" in text or "\n" in text or text.startswith("Bearer ") or (len(text) > 100 and "/" not in text):
        raise ValueError("must be the path of a file or directory, not what is in it")
    return value or None


def _expiry(value: object) -> object:
    return value or None


def _allowance(value: Any) -> Allowance:
    return value if isinstance(value, Allowance) else Allowance.parse(value)


AllowanceText = Annotated[
    Allowance,
    PlainValidator(_allowance),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^({ALLOWANCE_PATTERN})$"}]}),
]


#: The largest status window. Ours: far more than is ever learned.
MAX_STATUS_WINDOW = 1_000


def _status_window(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    text = str(value) if isinstance(value, int | str) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_STATUS_WINDOW):
        raise ValueError(f'must be a whole number from 1 to {MAX_STATUS_WINDOW}, or "auto"')
    return int(text)


StatusWindowSize = Annotated[
    int | Literal["auto"],
    PlainValidator(_status_window),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_STATUS_WINDOW}, {"const": "auto"}]}),
]


#: The context in which the settings are validated with which a job began: names that are refused by now are judged
#: when its header is read, and fail that job only.
OF_A_JOB = "settings of a job"


class Section(BaseModel):
    """The base of all sections: it is frozen, refuses unknown keys, and checks defaults too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: object, info: ValidationInfo) -> object:
        field = info.field_name and cls.model_fields.get(info.field_name)
        if isinstance(value, bool) and not (field and field.annotation is bool):
            raise ValueError("no key takes true or false")  # which would else count as 1 and 0
        return value


#: Codecs of Python that turn text into text of another kind, and are no encodings of a file.
_NO_ENCODINGS = frozenset(["charmap", "idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"])


def _encoding(name: str) -> str:
    """Refuse a name that is no text encoding of Python."""
    if name == "auto":
        return name
    try:
        found = codecs.lookup(name)
        is_text = found._is_text_encoding and found.name not in _NO_ENCODINGS
    except (LookupError, ValueError, UnicodeError):
        is_text = False
    if not is_text:
        raise ValueError("must be auto or the name of an encoding, such as utf-8, utf-16, windows-1252 or iso-8859-15")
    return name


def _quoting(character: str) -> str:
    if character and (not character.isascii() or character.isalnum() or character in "\r\n\0"):
        raise ValueError("must be one ASCII character that is no letter, digit, line break or NUL; or empty")
    return character


def _one_line(text: str) -> str:
    if set(text) & set("\r\n\0"):
        raise ValueError("must hold no line break or NUL")
    return text


def _not_below(first: str) -> AfterValidator:
    def check(longest: float, info: ValidationInfo) -> float:
        if longest < info.data.get(first, 0):
            raise ValueError(f"must not be less than {first}")
        return longest

    return AfterValidator(check)


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
    base_url: Annotated[str, AfterValidator(checked_base_url)] = Field(
        "",
        description="Scheme, host and port to send to; empty: https://CLIENTCODE.tt.omtrdc.net. "
        "Plain http is for loopback only, since rows and token would be readable on the way.",
    )
    status_hosts: tuple[Annotated[str, AfterValidator(checked_status_host)], ...] = Field(
        ("mboxedge*.tt.omtrdc.net",),
        description="Hosts, or hosts with ports, that a status URL may name besides base_url's own: "
        "Target answers with a URL on another host, and the token follows only to these.",
    )
    token_file: Annotated[Path | None, BeforeValidator(_path)] = Field(
        None,
        description="Path of the file with the bearer token, needed if Target requires "
        "authentication; empty: no token. It is read again when refused, so a new token needs no restart.",
    )
    token_expires: Annotated[date | None, BeforeValidator(_expiry)] = Field(
        None,
        description="Date on which the token expires, as 2027-02-28; empty: not known. Days left are shown by config "
        "check, status and health, and warned of from 10 days before. Adobe publishes a lifetime of 90 days.",
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
    format: Literal["auto", "csv", "jsonl"] = Field(
        "auto",
        description="What the export is: csv, or jsonl (one JSON object a line, a nested key named by its path, as "
        "address.city); auto tells it by its first bytes. Either may be packed with gzip.",
    )
    delimiter: Literal["auto", ",", ";", "\t", "|"] = Field(
        "auto",
        description="Character between cells; auto: that of a first line such as sep=; or else the one with "
        "which the header line has the id column.",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        "auto",
        max_length=64,
        description="Encoding of the text, such as windows-1252; auto: UTF-8, or UTF-16 where the first bytes say so.",
    )
    quote: Annotated[str, AfterValidator(_quoting)] = Field(
        '"', max_length=1, description="Character around cells that hold delimiters or line breaks; empty: none."
    )
    escape: Annotated[str, AfterValidator(_quoting)] = Field(
        "",
        max_length=1,
        description="Character before a quote, delimiter, line break or itself that takes it literally, such as a "
        "backslash; before others it is data. Empty: only a doubled quote stands for one.",
    )
    header: bool = Field(
        default=True,
        description="False for an export without header: id_column and columns name positions then, 1 the first.",
    )
    skip_first: int = Field(
        0, ge=0, le=1_000, description="Lines before the header that are not read; a first line such as sep=; is one."
    )
    skip_last: int = Field(
        0, ge=0, le=1_000, description="Lines at the end, empty ones too, that are no rows, such as a trailer."
    )
    trim: Literal["ids", "all", "none"] = Field(
        "ids",
        description="White space, no-break spaces, byte order marks, zero-width and control characters around: taken "
        "off ids, off ids and values (all), or off nothing. What was trimmed is counted in the report.",
    )
    null_values: tuple[Annotated[str, AfterValidator(_one_line)], ...] = Field(
        ("\\N",), description="Cells, exactly so once trimmed, that mean no value; an id that is one is an empty id."
    )
    id_placeholders: tuple[Annotated[str, AfterValidator(_one_line)], ...] = Field(
        ("null", "none", "nil", "nan", "n/a", "#n/a", "#ref!", "#value!", "undefined", "(none)"),
        description="Ids, in any case, that are nobody's: their rows are rejected, as are those whose id holds nothing "
        "but punctuation. One profile would else collect the values of many people.",
    )
    number_ids: Literal["reject", "send"] = Field(
        "reject",
        description="Ids such as 3.91E16, which a spreadsheet made of longer ones, so that many are the same: reject "
        "their rows, or send them. 12E5, without decimal or plus sign, may be an id, and is sent.",
    )
    on_delimiter: Literal["replace", "encode", "reject"] = Field(
        "replace",
        description="A comma or line break inside a value: replace it, encode it (%2C, %0A), or reject the row. "
        "Adobe's pages read as if Target decoded a batch before it splits it; encode is for those who tried it.",
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

    @field_validator("quote")
    @classmethod
    def _check_quote(cls, quote: str, info: ValidationInfo) -> str:
        if quote and quote == info.data.get("delimiter"):
            raise ValueError("must differ from delimiter")
        return quote

    @field_validator("escape")
    @classmethod
    def _check_escape(cls, escape: str, info: ValidationInfo) -> str:
        if escape and escape == info.data.get("quote"):
            raise ValueError("must differ from quote: a doubled quote stands for one without it")
        if escape and escape == info.data.get("delimiter"):
            raise ValueError("must differ from delimiter")
        return escape

    @field_validator("header")
    @classmethod
    def _check_header(cls, header: bool, info: ValidationInfo) -> bool:  # noqa: FBT001
        if header:
            return header
        used = [info.data.get("id_column", "1"), *info.data.get("columns", {})]
        if names := [name for name in used if not re.fullmatch(r"[1-9][0-9]{0,4}", name)]:
            raise ValueError(
                "an export without header has positions for names, 1 the first: id_column and columns must name "
                f"those, not {', '.join(map(repr, names))}"
            )
        if info.data.get("unlisted") == "send":
            raise ValueError(
                "an export without header has no names to send columns under: list them under columns, as "
                'columns = { 2 = "tier" }, and set unlisted = "ignore" or "stop"'
            )
        return header

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if info.context == OF_A_JOB:
            return columns
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
    backoff_max_s: Annotated[float, _not_below("backoff_s")] = Field(
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


class SettleSettings(Section):
    """How the outcome of accepted batches is learnt."""

    poll_first_s: float = Field(
        5.0,
        gt=0,
        le=3_600,
        description="Seconds to a batch's first status GET while it is not known how long batches take; each costs "
        "a call of the budget, so later ones are planned by how long the last batches took.",
    )
    poll_max_s: Annotated[float, _not_below("poll_first_s")] = Field(
        300.0,
        gt=0,
        le=DAY_S,
        description="Seconds; the longest wait between status GETs of a batch while there are calls to spare, at "
        "least poll_first_s.",
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
    status_window: StatusWindowSize = Field(
        "auto",
        description="POSTs from the oldest unsettled batch on, itself counted; Target may forget the "
        "statuses of all but the last 10, and a forgotten batch ends unconfirmed. auto: 10, and more as soon as "
        "looking again at batches that are complete shows that more are kept.",
    )
    max_lost: AllowanceText = Field(
        Allowance(percent=0.1),
        json_schema_extra={"default": "0.1%"},
        description="Failed and unconfirmed rows tolerated before a job ends with exit code 76: a percentage "
        "or a count of rows. Adobe does not promise the last 0.1 % of a large batch.",
    )


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


def _as_of_pattern(text: str) -> str:
    """Refuse a text that is neither empty nor a regular expression with one group."""
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"must be a regular expression, and is not: {error}") from error
    if text and groups != 1:
        raise ValueError("must have one group, the date: customers_([0-9]{8})")
    return text


def _signal_suffixes(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    for suffix in suffixes:
        if not re.fullmatch(r"\.[A-Za-z0-9_-]{1,32}", suffix) or is_temporary(suffix):
            raise ValueError(
                f"{suffix!r} cannot end a signal's name: a suffix is a dot, then 1 to 32 letters, digits, _ and -, and "
                "none of temporary names, such as .tmp or .part"
            )
    if not suffixes:
        raise ValueError("must name one suffix at least, as without signals no export is ever taken")
    return suffixes


def _ignored_names(pattern: str) -> str:
    if not pattern or "/" in pattern or "\0" in pattern or not pattern.strip("*"):
        raise ValueError("must be a pattern of names such as *.bak, without / and not of * alone")
    return pattern


class DropSettings(Section):
    """Where exports are dropped, how their signals look, and what is kept of them."""

    directory: Annotated[Path | None, BeforeValidator(_path)] = Field(
        None,
        description="Directory into which exports and their signals are dropped; required by serve. The program must "
        "be allowed to write there, as it takes exports by renaming them.",
    )
    signal_suffixes: Annotated[tuple[str, ...], AfterValidator(_signal_suffixes)] = Field(
        (".ready", ".fin"),
        description="How names of signals end: customers.csv.ready or customers.ready says that customers.csv is "
        "complete. A file _SUCCESS in a subdirectory is a signal always.",
    )
    poll_s: float = Field(
        5.0,
        gt=0,
        le=3_600,
        description="Seconds between looks for signals; looking works on every file system, and "
        "where the system tells of new files there is a look at once besides.",
    )
    signal_wait_s: float = Field(
        900.0,
        gt=0,
        le=WEEK_S,
        description="Seconds a signal may be there without its export before the drop fails. Later signals wait as "
        "long, so that no newer export gets ahead of an older one.",
    )
    ignore: tuple[Annotated[str, AfterValidator(_ignored_names)], ...] = Field(
        (),
        description="More patterns of names that are never exports (* and ? as in a shell, in any case), besides "
        "dotfiles and names such as x.tmp, x.part, x.partial, x.filepart, x.crdownload, x.swp and x~.",
    )
    settle_s: float = Field(
        2.0,
        ge=0,
        le=3_600,
        description="Seconds without a change after which an export that is newer than its signal is taken for whole.",
    )
    as_of: Annotated[str, AfterValidator(_as_of_pattern)] = Field(
        "",
        max_length=500,
        description="Regular expression that finds an export's own date in its name, as its only group; one older "
        "than the last done is refused. Compared as text: write dates as 20261123. Empty: names say nothing.",
    )
    outcome_directory: Annotated[Path | None, BeforeValidator(_path)] = Field(
        None,
        description="Directory for the folders of jobs: report, rejects, and the export if kept; empty: jobs in the "
        "state directory, so that whoever may drop exports need not be able to read rejects.",
    )
    keep_exports: Literal["always", "failed", "never"] = Field(
        "failed",
        description="Which exports are kept in their job's folder when it has ended: always, failed (those of jobs "
        "that failed or lost rows), or never.",
    )
    keep_exports_days: float = Field(
        7, ge=0, le=36_500, description="Days for which a kept export stays; it holds personal data."
    )
    keep_rejects_days: float = Field(
        14, ge=0, le=36_500, description="Days for which rejects and failed rows stay; they hold personal data."
    )
    keep_reports_days: float = Field(
        400, ge=0, le=36_500, description="Days for which reports, and with them the folders of jobs, stay."
    )


class ServiceSettings(Section):
    """How the service ends."""

    grace_s: float = Field(
        25.0,
        ge=0,
        le=3_600,
        description="Seconds that running POSTs get to end at SIGTERM; what is cut off has to be held back later. Keep "
        "it below the time after which the container is killed.",
    )
