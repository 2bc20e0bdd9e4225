"""Whole exports against a Target that decodes a batch before it splits rows and cells, and one that does after."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.sandbox import MistakeKind as M
from tests.simulation.loop import run_virtually
from tests.simulation.staged import deliver, staged
from tests.tools import oracle
from tests.tools.strategies import MAX_BYTES, Export, mixed_exports

#: What comes of these rows: nothing is shifted, and nobody gets a profile who has no row.
AWKWARD = ('u1,"a,b",1', 'u2,"a\nb",2', 'u3,"a\r\nb, c",3', 'u4,"50%2C off, 100%0A",4', "u5,a+b & c=d,5", '"u,6",x,6')


@given(mixed_exports())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_export_ends_as_a_plain_reading_says(export: Export) -> None:
    options = {**export.options, "max_bytes": MAX_BYTES}
    expected = oracle.expect(export.data, **options)
    del options["max_bytes"]
    id_kind = options["id_kind"]

    async def load(directory: Path) -> None:
        decode = "after" if options["on_delimiter"] == "encode" else "before"
        async with staged(directory, decode=decode) as stage:
            file = directory / "export.csv"
            file.write_bytes(export.data)
            (report,) = await stage.load_all(file, export={**options, "max_rejects": "100%"}, batch={"max_rows": 7})
            stage.sandbox.apply_all()
            assert stage.sandbox.profiles(id_kind) == expected.profiles
            assert stage.sandbox.mistakes == []
            assert report["rows"]["read"] == expected.rows["read"]

    with tempfile.TemporaryDirectory(prefix="profile-pipeline-decoding-") as folder:
        run_virtually(load(Path(folder)))


def test_no_delimiter_is_sent_unless_it_is_asked_for(tmp_path: Path) -> None:
    delivery = deliver(tmp_path, *AWKWARD, export={"max_rejects": "100%"})
    assert delivery.profiles == {
        "u1": {"tier": "a b", "ltv": "1"},
        "u2": {"tier": "a b", "ltv": "2"},
        "u3": {"tier": "a b  c", "ltv": "3"},
        "u4": {"tier": "50%2C off  100%0A", "ltv": "4"},
        "u5": {"tier": "a+b & c=d", "ltv": "5"},
    }
    assert delivery.sandbox.mistakes == []
    assert delivery.report["rejects"]["by_reason"] == {"local.delimiter": 1}


@pytest.mark.parametrize(
    ("decode", "profiles"),
    [
        ("after", {"u1": {"tier": "a,b", "ltv": "1"}, "u2": {"tier": "a\nb", "ltv": "2"}}),
        # The line break makes a person of the rest of the value.
        ("before", {"u1": {"tier": "a", "ltv": "b"}, "u2": {"tier": "a"}, "b": {"tier": "2"}}),
    ],
)
def test_encode_is_right_only_where_decoding_comes_after(
    tmp_path: Path, decode: str, profiles: dict[str, dict[str, str]]
) -> None:
    export: dict[str, Any] = {"on_delimiter": "encode"}
    delivery = deliver(tmp_path, *AWKWARD[:2], export=export, options={"decode": decode})
    assert delivery.profiles == profiles
    assert {mistake.kind for mistake in delivery.sandbox.mistakes} - {M.LONG_ROW} == (
        {M.ENCODED_DELIMITER} if decode == "before" else set()
    )
