"""What reading an export must come to, worked out slowly and plainly with Python's own csv module.

The reader under test is compared with this, so nothing of the package is imported here, and clearness goes
before speed everywhere. Bytes are read as latin-1, so that one character is one byte. The one thing csv
cannot express, a CR that is no part of a line ending, gets a stand-in before csv sees it and comes back after.
"""

import base64
import csv
import re
import string
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

from tests.tools.oracle_mapping import Rejected, excluded_by, mapped_id, mapped_value, steps_for

Trim = Literal["ids", "all", "none"]
Unlisted = Literal["ignore", "send"]
OnDelimiter = Literal["encode", "replace", "reject"]

BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t|^\x01"
RARE_DELIMITERS = "~:\x1f"
RECORD_BYTES = 1_048_576  # a record, its line ending included, ends within this many bytes of its start
ID_CHARACTERS = {"thirdPartyId": 256, "pcId": 128}
ID_CHARACTERS_SAFE = 128
VALUE_CHARACTERS = 256
ATTRIBUTE_BYTES = 65_536
ATTRIBUTE_BYTES_SAFE = 32_768

TEXT_AFTER_QUOTE = "local.text_after_quote"
QUOTE_UNCLOSED = "local.quote_unclosed"
RECORD_TOO_LONG = "local.record_too_long"

#: Names that begin so, or are these, are Target's own.
OWN_NAMES = r"(mbox|geolocation|mobile).*|browserTime|averageDaysBetweenVisits|sessionCount|parameter|user"
LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"

DATA_CR = "\ue000"  # the stand-in: latin-1 ends at U+00FF, so no byte of an export is ever read as this


class Unusable(Exception):  # noqa: N818 - a finding about the export rather than an error of the oracle
    """The export as a whole cannot be read: its header is missing, broken, or lacks a column."""


@dataclass(frozen=True, slots=True)
class Style:
    """How an export is written and read, beside its delimiter."""

    quote: str = '"'
    escape: str = ""
    escape_in: str = "all"
    header: bool = True
    skip_first: int = 0
    skip_last: int = 0
    #: Its lines end with CR LF; the oracle finds it out.
    cr_lf: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `fields` of a sound one, or why it is broken; `raw` is without its line ending."""

    line: int
    raw: bytes
    fields: tuple[bytes, ...] = ()
    bare_quote: bool = False
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A row to send: every sent cell by parameter name, empty ones included, and the row's encoded line."""

    line: int
    id: str
    attributes: dict[str, str]
    row: bytes


@dataclass(frozen=True)
class Expected:
    """All that is to be known after an export was read."""

    rows: dict[str, int]  # read, sent (those superseded later included), superseded, empty, rejected
    rejects: list[tuple[int, str, str | None]]  # line, reason, id, in file order
    raws: list[bytes]  # of each reject
    warnings: dict[str, object]  # counts over the rows to send, none of them zero
    profiles: dict[str, dict[str, str]]  # by id: last non-empty value of each attribute
    sent: list[Sent]  # in file order
    head: bytes  # first line of a body, with its LF
    delimiter: str  # the one given or found
    excluded: dict[str, int] = field(default_factory=dict)  # by column of the condition
    not_sent: list[tuple[int, str, str]] = field(default_factory=list)  # line, why, id as it would be sent, encoded

    def body(self) -> bytes:
        """The body of one batch that holds every row to send, superseded ones included."""
        return self.head + b"".join(row.row for row in self.sent)

    def reject_objects(self, file: str) -> list[dict[str, object]]:
        """The objects of rejects.jsonl."""
        objects: list[dict[str, object]] = []
        for (line, reason, identifier), raw in zip(self.rejects, self.raws, strict=True):
            text = raw.decode("utf-8", "backslashreplace")
            entry = {"file": file, "line": line, "reason": reason, "id": identifier, "raw": text}
            if not is_utf8(raw):
                entry["raw_base64"] = base64.b64encode(raw).decode("ascii")
            objects.append(entry)
        return objects


# Records


def to_text(data: bytes) -> str:
    """One character per byte; a CR that cannot belong to a line ending is its stand-in."""
    return re.sub(r"\r(?!\n|\Z)", DATA_CR, data.decode("latin-1"))


def to_bytes(text: str) -> bytes:
    """The way back from `to_text`."""
    return text.replace(DATA_CR, "\r").encode("latin-1")


