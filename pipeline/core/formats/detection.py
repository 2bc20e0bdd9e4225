"""Finds out from the first bytes of an export how it is written: its line ends, and the delimiter of its cells."""

import re
from dataclasses import replace

from pipeline.core.errors import HeaderError, InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Framer, Record
from pipeline.core.formats.text_codec import is_utf8

#: Bytes of an export from which its line ends are found out. Ours: longer than any header that people have.
SNIFFED_BYTES = 65_536
#: Columns of an export, at most, unless [export] max_columns says otherwise. Ours: the 64 KB of a profile at Target
#: hold some thousands of attributes, and columns that are left out count too.
MAX_COLUMNS = 10_000
#: The delimiters that are found out; if two are equally frequent, the earlier one wins. Hive writes \x01.
DELIMITERS = (b",", b";", b"\t", b"|", b"^", b"\x01")
#: Those that only the id column, a line `sep=` or the configuration tells: other texts hold them too.
RARE_DELIMITERS = (b"~", b":", b"\x1f")

#: What an empty record is made of, and what is not seen: no-break spaces, byte order marks, the end of a file of DOS.
_NOTHING = {ord(each): " " for each in ",;\t|^\x01\"'\ufeff\u200b\x1a"}

#: A line that tells Excel the delimiter; programs that took it for a row put delimiters behind it.
_SEP_LINE = re.compile(rb""" *"? *sep *= *(?:"")?["']?(\\t|[^"' ])?["']{0,3} *[,;\t|^~ ]*""", re.IGNORECASE)


#: Bytes of such a line. Ours: blanks and delimiters beyond that are none of it, and cost their square to look at.
_MAX_SEP_LINE_BYTES = 256


def ends_lines_with_cr(head: bytes) -> bool:
    """True if CR alone ends lines: the first `SNIFFED_BYTES` hold CR and no LF. `head`: at least as much, or all."""
    sniffed = head[:SNIFFED_BYTES]
    return b"\r" in sniffed and b"\n" not in sniffed


def ends_lines_with_cr_lf(head: bytes, escape: bytes) -> bool:
    """True if the first line end in the first `SNIFFED_BYTES` that no escape takes is CR LF.

    `head`: at least as much, or all. `escape`: one character.
    """
    mark = re.escape(escape)
    found = re.compile(b"(?<!" + mark + b")(?<!" + mark + b"\r)\n").search(head[:SNIFFED_BYTES])
    return found is not None and head[: found.start()].endswith(b"\r")


def is_sep_line(line: bytes) -> bool:
    """True if the first line of an export is no header, but tells the delimiter, such as `sep=;`."""
    return len(line) <= _MAX_SEP_LINE_BYTES and _SEP_LINE.fullmatch(line) is not None


def holds_nothing(line: bytes) -> bool:
    """True if nothing is to be seen in a line but delimiters and quotes: it is no header, and tells no delimiter."""
    return is_utf8(line) and not line.decode().translate(_NOTHING).strip()


def delimiter_of_sep_line(line: bytes) -> bytes:
    """The delimiter that such a line tells. Raises `InputError` if there is no such delimiter."""
    found = _SEP_LINE.fullmatch(line)
    delimiter = found[1] if found else b""
    delimiter = b"\t" if delimiter == rb"\t" else delimiter
    if delimiter not in DELIMITERS + RARE_DELIMITERS:
        raise InputError(
            "its first line (sep=) tells a delimiter that is none of comma, semicolon, tab, |, ^ and ~: export it with "
            "one of these, or set [export] delimiter if the line is wrong.",
            line=1,
        )
    return delimiter


def detect_delimiter(line: bytes, dialect: Dialect, *, id_column: str | None = None) -> bytes:
    """The delimiter with which the header line has a field `id_column`; else the most frequent one outside quotes.

    `line`: without its line end.
    `dialect`: all but the delimiter of this counts.
    `id_column`: the name to look for, or None.

    Those of `RARE_DELIMITERS` count where no other gives such a field. A comma if there is none.
    """
    candidates = _possible(DELIMITERS, dialect)
    if id_column is not None:
        with_id = _with_field(candidates, line, dialect, id_column)
        candidates = with_id or _with_field(_possible(RARE_DELIMITERS, dialect), line, dialect, id_column) or candidates
    return max(candidates, key=_unquoted(line, dialect).count)


def _possible(delimiters: tuple[bytes, ...], dialect: Dialect) -> list[bytes]:
    return [each for each in delimiters if each not in (dialect.quote, dialect.escape)]


def _with_field(delimiters: list[bytes], line: bytes, dialect: Dialect, name: str) -> list[bytes]:
    """Those of the delimiters with which the line has a field of this name."""
    return [each for each in delimiters if name.encode() in _fields(line, replace(dialect, delimiter=each))]


def check_number(line: bytes, dialect: Dialect, max_columns: int) -> None:
    """Raise `HeaderError` for a line, without its line end, of more columns than these; before it is cut into them."""
    if line.count(dialect.delimiter) < max_columns:
        return
    found = 1 + _unquoted(line, dialect).count(dialect.delimiter)
    if found > max_columns:
        raise too_many(found, max_columns)


def too_many(found: int, max_columns: int) -> HeaderError:
    """The error for an export of more columns than [export] `max_columns` allows."""
    return HeaderError(
        f"the first row has {found:,} columns, more than [export] max_columns = {max_columns:,} allows: is it cut in "
        "the wrong places ([export] delimiter, quote), or are its lines not ended with LF or CR LF? If it is meant, "
        "raise max_columns."
    )


def _unquoted(line: bytes, dialect: Dialect) -> bytes:
    """A line without what stands in quotes."""
    quote = re.escape(dialect.quote)
    return re.sub(quote + b"[^" + quote + b"]*" + quote, b"", line) if quote else line


def _fields(line: bytes, dialect: Dialect) -> list[bytes]:
    framer = Framer(dialect)
    framed = framer.feed(line) + framer.finish()
    return framed[0].fields if framed and isinstance(framed[0], Record) else []
