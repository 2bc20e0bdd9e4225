"""The transform gives what `Framer` and `RowMapper` give, of every export, and takes regular records in blocks."""

import random
from bisect import bisect_left
from dataclasses import fields
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.formats.blockframing import BlockFramer
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BOM, BrokenLine, Framer, Position, Record
from pipeline.core.model import Reason
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import Mapped, RowMapper
from pipeline.core.rows.transform import Transform, count_rows
from tests.core.builders import assert_same, read_header
from tests.tools.strategies import Export, exports, mixed_exports, raw_exports

SALT = 7
RECORD_BYTES = 1_048_576
Options = dict[str, Any]


def mapper_of(header: list[str], dialect: Dialect, options: Options) -> RowMapper:
    plan = plan_columns(
        header,
        id_column=options.get("id_column", header[0]),
        id_kind="thirdPartyId",
        columns=options.get("columns", {}),
        unlisted=options.get("unlisted", "send"),
    )
    return RowMapper(
        plan,
        dialect=dialect,
        on_delimiter=options.get("on_delimiter", "encode"),
        replacement=options.get("replacement", " "),
        max_row_bytes=options.get("max_bytes", 49_999_999) - len(plan.body_start),
        salt=SALT,
        rules=CellRules(**{each.name: options[each.name] for each in fields(CellRules) if each.name in options}),
    )


class Both:
    """The transform and the exact path beside each other, each with a mapper of its own."""

    def __init__(
        self,
        data: bytes,
        delimiter: bytes = b",",
        *,
        record_bytes: int = RECORD_BYTES,
        cr_ends_lines: bool = False,
        **options: Any,
    ) -> None:
        dialect = Dialect(delimiter, cr_ends_lines=cr_ends_lines)
        header, self.start = read_header(data, dialect, max_record_bytes=record_bytes)
        self.behind = data[self.start.offset :]
        self.transform = Transform(mapper_of(header, dialect, options), start=self.start, max_record_bytes=record_bytes)
        self.framer = Framer(dialect, start=self.start, max_record_bytes=record_bytes)
        self.mapper = mapper_of(header, dialect, options)
        self.records: list[Record | BrokenLine] = []

    def feed(self, block: bytes) -> Mapped:
        return self._compare(self.transform.feed(block), self.framer.feed(block))

    def finish(self) -> Mapped:
        return self._compare(self.transform.finish(), self.framer.finish())

    def split(self, row: int) -> None:
        """Split what the last call gave before this row to send."""
        line = int(self.mapper.map(self.records).rows.lines[row])
        place = bisect_left(self.records, line, key=lambda record: record.line)
        first, position, rest = self.transform.split(line)
        assert_same(first, self.mapper.map(self.records[:place]))
        assert_same(rest, self.mapper.map(self.records[place:]))
        assert position == self.framer.position_of(line)
        self.records = self.records[place:]

    def _compare(self, mapped: Mapped, records: list[Record | BrokenLine]) -> Mapped:
        self.records = records
        assert_same(mapped, self.mapper.map(records))
        assert self.transform.position == self.framer.position
        assert self.transform.pending_bytes == self.framer.pending_bytes
        return mapped


def both_of(export: Export, record_bytes: int = RECORD_BYTES) -> Both:
    data = export.data.removeprefix(BOM)
    options = dict(export.options)
    delimiter = options.pop("delimiter").encode()
    return Both(data, delimiter, record_bytes=record_bytes, **options)


def blocks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise([0, *ends])]


def read_all(data: bytes, delimiter: bytes = b",", *, block_bytes: int = 131_072, **options: Any) -> Both:
    both = Both(data, delimiter, **options)
    for start in range(0, len(both.behind), block_bytes):
        both.feed(both.behind[start : start + block_bytes])
    both.finish()
    return both


def with_delimiter(export: Export) -> bool:
    return bool(export.options["delimiter"] != "auto")


cuts = st.lists(st.integers(0, 1_000), max_size=4)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


