"""What becomes of each record: sent, empty, or rejected, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import InputError
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BrokenLine, Framer, Position
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import Reason
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import ColumnPlan, Mapped, RowMapper, pack_rows
from tests.core.builders import SALT, all_texts, row


def plan(
    header: Sequence[str], columns: Mapping[str, str] | None = None, *, unlisted: str = "stop", id_column: str = "id"
) -> ColumnPlan:
    return plan_columns(header, id_column=id_column, id_kind="thirdPartyId", columns=columns or {}, unlisted=unlisted)


def test_the_id_is_an_attribute_too_where_it_is_listed() -> None:
    """Whoever lists the id column wants it sent twice; `unlisted` alone never does that."""
    assert plan(["id", "a"], {"a": "a", "id": "crm_id"}).parameters == ("crm_id", "a")
    assert plan(["id", "a"], unlisted="send").parameters == ("a",)
    mapper = mapper_of("id,a", columns={"id": "crm_id", "a": "a"})
    assert outcome("u1,1", mapper) == row("u1", "u1", "1")


def test_parameters_carried_from_earlier_exports_stand_behind_the_others() -> None:
    found = plan(["id", "a", "b"], {"a": "a", "b": "b"}).carrying(["c", "a", "d", "c"])
    assert (found.parameters, found.carried) == (("a", "b"), ("c", "d"))
    assert found.body_start == b"batch=thirdPartyId,a,b,c,d\n"
    assert found.carrying(["e"]).carried == ("e",)
    assert found.carrying([]).body_start == b"batch=thirdPartyId,a,b\n"


# Records.


def mapper_of(
    header: str = "id,a,b",
    *,
    columns: dict[str, str] | None = None,
    on_delimiter: str = "encode",
    replacement: str = " ",
    max_row_bytes: int = 10**6,
    delimiter: bytes = b",",
    rules: CellRules = CellRules(),  # noqa: B008 - frozen
) -> RowMapper:
    names = header.split(delimiter.decode())
    return RowMapper(
        plan(names, columns, unlisted="ignore" if columns else "send"),
        dialect=Dialect(delimiter),
        on_delimiter=on_delimiter,
        replacement=replacement,
        max_row_bytes=max_row_bytes,
        salt=SALT,
        rules=rules,
    )


def counts_of(mapped: Mapped) -> dict[str, object]:
    """The warnings without their lines."""
    return {name: count for name, count in mapped.warnings.as_dict().items() if name != "first_lines"}


def map_rows(mapper: RowMapper, data: str | bytes, *, delimiter: bytes = b",") -> Mapped:
    """Map rows that stand under a header."""
    framer = Framer(Dialect(delimiter), start=Position(line=2))
    return mapper.map(framer.feed(data.encode() if isinstance(data, str) else data) + framer.finish())


def outcome(data: str | bytes, mapper: RowMapper | None = None) -> bytes | Reason | None:
    """The one row to send, why it is rejected, or None if it is empty."""
    return outcome_of(map_rows(mapper or mapper_of(), data))


def outcome_of(mapped: Mapped) -> bytes | Reason | None:
    assert mapped.read == 1
    if mapped.rejects:
        return mapped.rejects[0].reason
    return None if mapped.empty else mapped.rows.text(0)


def test_rows_and_rejects_stand_in_file_order_with_their_lines() -> None:
    mapped = map_rows(mapper_of(), 'u1,1,2\n,1,2\nu2,"3\n4",é\nu3,,\n"x"y\nu4,,5\n')
    assert all_texts(mapped.rows) == [b"u1,1,2\n", b"u2,3%0A4,%C3%A9\n", b"u4,,5\n"]
    assert mapped.rows.lines.tolist() == [2, 4, 8]
    assert mapped.rows.id_lengths.tolist() == [2, 2, 2]
    starts, lengths = mapped.rows.starts, mapped.rows.id_lengths
    assert mapped.rows.hashes.tolist() == hash_ids(mapped.rows.body, starts, lengths, SALT).tolist()
    assert [(reject.line, reject.reason, reject.profile_id, reject.raw) for reject in mapped.rejects] == [
        (3, Reason.EMPTY_ID, b"", b",1,2"),
        (7, Reason.TEXT_AFTER_QUOTE, None, b'"x"y'),
    ]
    assert mapped.empty == 1
    assert mapped.read == 6


def test_nothing_to_map() -> None:
    mapped = mapper_of().map([])
    assert (len(mapped.rows), mapped.rejects, mapped.empty, mapped.read) == (0, [], 0, 0)


def test_only_the_mapped_columns_leave_the_house() -> None:
    mapper = mapper_of("secret,id,x,a", columns={"a": "tier"})
    assert outcome("hush,u1,hush,1", mapper) == b"u1,1\n"
    assert outcome("é&,u1,+,é", mapper) == b"u1,%C3%A9\n"
    assert outcome("hush,u1,hush,", mapper) is None


@pytest.mark.parametrize("reason", [Reason.TEXT_AFTER_QUOTE, Reason.QUOTE_UNCLOSED, Reason.RECORD_TOO_LONG])
def test_broken_lines_are_rejected_as_they_are(reason: Reason) -> None:
    (reject,) = mapper_of().map([BrokenLine(7, b"raw", reason)]).rejects
    assert (reject.line, reject.reason, reject.profile_id, reject.raw) == (7, reason, None, b"raw")


@pytest.mark.parametrize(
    ("data", "reason", "profile_id"),
    [
        (b"u,1,\0", Reason.NUL_BYTE, b"u"),
        (b"u,\xff\0", Reason.NUL_BYTE, None),
        (b"u,1,\xff", Reason.INVALID_UTF8, b"u"),
        (b"u,1,\xed\xa0\x80", Reason.INVALID_UTF8, b"u"),
        (b"\xff\xfe", Reason.INVALID_UTF8, None),
        (b",\xff,1", Reason.INVALID_UTF8, b""),
        (b"u,1", Reason.FIELD_COUNT, None),
        (b",1", Reason.FIELD_COUNT, None),
        (b"+,1,2,3", Reason.FIELD_COUNT, None),
        (b",1,2", Reason.EMPTY_ID, b""),
        (b"\xc2\xa0 ,,2", Reason.EMPTY_ID, b""),
        (b"id,a,b", Reason.HEADER_AGAIN, b"id"),
        (b"-+,1,2", Reason.ID_PLACEHOLDER, b"-+"),
        (b"1.2E+5,1,2", Reason.ID_NUMBER, b"1.2E+5"),
        (b' "u" ,1,2', Reason.ID_IN_QUOTES, b'"u"'),
        (b'"",1,2', Reason.EMPTY_ID, b""),
        (b"a+b,1,2", Reason.ID_CHARACTER, b"a+b"),
        (b"a/b,,", Reason.ID_CHARACTER, b"a/b"),
        (b"u/" * 257 + b",1,2", Reason.ID_CHARACTER, b"u/" * 257),
        (b"i" * 257 + b",1,2", Reason.ID_TOO_LONG, b"i" * 257),
        (b'"' + b"u," * 257 + b'",1,2', Reason.ID_TOO_LONG, b"u," * 257),
        ("é".encode() * 257 + b",,", Reason.ID_TOO_LONG, "é".encode() * 257),
        (b'"a,b",' + b"x" * 65_536 + b",2", Reason.DELIMITER, b"a,b"),
        (b"u," + b"x" * 65_536 + b",2", Reason.ATTRIBUTES_TOO_LARGE, b"u"),
        (b"u," + b"x" * 20_000 + b",2", Reason.ROW_TOO_LARGE, b"u"),
    ],
)
def test_the_first_reason_that_applies_is_the_one_given(data: bytes, reason: Reason, profile_id: bytes | None) -> None:
    (reject,) = map_rows(mapper_of(on_delimiter="reject", max_row_bytes=1_000), data).rejects
    assert (reject.reason, reject.profile_id, reject.raw) == (reason, profile_id, data)


@pytest.mark.parametrize("mark", [",", "\r", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("on_delimiter", "in_id", "in_value"),
    [
        ("encode", None, "v{}w"),
        ("replace", Reason.DELIMITER, "v_w"),
        ("reject", Reason.DELIMITER, Reason.DELIMITER),
    ],
)
def test_delimiters_in_cells(mark: str, on_delimiter: str, in_id: Reason | None, in_value: Reason | str) -> None:
    escaped = "".join(f"%{ord(character):02X}" for character in mark)
    mapper = mapper_of(on_delimiter=on_delimiter, replacement="_")
    mapped = map_rows(mapper, f'"u{mark}1",1,2')
    assert outcome_of(mapped) == (in_id or row(f"u{escaped}1", "1", "2"))
    assert mapped.warnings.value_with_delimiter == (in_id is None)
    mapped = map_rows(mapper, f'u,"v{mark}w",2')
    expected = in_value if isinstance(in_value, Reason) else row("u", in_value.format(escaped), "2")
    assert outcome_of(mapped) == expected
    assert mapped.warnings.value_with_delimiter == (not isinstance(in_value, Reason))


def test_delimiters_in_columns_that_are_not_sent_do_not_matter() -> None:
    mapper = mapper_of("id,a,x", columns={"a": "a"}, on_delimiter="reject")
    assert outcome('u,1,"v,w"', mapper) == b"u,1\n"


def test_only_what_separates_on_the_wire_is_a_delimiter() -> None:
    mapper = mapper_of("id;a;b", delimiter=b";", on_delimiter="reject")
    mapped = map_rows(mapper, 'u;"1;2";"\t|"\nv;1,2;\n', delimiter=b";")
    assert all_texts(mapped.rows) == [b"u,1%3B2,%09%7C\n"]
    assert [reject.reason for reject in mapped.rejects] == [Reason.DELIMITER]


def test_a_replacement_is_encoded_like_the_rest() -> None:
    mapper = mapper_of(on_delimiter="replace", replacement="%é")
    assert outcome('u,"a,b",c', mapper) == b"u,a%25%C3%A9b,c\n"


def test_a_value_may_be_replaced_by_nothing() -> None:
    mapper = mapper_of(on_delimiter="replace", replacement="")
    mapped = map_rows(mapper, 'u,",",\nu,",",x')
    assert (mapped.empty, mapped.rows.body) == (1, b"u,,x\n")
    assert counts_of(mapped) == {"value_with_delimiter": 1, "empty_cells": {"a": 1}}


@pytest.mark.parametrize(
    ("profile_id", "warned"),
    [("i" * 128, 0), ("i" * 129, 1), ("i" * 256, 1), ("é" * 128, 0), ("é" * 129, 1), ("😀" * 256, 1)],
)
def test_long_ids_are_sent_and_counted(profile_id: str, warned: int) -> None:
    mapped = map_rows(mapper_of(), f"{profile_id},1,2")
    assert len(mapped.rows) == 1
    assert mapped.warnings.id_over_128_characters == warned


def test_long_values_are_sent_and_counted_each() -> None:
    mapped = map_rows(mapper_of(), f"u,{'v' * 256},{'é' * 256}\nu,{'v' * 257},{'é' * 257}\n")
    assert counts_of(mapped) == {"value_over_256_characters": 2}


@pytest.mark.parametrize(("value", "warned"), [("v" * 255 + "\r\n", 0), ("v" * 256 + "\r\n", 1)])
def test_values_are_as_long_as_they_are_sent(value: str, warned: int) -> None:
    mapped = map_rows(mapper_of(on_delimiter="replace"), f'u,"{value}",2')
    assert mapped.warnings.value_over_256_characters == warned
    grown = map_rows(mapper_of(on_delimiter="replace", replacement="x" * 64), 'u,",,,,,",2')
    assert grown.warnings.value_over_256_characters == 1


@pytest.mark.parametrize(("value_bytes", "fits"), [(65_536 - len("aa"), True), (65_536 - len("aa") + 1, False)])
def test_attributes_fit_to_the_byte(value_bytes: int, fits: bool) -> None:
    """Names and values of the cells that are not empty count, before encoding; the id and the empty do not."""
    mapper = mapper_of("id,aa,bb")
    for value in ("x" * value_bytes, "é" * (value_bytes // 2) + "x" * (value_bytes % 2)):
        found = outcome(f"{'i' * 200},{value},", mapper)
        assert isinstance(found, bytes) if fits else found is Reason.ATTRIBUTES_TOO_LARGE
    both = outcome(f"u,{'x' * (value_bytes - 3)},y", mapper)
    assert isinstance(both, bytes) if fits else both is Reason.ATTRIBUTES_TOO_LARGE


def test_attributes_are_measured_as_they_are_replaced() -> None:
    value = '"' + "," * 40_000 + '"'
    assert outcome(f"u,{value},", mapper_of(on_delimiter="replace", replacement="__")) is Reason.ATTRIBUTES_TOO_LARGE
    assert outcome(f"u,{value},", mapper_of(on_delimiter="replace", replacement="_")) == row("u", "_" * 40_000, "")


@pytest.mark.parametrize("value", ["x" * 9, "é", "xxxxxx%", "x" * 300])
def test_rows_fit_to_the_byte(value: str) -> None:
    """On the short way for plain rows, and by the letter."""
    whole = outcome(f"u,{value},1")
    assert isinstance(whole, bytes)
    size = len(whole)
    assert isinstance(outcome(f"u,{value},1", mapper_of(max_row_bytes=size)), bytes)
    assert outcome(f"u,{value},1", mapper_of(max_row_bytes=size - 1)) is Reason.ROW_TOO_LARGE
    # Quotes lengthen the record, not the row.
    assert isinstance(outcome(f'"u","{value}","1"', mapper_of(max_row_bytes=size)), bytes)


def test_a_row_without_values_is_still_judged() -> None:
    assert outcome("u,,", mapper_of(max_row_bytes=4)) is None
    assert outcome("é,,", mapper_of(max_row_bytes=8)) is Reason.ROW_TOO_LARGE
    assert outcome('"a,b",,', mapper_of(on_delimiter="replace")) is Reason.DELIMITER


def test_so_many_names_that_every_row_goes_by_the_letter() -> None:
    names = [f"n{number:06d}" for number in range(9_000)]
    mapper = mapper_of(",".join(["id", *names]))
    cells = ["x"] * 8_192
    assert outcome(",".join(["u", *cells, *[""] * 808]), mapper) == row("u", *cells, *[""] * 808)
    assert outcome(",".join(["u", *cells, "x", *[""] * 807]), mapper) is Reason.ATTRIBUTES_TOO_LARGE


def test_warnings_count_rows_to_send_only() -> None:
    mapper = mapper_of(on_delimiter="encode")
    rejected_or_empty = f'a+b,x"y,\n,x"y,\n{"i" * 200},,\nu"v,,\n"a,b",,\nu,1\nu,"\x00,",{"x" * 300}\n'
    assert map_rows(mapper, rejected_or_empty).warnings.as_dict() == {}
    mapped = map_rows(mapper, f'{"i" * 200},x"y",\n"a,b",",",\n\'u,,1\n')
    assert mapped.warnings.as_dict() == {
        "id_over_128_characters": 1,
        "value_with_delimiter": 2,
        "bare_quote": 1,
        "id_with_guard": 1,
        "empty_cells": {"a": 1, "b": 2},
        "first_lines": {
            "bare_quote": 2,
            "empty_cells": 2,
            "id_over_128_characters": 2,
            "id_with_guard": 4,
            "value_with_delimiter": 3,
        },
    }


def test_warnings_are_those_of_one_list_of_records() -> None:
    mapper = mapper_of()
    first = map_rows(mapper, "u,,1\n")
    second = map_rows(mapper, 'v,x"y,1\n')
    assert counts_of(first) == {"empty_cells": {"a": 1}}
    assert counts_of(second) == {"bare_quote": 1}
    assert map_rows(mapper, "").warnings.as_dict() == {}


@pytest.mark.parametrize(
    ("trim", "row_sent", "counts"),
    [
        ("ids", b"u,%20%221%22%20,2%20\n", {"ids_trimmed": 1, "values_padded": 2}),
        ("all", b"u,%221%22,2\n", {"ids_trimmed": 1, "values_trimmed": 2}),
        ("none", b"%20u%20,%20%221%22%20,2%20\n", {"ids_padded": 1, "values_padded": 2}),
    ],
)
def test_trimming(trim: str, row_sent: bytes, counts: dict[str, int]) -> None:
    mapped = map_rows(mapper_of(rules=CellRules(trim=trim)), ' u , "1" ,2 ')
    assert outcome_of(mapped) == row_sent
    assert counts_of(mapped) == counts | {"bare_quote": 1}


def test_the_header_again() -> None:
    again = ["id,a,b", '"id","a","b"', "\ufeffid,a,b", '\ufeff"id","a","b"', " id ,a\t, b", "id,a,b\r", "ID,A,b"]
    mapped = map_rows(mapper_of(), "\n".join([*again, "id,a,c", "id,a,a", "u,a,b"]) + "\n")
    assert [reject.line for reject in mapped.rejects] == [2, 3, 4, 5, 6, 7, 8]
    assert {reject.reason for reject in mapped.rejects} == {Reason.HEADER_AGAIN}
    assert len(mapped.rows) == 3
    assert mapped.faulty == 0


@pytest.mark.parametrize("again", ["id,b,a", "a,id,b", "b,a,id", '"a","b","id"'])
def test_the_header_again_in_another_order_ends_the_load(again: str) -> None:
    """What follows would be read into the wrong columns."""
    with pytest.raises(InputError, match="line 3 is the header again, with its columns in another order"):
        map_rows(mapper_of(), f"u,1,2\n{again}\nv,1,2\n")


def test_names_of_columns_in_their_places_are_a_row() -> None:
    """It is no header once more, for another column differs; and nothing is in another order."""
    mapper = mapper_of("id,a,x,b", columns={"a": "a", "b": "b"})
    assert outcome("id,a,other,b", mapper) == b"id,a,b\n"


def test_an_export_without_header_has_none_again() -> None:
    mapper = mapper_of()
    mapper = RowMapper(
        replace(mapper.plan, header=()),
        dialect=Dialect(b","),
        on_delimiter="encode",
        replacement=" ",
        max_row_bytes=10**6,
        salt=SALT,
    )
    assert outcome("id,a,b", mapper) == b"id,a,b\n"


def test_blank_records_are_no_rows() -> None:
    lines = [",,", " , ,", '"",,""', ",", ",,,,", "   ", "\u00a0,\ufeff,\u200b", '" ",,', "\x1a", "u,,1"]
    mapped = map_rows(mapper_of(), "\n".join(lines) + "\n")
    assert (mapped.read, mapped.rejects, mapped.rows.lines.tolist()) == (1, [], [11])
    assert mapped.warnings.blank_records == 9
    assert mapped.warnings.first_lines["blank_records"] == 2


@pytest.mark.parametrize("profile_id", ["", " ", "\\N"])
def test_a_record_with_anything_in_it_is_a_row(profile_id: str) -> None:
    assert outcome(f"{profile_id},\\N,", mapper_of(rules=CellRules(null_values=("\\N",)))) is Reason.EMPTY_ID


def test_cells_that_mean_no_value() -> None:
    rules = CellRules(null_values=("\\N", "NULL"))
    mapped = map_rows(mapper_of(rules=rules), "u,\\N,NULL\nu,null,\\N\nu,\\N ,\\n\n")
    assert all_texts(mapped.rows) == [b"u,null,\n", b"u,%5CN%20,%5Cn\n"]
    assert mapped.empty == 1
    assert counts_of(mapped) == {"null_cells": 1, "values_padded": 1, "empty_cells": {"b": 1}}
    trimming = mapper_of(rules=CellRules(trim="all", null_values=("\\N",)))
    assert outcome("u, \\N ,1", trimming) == b"u,,1\n"


def test_rows_from_half_of_what_a_profile_holds_on_are_counted() -> None:
    for value_bytes, warned in ((32_767 - len("aa"), 0), (32_768 - len("aa"), 1)):
        mapped = map_rows(mapper_of("id,aa,bb"), f"u,{'x' * value_bytes},")
        assert mapped.warnings.row_over_32_kb == warned


@pytest.mark.parametrize(
    ("profile_id", "name"),
    [
        ("123.0", "id_ends_in_point_zero"),
        ("'00123", "id_with_guard"),
        ('"=""00123"""', "id_with_guard"),
        ('="00123"', "id_with_guard"),
    ],
)
def test_ids_that_something_changed(profile_id: str, name: str) -> None:
    mapped = map_rows(mapper_of(), f"u,1,2\n{profile_id},1,2\n")
    assert getattr(mapped.warnings, name) == 1
    assert mapped.warnings.first_lines[name] == 3


