"""The oracle is right: each rule in a table, and a second reader, byte by byte, that must agree with it."""

import base64
import csv
import io
import json
from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.tools.drawn import examples
from tests.tools.oracle import (
    RECORD_BYTES,
    Expected,
    Record,
    Unusable,
    encoded,
    expect,
    find_delimiter,
    read_records,
)
from tests.tools.strategies import ALPHABET, DELIMITERS, Export, exports, raw_bytes, raw_exports

BOM = b"\xef\xbb\xbf"


def read(rows: bytes | str, header: bytes = b"id,a,b\n", **options: Any) -> Expected:
    """The rows under a plain header, with all columns sent."""
    data = header + (rows.encode() if isinstance(rows, str) else rows)
    return expect(data, **{"id_column": "id", "columns": {}, "unlisted": "send", **options})


def counts(expected: Expected) -> dict[str, object]:
    """The warnings without their lines."""
    return {name: count for name, count in expected.warnings.items() if name != "first_lines"}


def sent_lines(expected: Expected) -> list[str]:
    return [row.row.decode("ascii") for row in expected.sent]


# A second reader, for the cross-check. It shares nothing with the first but the Record it fills.


Scanned = tuple[list[bytes], bool, int, int]  # fields, bare quote, end without and with the line ending


def scan_record(data: bytes, start: int, delimiter: int, limit: int) -> Scanned | str:
    """The record at `start`, or what is wrong with it: one step a byte, so that it can be followed."""
    fields: list[bytes] = []
    cell, bare, state = bytearray(), False, "start"
    at = start
    while True:
        byte = data[at] if at < len(data) else None
        if at - start == limit and byte is not None:
            pair = state == "closed" and byte == ord('"')
            return "local.quote_unclosed" if state == "quoted" or pair else "local.record_too_long"
        if data[at : at + 2] == b"\r\n":
            ending = 2
        else:
            ending = int(byte == ord("\n") or (byte == ord("\r") and at + 1 == len(data)))
        if state == "quoted" and byte is None:
            return "local.quote_unclosed"
        if state == "quoted" and byte == ord('"'):
            state = "closed"
        elif state == "quoted" or (state == "closed" and byte == ord('"')):
            assert byte is not None
            cell.append(byte)
            state = "quoted"
        elif byte is None or ending:
            if at + ending - start > limit:
                return "local.record_too_long"
            return [*fields, bytes(cell)], bare, at, at + ending
        elif byte == delimiter:
            fields.append(bytes(cell))
            cell, state = bytearray(), "start"
        elif state == "closed":
            return "local.text_after_quote"
        elif state == "start" and byte == ord('"'):
            state = "quoted"
        else:
            cell.append(byte)
            bare, state = bare or byte == ord('"'), "plain"
        at += 1


def scan(data: bytes, delimiter: str, limit: int = RECORD_BYTES) -> list[Record]:
    """All records, read byte by byte."""
    data = data[3:] if data.startswith(BOM) else data
    records: list[Record] = []
    at = 0
    while at < len(data):
        line = data[:at].count(b"\n") + 1
        line_end = data.index(b"\n", at) + 1 if b"\n" in data[at:] else len(data)
        whole = data[at:line_end]
        for ending in (b"\r\n", b"\n", b"\r"):
            if whole.endswith(ending):
                whole = whole[: -len(ending)]
                break
        found = scan_record(data, at, ord(delimiter), limit) if whole else None
        if isinstance(found, tuple):
            fields, bare, end, following = found
            records.append(Record(line, data[at:end], tuple(fields), bare))
            at = following
        else:
            if found is not None:
                records.append(Record(line, whole, broken=found))
            at = line_end
    return records


QUOTES = st.lists(st.sampled_from([*ALPHABET, b'"', b"\r\n", b',"']), max_size=40).map(b"".join)
VALUES = st.text(st.sampled_from('ab,;"\r\n\té😀\x85\u2028'), max_size=5)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.one_of(raw_bytes(), QUOTES),
    st.sampled_from([",", ";"]),
    st.one_of(st.just(RECORD_BYTES), st.integers(1, 30)),
)
def test_two_readers_agree_on_any_bytes(data: bytes, delimiter: str, limit: int) -> None:
    assert read_records(data, delimiter, record_bytes=limit) == scan(data, delimiter, limit)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exports(), st.one_of(st.just(RECORD_BYTES), st.integers(10, 60)))