class TestAnything:
    """Every call, not only their sum, gives the same."""

    @relaxed
    @given(mixed_exports(), cuts, st.data())
    def test_sound_exports_with_some_trouble(self, export: Export, cuts: list[int], data: st.DataObject) -> None:
        both = both_of(export)
        for block in blocks_of(both.behind, cuts):
            mapped = both.feed(block)
            if len(mapped.rows):
                both.split(data.draw(st.integers(0, len(mapped.rows) - 1)))
                rest = both.mapper.map(both.records).rows
                both.split(data.draw(st.integers(0, len(rest) - 1)))
        both.finish()

    @relaxed
    @given(exports().filter(with_delimiter), cuts)
    def test_realistic_exports_with_trouble(self, export: Export, cuts: list[int]) -> None:
        both = both_of(export)
        for block in blocks_of(both.behind, cuts):
            both.feed(block)
        both.finish()

    @relaxed
    @given(raw_exports(max_size=120).filter(with_delimiter), cuts, st.integers(12, 200))
    def test_raw_bytes_and_a_limit_on_records(self, export: Export, cuts: list[int], record_bytes: int) -> None:
        both = both_of(export, record_bytes=max(record_bytes, export.data.index(b"\n") + 1))
        for block in blocks_of(both.behind, cuts):
            both.feed(block)
        both.finish()

    @relaxed
    @given(
        st.lists(
            st.sampled_from(
                [b"u1,a,b\n"] * 8
                + [b'"u1","a","b"\n', b'u1,"a\n",b\r\n', b'u1,"a""\n""",b\n', b"\n", b"\r\n", b"u1,,\n"]
                + [
                    b'"',
                    b'""',
                    b'"\r',
                    b"\r",
                    b",",
                    b"\xff",
                    b"\xc3",
                    b"\0",
                    b"x",
                    b'u1,a"b,c\n',
                    b'u1,"a"b,c\n',
                    b"u1\n",
                ]
            ),
            max_size=60,
        ).map(b"".join),
        cuts,
        st.sampled_from(["encode", "replace", "reject"]),
        st.booleans(),
        st.sampled_from([b"\r", b"\n"]),
    )
    def test_lines_of_pieces(
        self, behind: bytes, cuts: list[int], on_delimiter: str, cr_ends_lines: bool, line_end: bytes
    ) -> None:
        behind = behind.replace(b"\n", line_end) if cr_ends_lines else behind
        both = Both(b"id,a,b\n" + behind, on_delimiter=on_delimiter, cr_ends_lines=cr_ends_lines)
        for block in blocks_of(behind, cuts):
            both.feed(block)
        both.finish()


