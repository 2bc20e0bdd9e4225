"""The transform gives what `Framer` and `RowMapper` give, of every export, and takes regular records in blocks."""

from bisect import bisect_left
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.framing import BOM, BrokenLine, Framer, Record
from pipeline.core.mapping import Mapped, RowMapper, plan_columns
from pipeline.core.transform import Transform
from tests.core.builders import assert_same, read_header
from tests.strategies import Export, exports, mixed_exports, raw_exports

SALT = 7
RECORD_BYTES = 1_048_576
Options = dict[str, Any]


def mapper_of(header: list[str], delimiter: bytes, options: Options) -> RowMapper:
    plan = plan_columns(
        header,
        id_column=options.get("id_column", header[0]),
        id_kind="thirdPartyId",
        columns=options.get("columns", {}),
        unlisted=options.get("unlisted", "send"),
    )
    return RowMapper(
        plan,
        delimiter=delimiter,
        on_delimiter=options.get("on_delimiter", "encode"),
        replacement=options.get("replacement", " "),
        max_row_bytes=options.get("max_bytes", 49_999_999) - len(plan.body_start),
        salt=SALT,
    )


class Both:
    """The transform and the exact path beside each other, each with a mapper of its own."""

    def __init__(self, data: bytes, delimiter: bytes = b",", *, record_bytes: int = RECORD_BYTES, **options: Any):
        header, self.start = read_header(data, delimiter, max_record_bytes=record_bytes)
        self.behind = data[self.start.offset :]
        self.transform = Transform(
            mapper_of(header, delimiter, options), start=self.start, max_record_bytes=record_bytes
        )
        self.framer = Framer(delimiter, start=self.start, max_record_bytes=record_bytes)
        self.mapper = mapper_of(header, delimiter, options)
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
    )
    def test_lines_of_pieces(self, behind: bytes, cuts: list[int], on_delimiter: str) -> None:
        both = Both(b"id,a,b\n" + behind, on_delimiter=on_delimiter)
        for block in blocks_of(behind, cuts):
            both.feed(block)
        both.finish()