CELLS = st.text(st.sampled_from('ab.~* %,"\ré😀\n'), max_size=4)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5), st.booleans())
def test_rows_mean_the_same_in_quotes_or_not(records: list[list[str]], together: bool) -> None:
    """Rows that take the short way come to the same as those that do not."""
    plain = [",".join(cells) for cells in records if not any(set(cell) & set('",\r\n') for cell in cells)]
    quoted = [",".join(f'"{cell}"' for cell in line.split(",")) for line in plain]
    found = [map_rows(mapper_of(), "".join(f"{line}\n" for line in lines)) for lines in (plain, quoted)]
    assert found[0].rows.body == found[1].rows.body
    assert found[0].empty == found[1].empty
    assert [reject.reason for reject in found[0].rejects] == [reject.reason for reject in found[1].rejects]


def test_pack_rows() -> None:
    rows = pack_rows([b"u1,1\n", b"u22,\n"], [2, 3], [5, 9], SALT)
    assert (rows.body, rows.ends.tolist(), rows.lines.tolist()) == (b"u1,1\nu22,\n", [5, 10], [5, 9])
    assert rows.id_lengths.tolist() == [2, 3]
    assert rows.hashes.tolist() == hash_ids(rows.body, rows.starts, rows.id_lengths, SALT).tolist()
    assert len(pack_rows([], [], [], SALT)) == 0


@pytest.mark.parametrize(
    ("raw", "valid"),
    [(b"", True), (b"a", True), ("é😀".encode(), True), (b"\xff", False), (b"a\xc3", False), (b"\xed\xa0\x80", False)],
)
def test_is_utf8(raw: bytes, valid: bool) -> None:
    assert is_utf8(raw) is valid