HEADER = b"id,a,b\n"
ROW = b"u1,x,y\n"
RULES: Options = {"null_values": ("\\N",), "id_placeholders": ("null", "n/a", "(none)")}
#: Records that are not regular among such rows, each with what becomes of it: a reason, or None if it is sent.
IRREGULAR: dict[str, tuple[bytes, Reason | None]] = {
    "a bare quote": (b'u2,5" pipe,y\n', None),
    "bare quotes in pairs": (b'u2,5"" "pipe",y\n', None),
    "a quote behind a CR": (b'u2,x,y\r"z"\n', None),
    "text after a quote": (b'u2,"a"b,y\n', Reason.TEXT_AFTER_QUOTE),
    "text after a quote, lines later": (b'u2,"a\nu3,b\nu4"c,y\n', Reason.TEXT_AFTER_QUOTE),
    "a lone CR after a quote": (b'u2,x,"y"\r\r\n', Reason.TEXT_AFTER_QUOTE),
    "a NUL": (b"u2,x\0,y\n", Reason.NUL_BYTE),
    "a NUL in quotes": (b'u2,"x\0",y\n', Reason.NUL_BYTE),
    "no UTF-8": (b"u2,\xff,y\n", Reason.INVALID_UTF8),
    "half a character at the end": (b"u2,x,\xc3\n", Reason.INVALID_UTF8),
    "no UTF-8 in quotes": (b'u2,"\xfe\xfd",y\n', Reason.INVALID_UTF8),
    "a field too few": (b"u2,x\n", Reason.FIELD_COUNT),
    "a field too many": (b"u2,x,y,z\n", Reason.FIELD_COUNT),
    "one field": (b"u2\n", Reason.FIELD_COUNT),
    "an empty id": (b",x,y\n", Reason.EMPTY_ID),
    "an empty id in quotes": (b'"",x,y\n', Reason.EMPTY_ID),
    "a plus in the id": (b"u+2,x,y\n", Reason.ID_CHARACTER),
    "a slash in the id": (b'"u/2",x,y\n', Reason.ID_CHARACTER),
    "a slash that ends the id": (b"u2/,x,y\n", Reason.ID_CHARACTER),
    "an id that is nobody's": (b"NULL,x,y\n", Reason.ID_PLACEHOLDER),
    "an id that is nobody's, padded": (b" Null\t,x,y\n", Reason.ID_PLACEHOLDER),
    "an id of punctuation": (b"--,x,y\n", Reason.ID_PLACEHOLDER),
    "an id of wide punctuation": ("。…,x,y\n".encode(), Reason.ID_PLACEHOLDER),
    "an id that is no value": (b"\\N,x,y\n", Reason.EMPTY_ID),
    "an id that nobody sees": (b"\xc2\xa0,x,y\n", Reason.EMPTY_ID),
    "a number": (b"3.91E16,x,y\n", Reason.ID_NUMBER),
    "a number with a plus": (b"1.2e+5,x,y\n", Reason.ID_NUMBER),
    "the header": (b"id,a,b\n", Reason.HEADER_AGAIN),
    "half of what a profile holds": (b"u2," + b"v" * 32_766 + b",y\n", None),
    "an id of 129 characters": (b"u" * 129 + b",x,y\n", None),
    "an id of 257 characters": (b"u" * 257 + b",x,y\n", Reason.ID_TOO_LONG),
    "too much for a profile": (b"u2," + b"v" * 65_536 + b",y\n", Reason.ATTRIBUTES_TOO_LARGE),
}
#: Irregular records that their id alone rejects, so that the exact path is not asked; quotes around nothing apart.
REJECTED_BY_ID = {
    name
    for name, (record, reason) in IRREGULAR.items()
    if reason in (Reason.EMPTY_ID, Reason.ID_PLACEHOLDER, Reason.ID_NUMBER, Reason.ID_CHARACTER, Reason.ID_TOO_LONG)
    and not record.startswith(b'""')
}
#: Records that are regular for all that they look like, each with how many rows of it are sent.
REGULAR: dict[str, tuple[bytes, int]] = {
    "quotes": (b'"u2","x","y"\n', 1),
    "empty in quotes": (b'"u2","",""\n', 0),
    "only the id": (b"u2,,\n", 0),
    "a doubled quote": (b'u2,"say ""hi""",y\n', 1),
    "only doubled quotes": (b'u2,"""",""""""\n', 1),
    "what separates, in quotes": (b'"u,2","x\r\ny","\n,\r"\n', 1),
    "a CR before a closing quote": (b'u2,x,"y\r"\n', 1),
    "a lone CR": (b"u2,x\ry,y\n", 1),
    "CR CR LF": (b"u2,x,y\r\r\n", 1),
    "CR LF after a quote": (b'u2,x,"y"\r\n', 1),
    "an id that grows": (b"u@2 \xc3\xa9,x,y\n", 1),
    "signs outside the id": (b"u2,+31/20,50% & more\n", 1),
    "a value of 257 characters": (b"u2," + b"v" * 257 + b"," + "é".encode() * 256 + b"\n", 1),
    "other separators": (b'u2,a;b|c\td,";|\t"\n', 1),
    "a padded id": (b" u2 \t ,x,y\n", 1),
    "an id in CHAR(10)": (b'"u2        ",x,y\n', 1),
    "an id behind a byte order mark": (b"\xef\xbb\xbfu2,x,y\n", 1),
    "an id padded with what nobody sees": ("\u200b\u00a0u2\u2060,x,y\n".encode(), 1),
    "a quoted id with line breaks around": (b'"\r\nu2\n",x,y\n', 1),
    "an id that ends as a pad does": ("à,x,y\n".encode(), 1),
    "padded values": (b'u2, x ,"\ty\n"\n', 1),
    "values that are no value": (b"u2,\\N,y\n", 1),
    "no value but markers": (b"u2,\\N,\\N\n", 0),
    "a marker that is none": (b"u2,\\n,N\\N\n", 1),
    "nothing in any field": (b",,\n", 0),
    "nothing in quotes": (b'"",,""\n', 0),
    "an id like a number": (b"12E5,x,y\n", 1),
    "an id like a name": (b"j.doe,x,y\n", 1),
    "an id in point zero": (b"12.0,x,y\n", 1),
    "an id with a guard": (b"'0012,x,y\n", 1),
    "an id with another guard": (b'"=""0012""",x,y\n', 1),
    "an id that ends like null": (b"nail,x,y\n", 1),
    "an empty line": (b"\n", 0),
    "an empty line of CR LF": (b"\r\n", 0),
}