def physical_lines(text: str) -> list[str]:
    """Each line with its LF; the last may lack one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def without_ending(line: str) -> str:
    """Without LF, CR LF, or the CR at the end of the file. Other CRs are stand-ins by now, and stay."""
    return line.removesuffix("\n").removesuffix("\r")


def find_delimiter(data: bytes, id_column: str = "") -> str:
    """With which the first line that is not empty has the id column, or else the most frequent one outside quotes."""
    for line in physical_lines(to_text(data.removeprefix(BOM))):
        if without_ending(line):
            return delimiter_of_line(without_ending(line), id_column, Style(), cr=False)
    return ","


def delimiter_of_line(line: str, id_column: str, style: Style, *, cr: bool) -> str:
    marks = [mark for mark in DELIMITERS if mark not in style.quote + style.escape]
    rare = [mark for mark in RARE_DELIMITERS if mark not in style.quote + style.escape]
    name = id_column.encode().decode("latin-1")
    having = [mark for mark in marks if id_column and name in parse_plainly(line, mark, style, cr=cr)[0]]
    having = having or [mark for mark in rare if id_column and name in parse_plainly(line, mark, style, cr=cr)[0]]
    quote = re.escape(style.quote)
    outside = re.sub(f"{quote}[^{quote}]*{quote}", "", line) if quote else line
    return max(having or marks, key=outside.count)  # the first of those with equal counts


def read_records(data: bytes, delimiter: str, *, record_bytes: int = RECORD_BYTES) -> list[Record]:
    """All records of the file, header first, broken ones in their place."""
    lines = physical_lines(to_text(data.removeprefix(BOM)))
    records: list[Record] = []
    at = 0
    while at < len(lines):
        if without_ending(lines[at]) == "":
            at += 1
            continue
        record, lines_taken = read_record(lines, at, delimiter, record_bytes)
        records.append(record)
        at += lines_taken
    return records


def read_record(lines: list[str], at: int, delimiter: str, record_bytes: int) -> tuple[Record, int]:
    """The record that starts at line index `at`, and how many lines it takes: one, if it is broken."""
    outcome = parse(window(lines, at, record_bytes), delimiter)
    if isinstance(outcome, tuple):
        fields, lines_taken = outcome
        text = "".join(lines[at : at + lines_taken])
        if len(text) <= record_bytes:
            text = without_ending(text)
            cells = tuple(to_bytes(field) for field in fields)
            return Record(at + 1, to_bytes(text), cells, has_bare_quote(text, delimiter)), lines_taken
        # csv took the edge of the window for the end of the record.
        outcome = QUOTE_UNCLOSED if is_pair_on_edge(lines, at, delimiter, record_bytes) else RECORD_TOO_LONG
    return Record(at + 1, to_bytes(without_ending(lines[at])), broken=outcome), 1


def window(lines: list[str], at: int, size: int) -> Iterator[str]:
    """The lines from index `at` on, cut off after `size` characters."""
    for index in range(at, len(lines)):
        if size <= 0:
            return
        yield lines[index][:size]
        size -= len(lines[index])


def parse(lines: Iterable[str], delimiter: str) -> tuple[list[str], int] | str:
    """The first record's fields and number of lines, or what is wrong with it."""
    reader = csv.reader(lines, delimiter=delimiter, quotechar='"', doublequote=True, strict=True)
    limit_before = csv.field_size_limit(sys.maxsize)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        if "expected after" in str(error):
            return TEXT_AFTER_QUOTE
        if "unexpected end of data" in str(error):
            return QUOTE_UNCLOSED
        raise
    finally:
        csv.field_size_limit(limit_before)


def is_pair_on_edge(lines: list[str], at: int, delimiter: str, size: int) -> bool:
    """Whether the quote that seems to close at the window's edge is the first half of a doubled one."""
    seen = "".join(window(lines, at, size))
    return seen.endswith('"') and parse(window(lines, at, size + 1), delimiter) == QUOTE_UNCLOSED


def has_bare_quote(text: str, delimiter: str) -> bool:
    """Whether a quote is left in a sound record once its quoted fields are taken away."""
    quoted = rf'(^|{re.escape(delimiter)})"[^"]*(?:""[^"]*)*"'
    return '"' in re.sub(quoted, r"\1", text)


