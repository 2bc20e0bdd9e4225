"""Reads the body of a batch as Target does, with the documented consequences of wrong encoding.

A body is `batch=`, a header row and data rows. Line breaks separate rows, commas separate cells, and there is no
quoting. It is read in this order, each step on the result of the last:

1. a `%` that two hexadecimal digits do not follow refuses the whole batch (anywhere in the body: assumed);
2. everything from the first raw `&` on is lost, silently; if no row is left, the answer is "Batch is empty";
3. `+` becomes a space and percent-encoded bytes become UTF-8, once, as in any form;
4. rows and cells are split. So an encoded comma shifts all later cells of its row, and those beyond the header are
   dropped; an encoded line break begins a new row, whose id is the rest of the value.

With `decode="after"` rows and cells are split first (only line feeds separate rows, CRLF counts as one), and each cell
is decoded alone: `%2C` and `%0A` are values then, and a row longer than the header fails.

Blank lines are not rows. Reading needs no I/O and no clock; 500,000 rows or 50 MB take a second or two of CPU, so it is
called off the event loop.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from pipeline.sandbox.mistakes import Mistake, MistakeKind, examples
from pipeline.sandbox.options import MAX_ID_CHARS, MAX_NAME_CHARS, Decode

PREFIX = b"batch="
#: Different encoded cells whose values are remembered: values repeat, and each is decoded and held in memory once.
_CELLS_REMEMBERED = 65_536
ID_KINDS = ("thirdPartyId", "pcId")

_BARE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: A comma or a line break that is a separator once the batch is decoded.
_ENCODED_DELIMITER = re.compile(rb"%(?:2[Cc]|0[ADad])")
_NAME = re.compile(rf"(?!mbox)[A-Za-z][A-Za-z0-9_]{{0,{MAX_NAME_CHARS - 1}}}")
#: Bytes that need no encoding, the separators, `%` (looked at apart) and everything that can be UTF-8.
_PLAIN = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!~_*() ,\r\n%"  # documented
    + bytes(range(0x80, 0x100))
)
_SPECIALS = {
    "&": MistakeKind.RAW_AMPERSAND,
    "+": MistakeKind.RAW_PLUS,
    "=": MistakeKind.RAW_EQUALS,
    '"': MistakeKind.QUOTE,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch that was not taken: Target's answer, and the mistakes behind it."""

    message: str
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A readable batch. Its rows become values only when it is applied, so a waiting batch takes little memory.

    `text`: its data rows, decoded or not, as `is_decoded` says.
    `rows`: the number of data rows.
    `empty`: the number of rows without a value.
    `failed_ids`: the ids of the rows that cannot be applied, one for each row.
    `ids`: all legal ids.
    `illegal`: the ids that fail wherever they are.
    """

    id_kind: str
    names: tuple[str, ...]
    text: str
    rows: int
    empty: int
    failed_ids: tuple[str, ...]
    ids: frozenset[str]
    illegal: frozenset[str]
    mistakes: tuple[Mistake, ...]
    is_decoded: bool


def read_body(body: bytes | bytearray, max_rows: int, decode: Decode = "before") -> Batch | Refusal:
    """The batch in a body, or Target's refusal. `decode`: when it is decoded, see above."""
    if not body.startswith(PREFIX):
        return _bad_start(body)
    mistakes = _encoding_mistakes(body)
    bare = _BARE_PERCENT.search(body)
    if bare:
        seen = bytes(body[bare.start() : bare.start() + 3])
        bare_percent = Mistake(MistakeKind.BARE_PERCENT, f"{seen!r} at byte {bare.start()}")
        return Refusal("Unexpected error", (*mistakes, bare_percent))
    header, text = _decoded(body, mistakes) if decode == "before" else _as_sent(body)
    names = header.rstrip("\r\n").split(",")
    if decode == "after":
        names = [_decode(name) for name in names]
    wrong = _header_mistake(names) if header else None
    if not wrong and not text.strip("\r\n"):
        return Refusal("Batch is empty", (*mistakes, Mistake(MistakeKind.NO_ROWS, "a header and nothing after it")))
    if wrong:
        return Refusal(wrong, (*mistakes, Mistake(MistakeKind.HEADER, wrong)))
    return _read_rows(names, text, max_rows, mistakes, is_decoded=decode == "before")


