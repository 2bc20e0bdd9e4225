"""Records, line numbers and broken lines, however the file is cut into blocks."""

import csv
import io
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.detection import detect_delimiter
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import MAX_RECORD_BYTES, START, BrokenLine, Framer, Position, Record
from pipeline.core.model import Reason
from tests.tools.oracle import Style, cut_lines, find_delimiter, read_plainly, read_records

COMMA = Dialect(b",")
MIB = MAX_RECORD_BYTES
TEXT_AFTER_QUOTE = Reason.TEXT_AFTER_QUOTE
QUOTE_UNCLOSED = Reason.QUOTE_UNCLOSED
RECORD_TOO_LONG = Reason.RECORD_TOO_LONG
Framed = list[Record | BrokenLine]


def frame(data: bytes, *, cuts: list[int] | None = None, dialect: Dialect = COMMA, limit: int = MIB) -> Framed:
    framer = Framer(dialect, max_record_bytes=limit)
    framed: Framed = []
    for start, end in pairwise([0, *sorted(cuts or []), len(data)]):
        framed += framer.feed(data[start:end])
    framed += framer.finish()
    assert framer.pending_bytes == 0
    return framed


def found(data: bytes) -> list[tuple[int, list[bytes] | Reason]]:
    """Line and fields, or line and what is wrong with it."""
    return [(record.line, record.fields if isinstance(record, Record) else record.reason) for record in frame(data)]


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (b"a,b\nc,d\n", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a,b\nc,d", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a,b\r\nc,d\r\n", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a,b\r\nc,d\r", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b'a,"b"\r\nc,"d"\r', [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a\rb,\rc\r\r\nd", [(1, [b"a\rb", b"\rc\r"]), (2, [b"d"])]),
        (b"a\r\r", [(1, [b"a\r"])]),
        (b"\r", []),
        (b"\n\r\na\n\n\r\n\nb\n\r", [(3, [b"a"]), (7, [b"b"])]),
        (b"\r\r\n", [(1, [b"\r"])]),
        (b",\n,,\r\n", [(1, [b"", b""]), (2, [b"", b"", b""])]),
        (b"a,", [(1, [b"a", b""])]),
        (b'"",""\n""\n', [(1, [b"", b""]), (2, [b""])]),
        (b'""', [(1, [b""])]),
        (b'"a""b",""""\n', [(1, [b'a"b', b'"'])]),
        (b'"a,b","c\nd\r\ne\rf\n\n"\ng', [(1, [b"a,b", b"c\nd\r\ne\rf\n\n"]), (6, [b"g"])]),
        (b'"\r\n"\r\n\r\nb', [(1, [b"\r\n"]), (4, [b"b"])]),
        (b'a"b,c""\n "d"\n', [(1, [b'a"b', b'c""']), (2, [b' "d"'])]),
        (b"a\0b,\0\n", [(1, [b"a\0b", b"\0"])]),
        (b"\x85\xff,\x0b\x0c\x1c\xc2\x85\n", [(1, [b"\x85\xff", b"\x0b\x0c\x1c\xc2\x85"])]),
        (b"a;b\n", [(1, [b"a;b"])]),
        (b'"a"b,c\nd,e\n', [(1, TEXT_AFTER_QUOTE), (2, [b"d", b"e"])]),
        (b'a,"b" \r\nd\n', [(1, TEXT_AFTER_QUOTE), (2, [b"d"])]),
        (b'a,"b"\rc\nd\n', [(1, TEXT_AFTER_QUOTE), (2, [b"d"])]),
        (b'a,"b"\r\r\nd\n', [(1, TEXT_AFTER_QUOTE), (2, [b"d"])]),
        (b'a,"b\nd\n', [(1, QUOTE_UNCLOSED), (2, [b"d"])]),
        (b'a,"', [(1, QUOTE_UNCLOSED)]),
        (b'a,"b""', [(1, QUOTE_UNCLOSED)]),
        (b'a,"b\nc"x,1\nd\n', [(1, TEXT_AFTER_QUOTE), (2, [b'c"x', b"1"]), (3, [b"d"])]),
        (b'a,"b\n"c"x,1\nd\n', [(1, TEXT_AFTER_QUOTE), (2, TEXT_AFTER_QUOTE), (3, [b"d"])]),
        (b'a,"b\n\n\nc,"d\n', [(1, TEXT_AFTER_QUOTE), (4, QUOTE_UNCLOSED)]),
    ],
)
def test_records(data: bytes, records: list[tuple[int, list[bytes] | Reason]]) -> None:
    assert found(data) == records
    for size in (1, 2, 3):
        assert frame(data, cuts=list(range(size, len(data), size))) == frame(data)


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        (b"a,b\r\nc", b"a,b"),
        (b"a,b\r\r\nc", b"a,b\r"),
        (b"a,b\r", b"a,b"),
        (b'"a\r\nb",c\r\nd', b'"a\r\nb",c'),
        (b'"a"x\r\nb', b'"a"x'),
        (b'"a"x\r', b'"a"x'),
        (b'"a"x\ry\n', b'"a"x\ry'),
        (b'"a\nb', b'"a'),
    ],
)
def test_raw_is_the_record_or_the_broken_line_without_its_ending(data: bytes, raw: bytes) -> None:
    assert frame(data)[0].raw == raw
    assert frame(data, cuts=list(range(1, len(data))))[0].raw == raw