def test_two_readers_agree_on_exports(export: Export, limit: int) -> None:
    for delimiter in DELIMITERS:
        assert read_records(export.data, delimiter, record_bytes=limit) == scan(export.data, delimiter, limit)


@given(
    st.lists(st.lists(VALUES, min_size=2, max_size=4)),
    st.sampled_from(DELIMITERS),
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_what_csv_writes_is_read_back(rows: list[list[str]], delimiter: str, style: tuple[str, Literal[0, 1]]) -> None:
    ending, quoting = style
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows(rows)
    records = read_records(file.getvalue().encode(), delimiter)
    assert [[cell.decode() for cell in record.fields] for record in records] == rows
    assert not any(record.bare_quote or record.broken for record in records)


@given(st.text())
def test_encoding_is_byte_by_byte(value: str) -> None:
    kept = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!~_*()"
    assert encoded(value) == "".join(chr(b) if b in kept else f"%{b:02X}" for b in value.encode())


# Records.


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (BOM, []),
        (BOM + b"a,b", [(1, [b"a", b"b"])]),
        (b"a" + BOM + b"\n" + BOM + b"b", [(1, [b"a" + BOM]), (2, [BOM + b"b"])]),
        (b"a,b\nc,d\n", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a,b\r\nc,d\r\n", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a,b\r\nc,d\r", [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b'a,"b"\r\nc,"d"\r', [(1, [b"a", b"b"]), (2, [b"c", b"d"])]),
        (b"a\rb,\rc\r\r\nd", [(1, [b"a\rb", b"\rc\r"]), (2, [b"d"])]),
        (b"a\r\r", [(1, [b"a\r"])]),
        (b"\n\r\na\n\n\r\n\nb\n\r", [(3, [b"a"]), (7, [b"b"])]),
        (b"\r\r\n", [(1, [b"\r"])]),
        (b",\n,,\r\n", [(1, [b"", b""]), (2, [b"", b"", b""])]),
        (b'"",""\n""\n', [(1, [b"", b""]), (2, [b""])]),
        (b'"a""b",""""\n', [(1, [b'a"b', b'"'])]),
        (b'"a,b","c\nd\r\ne\rf\n\n"\ng', [(1, [b"a,b", b"c\nd\r\ne\rf\n\n"]), (6, [b"g"])]),
        (b'"\r\n"\r\n\r\nb', [(1, [b"\r\n"]), (4, [b"b"])]),
        (b'a"b,c""\n "d"\n', [(1, [b'a"b', b'c""']), (2, [b' "d"'])]),
        (b"a\0b,\0\n", [(1, [b"a\0b", b"\0"])]),
        (b"\x85\xff,\x0b\x0c\x1c\xc2\x85\n", [(1, [b"\x85\xff", b"\x0b\x0c\x1c\xc2\x85"])]),
    ],
)
def test_records(data: bytes, records: list[tuple[int, list[bytes]]]) -> None:
    found = [(record.line, list(record.fields)) for record in read_records(data, ",")]
    assert found == records
    assert scan(data, ",") == read_records(data, ",")


@pytest.mark.parametrize(
    ("data", "bare"),
    [
        (b'"a"', False),
        (b'"a""b","c,""d"', False),
        (b'""', False),
        (b'a"', True),
        (b'"x",a"b', True),
        (b'a"b,"x"', True),
        (b'a"b,"c",d', True),
        (b' ""', True),
        (b'"a",",""",""""', False),
    ],
)
def test_bare_quote(data: bytes, bare: bool) -> None:
    (record,) = read_records(data, ",")
    assert record.bare_quote is bare


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        (b"a", ","),
        (b"", ","),
        (b"a;b", ";"),
        (b"a\tb", "\t"),
        (b"a|b", "|"),
        (b"a;b,c", ","),
        (b"a|b\tc;d", ";"),
        (b"a|b\tc", "\t"),
        (b"a;b;c,d", ";"),
        (b'a;"b,c,d"', ";"),
        (b'a;"b""c,d,"', ";"),
        (b'a;b"c,d,e"f', ";"),
        (b'a;"b,c,d', ","),
        (b"\r\n\na|b\nc,d,e", "|"),
        (BOM + b"\na|b", "|"),
        (b"a\rb;c,d;e", ";"),
    ],
)
def test_delimiter_is_found(line: bytes, delimiter: str) -> None:
    assert find_delimiter(line) == delimiter


