"""Reading, mapping and encoding mean exactly what an independent, slow reader built on `csv` says they mean."""

from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.framing import BOM, BrokenLine, Framer, Record, detect_delimiter
from pipeline.core.mapping import RowMapper, plan_columns
from tests.oracle import expect
from tests.strategies import Export, exports, raw_exports

SALT = 7


def frame(data: bytes, delimiter: bytes, cuts: list[int], record_bytes: int) -> list[Record | BrokenLine]:
    framer = Framer(delimiter, max_record_bytes=record_bytes)
    framed = []
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        framed += framer.feed(data[start:end])
    return framed + framer.finish()


def check(export: Export, cuts: list[int], record_bytes: int = 1_048_576) -> None:
    """Compare what our reader makes of an export, cut into blocks anywhere, with the oracle."""
    options: dict[str, Any] = dict(export.options)
    expected = expect(export.data, **options, record_bytes=record_bytes)
    data = export.data.removeprefix(BOM)
    delimiter = options.get("delimiter", "auto")
    delimiter = detect_delimiter(data) if delimiter == "auto" else delimiter.encode()
    header, *framed = frame(data, delimiter, [cut for cut in cuts if cut < len(data)], record_bytes)
    assert isinstance(header, Record)
    plan = plan_columns(
        [name.decode() for name in header.fields],
        id_column=options["id_column"],
        id_kind=options.get("id_kind", "thirdPartyId"),
        columns=options["columns"],
        unlisted=options["unlisted"],
    )
    mapper = RowMapper(
        plan,
        delimiter=delimiter,
        on_delimiter=options.get("on_delimiter", "encode"),
        replacement=options.get("replacement", " "),
        max_row_bytes=options.get("max_bytes", 49_999_999) - len(plan.body_start),
        salt=SALT,
    )
    mapped = mapper.map(framed)
    assert plan.body_start + mapped.rows.body == expected.body()
    assert mapped.rows.lines.tolist() == [row.line for row in expected.sent]
    assert [mapped.rows.text(index) for index in range(len(mapped.rows))] == [row.row for row in expected.sent]
    told = [
        (reject.line, reject.reason.value, None if reject.profile_id is None else backslashed(reject.profile_id))
        for reject in mapped.rejects
    ]
    assert told == expected.rejects
    assert [reject.raw for reject in mapped.rejects] == [raw[:record_bytes] for raw in expected.raws]
    assert mapped.empty == expected.rows["empty"]
    assert mapped.read == expected.rows["read"]
    assert mapped.warnings.as_dict() == expected.warnings


def backslashed(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


cuts = st.lists(st.integers(0, 400), max_size=6)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)


@relaxed
@given(exports(), cuts)
def test_realistic_exports_with_trouble(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@relaxed
@given(raw_exports(), cuts)
def test_raw_bytes(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@relaxed
@given(raw_exports(), cuts, st.integers(12, 60))
def test_raw_bytes_with_a_small_limit_on_records(export: Export, cuts: list[int], record_bytes: int) -> None:
    header_bytes = export.data.index(b"\n") + 1
    check(export, cuts, max(record_bytes, header_bytes))