@pytest.mark.parametrize(
    ("data", "has_bare_quote"),
    [
        (b'"a""b","c"', False),
        (b"a", False),
        (b'a"', True),
        (b'"x",a"b', True),
        (b'a"b,"x"', True),
        (b'a"b,"c",d', True),
        (b' ""', True),
    ],
)
def test_bare_quotes(data: bytes, has_bare_quote: bool) -> None:
    (record,) = frame(data)
    assert isinstance(record, Record)
    assert record.has_bare_quote is has_bare_quote


@pytest.mark.parametrize("delimiter", [b";", b"\t", b"|"])
def test_other_delimiters(delimiter: bytes) -> None:
    data = b'a,b;"c;d;\t|""";\t|\n'.replace(b";", delimiter)
    (record,) = frame(data, dialect=Dialect(delimiter))
    (expected,) = read_records(data, delimiter.decode())
    assert isinstance(record, Record)
    assert tuple(record.fields) == expected.fields


def test_records_come_as_soon_as_they_are_whole() -> None:
    framer = Framer(COMMA, start=Position(line=5))
    assert framer.feed(b'a,"b') == []
    assert framer.pending_bytes == 4
    assert [record.line for record in framer.feed(b'\n"\nc\nd')] == [5, 7]
    assert framer.pending_bytes == 1
    assert [record.line for record in framer.finish()] == [8]
    assert framer.pending_bytes == 0


# Edges of the longest record, with real data: with nothing after it, and with a record that must still be read.

EDGES = [
    (b"u,1," + b"x" * (MIB - 5) + b"\n", None),
    (b"u,1," + b"x" * (MIB - 4) + b"\n", RECORD_TOO_LONG),
    (b"u,1," + b"x" * (MIB - 6) + b"\r\n", None),
    (b"u,1," + b"x" * (MIB - 5) + b"\r\n", RECORD_TOO_LONG),
    (b'u,1,"' + b"x" * (MIB - 7) + b'"\n', None),
    (b'u,1,"' + b"x" * (MIB - 6) + b'"\n', RECORD_TOO_LONG),
    (b'u,1,"' + b"x" * (MIB - 8) + b'"\r\n', None),
    (b'u,1,"' + b"x" * (MIB - 7) + b'"\r\n', RECORD_TOO_LONG),
    (b'u,1,"' + b"x" * (MIB - 7) + b'"y\n', TEXT_AFTER_QUOTE),
    (b'u,1,"' + b"x" * (MIB - 5) + b'"\n', QUOTE_UNCLOSED),
    (b'u,1,"' + b"x" * (MIB - 6) + b'""y"\n', QUOTE_UNCLOSED),
    (b"u,1," + b"x" * (MIB - 5) + b'""\n', RECORD_TOO_LONG),
    (b"u,1," + b"x" * MIB + b',"\n', RECORD_TOO_LONG),
    (b"u,1," + b"x" * (MIB - 6) + b',""\n', QUOTE_UNCLOSED),
    (b'u,1,"\n' + b"x" * (MIB - 8) + b'"\n', None),
    (b'u,1,"\n"' + b"x" * (MIB - 8) + b'"\n', TEXT_AFTER_QUOTE),
    (b"x" * (3 * MIB) + b"\n", RECORD_TOO_LONG),
    (b'"a"b' + b"x" * (2 * MIB) + b"\n", TEXT_AFTER_QUOTE),
]