@pytest.mark.parametrize(
    ("rows", "rejects", "raws"),
    [
        ('"u"x,1,2\nv,1,2\n', [(2, "local.text_after_quote")], [b'"u"x,1,2']),
        ('u,"1" ,2\r\nv,1,2\n', [(2, "local.text_after_quote")], [b'u,"1" ,2']),
        ('u,1,"2"\rv,1,2\n', [(2, "local.text_after_quote")], [b'u,1,"2"\rv,1,2']),
        ('u,"1"\r,2\nv,1,2\n', [(2, "local.text_after_quote")], [b'u,"1"\r,2']),
        ('u,1,"2"\r\r\nv,1,2\n', [(2, "local.text_after_quote")], [b'u,1,"2"\r']),
        # Only the first line goes; what followed is read as a record of its own.
        ('u,"1\nv,1,2\n', [(2, "local.quote_unclosed")], [b'u,"1']),
        ('u,"1\r\nv,1,2\n', [(2, "local.quote_unclosed")], [b'u,"1']),
        ('u,1,2\nv,1,"2\r', [(3, "local.quote_unclosed")], [b'v,1,"2']),
        ('u,1,"', [(2, "local.quote_unclosed")], [b'u,1,"']),
        ('u,1,"2""', [(2, "local.quote_unclosed")], [b'u,1,"2""']),
        ('u,"1\nv"x,1,2\n', [(2, "local.text_after_quote")], [b'u,"1']),
        (
            'u,"1\n"v"x,1,2\nw,1,2\n',
            [(2, "local.text_after_quote"), (3, "local.text_after_quote")],
            [b'u,"1', b'"v"x,1,2'],
        ),
        (
            'u,"1\n\n\nv,"1,2\n',
            [(2, "local.text_after_quote"), (5, "local.quote_unclosed")],
            [b'u,"1', b'v,"1,2'],
        ),
    ],
)
def test_broken_records(rows: str, rejects: list[tuple[int, str]], raws: list[bytes]) -> None:
    expected = read(rows)
    assert expected.rejects == [(line, reason, None) for line, reason in rejects]
    assert expected.raws == raws
    assert expected.rows["rejected"] == len(rejects)
    assert expected.rows["read"] == len(rejects) + len(expected.sent)


MIB = RECORD_BYTES


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"u,1," + b"x" * (MIB - 5) + b"\n", None),
        (b"u,1," + b"x" * (MIB - 4) + b"\n", "local.record_too_long"),
        (b"u,1," + b"x" * (MIB - 6) + b"\r\n", None),
        (b"u,1," + b"x" * (MIB - 5) + b"\r\n", "local.record_too_long"),
        (b"u,1," + b"x" * (MIB - 4), None),
        (b"u,1," + b"x" * (MIB - 3), "local.record_too_long"),
        (b'u,1,"' + b"x" * (MIB - 7) + b'"\n', None),
        (b'u,1,"' + b"x" * (MIB - 6) + b'"\n', "local.record_too_long"),
        (b'u,1,"' + b"x" * (MIB - 6) + b'"', None),
        (b'u,1,"' + b"x" * (MIB - 6) + b'"y', "local.record_too_long"),
        (b'u,1,"' + b"x" * (MIB - 7) + b'"y', "local.text_after_quote"),
        (b'u,1,"' + b"x" * (MIB - 5) + b'"\n', "local.quote_unclosed"),
        (b'u,1,"' + b"x" * (MIB - 6) + b'""y"\n', "local.quote_unclosed"),
        (b"u,1," + b"x" * (MIB - 5) + b'""\n', "local.record_too_long"),
        (b"u,1," + b"x" * MIB + b',"', "local.record_too_long"),
        (b"u,1," + b"," * (MIB - 5) + b'""\n', "local.quote_unclosed"),
        (b"u,1," + b"," * (MIB - 4) + b'""\n', "local.record_too_long"),
        (b'u,1,"\n' + b"x" * (MIB - 8) + b'"\n', None),
        (b'u,1,"\n' + b"x" * (MIB - 6) + b'"\n', "local.quote_unclosed"),
    ],
)
def test_record_ends_within_a_mebibyte(record: bytes, reason: str | None) -> None:
    first, *_ = read_records(record, ",")
    assert first.broken == reason
    if reason is not None:
        assert first.raw == record.split(b"\n")[0].removesuffix(b"\r")