# Other dialects: character by character, as csv knows no escape that is data before most characters.


def cut_lines(text: str, *, cr: bool) -> list[str]:
    """Each line with its line end; the last may lack one."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+" if cr else r"[^\n]*\n|[^\n]+", text)


def content(line: str, *, cr: bool) -> str:
    return re.sub(r"(\r\n|\r|\n)\Z" if cr else r"\r?\n?\Z", "", line, count=1)


def ends_line(text: str, at: int, *, cr: bool) -> bool:
    if text[at] == "\r":
        return cr or text[at + 1 : at + 2] in ("", "\n")
    return text[at] == "\n"


def parse_plainly(text: str, delimiter: str, style: Style, *, cr: bool) -> tuple[list[str], int, bool, str | None]:
    """The first record: its fields, its length without line end, whether a quote is bare; and what is wrong with it."""
    marks = style.quote + style.escape
    in_quotes, elsewhere = (marks, "") if style.escape_in == "quotes" else (marks + delimiter + "\r\n",) * 2
    fields: list[str] = []
    bare, at = False, 0
    while True:
        value, open_quote = "", style.quote != "" and text[at : at + 1] == style.quote
        at += open_quote
        while True:
            here, following = text[at : at + 1], text[at + 1 : at + 2]
            if here == "" and open_quote:
                return fields, at, bare, QUOTE_UNCLOSED
            if here == "" or (not open_quote and (here == delimiter or ends_line(text, at, cr=cr))):
                break
            if here == style.escape and following and following in (in_quotes if open_quote else elsewhere):
                if following == "\r" and style.cr_lf and text[at + 2 : at + 3] == "\n":
                    following = "\r\n"
                value, at = value + following, at + 1 + len(following)
            elif open_quote and here == style.quote == following:
                value, at = value + here, at + 2
            elif open_quote and here == style.quote:
                at += 1
                break
            else:
                bare = bare or (here == style.quote and not open_quote)
                value, at = value + here, at + 1
        fields.append(value)
        if at == len(text) or ends_line(text, at, cr=cr):
            return fields, at, bare, None
        if text[at] != delimiter:
            return fields, at, bare, TEXT_AFTER_QUOTE
        at += 1


def read_plainly(
    lines: list[str], first_line: int, delimiter: str, style: Style, *, cr: bool
) -> list[tuple[Record, int]]:
    """The records of these lines, of which the first has this number, and how many lines are behind each."""
    records: list[tuple[Record, int]] = []
    at = 0
    while at < len(lines):
        line = content(lines[at], cr=cr)
        if line == "":
            at += 1
            continue
        fields, size, bare, broken = parse_plainly("".join(lines[at:]), delimiter, style, cr=cr)
        number, raw = first_line + at, "".join(lines[at:])[:size]
        if broken:
            record, taken = Record(number, line.encode("latin-1"), broken=broken), 1
        else:
            cells = tuple(field.encode("latin-1") for field in fields)
            record, taken = Record(number, raw.encode("latin-1"), cells, bare), len(cut_lines(raw + ".", cr=cr))
        at += taken
        records.append((record, len(lines) - at))
    return records


def without_marks(text: str) -> str:
    """A text, each byte of it a character, without byte order marks before it."""
    mark = BOM.decode("latin-1")
    while text.startswith(mark):
        text = text.removeprefix(mark)
    return text


def empty_lines(lines: list[str], *, cr: bool) -> int:
    """How many lines stand before the first in which anything but delimiters and quotes is to be seen."""
    for number, line in enumerate(lines):
        try:
            text = content(line, cr=cr).encode("latin-1").decode()
        except UnicodeDecodeError:
            return number
        if text.translate({ord(each): " " for each in ",;\t|^\x01\"'\ufeff\u200b\x1a"}).strip():
            return number
    return len(lines)


def has_cr_lf_lines(text: str, style: Style) -> bool:
    """Whether the first line end without an escape before it is CR LF."""
    for at, here in enumerate(text):
        before = text[max(0, at - 2) : at]
        escaped = style.escape and (before.endswith(style.escape) or before == style.escape + "\r")
        if here == "\n" and not escaped:
            return before.endswith("\r")
    return False


def read_dialect(data: bytes, delimiter: str, style: Style, used: list[str]) -> tuple[list[Record], str]:
    """All records of the file, header first, and the delimiter."""
    cr = b"\r" in data[:65_536] and b"\n" not in data[:65_536]
    style = replace(style, cr_lf=has_cr_lf_lines(data[:65_536].decode("latin-1"), style))
    lines = cut_lines(without_marks(data.decode("latin-1")), cr=cr)
    skipped = style.skip_first
    empty = 0 if skipped else empty_lines(lines, cr=cr)
    told = re.fullmatch(
        r""" *"? *sep *= *(?:"")?["']?(\\t|[^"' ])?["']{0,3} *[,;\t|^~ ]*""",
        without_marks(content(lines[empty], cr=cr)) if empty < len(lines) else "",
        re.IGNORECASE,
    )
    if told:
        skipped = max(skipped, 1) + empty
        mark = "\t" if told[1] == "\\t" else told[1]
        delimiter = mark if delimiter == "auto" else delimiter
        if delimiter is None or delimiter not in DELIMITERS + RARE_DELIMITERS:
            raise Unusable("sep=")
    lines = lines[skipped:]
    if lines and skipped:
        lines[0] = lines[0].removeprefix(BOM.decode("latin-1"))
    empty = empty_lines(lines, cr=cr)
    if style.header and empty < len(lines):
        lines, skipped = lines[empty:], skipped + empty
        lines[0], empty = without_marks(lines[0].lstrip("\r\n")), 0
    if delimiter == "auto":
        first = next((line for line in lines if content(line, cr=cr)), "")
        if not any(mark in first for mark in DELIMITERS):
            first = lines[empty] if empty < len(lines) else first
        name = used[0] if style.header else ""
        delimiter = delimiter_of_line(content(first, cr=cr), name, style, cr=cr)
    begin = 0
    header: list[Record] = []
    if style.header:
        for record, behind in read_plainly(lines, 1 + skipped, delimiter, style, cr=cr)[:1]:
            header, begin = [record], len(lines) - behind
    end = max(begin, len(lines) - style.skip_last)
    rows = read_plainly(lines[begin:end], 1 + skipped + begin, delimiter, style, cr=cr)
    if not style.header:
        read = [record for record, _ in read_plainly(lines, 1, delimiter, style, cr=cr)]
        sound = [record for record in read if record.broken is None and not is_blank(record)]
        width = len(sound[0].fields) if sound else max(map(int, used))
        names = tuple(b"%d" % number for number in range(1, 1 + width))
        header = [Record(0, b"", names)]
    return [*header, *(record for record, _ in rows)], delimiter


