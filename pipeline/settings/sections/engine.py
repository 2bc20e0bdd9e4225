"""The sections of a configuration: every key with its default, its bounds, its unit and its reason.

[export], [mapping], [memory], [drop], [web], [expect], [notify], [verify] and [[windows]] have modules of their own.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from pipeline.core.rows.allowance import Allowance
from pipeline.core.target.hosts import checked_base_url, checked_status_host
from pipeline.settings.sections.base import DAY_S, WEEK_S, AllowanceText, FilePath, OptionalPath, Section, not_below

#: Bytes of one POST body; Adobe asks for "less than 50 MB", read as 50,000,000.
TARGET_MAX_BYTES = 49_999_999
#: Data rows of one batch, header excluded; Adobe's documented limit.
TARGET_MAX_ROWS = 500_000
#: Calls per minute of all senders of a client code above which Target answers 503; Adobe's documentation.
TARGET_CALLS_PER_MINUTE = 50


def _expiry(value: object) -> object:
    return value or None


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
    token_file: OptionalPath = Field(
        None,
        description="Path of the file with the bearer token, needed if Target requires "
        "authentication; empty: no token. It is read again when refused, so a new token needs no restart.",
    )
    token_expires: Annotated[date | None, BeforeValidator(_expiry)] = Field(
        None,
        description="Date on which the token expires, as 2027-02-28; empty: not known. Days left are shown by config "
        "check, status and health, and warned of from 10 days before. Adobe publishes a lifetime of 90 days.",
    )
    ca_file: OptionalPath = Field(
        None,
        description="Path of a PEM file with certificates to trust besides those of the system, as of a proxy that "
        "opens TLS; empty: none.",
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
    backoff_max_s: Annotated[float, not_below("backoff_s")] = Field(
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
    poll_max_s: Annotated[float, not_below("poll_first_s")] = Field(
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

    directory: FilePath = Field(
        description="Required. Directory for ledger, spool, jobs and requests; its disk must outlive the container."
    )
    min_free_bytes: int = Field(
        2_147_483_648,
        ge=0,
        le=2**50,
        description="Bytes that must stay free on the state directory's disk; below it nothing new is begun.",
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