@pytest.mark.parametrize(("data", "reason"), EDGES)
@pytest.mark.parametrize("after", [b"", b"v,2,3\n"])
def test_a_record_ends_within_a_mebibyte(data: bytes, reason: Reason | None, after: bytes) -> None:
    whole = data + after
    framed = frame(whole)
    first = framed[0]
    if reason is None:
        assert isinstance(first, Record)
        assert first.raw == data.removesuffix(b"\n").removesuffix(b"\r")
    else:
        assert isinstance(first, BrokenLine)
        assert first.reason == reason
        assert first.raw == data.split(b"\n")[0].removesuffix(b"\r")[:MIB]
    if after:
        last = framed[-1]
        assert isinstance(last, Record)
        assert (last.line, last.fields) == (whole.count(b"\n"), [b"v", b"2", b"3"])
    for cuts in ([65_536, MIB - 1], [MIB], [MIB + 1, MIB + 2], [len(data) - 2, len(data) - 1], [len(data)]):
        assert frame(whole, cuts=[cut for cut in cuts if cut <= len(whole)]) == framed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"u,1," + b"x" * (MIB - 4), None),
        (b"u,1," + b"x" * (MIB - 3), RECORD_TOO_LONG),
        (b"u,1," + b"x" * (MIB - 5) + b"\r", None),
        (b"u,1," + b"x" * (MIB - 4) + b"\r", RECORD_TOO_LONG),
        (b'u,1,"' + b"x" * (MIB - 6) + b'"', None),
        (b'u,1,"' + b"x" * (MIB - 6) + b'"y', RECORD_TOO_LONG),
        (b'u,1,"' + b"x" * (MIB - 5), QUOTE_UNCLOSED),
    ],
)
def test_the_last_record_has_no_line_ending_to_count(data: bytes, reason: Reason | None) -> None:
    (record,) = frame(data)
    assert (record.reason if isinstance(record, BrokenLine) else None) == reason
    assert frame(data, cuts=[MIB - 1, MIB]) == [record]


def test_no_quote_is_open_before_the_limit() -> None:
    (record,) = frame(b"u,1," + b"x" * (MIB - 5) + b',""\n')
    assert isinstance(record, BrokenLine)
    assert record.reason == RECORD_TOO_LONG


def test_memory_is_bounded_by_a_record_and_a_block() -> None:
    framer = Framer(COMMA)
    block = b"x" * 65_536
    for _ in range(80):
        framer.feed(block)
        assert framer.pending_bytes <= MIB + len(block)
    (record,) = framer.feed(b"\nu,1\n")
    assert (record.line, record.raw) == (2, b"u,1")


# Any bytes, cut anywhere.

PIECES = [b'"', b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"a", b"bc", b"\xff", b"\0", b';"', b',"', b'",', b'"\n']
NASTY = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)
CUTS = st.lists(st.integers(0, 150), max_size=12)
LIMITS = st.one_of(st.just(MIB), st.integers(1, 40))
DIALECTS = st.builds(
    Dialect,
    st.just(b","),
    st.sampled_from([b'"', b'"', b"a", b""]),
    st.sampled_from([b"", b"", b";", b"b"]),
    st.booleans(),
    st.sampled_from(["all", "quotes"]),
    st.booleans(),
)


