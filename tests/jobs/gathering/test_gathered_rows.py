"""Gathered rows come out once each, merged by id, from any number of them on; and not at all if a file is not whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.batches.gathered import Gathered
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.rows.mapping import pack_rows
from pipeline.jobs.gathering.gathered_rows import GatheredRows
from pipeline.jobs.gathering.runs import run_file, write_run

LONGEST = 1_000
DIGESTED = Digested(("cell",), 3)
IDS = [f"u{number}".encode() for number in range(40)]
ROWS = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([b"", b"a", b"bb"])), min_size=1, max_size=60)


def gathered(directory: Path, runs: list[list[tuple[bytes, bytes]]]) -> Gathered:
    line, written = 1, []
    for number, rows in enumerate(runs):
        texts = [b",".join(row) + b"\n" for row in rows]
        packed = pack_rows(texts, [len(row[0]) for row in rows], list(range(line, line + len(rows))), salt=3)
        line += len(rows)
        written.append(write_run(directory, number, [packed], DIGESTED))
    return Gathered(tuple(written), sum(map(len, runs)), is_whole=True)


def read(directory: Path, of: Gathered) -> list[tuple[bytes, int, int]]:
    """Text, line and records of each row that is left."""
    source, found = GatheredRows(directory, of, LONGEST, DIGESTED), []
    while (piece := source.read()) is not None:
        rows = piece.rows.rows()
        found += [(rows.text(n), int(rows.lines[n]), piece.records_of(n, n + 1)) for n in range(len(rows))]
    return found


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_each_id_comes_once_with_all_its_rows(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[bytes, bytes]]]
) -> None:
    directory = tmp_path_factory.mktemp("gathered")
    of = gathered(directory, runs)
    expected: dict[bytes, tuple[bytes, int, int]] = {}
    for line, (profile_id, cell) in enumerate([row for rows in runs for row in rows], start=1):
        before, _, count = expected.get(profile_id, (b"", 0, 0))
        expected[profile_id] = (cell or before, line, count + 1)
    found = read(directory, of)
    assert sorted(found) == sorted((b"%b,%b\n" % (each, cell), *rest) for each, (cell, *rest) in expected.items())
    done = np.cumsum([records for _, _, records in found]).tolist()
    for index in (0, len(found) // 2, len(found) - 1):
        assert read(directory, of.behind(done[index])) == found[index + 1 :]
    assert done[-1] == of.rows


def test_a_byte_that_was_lost_is_found(tmp_path: Path) -> None:
    of = gathered(tmp_path, [[(each, b"a") for each in IDS]])
    whole = run_file(tmp_path, 0).read_bytes()
    for place in range(len(whole)):
        run_file(tmp_path, 0).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FatalError, match="abandon") as error:
            read(tmp_path, of)
        assert error.value.exit_code is ExitCode.DISK_OR_LEDGER
    run_file(tmp_path, 0).unlink()
    with pytest.raises(FatalError, match=r"is missing.*abandon") as error:
        read(tmp_path, of)
    assert error.value.exit_code is ExitCode.DISK_OR_LEDGER