# Header


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the id stands, which positions are sent under which parameter name, and the body's first line."""

    width: int
    id_at: int
    sent: tuple[tuple[int, str], ...]
    head: bytes
    names: tuple[str, ...]
    id_kind: str


def read_header(
    records: list[Record],
    id_column: str,
    columns: Mapping[str, str],
    unlisted: Unlisted,
    id_kind: str,
    constants: Iterable[str] = (),
) -> Layout:
    """The layout that the first record gives."""
    if not records:
        raise Unusable("no header")
    header = records[0]
    if header.broken is not None or b"\0" in header.raw or not is_utf8(header.raw):
        raise Unusable(f"header: {header.broken or 'NUL or invalid UTF-8'}")
    names = [field.decode() for field in header.fields]
    if any(mark in name for name in names for mark in LINE_BREAKS):
        raise Unusable("line break in the header")
    for name in (id_column, *columns):
        if names.count(name) != 1:
            raise Unusable(f"column {name!r} is in the header {names.count(name)} times")
    sent: list[tuple[int, str]] = []
    for position, name in enumerate(names):
        if name != id_column and (name in columns or (unlisted == "send" and name.strip())):
            sent.append((position, columns.get(name, name)))
    parameters = [parameter for _, parameter in sent]
    for parameter in parameters:
        if not is_parameter_name(parameter) or parameters.count(parameter) > 1:
            raise Unusable(f"parameter name {parameter!r}")
    head = "batch=" + ",".join([id_kind, *parameters, *constants]) + "\n"
    return Layout(len(names), names.index(id_column), tuple(sent), head.encode(), tuple(names), id_kind)


def is_parameter_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,127}", name) is not None and re.fullmatch(OWN_NAMES, name) is None