def _as_sent(body: bytes | bytearray) -> tuple[str, str]:
    """The header and the rows of a body up to a raw `&`, still encoded; the header with its line break."""
    end = _end(body)
    header_end = body.find(b"\n", 0, end) + 1 or end
    with memoryview(body) as view:
        return str(view[len(PREFIX) : header_end], "utf-8", "replace"), str(view[header_end:end], "utf-8", "replace")


def _decoded(body: bytes | bytearray, mistakes: list[Mistake]) -> tuple[str, str]:
    """The header and the rows of a body up to a raw `&`, decoded as a form is; line breaks are line feeds then."""
    whole = body[len(PREFIX) : _end(body)]
    if count := len(_ENCODED_DELIMITER.findall(whole)):
        mistakes.append(Mistake(MistakeKind.ENCODED_DELIMITER, f"{count} encoded commas and line breaks", count=count))
    if b"+" in whole:
        whole = whole.replace(b"+", b" ")
    text = (unquote_to_bytes(bytes(whole)) if b"%" in whole else whole).decode(errors="replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    header, _, rows = text.partition("\n")
    return header, rows


def _end(body: bytes | bytearray) -> int:
    """The offset at which the first parameter of a body ends."""
    cut = body.find(b"&")
    return len(body) if cut < 0 else cut


def updates(batch: Batch) -> Iterator[tuple[str, dict[str, str]]]:
    """(id, its non-empty values by name) of each row that can be applied and has a value, in order."""
    text = batch.text
    encoded = not batch.is_decoded and ("%" in text or "+" in text)
    decode = lru_cache(_CELLS_REMEMBERED)(_decode)
    for line in _lines(text):
        profile_id, *cells = line.split(",")
        if encoded and "%" in profile_id:
            profile_id = _unquote(profile_id)
        if profile_id in batch.illegal or (len(cells) > len(batch.names) and not batch.is_decoded):
            continue
        if encoded and ("%" in line or "+" in line):
            cells = [decode(cell) if "%" in cell or "+" in cell else cell for cell in cells]
        values = {name: cell for name, cell in zip(batch.names, cells, strict=False) if cell}
        if values:
            yield profile_id, values


def is_legal_id(profile_id: str) -> bool:
    """True if Target takes this decoded id: 1 to `MAX_ID_CHARS` characters, no `+` and no `/`."""
    return 0 < len(profile_id) <= MAX_ID_CHARS and "+" not in profile_id and "/" not in profile_id


def _bad_start(body: bytes | bytearray) -> Refusal:
    if body.startswith(b"\xef\xbb\xbf"):
        mistake = Mistake(MistakeKind.BOM, "a byte order mark stands before batch=")
    else:
        mistake = Mistake(MistakeKind.BODY_START, f"the body starts with {bytes(body[:20])!r}")
    return Refusal("Parameter batch is missing", (mistake,))


def _encoding_mistakes(body: bytes | bytearray) -> list[Mistake]:
    """Characters that should have been percent-encoded, one mistake a kind."""
    left = body.translate(None, _PLAIN)
    found = {chr(byte): left.count(byte) for byte in sorted(set(left))}
    found["="] -= PREFIX.count(b"=")
    found["\r"] = body.count(b"\r") - body.count(b"\r\n")
    kinds: dict[MistakeKind, dict[str, int]] = {}
    for character, count in found.items():
        if not count:
            continue
        kinds.setdefault(_SPECIALS.get(character, MistakeKind.RAW_SPECIAL), {})[character] = count
    mistakes = [
        Mistake(kind, ", ".join(f"{c!r} x{n}" for c, n in counts.items()), count=sum(counts.values()))
        for kind, counts in kinds.items()
    ]
    try:
        _ = body.isascii() or body.decode()
    except UnicodeDecodeError as error:
        mistakes.append(Mistake(MistakeKind.NOT_UTF8, f"{error.reason} at byte {error.start}"))
    return mistakes


def _header_mistake(names: list[str]) -> str | None:
    """The mistake in the decoded cells of a header, in the answer's words, or None."""
    if names[0] not in ID_KINDS:
        return "The first column must be pcId or thirdPartyId"
    for name in names[1:]:
        if not _NAME.fullmatch(name):
            return f"Illegal parameter name {name!r}"
    if len(set(names)) < len(names):
        return "A parameter name occurs twice"
    return None


def _read_rows(
    names: list[str], text: str, max_rows: int, mistakes: list[Mistake], *, is_decoded: bool
) -> Batch | Refusal:
    lines = _lines(text)
    if len(lines) > max_rows:
        message = f"Number of rows exceeds the limit of {max_rows}"
        return Refusal(message, (*mistakes, Mistake(MistakeKind.TOO_MANY_ROWS, f"{len(lines)} rows")))
    ids = [line.partition(",")[0] for line in lines]
    if "%" in text and not is_decoded:
        ids = [_unquote(profile_id) if "%" in profile_id else profile_id for profile_id in ids]
    distinct = frozenset(ids)
    illegal = frozenset(profile_id for profile_id in distinct if not is_legal_id(profile_id))
    width = len(names) - 1
    long_rows = [i for i, line in enumerate(lines) if line.count(",") > width]
    failing_rows = [] if is_decoded else long_rows
    failed = sorted({*failing_rows, *(i for i, p in enumerate(ids) if p in illegal)} if illegal else failing_rows)
    empty = {i for i, line in enumerate(lines) if _is_empty(line, width, is_decoded=is_decoded)}.difference(failed)
    return Batch(
        id_kind=names[0],
        names=tuple(names[1:]),
        text=text,
        rows=len(lines),
        empty=len(empty),
        failed_ids=tuple(ids[i] for i in failed),
        ids=distinct - illegal if illegal else distinct,
        illegal=illegal,
        mistakes=(*mistakes, *_row_mistakes(ids, distinct, illegal, [ids[i] for i in long_rows])),
        is_decoded=is_decoded,
    )


def _is_empty(line: str, width: int, *, is_decoded: bool) -> bool:
    """True if a row has no value: none within the header, if cells beyond it are dropped."""
    if "," not in line.rstrip(","):
        return True
    return is_decoded and line.count(",") > width and not any(line.split(",")[1 : width + 1])


def _row_mistakes(
    ids: list[str], distinct: frozenset[str], illegal: frozenset[str], long_ids: list[str]
) -> Iterator[Mistake]:
    if illegal:
        yield Mistake(MistakeKind.ILLEGAL_ID, examples(illegal), count=len(illegal))
    if long_ids:
        yield Mistake(MistakeKind.LONG_ROW, examples(set(long_ids)), count=len(long_ids))
    if len(distinct) < len(ids):
        doubled = {profile_id for profile_id, count in Counter(ids).items() if count > 1}
        yield Mistake(MistakeKind.DUPLICATE_ID, examples(doubled), count=len(doubled))


def _lines(text: str) -> list[str]:
    """The data rows, undecoded."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    return [line for line in text.split("\n") if line]


def _decode(cell: str) -> str:
    """A cell's value."""
    if "+" in cell:
        cell = cell.replace("+", " ")
    return _unquote(cell) if "%" in cell else cell


def _unquote(text: str) -> str:
    """Percent-decoded text; bytes that are not UTF-8 become U+FFFD."""
    return unquote_to_bytes(text).decode(errors="replace")