def test_csv_field_limit_is_left_as_it_was() -> None:
    before = csv.field_size_limit()
    read("u,1,2\n" + "v," + "x" * (before + 1) + ",2\n")
    assert csv.field_size_limit() == before


# Header and columns.


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no header"),
        (b"\n\r\n", "no header"),
        (b'"id"x,a\n', "header: local.text_after_quote"),
        (b'id,"a\nu,1\n', "header: local.quote_unclosed"),
        (b"id,a\0\n", "header: NUL"),
        (b"id,a\xff\n", "header: NUL or invalid UTF-8"),
        (b"key,a\n", "column 'id' is in the header 0 times"),
        (b"id,id,a\n", "column 'id' is in the header 2 times"),
        (b"id,a,a\n", "parameter name 'a'"),
        (b"id,no name\n", "parameter name 'no name'"),
        (b"id,mboxa\n", "parameter name 'mboxa'"),
    ],
)
def test_unusable_exports(data: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(b"", header=data)


def test_listed_column_must_be_there() -> None:
    with pytest.raises(Unusable):
        read("", columns={"c": "c"})


@pytest.mark.parametrize("header", [b"id,a,b", b"id,a,b\n", BOM + b"\r\nid,a,b\r"])
def test_header_only(header: bytes) -> None:
    expected = read("", header=header)
    assert expected.rows == {"read": 0, "sent": 0, "superseded": 0, "empty": 0, "rejected": 0}
    assert expected.body() == b"batch=thirdPartyId,a,b\n"
    assert expected.warnings == {}


def test_columns_sent() -> None:
    header = b'x,My tier,id,"a,b"\n'
    columns = {"My tier": "tier", "a,b": "ab"}
    ignored = read("1,2,u,3\n", header=header, columns=columns, unlisted="ignore", id_kind="pcId")
    assert ignored.body() == b"batch=pcId,tier,ab\nu,2,3\n"
    assert ignored.profiles == {"u": {"tier": "2", "ab": "3"}}
    everything = read("1,2,u,3\n", header=header, columns=columns)
    assert everything.body() == b"batch=thirdPartyId,x,tier,ab\nu,1,2,3\n"


def test_ignored_columns_are_not_looked_at() -> None:
    value = "x" * 70_000 + ","
    expected = read(f'u,1,"{value}"\n', columns={"a": "a"}, unlisted="ignore", on_delimiter="reject")
    assert expected.warnings == {}
    assert sent_lines(expected) == ["u,1\n"]
    assert read("u,,2\n", columns={"a": "a"}, unlisted="ignore").rows["empty"] == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(b"u,1,\0\n", "nul_byte"), (b"u,1,\xff\n", "invalid_utf8"), (b"u,1\n", "field_count")],
)
def test_ignored_columns_are_judged_with_the_record(rows: bytes, reason: str) -> None:
    expected = read(rows, columns={"a": "a"}, unlisted="ignore")
    assert [reject[1] for reject in expected.rejects] == ["local." + reason]


# Rows: why they are rejected, and which reason comes first.


@pytest.mark.parametrize(
    ("rows", "reason", "identifier"),
    [
        (b"u,1,\0\n", "nul_byte", "u"),
        (b"\0,1,2\n", "nul_byte", "\0"),
        (b"u,\xff\0\n", "nul_byte", None),
        (b"u,1,\xff\n", "invalid_utf8", "u"),
        (b"u\xff,1,2\n", "invalid_utf8", "u\\xff"),
        (b"u,\xed\xa0\x80,2\n", "invalid_utf8", "u"),
        (b"u,\xff\n", "invalid_utf8", None),
        (b",\xff,\n", "invalid_utf8", ""),
        (b"u,1\n", "field_count", None),
        (b"u\n", "field_count", None),
        (b"+,1,2,3\n", "field_count", None),
        (b",1,2\n", "empty_id", ""),
        (b'"",,1\n', "empty_id", ""),
        (b"a+b,1,2\n", "id_character", "a+b"),
        (b"a/b,1,2\n", "id_character", "a/b"),
        (b"a/" * 300 + b",1,2\n", "id_character", "a/" * 300),
        (b"i" * 257 + b",1,2\n", "id_too_long", "i" * 257),
        ("é".encode() * 257 + b",,\n", "id_too_long", "é" * 257),
    ],
)
def test_rejected_rows(rows: bytes, reason: str, identifier: str | None) -> None:
    expected = read(rows + b"ok,1,2\n")
    assert expected.rejects == [(2, "local." + reason, identifier)]
    assert expected.raws == [rows.removesuffix(b"\n")]
    assert expected.rows == {"read": 2, "sent": 1, "superseded": 0, "empty": 0, "rejected": 1}