class TestOneAmongMany:
    """A block in which one record is special: first, last, or in the middle."""

    places = pytest.mark.parametrize("place", [0, 10, 20])

    @places
    @pytest.mark.parametrize("name", IRREGULAR)
    def test_only_the_irregular_record_is_read_by_the_letter(self, name: str, place: int) -> None:
        record, reason = IRREGULAR[name]
        both = Both(HEADER + ROW * place + record + ROW * (20 - place), **RULES)
        mapped = both.feed(both.behind)
        # The lines behind the first of a broken record are read on their own, and are irregular too.
        assert both.transform.exact_records == (0 if name in REJECTED_BY_ID else record.count(b"\n"))
        assert [reject.reason for reject in mapped.rejects][:1] == ([reason] if reason else [])
        assert len(mapped.rows) == 20 + (reason is None)
        both.split(len(mapped.rows) // 2)
        both.finish()

    @places
    @pytest.mark.parametrize("name", REGULAR)
    def test_a_regular_record_is_not(self, name: str, place: int) -> None:
        record, sent = REGULAR[name]
        both = Both(HEADER + ROW * place + record + ROW * (20 - place), **RULES)
        mapped = both.feed(both.behind)
        assert both.transform.exact_records == 0
        assert len(mapped.rows) == 20 + sent
        both.split(len(mapped.rows) // 2)
        both.finish()

    @pytest.mark.parametrize("delimiter", [b";", b"\t", b"|"])
    @pytest.mark.parametrize("name", REGULAR)
    def test_with_another_delimiter(self, name: str, delimiter: bytes) -> None:
        swapped = bytes.maketrans(b"," + delimiter, delimiter + b",")
        both = Both((HEADER + ROW * 10 + REGULAR[name][0] + ROW * 10).translate(swapped), delimiter, **RULES)
        both.feed(both.behind)
        assert both.transform.exact_records == 0
        both.finish()

    @places
    @pytest.mark.parametrize(
        "record", [b" , ,\n", b" \n", b"\t,\r\n", b"\xc2\xa0,,\xef\xbb\xbf\n", b" ,,,, ,,\n", b",,\n"]
    )
    def test_blank_records_are_skipped_at_once(self, record: bytes, place: int) -> None:
        both = Both(HEADER + ROW * place + record + ROW * (20 - place) + record * 3)
        mapped = both.feed(both.behind)
        assert both.transform.exact_records == 0
        assert (len(mapped.rows), mapped.warnings.blank_records) == (20, 4)
        assert mapped.warnings.first_lines["blank_records"] == place + 2
        both.finish()

    @pytest.mark.parametrize("row_each", [2, 100_000])
    def test_runs_of_thousands_of_blank_lines(self, row_each: int) -> None:
        kinds = [b"\n", b"\r\n", b",,\n", b" \n", b" , ,\n", b"\xc2\xa0,\n", b'"",,""\r\n', b'"",\n', b"x,\n", b",y,\n"]
        drawn = random.Random(1)
        runs = [drawn.choice(kinds) * drawn.choice([1, 3, 1_500]) for _ in range(40)]
        lines = b"".join(runs).splitlines(keepends=True)
        data = b"".join(line + ROW * (number % row_each == 1) for number, line in enumerate(lines))
        both = Both(HEADER + data + b"\n" * 5_000 + ROW, record_bytes=1_048_576)
        for at in range(0, len(both.behind), 60_000):
            both.feed(both.behind[at : at + 60_000])
        both.finish()

    def test_blank_records_of_several_kinds_are_counted_from_the_first_on(self) -> None:
        for records in permutations([b" , ,\n", b",,\n", b" \n", b'" ",,\n']):
            both = Both(HEADER + b"".join(record + ROW for record in records))
            mapped = both.feed(both.behind)
            assert (mapped.warnings.blank_records, mapped.warnings.first_lines["blank_records"]) == (4, 2)

    def test_a_field_too_few_and_one_too_many(self) -> None:
        both = Both(HEADER + ROW * 10 + b"u2,x\nu3,x,y,z\n" + ROW * 10)
        both.feed(both.behind)
        assert both.transform.exact_records == 2

    def test_a_nul_beside_bytes_that_are_not_utf_8(self) -> None:
        both = Both(HEADER + ROW * 10 + b"u2,\0,y\nu3,\xff,y\n" + ROW * 10)
        both.feed(both.behind)
        assert both.transform.exact_records == 2

    def test_an_irregular_record_at_the_end_of_a_block(self) -> None:
        both = Both(HEADER + ROW * 20 + b'u2,5" pipe,y\n' + ROW)
        both.feed(ROW * 20 + b'u2,5" p')
        assert both.transform.exact_records == 0
        both.feed(b"ipe,y\n" + ROW)
        assert both.transform.exact_records == 1

    def test_rows_that_are_not_utf_8_among_many(self) -> None:
        bad = {0, 63, 64, 200, 299}
        values = [b"\xe9" if number in bad else "é".encode() for number in range(300)]
        both = read_all(HEADER + b"".join(b"u2,%s,y\n" % value for value in values))
        assert both.transform.exact_records == 5

    @pytest.mark.parametrize("value", [b'"x,y"', b'"x\ny"', b'"x\ry"', b"x\ry", b'"x\r\ny"'])
    def test_values_with_delimiters_that_reject_a_row(self, value: bytes) -> None:
        both = Both(HEADER + ROW * 10 + b"u2," + value + b",y\n" + ROW * 10, on_delimiter="reject")
        mapped = both.feed(both.behind)
        assert both.transform.exact_records == 1
        assert len(mapped.rejects) == 1

    @pytest.mark.parametrize("replacement", [" ", "_", "%", '"', ";", "+"])
    @pytest.mark.parametrize(
        "value", [b'"x,y"', b'"x\ny"', b'"x\ry"', b"x\ry", b'",,\n"', b'"x\n\ry, z"', b'"x\r\ny\r\n\r"']
    )
    def test_values_with_delimiters_that_one_byte_replaces(self, value: bytes, replacement: str) -> None:
        rows = HEADER + ROW * 10 + b"u2," + value + b",y\n" + ROW * 10
        both = Both(rows, on_delimiter="replace", replacement=replacement)
        assert len(both.feed(both.behind).rows) == 21
        assert both.transform.exact_records == 0

    @pytest.mark.parametrize(
        ("record", "replacement"),
        [
            (b'u2,"x,y",y\n', ""),
            (b'u2,"x,y",y\n', "é"),
            (b'u2,"x,y",y\n', "  "),
            (b'"u,2",x,y\n', " "),
        ],
    )
    def test_delimiters_that_are_replaced_by_the_letter(self, record: bytes, replacement: str) -> None:
        both = Both(HEADER + ROW * 10 + record + ROW * 10, on_delimiter="replace", replacement=replacement)
        both.feed(both.behind)
        assert both.transform.exact_records == 1

    def test_a_row_too_large_for_a_batch(self) -> None:
        rows = ROW * 10 + b"u2," + b"%" * 40 + b",y\n" + ROW * 10
        both = Both(HEADER + rows, max_bytes=len(b"batch=thirdPartyId,a,b\n") + 120)
        mapped = both.feed(both.behind)
        assert both.transform.exact_records == 1
        assert [reject.reason for reject in mapped.rejects] == [Reason.ROW_TOO_LARGE]


class TestCounting:
    """Records are counted as rows where they are only counted, as where they are mapped."""

    @relaxed
    @given(exports().filter(with_delimiter) | mixed_exports().filter(with_delimiter))
    def test_as_many_rows_as_are_mapped(self, export: Export) -> None:
        both = both_of(export)
        dialect = both.mapper.dialect
        framer = BlockFramer(dialect, start=both.start)
        counted = count_rows(framer.feed(both.behind), dialect.delimiter)
        counted += count_rows(framer.finish(), dialect.delimiter)
        assert counted == both.transform.feed(both.behind).read + both.transform.finish().read

    @pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
    @pytest.mark.parametrize(
        ("record", "rows"),
        [
            (b",,", 0),
            (b" , ,", 0),
            (b'"",,""', 0),
            (b'" "," ","\n"', 0),
            (b"\xc2\xa0,,", 0),
            (b"\xef\xbb\xbf", 0),
            (b'"","",x', 1),
            (b',,""""', 1),
            (b"   x,,", 1),
            (b"\xc3\xa0,,", 1),
            (b",,\0", 1),
            (b",,\xff", 1),
            (b'"" ,,', 1),
        ],
    )
    def test_a_blank_record_is_no_row(self, record: bytes, rows: int, delimiter: bytes) -> None:
        data = (ROW + record + b"\n" + ROW).replace(b",", delimiter)
        framer = BlockFramer(Dialect(delimiter), start=Position(line=2))
        assert count_rows(framer.feed(data), delimiter) + count_rows(framer.finish(), delimiter) == 2 + rows


class TestColumns:
    """Other columns than all in their order: of every six records so many have an id that the exact path judges."""

    @pytest.mark.parametrize(
        ("irregular", "options"),
        [
            (2, {"id_column": "b"}),
            (1, {"columns": {"b": "b"}, "unlisted": "ignore"}),
            (0, {"id_column": "c", "columns": {"a": "a", "d": "d"}, "unlisted": "ignore"}),
            # An id that is the name of the id column might be that of the header again.
            (1, {"id_column": "d"}),
            (1, {"id_column": "d", "columns": {"c": "c", "a": "a"}, "unlisted": "ignore"}),
        ],
    )
    def test_other_columns(self, irregular: int, options: Options) -> None:
        records = b'u1,"x,1","50%\r",z\nu2,,b,"w\n"\r\nu3,a,,d@\nu4,,,\n"",,b,d\nu5,a+,b/,c\n'
        both = read_all(b"a,b,c,d\n" + records * 20, **options)
        assert both.transform.exact_records == 20 * irregular


class TestLimits:
    """What is longer than a record may be goes to the exact framer, whichever way it is cut into blocks."""

    @pytest.mark.parametrize("block_bytes", [7, 64, 200, 1_000])
    def test_a_quote_that_does_not_close(self, block_bytes: int) -> None:
        read_all(HEADER + ROW * 20 + b'u2,"open,y\n' + ROW * 60, block_bytes=block_bytes, record_bytes=200)

    @pytest.mark.parametrize("block_bytes", [7, 64, 200, 1_000])
    @pytest.mark.parametrize("size", [190, 193, 194, 195, 500])
    def test_a_line_about_as_long_as_a_record_may_be(self, size: int, block_bytes: int) -> None:
        for value in (b"v" * size, b'"' + b"v" * (size - 2) + b'"', b'"' + b"v\n" * (size // 2) + b'"'):
            read_all(HEADER + ROW * 5 + b"u2," + value + b",y\n" + ROW * 60, block_bytes=block_bytes, record_bytes=200)

    def test_reading_goes_on_inside_a_broken_line(self) -> None:
        data = HEADER + ROW + b"u" * 300
        both = Both(data, record_bytes=200)
        both.feed(both.behind)
        assert both.transform.position.is_skipping
        both.feed(b"u" * 50 + b'",\n' + ROW * 10)
        assert not both.transform.position.is_skipping
        both.feed(ROW * 10)
        assert both.transform.exact_records < 15

    def test_a_record_longer_than_several_blocks(self) -> None:
        long = b'u2,"' + b"line\n" * 60_000 + b'",y\n'
        both = read_all(HEADER + ROW * 100 + long + ROW * 100)
        assert both.transform.exact_records == 1

    def test_irregular_throughout(self) -> None:
        both = read_all(HEADER + b'u2,5" pipe,y\nu3,"a"b,z\nu4,,"\n' * 2_000)
        assert both.transform.exact_records == 6_000


class TestBlocksOfARealisticSize:
    @pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("seed", range(4))
    def test_a_few_irregular_records_in_many(self, seed: int, ending: bytes) -> None:
        draw = random.Random(seed)
        sound = [record for record, _ in REGULAR.values()] + [IRREGULAR[name][0] for name in sorted(REJECTED_BY_ID)]
        odd = [record for name, (record, _) in IRREGULAR.items() if name not in REJECTED_BY_ID]
        odd = [record for record in odd if len(record) < 1_000 and not record.endswith(b"\r\r\n")]
        lines = []
        irregular = 0
        for number in range(12_000):
            if is_odd := draw.random() < 0.001:
                lines.append(draw.choice(odd))
            elif draw.random() < 0.1:
                lines.append(draw.choice(sound))
            else:
                lines.append(b"customer-%06d,%.2f,%s\n" % (number, draw.random(), draw.choice([b"", b"Utrecht"])))
            irregular += is_odd
        data = HEADER + b"".join(line.removesuffix(b"\n").removesuffix(b"\r") + ending for line in lines)
        both = read_all(data, **RULES)
        # Of a broken record of three lines the last two may be irregular too.
        assert irregular <= both.transform.exact_records <= 3 * irregular
        assert irregular > 3

    @pytest.mark.parametrize("share", [0, 4, 40])
    def test_much_to_encode(self, share: int) -> None:
        draw = random.Random(share)
        signs = ["é", "ß", "漢", "😀", " ", "%", "&", "=", ":", "'", "#", "\x85", "\x7f", '""', ",", "\r", "\n", ";"]
        lines = []
        for number in range(3_000):
            value = "".join(draw.choice(signs) if draw.randrange(100) < share else "v" for _ in range(30))
            lines.append(f'u{number},"{value}",y\n'.encode())
        assert read_all(HEADER + b"".join(lines)).transform.exact_records == 0


@pytest.mark.parametrize(
    ("fields_of_row", "is_slow"),
    [
        (['"some text"'] * 12, False),
        (['"ab"'] * 12, False),
        # Quotes that no field needs to be framed by are odd.
        (['a"b"c'] * 12, True),
        (['"a"b'] * 12, True),
        (['""""""""""""""""""""""""'] * 12, True),
    ],
)
def test_a_block_of_quotes_is_slow_if_its_fields_are_not_just_quoted(fields_of_row: list[str], is_slow: bool) -> None:
    row = ",".join(fields_of_row).encode() + b"\n"
    block = row * (262_144 // len(row))
    assert block.count(b'"') > 32_768
    header = [f"c{number}" for number in range(len(fields_of_row))]
    assert Transform(mapper_of(header, Dialect(b","), {})).is_slow(block) is is_slow