# Rows


@dataclass(frozen=True, slots=True)
class Rules:
    """How values with a comma or line break are treated, the largest body, and what cells mean."""

    on_delimiter: OnDelimiter
    replacement: str
    max_bytes: int
    trim: Trim
    null_values: tuple[str, ...]
    id_placeholders: tuple[str, ...]
    number_ids: str
    mapping: Mapping[str, Any]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def holds_delimiter(value: str) -> bool:
    """Comma, CR or LF, whatever the input delimiter is."""
    return any(character in value for character in ",\r\n")


def replaced(value: str, rules: Rules) -> str:
    """The value that is sent."""
    if rules.on_delimiter != "replace":
        return value
    return re.sub(r"\r\n|\r|\n|,", lambda _: rules.replacement, value)


def encoded(value: str) -> str:
    """Percent-encoded UTF-8; quote() itself keeps letters, digits and `_ . - ~`."""
    return quote(value, safe="!*()")


def is_invisible(character: str) -> bool:
    """White space, a control character but NUL, or a character without width or direction of its own."""
    code = ord(character)
    is_control = 0 < code < 32 or 127 <= code < 160
    is_format = code in (0xAD, 0x180E, 0xFEFF) or 0x200B <= code <= 0x200F or 0x202A <= code <= 0x202E
    is_blank_letter = code in (0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
    is_mark = 0x2060 <= code <= 0x206F or 0xFFF9 <= code <= 0xFFFB
    return is_control or character.isspace() or is_format or is_blank_letter or is_mark


def bare(text: str) -> str:
    """The text without invisible characters at either end."""
    while text and is_invisible(text[0]):
        text = text[1:]
    while text and is_invisible(text[-1]):
        text = text[:-1]
    return text


def is_blank(record: Record) -> bool:
    """Whether a record is text, and none of its fields holds anything to be seen."""
    is_text = record.broken is None and b"\0" not in record.raw and is_utf8(record.raw)
    return is_text and not any(bare(field.decode()) for field in record.fields)


def is_header(record: Record, layout: Layout) -> bool:
    """Whether a record is the header once more, padded or behind a byte order mark."""
    fields = [bare(field.decode()).lower() for field in record.fields]
    names = [bare(name).lower() for name in layout.names]
    if record.fields[0].startswith(BOM) and fields[0][:1] == fields[0][-1:] == '"' and len(fields[0]) > 1:
        # The mark hid the quotes from csv, so they are still there.
        return [fields[0], *fields[1:]] == ['"' + names[0].replace('"', '""') + '"', *names[1:]]
    return fields == names


def is_punctuation(identifier: str) -> bool:
    """Whether an id holds nothing but punctuation: of ASCII, or of the blocks that hold most of the rest."""
    ranges = [
        *[("!", "/"), (":", "@"), ("[", "`"), ("{", "~"), ("\u2010", "\u2027"), ("\u2030", "\u205e"), ("、", "〃")],
        *[("〈", "】"), ("〔", "〟"), ("！", "／"), ("：", "＠"), ("［", "｀"), ("｛", "･")],
    ]
    return all(
        is_invisible(character) or character in "¡§«¶·»¿" or any(first <= character <= last for first, last in ranges)
        for character in identifier
    )


def is_spreadsheet_number(identifier: str) -> bool:
    """Whether an id is a number in the format for large ones, and nothing else that anybody would write."""
    mantissa, exponent, power = identifier.replace("e", "E").partition("E")
    if not exponent or not mantissa or not power:
        return False
    is_ascii = identifier.isascii()
    digits, point, decimals = mantissa.replace(",", ".").partition(".")
    is_plus = power[0] == "+"
    unsigned = power[1:] if power[0] in "+-" else power
    if not (is_ascii and unsigned.isdigit() and len(unsigned) <= 3):
        return False
    if is_plus:
        digits = digits[1:] if digits[0:1] in ("+", "-") else digits
        return digits.isdigit() and (not point or decimals.isdigit())
    digits = digits[1:] if digits[0:1] in ("+", "-") else digits
    return digits.isdigit() and len(digits) == 1 and decimals.isdigit()


def sent_id(written: str, rules: Rules) -> str:
    """The id that is sent for what is written."""
    return written if rules.trim == "none" else bare(written)


def is_trimmed(column: str, rules: Rules) -> bool:
    return rules.trim == "all" or steps_for(rules.mapping, column).get("trim", False)


def taken_value(written: str, column: str, rules: Rules) -> str:
    """The value without what is trimmed; empty if it means no value."""
    value = bare(written) if is_trimmed(column, rules) else written
    return "" if value in rules.null_values else value


def sent_value(written: str, column: str, rules: Rules) -> str:
    """The value that is sent for what is written, its delimiters still in it. Raises `Rejected`."""
    return mapped_value(steps_for(rules.mapping, column), taken_value(written, column, rules)).value


def sent_values(record: Record, layout: Layout, rules: Rules) -> dict[str, str]:
    """The values by parameter, before their delimiters are replaced. Raises `Rejected`, for the first reason."""
    values: dict[str, str] = {}
    reasons = []
    for at, name in layout.sent:
        try:
            values[name] = sent_value(record.fields[at].decode(), layout.names[at], rules)
        except Rejected as reason:
            reasons.append(str(reason))
    order = ["value", "date", "number", "length"]
    if reasons:
        raise Rejected(min(reasons, key=lambda reason: order.index(reason.removeprefix("local.mapping_"))))
    return {**values, **rules.mapping.get("constants", {})}


def left_out_by(record: Record, layout: Layout, rules: Rules) -> str | None:
    """The column by which a sound record is left out."""
    cells = {name: bare(field.decode()) for name, field in zip(layout.names, record.fields, strict=True)}
    return excluded_by(rules.mapping, {name: "" if cell in rules.null_values else cell for name, cell in cells.items()})


def record_fault(record: Record, layout: Layout) -> str | None:
    """Why the record as a whole is rejected."""
    if record.broken is not None:
        return record.broken
    if b"\0" in record.raw:
        return "local.nul_byte"
    if not is_utf8(record.raw):
        return "local.invalid_utf8"
    if len(record.fields) != layout.width:
        return "local.field_count"
    return None


def is_known(identifier: str, rules: Rules) -> bool:
    """Whether an id is one that the configuration calls nobody's."""
    is_same_script = identifier.lower().isascii() == identifier.isascii()
    return is_same_script and identifier.lower() in [bare(name).lower() for name in rules.id_placeholders if bare(name)]


def enclosed(identifier: str) -> str:
    """An id without the quotes, brackets and other signs that stand on both sides of it."""
    signs = string.punctuation + "\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a"
    text = bare(identifier)
    if not (text and text[0] in signs and text[-1] in signs):
        return ""
    while text and (text[0] in signs or is_invisible(text[0])):
        text = text[1:]
    while text and (text[-1] in signs or is_invisible(text[-1])):
        text = text[:-1]
    return text


def id_fault(identifier: str, sent: str, layout: Layout, rules: Rules) -> str | None:
    """Why the id is rejected, whatever `on_delimiter` is; `sent` is what is made of it."""
    if identifier == "" or identifier in rules.null_values:
        return "local.empty_id"
    if is_punctuation(identifier) or is_known(bare(identifier), rules) or is_known(enclosed(identifier), rules):
        return "local.id_placeholder"
    if rules.number_ids == "reject" and is_spreadsheet_number(identifier):
        return "local.id_number"
    if "+" in sent or "/" in sent:
        return "local.id_character"
    if len(sent) > ID_CHARACTERS[layout.id_kind]:
        return "local.id_too_long"
    return None


def row_fault(identifier: str, values: list[str], row: Sent, layout: Layout, rules: Rules) -> str | None:
    """Why a row with a good id is rejected; `values` are its sent cells before replacement."""
    if rules.on_delimiter != "encode" and holds_delimiter(identifier):
        return "local.delimiter"
    if rules.on_delimiter == "reject" and any(holds_delimiter(value) for value in values):
        return "local.delimiter"
    size = sum(len(name.encode()) + len(value.encode()) for name, value in row.attributes.items() if value)
    if size > ATTRIBUTE_BYTES:
        return "local.attributes_too_large"
    if len(layout.head) + len(row.row) > rules.max_bytes:
        return "local.row_too_large"
    return None


def row_or_reason(record: Record, layout: Layout, rules: Rules, style: Style) -> Sent | str:
    """The row that a record is sent as, or why it is rejected."""
    if reason := record_fault(record, layout):
        return reason
    if style.header and is_header(record, layout):
        return "local.header_again"
    written_id = sent_id(record.fields[layout.id_at].decode(), rules)
    id_steps = steps_for(rules.mapping, layout.names[layout.id_at])
    if reason := id_fault(written_id, mapped_id(id_steps, written_id), layout, rules):
        return reason
    if record.bare_quote and re.fullmatch(r'(?s)".*"', written_id):
        return "local.id_in_quotes"
    try:
        values = [*sent_values(record, layout, rules).values()]
        row = make_row(record, layout, rules)
    except Rejected as because:
        return str(because)
    return row_fault(row.id, values, row, layout, rules) or row


def reject_id(record: Record, reason: str, layout: Layout, rules: Rules) -> str | None:
    """The id as the rejects file shows it; bad bytes in it are escaped as they are in `raw`."""
    if len(record.fields) != layout.width:
        return None
    written = record.fields[layout.id_at].decode("utf-8", "backslashreplace")
    return written if reason in ("local.nul_byte", "local.invalid_utf8") else sent_id(written, rules)


def make_row(record: Record, layout: Layout, rules: Rules) -> Sent:
    """The row that a sound record would be sent as. Raises `Rejected`."""
    identifier = mapped_id(
        steps_for(rules.mapping, layout.names[layout.id_at]), sent_id(record.fields[layout.id_at].decode(), rules)
    )
    values = sent_values(record, layout, rules)
    attributes = {name: replaced(value, rules) for name, value in values.items()}
    cells = [encoded(identifier), *(encoded(value) for value in attributes.values())]
    return Sent(record.line, identifier, attributes, (",".join(cells) + "\n").encode("ascii"))


def warnings_of(record: Record, row: Sent, layout: Layout, rules: Rules) -> dict[str, int]:
    """What a row to send gives cause to warn of, its empty cells apart."""
    written_id = record.fields[layout.id_at].decode()
    written = [record.fields[at].decode() for at, _ in layout.sent]
    columns = [layout.names[at] for at, _ in layout.sent]
    values = [
        bare(value) if is_trimmed(column, rules) else value for value, column in zip(written, columns, strict=True)
    ]
    trimmed = sum(value != one for value, one in zip(written, values, strict=True))
    taken = [taken_value(value, column, rules) for value, column in zip(written, columns, strict=True)]
    results = [
        mapped_value(steps_for(rules.mapping, column), value) for value, column in zip(taken, columns, strict=True)
    ]
    notes = Counter(note for result in results for note in result.notes)
    sized = [(name, value) for name, value in row.attributes.items() if value]
    size = sum(len(name.encode()) + len(value.encode()) for name, value in sized)
    padded = sum(value != bare(value) for value in values)
    id_written = sent_id(written_id, rules)
    is_formula = len(id_written) > 2 and id_written.startswith('="') and id_written.endswith('"')
    constants = rules.mapping.get("constants", {}).values()
    return {
        "id_over_128_characters": len(row.id) > ID_CHARACTERS_SAFE,
        "value_over_256_characters": sum(len(value) > VALUE_CHARACTERS for value in row.attributes.values()),
        "value_with_delimiter": sum(
            holds_delimiter(value) for value in [row.id, *(result.value for result in results), *constants]
        ),
        "bare_quote": record.bare_quote,
        "ids_trimmed": id_written != written_id,
        "ids_padded": id_written != bare(id_written),
        "values_trimmed": trimmed,
        "values_padded": padded,
        "null_cells": sum(value in rules.null_values for value in values if value),
        "id_ends_in_point_zero": id_written.endswith((".0", ".00", ".000")),
        "id_with_guard": id_written.startswith("'") or is_formula,
        "row_over_32_kb": size >= ATTRIBUTE_BYTES_SAFE,
        **notes,
    }


def is_of_the_rfc(data: bytes, style: Style) -> bool:
    """Whether an export is written as RFC 4180 says, so that csv can read it."""
    sniffed = data[:65_536]
    has_cr_lines = b"\r" in sniffed and b"\n" not in sniffed
    return style == Style() and not has_cr_lines and not data.removeprefix(BOM).lower().startswith((b"sep=", b'"sep='))


def read_as_written(
    data: bytes, delimiter: str, style: Style, names: list[str], record_bytes: int
) -> tuple[list[Record], str]:
    """All records of the file, and its delimiter; the id column is the first of `names`."""
    if not is_of_the_rfc(data, style):
        return read_dialect(data, delimiter, style, names)
    if delimiter == "auto":
        delimiter = find_delimiter(data, names[0])
    return read_records(data, delimiter, record_bytes=record_bytes), delimiter


def expect(
    data: bytes,
    *,
    id_column: str,
    columns: Mapping[str, str],
    unlisted: Unlisted,
    delimiter: str = "auto",
    on_delimiter: OnDelimiter = "encode",
    replacement: str = " ",
    max_bytes: int = 49_999_999,
    id_kind: str = "thirdPartyId",
    record_bytes: int = RECORD_BYTES,
    trim: Trim = "ids",
    null_values: tuple[str, ...] = (),
    id_placeholders: tuple[str, ...] = (),
    number_ids: str = "reject",
    style: Style = Style(),
    mapping: Mapping[str, Any] | None = None,
) -> Expected:
    """What reading `data` under these options comes to; raises Unusable where it cannot be read at all."""
    about_ids = (id_placeholders, number_ids)
    rules = Rules(on_delimiter, replacement, max_bytes, trim, null_values, *about_ids, mapping or {})
    records, delimiter = read_as_written(data, delimiter, style, [id_column, *columns], record_bytes)
    layout = read_header(records, id_column, columns, unlisted, id_kind, rules.mapping.get("constants", ()))

    rejected: list[tuple[Record, str]] = []
    empty = 0
    excluded: Counter[str] = Counter()
    sent: list[Sent] = []
    not_sent: list[tuple[int, str, str]] = []
    warnings: Counter[str] = Counter()
    empty_cells: Counter[str] = Counter()
    first_lines: dict[str, int] = {}
    for record in records[1:]:
        if is_blank(record):
            warnings["blank_records"] += 1
            first_lines.setdefault("blank_records", record.line)
            continue
        if record_fault(record, layout) is None and (column := left_out_by(record, layout, rules)):
            excluded[column] += 1
            not_sent.append((record.line, f"excluded {column}", form_of_id(record, layout, rules)))
            continue
        row = row_or_reason(record, layout, rules, style)
        if isinstance(row, str):
            rejected.append((record, row))
        elif not any(row.attributes.values()):
            empty += 1
            not_sent.append((record.line, "empty", form_of_id(record, layout, rules)))
        else:
            sent.append(row)
            noted = warnings_of(record, row, layout, rules)
            unset = [name for name, value in row.attributes.items() if not value]
            warnings.update(noted)
            empty_cells.update(unset)
            for name, count in [*noted.items(), ("empty_cells", len(unset))]:
                if count:
                    first_lines.setdefault(name, record.line)

    found: dict[str, object] = {name: count for name, count in warnings.items() if count}
    if empty_cells:
        found["empty_cells"] = dict(empty_cells)
    if first_lines:
        found["first_lines"] = first_lines
    profiles = final_profiles(sent)
    return Expected(
        rows={
            "read": len(records) - 1 - warnings["blank_records"],
            "sent": len(sent),
            "superseded": len(sent) - len(profiles),
            "empty": empty,
            "rejected": len(rejected),
        },
        rejects=[(record.line, reason, reject_id(record, reason, layout, rules)) for record, reason in rejected],
        raws=[record.raw for record, _ in rejected],
        warnings=found,
        profiles=profiles,
        sent=sent,
        head=layout.head,
        delimiter=delimiter,
        excluded=dict(excluded),
        not_sent=not_sent,
    )


def form_of_id(record: Record, layout: Layout, rules: Rules) -> str:
    """The id of a sound record as it would be sent, encoded."""
    identifier = sent_id(record.fields[layout.id_at].decode(), rules)
    return encoded(mapped_id(steps_for(rules.mapping, layout.names[layout.id_at]), identifier)) if identifier else ""


def final_profiles(sent: list[Sent]) -> dict[str, dict[str, str]]:
    """By id, in order of first appearance: of each attribute the last non-empty value."""
    profiles: dict[str, dict[str, str]] = {}
    for row in sent:
        profile = profiles.setdefault(row.id, {})
        profile.update({name: value for name, value in row.attributes.items() if value})
    return profiles
