"""JSON Lines that become cells a block at once mean what each line means by the letter."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.json_lines import ArrayRule, JsonFramer
from pipeline.core.formats.json_values import values_of, values_of_all
from pipeline.core.model import Reason
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import Mapped, RowMapper
from pipeline.core.rows.transform import Transform
from tests.core.builders import joined

COLUMNS = ["tier", "id", "a.b", "city"]

texts = st.text(alphabet='aB1 ,"\\|\n\r\t\u00a0é漢', max_size=5) | st.sampled_from(
    ["\\N", "null", "x" * 300, "\0", "+"]
)
numbers = st.sampled_from(["0", "-0", "1.10", "-0.0", "1e5", "72057594037927935", "123456789012345678901", "7", "-3"])
leaves = texts.map(json.dumps) | numbers | st.sampled_from(["null", "true", "false", '"\\ud800"', '"\\u0000"', "{}"])
arrays = st.lists(leaves | st.just('{"x":1.50}'), max_size=3).map(lambda each: f"[{','.join(each)}]")
values = leaves | arrays
ids = st.sampled_from(['"C-1"', '"C-2"', '" C-3 "', '"C-4.0"', '"\'C-5"', "17", "1.0", '["C-6"]']) | values
objects = st.builds(
    lambda *pairs: "{" + ",".join(each for each in pairs if each) + "}",
    ids.map('"id":{}'.format),
    st.just("") | values.map('"tier":{}'.format),
    st.just("") | values.map('"a":{{"b":{}}}'.format) | values.map('"a.b":{}'.format),
    st.just("") | values.map('"city" : {}'.format),
    st.just("") | values.map('"other":{}'.format),
)
trouble = st.sampled_from(
    ['{"id":"x"},{"id":"y"}', '{"id":[{"a":1}', '{"a":2}]}', "{}", "[]", "1,2", "", "  ", '"x', 'x"', "id,tier", "{"]
)
lines = st.lists(objects | objects | objects | trouble, max_size=40)


def mapper_of(trim: str) -> RowMapper:
    plan = plan_columns(
        COLUMNS,
        id_column="id",
        id_kind="thirdPartyId",
        columns={"tier": "tier", "a.b": "ab", "city": "city"},
        unlisted="ignore",
        is_json=True,
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


def by_the_letter(data: bytes, mapper: RowMapper, rule: ArrayRule) -> Mapped:
    framer = JsonFramer(COLUMNS, id_column="id", arrays=rule)
    records = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if stripped := line.strip(b" \t\r\x1a"):
            records.append(framer._record(number, stripped))
    return mapper.map(records)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(lines, st.sampled_from(["join", "json", "reject"]), st.sampled_from(["ids", "all", "none"]), st.integers(1, 900))
def test_blocks_mean_what_lines_mean(lines: list[str], rule: ArrayRule, trim: str, size: int) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    mapper = mapper_of(trim)
    expected = by_the_letter(data, mapper, rule)
    transform = Transform(mapper, columns=COLUMNS, arrays=rule)
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    found = joined([*map(transform.feed, blocks), transform.finish()])
    assert found.rows.body == expected.rows.body
    assert found.rows.lines.tolist() == expected.rows.lines.tolist()
    assert found.rows.ends.tolist() == expected.rows.ends.tolist()
    assert found.rejects == expected.rejects
    assert (found.empty, found.warnings.as_dict()) == (expected.empty, expected.warnings.as_dict())


@pytest.mark.parametrize(
    "bad",
    [
        ['{"a":1},{"a":2}', '{"a":[{"b":1}', '{"c":1}]}'],
        ['{"a":1},72057594037927935,{"a":2}', '{"a":[{"b":1}', '{"c":1}]}'],
        ['{"a":"x', 'y"}', '{"a":1},{"b":2}'],
        ['{"a":1},"72057594037927935",{"a":2.5}', '{"a":[{"b":1.5}', '{"c":1}]}'],
    ],
)
def test_lines_that_would_be_others_together(bad: list[str]) -> None:
    lines = [line.encode() for line in (['{"a":1}'] * 20 + bad + ['{"a":2}'] * 20)]
    assert values_of_all(lines) == [*map(values_of, lines)]
    framed = JsonFramer(["a"]).feed(b"\n".join([*lines, b""]))
    broken = [each.line for each in framed.exactly(np.arange(len(framed.ends)), b",") if not hasattr(each, "fields")]
    assert broken == [21 + at for at, line in enumerate(bad) if values_of(line.encode()) is None] != []


@pytest.mark.parametrize(
    ("rule", "body", "reasons"),
    [
        ("join", b"C-1,a%7Cb,,\nC-2,gold,,\n", [Reason.JSON_INVALID]),
        ("json", b"C-1,%5B%22a%22%20%22b%22%5D,,\nC-2,gold,,\n", [Reason.JSON_INVALID]),
        ("reject", b"C-2,gold,,\n", [Reason.ARRAY, Reason.ARRAY]),
    ],
)
def test_the_rule_for_arrays(rule: ArrayRule, body: bytes, reasons: list[Reason]) -> None:
    data = b'{"id":"C-1","tier":["a","b"]}\n{"id":"C-2","tier":"gold","other":[1]}\n{"id":["x","y"],"tier":"z"}\n'
    found = Transform(mapper_of("ids"), columns=COLUMNS, arrays=rule).feed(data)
    assert found.rows.body == body
    assert [each.reason for each in found.rejects] == reasons
    assert ("array_joined" in found.warnings.as_dict()) == (rule == "join")
