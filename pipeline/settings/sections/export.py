"""The section [export]: how an export is read, and what of it is sent."""

import codecs
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from pipeline.core.formats.detection import MAX_COLUMNS
from pipeline.core.formats.dialect import EscapeIn
from pipeline.core.formats.trailer import TrailerPattern
from pipeline.core.rows.allowance import Allowance
from pipeline.core.rows.header import parameter_name_problem
from pipeline.settings.sections.base import AllowanceText, Section

#: The context in which the settings are validated with which a job began: names that are refused by now are judged
#: when its header is read, and fail that job only.
OF_A_JOB = "settings of a job"
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


def _one_delimiter(delimiter: object) -> object:
    """Say of several characters that they are none; what is one, the type says."""
    if isinstance(delimiter, str) and len(delimiter) > 1 and not delimiter.isalnum():
        raise ValueError(
            "must be one character: cells that several separate, as || or ~|~ do, cannot be told from data; write the "
            "export with one of , ; tab | ^ ~"
        )
    return delimiter


def _quoting(character: str) -> str:
    if character and (not character.isascii() or character.isalnum() or character in "\r\n\0"):
        raise ValueError("must be one ASCII character that is no letter, digit, line break or NUL; or empty")
    return character


def _one_line(text: str) -> str:
    if set(text) & set("\r\n\0"):
        raise ValueError("must hold no line break or NUL")
    return text


def _trailer(text: str) -> str:
    if text:
        TrailerPattern.of(text)
    return text


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
    format: Literal["auto", "csv", "jsonl", "parquet", "arrow"] = Field(
        "auto",
        description="What the export is: csv, jsonl (one JSON object a line, a nested key named by its path, as "
        "address.city), parquet or arrow (both need the extra columnar); auto tells it by its first bytes.",
    )
    delimiter: Annotated[
        Literal["auto", ",", ";", "\t", "|", "^", "\x01", "~", ":", "\x1f"], BeforeValidator(_one_delimiter)
    ] = Field(
        "auto",
        description="Character between cells; auto: that of a first line such as sep=; or else the one with "
        "which the header line has the id column. Hive writes \\u0001.",
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
    escape_in: EscapeIn = Field(
        "all",
        description="Cells in which the escape counts: all, as Redshift writes it; or quotes, only those in quotes, "
        "and only before a quote or itself, as Spark writes it. A cell without quotes is taken as it stands then.",
    )
    header: bool = Field(
        default=True,
        description="False for an export without header: id_column and columns name positions then, 1 the first.",
    )
    max_columns: int = Field(
        MAX_COLUMNS,
        ge=1,
        le=100_000,
        description="Columns of an export, those that are left out too; one of more is refused. Target keeps 64 KB of "
        "a profile, some thousands of attributes: more columns come from a header that is cut in the wrong places.",
    )
    skip_first: int = Field(
        0, ge=0, le=1_000, description="Lines before the header that are not read; a first line such as sep=; is one."
    )
    skip_last: int = Field(
        0, ge=0, le=1_000, description="Lines at the end, empty ones too, that are no rows, such as a trailer."
    )
    trailer: Annotated[str, AfterValidator(_one_line), AfterValidator(_trailer)] = Field(
        "",
        max_length=256,
        description="Last line of each file, which says that it is whole: text, {rows} for the number of its rows, "
        "{any} for anything, as TRL|{rows}. It is no row; an export without it, or of another number, fails.",
    )
    arrays: Literal["join", "json", "reject"] = Field(
        "join",
        description="An array in JSON Lines, Parquet or Arrow: its values joined by | (join), its text as JSON (json), "
        "or a reason to reject the row. An id is never an array of several values.",
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
        (
            *("null", "none", "nil", "nan", "n/a", "#n/a", "#ref!", "#value!", "undefined", "(none)"),
            *("#name?", "#div/0!", "#num!", "#null!", "(blank)", "true", "false"),
        ),
        description="Ids, in any case, that are nobody's, in quotes or brackets too: their rows are rejected, as are "
        "those whose id holds nothing but punctuation. One profile would else collect the values of many people.",
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
    kind: Literal["delta", "snapshot"] = Field(
        "delta",
        description="Ids that the export has: delta, some; or snapshot, all that there are, so that an id that is no "
        "longer in it is gone.",
    )
    gone: dict[str, str] = Field(
        default={},
        description="Parameter = text that is sent for an id that a snapshot no longer has, since Target cannot clear "
        "an attribute. Needs kind = snapshot and [memory] remember = values.",
    )
    max_gone: AllowanceText = Field(
        Allowance(percent=10.0),
        json_schema_extra={"default": "10%"},
        description="Ids that may be gone at once: a percentage of those of the last snapshot, or a count. If more "
        "are, nothing of the export is sent: it may have been cut off.",
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

    @field_validator("escape_in")
    @classmethod
    def _check_escape_in(cls, escape_in: EscapeIn, info: ValidationInfo) -> EscapeIn:
        if escape_in == "quotes" and info.data.get("escape") == "":
            raise ValueError('"quotes" needs an escape: set escape to the character before quotes, such as "\\\\"')
        if escape_in == "quotes" and info.data.get("quote") == "":
            raise ValueError('must be "all" with quote = "": no cell is in quotes')
        return escape_in

    @field_validator("trailer")
    @classmethod
    def _check_trailer(cls, trailer: str, info: ValidationInfo) -> str:
        if trailer and info.data.get("skip_last"):
            raise ValueError(
                "must be empty with skip_last: it is the last line in which anything stands, wherever it is"
            )
        return trailer

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

    @field_validator("gone")
    @classmethod
    def _check_gone(cls, gone: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        problems = [
            f"{name!r} cannot be a parameter name: it {problem}"
            for name in gone
            if (problem := parameter_name_problem(name))
        ]
        if empty := [name for name, text in gone.items() if not text]:
            problems.append(f"{empty[0]!r} has no text: an empty value leaves what Target has")
        if unsendable := [name for name, text in gone.items() if set(text) & set(",\r\n\0")]:
            problems.append(f"the text for {unsendable[0]!r} must hold no comma, line break or NUL")
        if gone and info.data.get("kind") == "delta":
            problems.append('it needs kind = "snapshot": an id that is not in a delta is not gone')
        if problems:
            raise ValueError("; ".join(problems))
        return gone

    @field_validator("replacement")
    @classmethod
    def _check_replacement(cls, text: str) -> str:
        if set(text) & set(",\r\n\0"):
            raise ValueError("must hold no comma, line break or NUL, as it stands in for them")
        return text
