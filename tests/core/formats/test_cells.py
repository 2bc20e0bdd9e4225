"""The cells of columnar files become records whose lines are the numbers of their rows, whatever the cut."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.formats.cells import ARRAY, NUL_IN_CELL, CellFramer
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BrokenLine, Position, Record
from pipeline.core.formats.json_lines import ArrayRule
from pipeline.core.model import Reason
from pipeline.core.rows.blockmapping import BlockMapper
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import Mapped, RowMapper
from tests.core.builders import joined

COLUMNS = ["tier", "id", "city", "other"]
SENT = (1, 0, 2)

cells = st.text(alphabet='aB1 ,"|\n\r\t\u00a0é漢', max_size=5).map(str.encode)
cells |= st.sampled_from([b"", b"\\N", b"null", b"x" * 300, b"a" + NUL_IN_CELL, b"\xff", b"+", b"C-4.0", b"\xc1\x9bab"])
cells |= st.sampled_from([b"[]", b'["a"]', b'["a","b",null]', b'[1.50,{"x":"y"}]']).map(ARRAY.__add__)
ids = st.sampled_from([b"C-1", b"C-2", b" C-3", b"'C-5", b"17"]) | cells
records = st.tuples(cells, ids, cells, cells)


def mapper_of(trim: str) -> RowMapper:
    plan = plan_columns(
        COLUMNS,
        id_column="id",
        id_kind="thirdPartyId",
        columns={"tier": "tier", "city": "city"},
        unlisted="ignore",
    )
    return RowMapper(
        replace(plan, header=()),
        dialect=Dialect(b","),
        on_delimiter="replace",
        replacement=" ",
        max_row_bytes=10_000,
        salt=7,
        rules=CellRules(trim=trim),
    )


def text_of(rows: Sequence[tuple[bytes, ...]]) -> bytes:
    return b"".join(cell + b"\0" for row in rows for cell in row)


def framed(text: bytes, *, most: int = 1_000, rule: ArrayRule = "join") -> list[Record | BrokenLine]:
    found = CellFramer(len(COLUMNS), max_record_bytes=most, sent=SENT, arrays=rule).feed(text)
    return found.exactly(np.arange(len(found.ends)), b",")


def mapped(mapper: RowMapper, text: bytes, size: int, rule: ArrayRule) -> Mapped:
    framer = CellFramer(len(COLUMNS), sent=SENT, arrays=rule)
    blocks = BlockMapper(mapper)
    found = [blocks.map(framer.feed(text[at : at + size])) for at in range(0, len(text), size)]
    assert framer.pending_bytes == 0
    return joined([*found, blocks.map(framer.finish())])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    st.lists(records, max_size=30),
    st.sampled_from(["join", "json", "reject"]),
    st.sampled_from(["ids", "all", "none"]),
    st.integers(1, 400),
)
def test_blocks_mean_what_records_mean(rows: list[tuple[bytes, ...]], rule: ArrayRule, trim: str, size: int) -> None:
    mapper = mapper_of(trim)
    expected = mapper.map(framed(text_of(rows), rule=rule, most=1_000_000))
    found = mapped(mapper, text_of(rows), size, rule)
    assert found.rows.body == expected.rows.body
    assert found.rows.lines.tolist() == expected.rows.lines.tolist()
    assert found.rejects == expected.rejects
    assert (found.empty, found.warnings.as_dict()) == (expected.empty, expected.warnings.as_dict())


def test_a_record() -> None:
    [record] = framed(text_of([(b'go"ld', b"C-1", b"Ulm,\nS", b"a" + NUL_IN_CELL)]))
    assert record == Record(1, b'"go""ld",C-1,"Ulm,\nS",a\0', [b'go"ld', b"C-1", b"Ulm,\nS", b"a\0"], False)


@pytest.mark.parametrize(
    ("rule", "field", "count"), [("join", b"a|b||1.50", 1), ("json", b'["a","b",null,1.50]', 0), ("reject", None, 0)]
)
def test_arrays(rule: ArrayRule, field: bytes | None, count: int) -> None:
    [record] = framed(text_of([(ARRAY + b'["a","b",null,1.50]', b"C-1", b"", b"")]), rule=rule)
    assert record.raw == b'"[""a"",""b"",null,1.50]",C-1,,'
    if isinstance(record, BrokenLine):
        assert (field, record.reason) == (None, Reason.ARRAY)
    else:
        assert (record.fields[0], record.joined) == (field, count)


def test_an_array_that_is_not_sent_or_stands_for_an_id() -> None:
    array = ARRAY + b'["a","b"]'
    rows = [(b"", b"C-1", b"", array), (b"", array, b"", b""), (b"", ARRAY + b'["a"]', b"", b"")]
    found = framed(text_of(rows))
    assert [getattr(each, "reason", None) for each in found] == [None, Reason.ARRAY, None]
    assert [getattr(each, "joined", None) for each in found] == [0, None, 0]
    assert [getattr(each, "reason", None) for each in framed(text_of(rows), rule="reject")] == [
        None,
        Reason.ARRAY,
        Reason.ARRAY,
    ]


def test_a_record_that_is_too_long_is_one_reject() -> None:
    rows = [(b"x" * 40, b"C-1", b"", b""), (b"x" * 60, b"C-2", b"", b""), (b"y", b"C-3", b"", b"")]
    found = framed(text_of(rows), most=50)
    assert [(each.line, getattr(each, "reason", None), len(each.raw)) for each in found] == [
        (1, None, 46),
        (2, Reason.RECORD_TOO_LONG, 50),
        (3, None, 7),
    ]


@pytest.mark.parametrize("size", [1, 7, 50, 300])
def test_a_record_that_is_too_long_is_the_same_however_it_is_cut(size: int) -> None:
    long = (b'"' + b"x" * 60, b"C-2", b"z" * 2_000, b"")
    rows = [(b"a", b"C-1", b"", b""), long, long, (b"y", b"C-3", b"", b"")]
    text = text_of(rows)
    framer = CellFramer(len(COLUMNS), max_record_bytes=50, sent=SENT)
    found: list[Record | BrokenLine] = []
    for at in range(0, len(text), size):
        some = framer.feed(text[at : at + size])
        found += some.exactly(np.arange(len(some.ends)), b",")
        if len(some):
            line = some.line_of(0)
            assert framer.position_of(line) == Position(len(text_of(rows[: line - 1])), line)
    assert found == framed(text, most=50)
    assert [getattr(each, "reason", None) for each in found] == [None, *[Reason.RECORD_TOO_LONG] * 2, None]
    assert found[1].raw == b'"""' + b"x" * 47
    assert (framer.pending_bytes, framer.position) == (0, Position(len(text), 5))


def test_of_a_record_that_is_too_long_no_more_is_kept_than_a_reject_shows() -> None:
    framer = CellFramer(len(COLUMNS), max_record_bytes=1_000)
    tracemalloc.start()
    for _ in range(200):
        framer.feed(b"x" * 100_000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert framer.pending_bytes == 20_000_000
    [record] = framer.feed(b"\0" * 4).others
    assert (record.line, len(record.raw)) == (1, 1_000)


def test_positions() -> None:
    rows = [(b"a", b"C-1", b"\n\n", b""), (b"b", b"C-2", b"", b""), (b"c", b"C-3", b"", b"")]
    framer = CellFramer(len(COLUMNS), start=Position(100, 7))
    framer.feed(text_of(rows) + b"d\0")
    assert (framer.position, framer.pending_bytes) == (Position(126, 10), 2)
    assert [framer.position_of(line) for line in (7, 8, 9)] == [Position(100, 7), Position(110, 8), Position(118, 9)]
