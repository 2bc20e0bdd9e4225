"""JSON Lines become records: values as they were written, whatever the cut, and nothing broken read as whole."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.formats import blockframing
from pipeline.core.formats.framing import BrokenLine, Position, Record
from pipeline.core.formats.json_lines import JsonFramer, add_columns
from pipeline.core.model import Reason

Framed = list[Record | BrokenLine]


def all_of(found: blockframing.Framed) -> Framed:
    """All records, those that are cells as they are by the letter, which comes to the same cells."""
    records = found.exactly(np.arange(len(found.ends)), b",")
    by_line = {record.line: record for record in records}
    fields = [getattr(by_line[line], "fields", []) for line in found.lines.tolist()]
    assert found.data == b"".join([field + b"\0" for row in fields for field in row])
    assert [found.data[end - 1] for end in found.ends] == [0] * len(found.ends)
    joined = {line: getattr(by_line[line], "joined", 0) for line in found.lines.tolist()}
    told = found.source.joined if found.source else {}
    assert {line: count for line, count in told.items() if count} == {line: n for line, n in joined.items() if n}
    return records


def framed(
    text: bytes, columns: list[str], *, size: int = 1_000_000, most: int = 1_000, **options: Any
) -> tuple[Framed, Position]:
    framer = JsonFramer(columns, max_record_bytes=most, **options)
    records = [
        record for start in range(0, len(text), size) for record in all_of(framer.feed(text[start : start + size]))
    ]
    records += all_of(framer.finish())
    assert framer.pending_bytes == 0
    return records, framer.position


def fields_of(line: str, *columns: str) -> list[str] | Reason:
    [record], _ = framed(line.encode("utf-8", "surrogatepass"), [*columns], most=1_000_000)
    return record.reason if isinstance(record, BrokenLine) else [field.decode() for field in record.fields]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ('"gold"', "gold"),
        ('""', ""),
        ("null", ""),
        ("true", "true"),
        ("false", "false"),
        ("3", "3"),
        ("-7", "-7"),
        ("0", "0"),
        ("-0", "-0"),
        ("1.10", "1.10"),
        ("-0.0", "-0.0"),
        ("1e5", "1e5"),
        ("1E+400", "1E+400"),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890", "12345678901234567890"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"München, \\"A\\"\\nB"', 'München, "A"\nB'),
        ('"\\ud83d\\ude00"', "😀"),
        ("[]", ""),
        ('["a"]', "a"),
        ('["a","b",null,true,1.10]', "a|b||true|1.10"),
        ('[{"x":1.10},["y",12345678901234567890]]', '{"x":1.10}|["y",12345678901234567890]'),
        ("{}", ""),
        ('"1.10"', "1.10"),
    ],
)
def test_values(value: str, field: str) -> None:
    assert fields_of(f'{{"id":"C-1","v":{value}}}', "id", "v") == ["C-1", field]
    # With a number beside it that needs care, which takes another way.
    assert fields_of(f'{{"id":"C-1","n" : 2.50, "v" :\t{value} }}', "id", "v", "n") == ["C-1", field, "2.50"]


def test_nested() -> None:
    line = '{"id":"C-1","address":{"city":"Ulm","geo":{"lat":48.40}},"a.b":"x"}'
    assert fields_of(line, "id", "address.city", "address.geo.lat", "a.b", "address") == [
        "C-1",
        "Ulm",
        "48.40",
        "x",
        "",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", Reason.JSON_INVALID),
        ("1.5", Reason.JSON_INVALID),
        ('"x"', Reason.JSON_INVALID),
        ("{", Reason.JSON_INVALID),
        ('{"id":"a"} {"id":"b"}', Reason.JSON_INVALID),
        ('{"id":"a",}', Reason.JSON_INVALID),
        ('{"id":NaN}', Reason.JSON_INVALID),
        ('{"id":1.0,"x":Infinity}', Reason.JSON_INVALID),
        ("{'id':'a'}", Reason.JSON_INVALID),
        ('{"id":01}', Reason.JSON_INVALID),
        ('{"id":"a\tb"}', Reason.JSON_INVALID),
        ('{"id":"\\ud800"}', Reason.JSON_INVALID),
        ('{"id":"\\ud800","n":1.0}', Reason.JSON_INVALID),
        ('{"id":"a\\u0000"}', Reason.NUL_BYTE),
        ('{"id":"a\ud800"}', Reason.INVALID_UTF8),
        ('{"a":{"b":1},"a.b":2,"id":"x"}', Reason.JSON_INVALID),
        ('{"id":' + "[" * 400 + '"x"' + "]" * 400 + "}", ["[" * 399 + '"x"' + "]" * 399]),
        ('{"id":1.5,"x":' + '{"a":' * 90 + "1" + "}" * 90 + "}", ["1.5"]),
        ("id,tier", Reason.JSON_INVALID),
    ],
)
def test_what_is_no_object(line: str, reason: Reason | list[str]) -> None:
    assert fields_of(line, "id") == reason


def test_arrays_within_arrays_without_end() -> None:
    deep = b'{"id":' + b"[" * 100_000 + b"1.5" + b"]" * 100_000 + b"}"
    [record], _ = framed(deep, ["id"], most=1_000_000)
    assert isinstance(record, BrokenLine)
    assert record.reason is Reason.JSON_INVALID


def test_what_was_joined_is_counted() -> None:
    records, _ = framed(b'{"id":["a"],"x":["a","b"],"y":[1.0,2],"z":[1,2]}\n{"id":"a"}', ["id", "x", "y"])
    assert [record.joined for record in records if isinstance(record, Record)] == [2, 0]


LINES = (
    b'\xef\xbb\xbf{"id":"C-1","v":"a"}\r\n\n  \n{"id":"C-2","v":1.10}\nno\n{"id":"C-3","v":"'
    + b"x" * 90
    + b'"}\n'
    + b'{"id":"C-4"}   \t\n{"id":"C-5","v":"b"}'
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1_000])
def test_every_cut_gives_the_same(size: int) -> None:
    text = LINES.removeprefix(b"\xef\xbb\xbf")
    records, end = framed(text, ["id", "v"], size=size, most=80)
    assert [(record.line, getattr(record, "reason", None)) for record in records] == [
        (1, None),
        (4, None),
        (5, Reason.JSON_INVALID),
        (6, Reason.RECORD_TOO_LONG),
        (7, None),
        (8, None),
    ]
    assert len(records[3].raw) == 80
    assert end == Position(len(text), 9)


@pytest.mark.parametrize("line", range(1, 9))
def test_going_on_at_any_line(line: int) -> None:
    text = LINES.removeprefix(b"\xef\xbb\xbf")
    framer = JsonFramer(["id", "v"])
    records = all_of(framer.feed(text)) + all_of(framer.finish())
    offset = sum(len(each) + 1 for each in text.split(b"\n")[: line - 1])
    again = JsonFramer(["id", "v"], start=Position(offset, line))
    assert all_of(again.feed(text[offset:])) + all_of(again.finish()) == [each for each in records if each.line >= line]


def test_a_position_is_found_by_its_line() -> None:
    framer = JsonFramer(["id"], start=Position(100, 7))
    framer.feed(b'{"id":"a"}\n\n{"id":"b"}\n{"id"')
    assert framer.position_of(9) == Position(112, 9)
    assert framer.position == Position(123, 10)


def test_columns() -> None:
    columns: dict[str, None] = {}
    framer = JsonFramer(())
    for block in (b'{"id":1,"a":{"b":1}}\nno\n{"i', b'd":2,"c":[1]}\n{"d":1}', None):
        add_columns(columns, framer.objects(block))
    assert list(columns) == ["id", "a.b", "c", "d"]


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(alphabet="abc", min_size=1), LEAVES, min_size=1))
def test_as_the_standard_library_reads_it(values: dict[str, Any]) -> None:
    def written(value: object) -> str:
        return str(value).lower() if isinstance(value, Decimal) else json.dumps(value)

    line = "{" + ",".join(f"{json.dumps(key)}:{written(value)}" for key, value in values.items()) + "}"
    expected = [
        "" if value is None else value if isinstance(value, str) else written(value) for value in values.values()
    ]
    if any("\0" in field for field in expected):
        assert fields_of(line, *values) is Reason.NUL_BYTE
    else:
        assert fields_of(line, *values) == expected