@given(NASTY, CUTS, LIMITS, DIALECTS)
def test_framing_does_not_depend_on_the_blocks(data: bytes, cuts: list[int], limit: int, dialect: Dialect) -> None:
    within = [cut for cut in cuts if cut <= len(data)]
    whole = frame(data, dialect=dialect, limit=limit)
    assert frame(data, cuts=within, dialect=dialect, limit=limit) == whole
    assert frame(data, cuts=list(range(len(data))), dialect=dialect, limit=limit) == whole


@given(NASTY, DIALECTS)
def test_records_of_any_dialect(data: bytes, dialect: Dialect) -> None:
    style = Style(dialect.quote.decode(), dialect.escape.decode(), dialect.escape_in, cr_lf=dialect.cr_lf_ends_lines)
    text, cr = data.decode("latin-1"), dialect.cr_ends_lines
    expected = [record for record, _ in read_plainly(cut_lines(text, cr=cr), 1, ",", style, cr=cr)]
    for record, other in zip(frame(data, dialect=dialect), expected, strict=True):
        assert (record.line, record.raw) == (other.line, other.raw)
        if isinstance(record, Record):
            assert (tuple(record.fields), record.has_bare_quote, None) == (other.fields, other.bare_quote, other.broken)
        else:
            assert record.reason.value == other.broken


ESCAPED = Dialect(b",", escape=b"\\")
OF_SPARK = replace(ESCAPED, escape_in="quotes")
WITH_ESCAPES = st.lists(
    st.sampled_from([*PIECES, *[b"\\", b"\\\\", b'\\"', b"\\,", b"\\\n", b"\\\r\n", b"\\N", b"'"]]), max_size=60
).map(b"".join)


@given(
    WITH_ESCAPES,
    CUTS,
    st.builds(
        Dialect,
        st.just(b","),
        st.sampled_from([b'"', b'"', b"'", b""]),
        st.sampled_from([b"", b"\\", b"\\"]),
        st.booleans(),
        st.sampled_from(["all", "quotes"]),
        st.booleans(),
    ),
)
@example(b'a,"b\\\\"\nc,d\n', [], ESCAPED)
@example(b'a,"b\\",c"\nc,d\n', [4], ESCAPED)
@example(b"a,b\\\nc\nd,e\n", [4, 5], ESCAPED)
@example(b"a,b\\\r\nd,e\\\\\n", [], ESCAPED)
@example(b'a\\,"b"\nc,"d\\""\n', [], ESCAPED)
@example(b"a,C:\\new\\\nc\n", [8, 9], ESCAPED)
@example(b"a,b\\\r\nd,e\r\n", [5, 6], replace(ESCAPED, cr_lf_ends_lines=True))
@example(b'a,"b\\\r\nd"\r\ne,f\\\r\r\n', [6], replace(ESCAPED, cr_lf_ends_lines=True))
@example(b'C:\\,"b\\",c\\\\"\nd\\"e,f\\\n', [5], OF_SPARK)
@example(b'\\"a","b"\n"c"\\"\n"d",\\\\"\n', [], OF_SPARK)
def test_blocks_mean_the_same_in_any_dialect(data: bytes, cuts: list[int], dialect: Dialect) -> None:
    """The fast framer against the exact one: escapes at the end of blocks, of quotes, of lines, and of each other."""
    framer, exact = BlockFramer(dialect), Framer(dialect)
    for start, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]):
        framed = framer.feed(data[start:end])
        assert framed.exactly(np.arange(len(framed.ends)), dialect.delimiter) == exact.feed(data[start:end])
        assert framer.position == exact.position
    assert framer.finish().others == exact.finish()


@given(
    st.lists(st.lists(st.text('ab",\\\n\r;é', max_size=6), min_size=2, max_size=3), max_size=6),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONE, csv.QUOTE_MINIMAL]),
    st.integers(0, 60),
)
def test_what_csv_writes_with_an_escape_is_read_back(
    rows: list[list[str]], quoting: Literal[0, 1, 3], cut: int
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, escapechar="\\", doublequote=False).writerows(rows)
    data = file.getvalue().encode()
    framer = BlockFramer(ESCAPED)
    framed = [framer.feed(data[:cut]), framer.feed(data[cut:]), framer.finish()]
    records = [each for part in framed for each in part.exactly(np.arange(len(part.ends)), b",")]
    assert [[cell.decode() for cell in record.fields] for record in records if isinstance(record, Record)] == rows
    assert len(records) == len(rows)