@pytest.mark.parametrize("identifier", ["i" * 256, "😀" * 256, "é", "a b", "a%b", "a&b=c", "\\a", "a\tb", "12E5"])
def test_accepted_ids(identifier: str) -> None:
    assert list(read(f"{identifier},1,2\n").profiles) == [identifier]


@pytest.mark.parametrize("mark", [",", "\r", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("on_delimiter", "in_id", "in_value"),
    [("encode", "sent", "sent"), ("replace", "rejected", "sent"), ("reject", "rejected", "rejected")],
)
def test_delimiter_in_a_value(mark: str, on_delimiter: str, in_id: str, in_value: str) -> None:
    for rows, outcome in ((f'"u{mark}1",1,2\n', in_id), (f'u,"v{mark}1",2\n', in_value)):
        expected = read(rows, on_delimiter=on_delimiter)
        assert expected.rows[outcome] == 1
        assert [reject[1] for reject in expected.rejects] == ["local.delimiter"] * (outcome == "rejected")
        assert counts(expected) == ({"value_with_delimiter": 1} if outcome == "sent" else {})


@pytest.mark.parametrize("on_delimiter", ["replace", "reject"])
def test_only_the_comma_counts_whatever_separates_the_columns(on_delimiter: str) -> None:
    expected = read('"u;";"1;";2|\t\n', header=b"id;a;b\n", on_delimiter=on_delimiter)
    assert sent_lines(expected) == ["u%3B,1%3B,2%7C%09\n"]
    comma = read("u,;1;2\n", header=b"id;a;b\n", on_delimiter=on_delimiter)
    assert [reject[1] for reject in comma.rejects] == ["local.delimiter"]


def test_replacement() -> None:
    rows = '"u","a,b\r\nc\rd\ne,,\n\r","50%"\n'
    assert sent_lines(read(rows, on_delimiter="replace")) == ["u,a%20b%20c%20d%20e%20%20%20%20,50%25\n"]
    expected = read(rows, on_delimiter="replace", replacement=" \\1é")
    assert expected.profiles["u"]["a"].startswith("a \\1éb \\1éc \\1éd")
    assert sent_lines(read(rows)) == ["u,a%2Cb%0D%0Ac%0Dd%0Ae%2C%2C%0A%0D,50%25\n"]


@pytest.mark.parametrize("character", ["v", "é"])
def test_attributes_too_large(character: str) -> None:
    size = len(character.encode())
    room = 65_536 - len("aaa") - len("b") - len("😀".encode())
    fits = character * (room // size) + "v" * (room % size)
    header = b"id,aaa,b,c\n"
    assert read(f"{'i' * 200},{fits},😀,\n", header=header).rows["sent"] == 1
    over = read(f"{'i' * 200},{fits}v,😀,\n", header=header)
    assert over.rejects == [(2, "local.attributes_too_large", "i" * 200)]


def test_attributes_are_measured_after_replacement() -> None:
    value = '"' + "v" * (65_536 - 4) + '\r\n,"'
    assert read(f"u,{value},\n", on_delimiter="replace").rows["sent"] == 1
    assert read(f"u,{value},\n", on_delimiter="replace", replacement="--").rows["rejected"] == 1
    assert read(f"u,{value},\n").rows["sent"] == 1
    assert read(f"u,{value}, \n").rows["rejected"] == 1


def test_row_too_large() -> None:
    size = len("batch=thirdPartyId,a,b\n" + "u,%C3%A9,\n")
    assert read("u,é,\n", max_bytes=size).rows["sent"] == 1
    assert read("u,é,\n", max_bytes=size - 1).rejects == [(2, "local.row_too_large", "u")]
    # Judged before the row is found to be empty.
    assert read("u,,\n", max_bytes=20).rejects == [(2, "local.row_too_large", "u")]


def test_order_of_the_last_reasons() -> None:
    of_the_id = read('"a+,",1,2\n', on_delimiter="reject", max_bytes=20)
    assert [reject[1] for reject in of_the_id.rejects] == ["local.id_character"]
    heavy = "v" * 70_000
    rejected = read(f'u,",{heavy}",\n', on_delimiter="reject", max_bytes=100)
    assert [reject[1] for reject in rejected.rejects] == ["local.delimiter"]
    assert [r[1] for r in read(f"u,{heavy},\n", max_bytes=100).rejects] == ["local.attributes_too_large"]


# Rows to send, warnings, profiles, rejects.


def test_empty_rows_are_not_sent() -> None:
    expected = read('u,,\nv,"",""\nw,, \n\n\r\nu,0,\n')
    assert expected.rows == {"read": 4, "sent": 2, "superseded": 0, "empty": 2, "rejected": 0}
    assert sent_lines(expected) == ["w,,%20\n", "u,0,\n"]


def test_quotes_are_never_sent() -> None:
    assert sent_lines(read('u,"say ""hi""",a"b\n')) == ["u,say%20%22hi%22,a%22b\n"]


def test_warnings_count_rows_to_send_only() -> None:
    long, longer = "i" * 128, "i" * 129
    value, longer_value = "é" * 256, "é" * 257
    rows = (
        f'{long},{value},"1"\n'
        f"{longer},{longer_value},{longer_value}\n"
        f'"u,",",","\n"\n'
        f'v,a"b,"c""d"\n'
        f"w,,1\n"
        f'w,"1",""\n'
        # Rejected and empty: not counted.
        f'+,"{longer_value},",a"b\n'
        f'x"{longer},,\n'
        f'"{longer},",,\n'
    )
    expected = read(rows)
    assert expected.rows == {"read": 9, "sent": 6, "superseded": 1, "empty": 2, "rejected": 1}
    assert counts(expected) == {
        "id_over_128_characters": 1,
        "value_over_256_characters": 2,
        "value_with_delimiter": 3,
        "bare_quote": 1,
        "values_padded": 1,
        "empty_cells": {"a": 1, "b": 1},
    }


def test_bare_quote_counts_a_row_once_and_in_any_column() -> None:
    expected = read('u"",1",2"\nv,1,2"\nw,1,"2"\n', columns={"a": "a"}, unlisted="ignore")
    assert expected.warnings == {"bare_quote": 2, "first_lines": {"bare_quote": 2}}


def test_values_are_measured_after_replacement() -> None:
    value = '"' + "v" * 255 + '\r\n"'
    assert read(f"u,{value},1\n").warnings["value_over_256_characters"] == 1
    assert read(f"u,{value},1\n", on_delimiter="replace").warnings["value_with_delimiter"] == 1
    assert "value_over_256_characters" not in read(f"u,{value},1\n", on_delimiter="replace").warnings


def test_later_rows_win_by_cell() -> None:
    expected = read("u,1,2\nv,1,\nu,,3\nu,,\nu+,9,9\nu,4,\nU,5,\n")
    assert expected.profiles == {"u": {"a": "4", "b": "3"}, "v": {"a": "1"}, "U": {"a": "5"}}
    assert expected.rows == {"read": 7, "sent": 5, "superseded": 2, "empty": 1, "rejected": 1}
    assert [(row.line, row.id) for row in expected.sent] == [(2, "u"), (3, "v"), (4, "u"), (7, "u"), (8, "U")]


def test_line_numbers_are_those_of_an_editor() -> None:
    expected = read(b'"u\n\n",1,"\r\n"\r\n\r\n+,1,2\r\n/,1,"\n"\n\n+,3,4', header=BOM + b'\r\nid,a,"b"\r\n')
    assert [reject[0] for reject in expected.rejects] == [8, 9, 12]


def test_reject_objects() -> None:
    expected = read(b'u\xff,1,2\r\n\xc3\xa9"x\r,1\n+,"\xe9\n"\n+,\0,"\n"\r\n')
    objects = expected.reject_objects("crm.csv")
    assert json.loads(json.dumps(objects)) == objects
    assert [entry["raw"] for entry in objects] == ["u\\xff,1,2", 'é"x\r,1', '+,"\\xe9\n"', '+,\0,"\n"']
    assert [entry["id"] for entry in objects] == ["u\\xff", None, None, "+"]
    bad = [base64.b64decode(str(entry["raw_base64"])) for entry in objects if "raw_base64" in entry]
    assert bad == [b"u\xff,1,2", b'+,"\xe9\n"']
    assert objects[1] == {
        "file": "crm.csv",
        "line": 3,
        "reason": "local.field_count",
        "id": None,
        "raw": 'é"x\r,1',
    }


@pytest.mark.parametrize("rows", [",,\n", " , ,\n", '"",,""\n', ",\n", "   \n", "\u00a0,\ufeff,\u200b\n", ",,,,\n"])
def test_blank_records(rows: str) -> None:
    expected = read("u,1,2\n" + rows)
    assert expected.rows == {"read": 1, "sent": 1, "superseded": 0, "empty": 0, "rejected": 0}
    assert expected.warnings == {"blank_records": 1, "first_lines": {"blank_records": 3}}


@pytest.mark.parametrize(
    ("trim", "sent", "counted"),
    [
        ("ids", "u,%09x%20,%C2%A0\n", {"ids_trimmed": 1, "values_padded": 2}),
        ("all", "u,x,\n", {"ids_trimmed": 1, "values_trimmed": 2, "empty_cells": {"b": 1}}),
        ("none", "%EF%BB%BFu%20,%09x%20,%C2%A0\n", {"ids_padded": 1, "values_padded": 2}),
    ],
)
def test_trimming(trim: str, sent: str, counted: dict[str, object]) -> None:
    expected = read("\ufeffu ,\tx ,\u00a0\n", trim=trim)
    assert sent_lines(expected) == [sent]
    assert counts(expected) == counted


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("id,a,b\n", "header_again"),
        ('\ufeff"id",a ,b\n', "header_again"),
        ("\\N,1,2\n", "empty_id"),
        ("nULL,1,2\n", "id_placeholder"),
        ("--,1,2\n", "id_placeholder"),
        ("3.91E16,1,2\n", "id_number"),
        ('"1,2E+16",1,2\n', "id_number"),
    ],
)
def test_ids_that_nobody_meant(rows: str, reason: str) -> None:
    expected = read(rows, null_values=("\\N",), id_placeholders=("null",))
    assert [reject[1] for reject in expected.rejects] == [f"local.{reason}"]


