"""The rows of an export that mean something else if its escapes count in other cells than is configured."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import Framer, Record


def read_otherwise(records: Sequence[Record], dialect: Dialect) -> list[int]:
    """The lines of those records, read in this dialect, that have other cells with the other `escape_in`."""
    if not dialect.escape:
        return []
    other = replace(dialect, escape_in="all" if dialect.escape_in == "quotes" else "quotes")
    return [
        record.line for record in records if dialect.escape in record.raw and not _is_same(record, Framer(other), other)
    ]


def has_literal_escapes(records: Sequence[Record], dialect: Dialect) -> bool:
    """True if a record without quotes has an escape that takes nothing: whoever escapes there too never writes it so.

    Cells that are `\\N`, no value in exports of databases, do not count.
    """
    single, double = dialect.escape, dialect.escape * 2
    return any(
        single in field.replace(double, b"") and field != single + b"N"
        for record in records
        if single in record.raw and dialect.quote not in record.raw
        for field in record.raw.split(dialect.delimiter)
    )


def _is_same(record: Record, framer: Framer, dialect: Dialect) -> bool:
    line_end = b"\r\n" if dialect.cr_lf_ends_lines else b"\n"
    framed = [*framer.feed(record.raw + line_end), *framer.finish()]
    return len(framed) == 1 and isinstance(framed[0], Record) and framed[0].fields == record.fields