def as_spark_writes(cell: str) -> str:
    """A cell as Spark writes it by default: in quotes where it has to be, and escaped only there."""
    if not cell:
        return '""'
    if not set(cell) & set(',"\r\n'):
        return cell
    return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(st.lists(st.text('ab",\\\n\r;é', max_size=6), min_size=2, max_size=3), max_size=6),
    st.integers(0, 60),
    st.sampled_from(["\n", "\r\n"]),
)
@example([["\\\\server\\", "C:\\"], ['\\"', "\\"], ["\\\\", "\\,"]], 12, "\n")
def test_what_spark_writes_is_read_back(rows: list[list[str]], cut: int, line_end: str) -> None:
    data = "".join(",".join(map(as_spark_writes, row)) + line_end for row in rows).encode()
    framer = BlockFramer(replace(OF_SPARK, cr_lf_ends_lines=line_end == "\r\n"))
    framed = [framer.feed(data[:cut]), framer.feed(data[cut:]), framer.finish()]
    records = [each for part in framed for each in part.exactly(np.arange(len(part.ends)), b",")]
    assert [[cell.decode() for cell in record.fields] for record in records if isinstance(record, Record)] == rows
    assert len(records) == len(rows)


def test_a_backslash_outside_quotes_takes_nothing_in_what_spark_writes() -> None:
    framed = BlockFramer(OF_SPARK).feed(b'a,C:\\temp\\,C:\\\nb,"x\\,y",\\\n')
    assert (len(framed.ends), framed.others) == (2, []), "nothing is escaped in them: the fast path has them all"
    assert [record.fields for record in framed.exactly(np.arange(2), b",") if isinstance(record, Record)] == [
        [b"a", b"C:\\temp\\", b"C:\\"],
        [b"b", b"x\\,y", b"\\"],
    ]


@pytest.mark.parametrize(
    ("cr_lf", "cells"), [(True, [[b"a", b"b\r\nc"], [b"d", b"e"]]), (False, [[b"a", b"b\r"], [b"c"], [b"d", b"e"]])]
)
def test_an_escape_takes_the_line_end_of_the_file_as_one(cr_lf: bool, cells: list[list[bytes]]) -> None:
    """Where lines end with LF, Redshift writes `\\` CR LF for a CR at the end of a row, and escapes CR LF in two."""
    dialect = replace(ESCAPED, cr_lf_ends_lines=cr_lf)
    framed = BlockFramer(dialect).feed(b"a,b\\\r\nc\r\nd,e\r\n")
    records = framed.exactly(np.arange(len(framed.ends)), b",")
    assert [record.fields for record in records if isinstance(record, Record)] == cells
    (record,) = frame(b"a,b\\\r\\\nc\n", dialect=dialect)
    assert isinstance(record, Record)
    assert record.fields == [b"a", b"b\r\nc"]


@pytest.mark.parametrize("text", [b"\\N", b"C:\\new", b"\\"])
def test_an_escape_that_escapes_nothing_makes_no_record_irregular(text: bytes) -> None:
    framed = BlockFramer(ESCAPED).feed(b"a," + text + b' ,c\n"b",c,\\N\n')
    assert (len(framed.ends), framed.others) == (2, [])


def test_only_the_records_with_an_escape_are_framed_one_by_one() -> None:
    framed = BlockFramer(ESCAPED).feed(b'a,"x"\nb,"say \\"hi\\""\nc,d\n')
    assert [record.line for record in framed.others] == [2]
    assert framed.lines.tolist() == [1, 3]


