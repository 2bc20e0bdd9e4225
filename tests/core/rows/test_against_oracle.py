"""Reading, mapping and encoding mean exactly what an independent, slow reader built on `csv` says they mean."""

from dataclasses import fields
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.formats.detection import detect_delimiter
from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BOM, Framer, Position
from pipeline.core.rows.cells import CellRules
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.id_forms import hashes_of
from pipeline.core.rows.mapping import Mapped, RowMapper
from pipeline.core.rows.transform import Transform
from pipeline.core.values.row_steps import RowSteps
from pipeline.settings.sections.mapping import MappingSettings
from tests.core.builders import joined, read_header
from tests.tools.drawn import examples
from tests.tools.oracle import Expected, expect
from tests.tools.oracle_mapping import SALT
from tests.tools.strategies import Export, exports, mapped_exports, mixed_exports, raw_exports

HASH_SALT = 7


def read_exactly(mapper: RowMapper, blocks: list[bytes], start: Position, record_bytes: int) -> Mapped:
    framer = Framer(mapper.dialect, start=start, max_record_bytes=record_bytes)
    return mapper.map([record for block in blocks for record in framer.feed(block)] + framer.finish())


def read_in_blocks(mapper: RowMapper, blocks: list[bytes], start: Position, record_bytes: int) -> Mapped:
    transform = Transform(mapper, start=start, max_record_bytes=record_bytes)
    return joined([*(transform.feed(block) for block in blocks), transform.finish()])


def check(export: Export, cuts: list[int], record_bytes: int = 1_048_576) -> None:
    """Compare what both readers make of an export, cut into blocks anywhere behind its header, with the oracle."""
    options: dict[str, Any] = dict(export.options)
    expected = expect(export.data, **options, record_bytes=record_bytes)
    data = export.data.removeprefix(BOM)
    delimiter = options.get("delimiter", "auto")
    if delimiter == "auto":
        line = data.lstrip(b"\r\n").split(b"\n", 1)[0].removesuffix(b"\r")
        delimiter = detect_delimiter(line, Dialect(b","), id_column=options["id_column"]).decode()
    dialect = Dialect(delimiter.encode())
    header, start = read_header(data, dialect, max_record_bytes=record_bytes)
    plan = plan_columns(
        header,
        id_column=options["id_column"],
        id_kind=options.get("id_kind", "thirdPartyId"),
        columns=options["columns"],
        unlisted=options["unlisted"],
        steps=steps_of(options),
    )
    mapper = RowMapper(
        plan,
        dialect=dialect,
        on_delimiter=options.get("on_delimiter", "encode"),
        replacement=options.get("replacement", " "),
        max_row_bytes=options.get("max_bytes", 49_999_999) - len(plan.body_start),
        salt=HASH_SALT,
        rules=rules_of(options),
    )
    behind = data[start.offset :]
    ends = [*sorted(cut for cut in cuts if cut < len(behind)), len(behind)]
    blocks = [behind[a:b] for a, b in pairwise([0, *ends])]
    for read in (read_exactly, read_in_blocks):
        check_mapped(read(mapper, blocks, start, record_bytes), expected, plan.body_start, record_bytes)


def check_mapped(mapped: Mapped, expected: Expected, body_start: bytes, record_bytes: int) -> None:
    """Every row, reject and count is the oracle's."""
    assert body_start + mapped.rows.body == expected.body()
    assert mapped.rows.lines.tolist() == [row.line for row in expected.sent]
    assert [mapped.rows.text(index) for index in range(len(mapped.rows))] == [row.row for row in expected.sent]
    told = [
        (reject.line, reject.reason.value, None if reject.profile_id is None else backslashed(reject.profile_id))
        for reject in mapped.rejects
    ]
    assert told == expected.rejects
    assert [reject.raw for reject in mapped.rejects] == [raw[:record_bytes] for raw in expected.raws]
    assert mapped.excluded == expected.excluded
    assert mapped.empty == expected.rows["empty"]
    not_sent = sorted(
        (line, each.why, hash_)
        for each in mapped.not_sent
        for line, hash_ in zip(each.lines.tolist(), each.hashes.tolist(), strict=True)
    )
    forms = hashes_of([form.encode() for _, _, form in expected.not_sent], HASH_SALT).tolist()
    assert not_sent == [(line, why, hash_) for (line, why, _), hash_ in zip(expected.not_sent, forms, strict=True)]
    assert mapped.read == expected.rows["read"]
    assert mapped.warnings.as_dict() == expected.warnings


def backslashed(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


def rules_of(options: dict[str, Any]) -> CellRules:
    return CellRules(**{each.name: options[each.name] for each in fields(CellRules) if each.name in options})


def steps_of(options: dict[str, Any]) -> RowSteps:
    mapping = options.get("mapping", {})
    is_salted = any(steps.get("hash") == "sha256" for steps in mapping.values() if isinstance(steps, dict))
    values = {**mapping, "salt_file": "salt"} if is_salted else mapping
    return MappingSettings.model_validate(values).steps(SALT, {})


cuts = st.lists(st.integers(0, 400), max_size=6)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(40))


@relaxed
@given(exports(), cuts)
def test_realistic_exports_with_trouble(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@relaxed
@given(mixed_exports(), cuts)
def test_sound_exports_with_some_trouble(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@settings(relaxed, max_examples=examples(30))
@given(mapped_exports(), cuts)
def test_exports_with_a_mapping(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@relaxed
@given(raw_exports(), cuts)
def test_raw_bytes(export: Export, cuts: list[int]) -> None:
    check(export, cuts)


@relaxed
@given(raw_exports(), cuts, st.integers(12, 60))
def test_raw_bytes_with_a_limit_on_records(export: Export, cuts: list[int], record_bytes: int) -> None:
    header_bytes = export.data.index(b"\n") + 1
    check(export, cuts, max(record_bytes, header_bytes))