def test_cells_that_mean_no_value() -> None:
    expected = read("u,\\N,1\nv,\\N,\\N\n", null_values=("\\N",))
    assert sent_lines(expected) == ["u,,1\n"]
    assert expected.rows["empty"] == 1
    assert counts(expected) == {"null_cells": 1, "empty_cells": {"a": 1}}


# The strategies.


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exports())
def test_repr_of_an_export_is_short_and_makes_it_again(export: Export) -> None:
    assert len(repr(export)) < 20_000
    assert eval(repr(export)) == export


_REASONS = (
    "text_after_quote quote_unclosed nul_byte invalid_utf8 field_count header_again empty_id "
    "id_placeholder id_number id_in_quotes id_character id_too_long delimiter attributes_too_large row_too_large"
)
RULES = {
    *("local." + reason for reason in _REASONS.split()),
    *("id_over_128_characters", "value_over_256_characters", "value_with_delimiter", "bare_quote"),
    *("ids_trimmed", "ids_padded", "values_trimmed", "values_padded", "null_cells", "blank_records"),
    *("id_ends_in_point_zero", "id_with_guard", "row_over_32_kb", "first_lines"),
    *("empty_cells", "read", "sent", "superseded", "empty", "rejected"),
    *DELIMITERS,
    *(f"auto {delimiter}" for delimiter in DELIMITERS),
}


class AllSeenError(Exception):
    """No more examples are needed."""


@settings(
    max_examples=4_000,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.one_of(exports(), raw_exports()))
def check_exports_can_be_read(seen: set[str], export: Export) -> None:
    expected = expect(export.data, **export.options)
    rows = expected.rows
    assert rows["read"] == rows["sent"] + rows["empty"] + rows["rejected"]
    seen.update(reason for _, reason, _ in expected.rejects)
    seen.update(expected.warnings)
    seen.update(name for name, count in rows.items() if count)
    delimiter = export.options["delimiter"]
    seen.add(f"auto {expected.delimiter}" if delimiter == "auto" else delimiter)
    if seen >= RULES:
        raise AllSeenError


def test_strategies_reach_every_rule() -> None:
    seen: set[str] = set()
    with suppress(AllSeenError):
        check_exports_can_be_read(seen)
    assert RULES - seen == set()