@given(NASTY, CUTS)
def test_every_line_is_in_a_record_or_broken_or_empty(data: bytes, cuts: list[int]) -> None:
    framed = frame(data, cuts=[cut for cut in cuts if cut <= len(data)])
    lines = data.split(b"\n")
    seen: list[int] = []
    for record in framed:
        is_broken = isinstance(record, BrokenLine)
        seen += range(record.line, record.line + 1 + (0 if is_broken else record.raw.count(b"\n")))
    assert seen == sorted(set(seen)), "no line twice, and in the order of the file"
    skipped = set(range(1, len(lines) + 1)) - set(seen)
    assert all(lines[number - 1] in (b"", b"\r") for number in skipped)


# Going on where it ended.


def frame_from(data: bytes, position: Position, limit: int = MIB, dialect: Dialect = COMMA) -> Framed:
    framer = Framer(dialect, start=position, max_record_bytes=limit)
    return framer.feed(data[position.offset :]) + framer.finish()


def test_positions() -> None:
    framer = Framer(COMMA)
    assert framer.position == START == Position(0, 1, is_skipping=False)
    framer.feed(b'a\n"b\nc",d\r\n\ne')
    assert framer.position == Position(12, 5)
    assert [framer.position_of(line) for line in (1, 2)] == [Position(0, 1), Position(2, 2)]
    framer.feed(b'f\n\n"g')
    assert framer.position == Position(16, 7)
    assert framer.position_of(5) == Position(12, 5)
    framer.finish()
    assert framer.position == Position(18, 7, is_skipping=True), "the broken line has no end"


def test_positions_count_from_where_framing_began() -> None:
    framer = Framer(COMMA, start=Position(1_000, 7))
    framer.feed(b"a\nb\nc")
    assert framer.position == Position(1_004, 9)
    assert framer.position_of(8) == Position(1_002, 8)


def test_the_rest_of_a_broken_line_is_passed_over() -> None:
    framer = Framer(COMMA, max_record_bytes=3)
    assert [record.line for record in framer.feed(b"a\nbbbbb")] == [1, 2]
    position = framer.position
    assert position == Position(7, 2, is_skipping=True)
    data = b"a\nbbbbbb,x\nc\n"
    assert [(record.line, record.raw) for record in frame_from(data, position, limit=3)] == [(3, b"c")]


@given(NASTY, CUTS, LIMITS, st.sampled_from([b"", b"\xef\xbb\xbf"]), DIALECTS)
def test_framing_goes_on_from_any_position_with_exactly_the_rest(
    data: bytes, cuts: list[int], limit: int, mark: bytes, dialect: Dialect
) -> None:
    whole = mark + data
    framer = Framer(dialect, start=Position(len(mark)), max_record_bytes=limit)
    expected = frame(data, dialect=dialect, limit=limit)
    seen = 0
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    blocks = [data[start:end] for start, end in pairwise(bounds)]
    for block in [*blocks, None]:
        framed = framer.finish() if block is None else framer.feed(block)
        for place, record in enumerate(framed, seen):
            position = framer.position_of(record.line)
            assert whole[position.offset :].startswith(record.raw)
            assert frame_from(whole, position, limit, dialect) == expected[place:]
        seen += len(framed)
        assert frame_from(whole, framer.position, limit, dialect) == expected[seen:]
    assert seen == len(expected)


# The delimiter.


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        (b"", b","),
        (b"a", b","),
        (b"a;b", b";"),
        (b"a\tb", b"\t"),
        (b"a|b", b"|"),
        (b"a;b,c", b","),
        (b"a|b\tc;d", b";"),
        (b"a|b\tc", b"\t"),
        (b"a;b;c,d", b";"),
        (b'a;"b,c,d"', b";"),
        (b'a;"b""c,d,"', b";"),
        (b'a;"b,c,d', b","),
        (b"\r\n\na|b\nc,d,e", b"|"),
        (b"a;b\nc,d,e", b";"),
    ],
)
def test_detect_delimiter(head: bytes, delimiter: bytes) -> None:
    line = head.lstrip(b"\r\n").split(b"\n", 1)[0]
    assert detect_delimiter(line, COMMA) == delimiter
    assert find_delimiter(head).encode() == delimiter
