"""The exports of the benchmark are what the benchmark says they are."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from pipeline.core.rows.encoding import encode
from tests.tools.bench.generator import COLUMNS, ID_COLUMN, VARIANTS, pieces, row_bytes, write_export
from tests.tools.bench.transform import transform

ROWS = 20_000


def export(variant: str, rows: int = ROWS) -> bytes:
    return b"".join(pieces(rows, variant))


def records(variant: str, rows: int = ROWS) -> list[list[str]]:
    """The records of an export that the standard library can read, its header left out."""
    header, *found = csv.reader(export(variant, rows).decode().splitlines(keepends=True))
    assert header[0] == ID_COLUMN
    assert {len(record) for record in found} == {len(header)}
    assert len(found) == rows
    return found


def to_encode(found: list[list[str]]) -> list[int]:
    """How many fields of each record have something to encode."""
    return [sum(encode(field.encode()) != field.encode() for field in record) for record in found]


def quoted(variant: str) -> list[list[str]]:
    """The records of which a field has to be quoted."""
    return [record for record in records(variant) if any(set(field) & set(',"\r\n') for field in record)]


def repeated_ids(found: list[list[str]]) -> float:
    """The share of records whose id came before."""
    return 1 - len({record[0] for record in found}) / len(found)


def test_plain_is_the_mix_of_a_crm() -> None:
    found = records("plain")
    assert row_bytes("plain") == pytest.approx(80, abs=2)
    assert sum(to_encode(found)) / ROWS / len(COLUMNS) == pytest.approx(0.03, abs=0.0005)
    assert len(quoted("plain")) / ROWS == pytest.approx(0.06, abs=0.0001)
    assert sum("\n" in field for record in found for field in record) / ROWS == pytest.approx(0.0035, abs=0.0001)
    assert repeated_ids(found) == pytest.approx(0.02, abs=0.0002)


def test_ids_repeat_across_chunks_and_only_those_that_came_before() -> None:
    rows = 450_000
    ids = [line.partition(b",")[0] for line in export("clean", rows).splitlines()[1:]]
    assert len(set(ids)) / rows == pytest.approx(0.98, abs=0.0002)
    # New ones count up, so one that is not the next must have come before.
    highest, last_chunk = -1, 0
    for place, number in enumerate(int(profile_id.removeprefix(b"cust-")) for profile_id in ids):
        assert number <= highest + 1
        last_chunk += place >= 400_000 and number < 100_000
        highest = max(highest, number)
    assert last_chunk > 100, "ids of the first chunk come again in the last"


def test_clean_has_nothing_to_encode_or_to_quote() -> None:
    assert set(to_encode(records("clean"))) == {0}
    assert b'"' not in export("clean")


def test_dirty_has_several_fields_to_encode_in_every_row() -> None:
    found = records("dirty")
    assert min(to_encode(found)) >= 4
    assert not any("".join(record).isascii() for record in found)


def test_quote_all_quotes_every_field() -> None:
    assert records("quote-all") == records("plain")
    fields = len(COLUMNS) * (ROWS + 1)
    doubled = sum(field.count('"') for record in records("plain") for field in record)
    assert export("quote-all").count(b'"') == 2 * fields + 2 * doubled


async def test_crlf_bad_has_one_bad_row_in_a_thousand(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    write_export(path, ROWS, "crlf-bad")
    assert path.read_bytes().replace(b"\r\n", b"").count(b"\n") == 0
    assert path.read_bytes().count(b"\xff\r\n") in (3, 4)
    assert await transform(path) == (ROWS, ROWS // 1_000)


def test_wide_has_120_columns() -> None:
    found = records("wide")
    assert {len(record) for record in found} == {120}
    assert sum(to_encode(found)) / ROWS / 120 == pytest.approx(0.03, abs=0.0005)


def test_id_dense_has_each_id_ten_times_far_apart() -> None:
    ids = [record[0] for record in records("id-dense")]
    assert set(Counter(ids).values()) == {10}
    distances = []
    latest: dict[str, int] = {}
    for place, profile_id in enumerate(ids):
        distances.append(place - latest.get(profile_id, -ROWS))
        latest[profile_id] = place
    assert min(distances) > 100


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_run_reads_the_same_bytes(variant: str) -> None:
    assert export(variant, 2_000) == export(variant, 2_000)
    assert export(variant, 2_000) != b"".join(pieces(2_000, variant, seed=2))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="none of plain"):
        export("tidy")


def test_an_export_may_be_empty() -> None:
    assert export("plain", 0).decode() == ",".join(COLUMNS) + "\n"
