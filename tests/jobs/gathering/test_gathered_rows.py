"""Gathered rows come out once each, merged by id, from any number of them on; and not at all if a file is not whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.batches.gathered import Gathered
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.rows.encoding import merge
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


@pytest.mark.parametrize(("before", "after"), [(7, 100), (100, 7), (10, 7), (7, 10)])
def test_each_row_counts_once_though_they_merge_otherwise_behind_a_crash(
    tmp_path: Path, before: int, after: int
) -> None:
    """As with another [batch] max_bytes: in 7 bytes few rows merge, in 10 some do, in 100 all."""
    texts = [b"u,a,bbb\n", b"v,a\n", b"u,,cc\n", b"v,,dd\n", b"u,eeee\n", b"u,,ff\n", b"w,a,a\n"]
    digested, count = Digested(("one", "two"), 3), len(texts)
    run = write_run(tmp_path, 0, [pack_rows(texts, [1] * count, [*range(count)], salt=3)], digested)
    of = Gathered((run,), count, is_whole=True)

    def left(done: int, longest: int) -> list[tuple[bytes, int]]:
        source, found = GatheredRows(tmp_path, of.behind(done), longest, digested), []
        while (piece := source.read()) is not None:
            rows = piece.rows.rows()
            found += [(rows.text(index), piece.records_of(index, index + 1)) for index in range(len(rows))]
        return found

    placed = left(0, before)
    for index in range(len(placed)):
        done = sum(records for _, records in placed[:index])
        rest = left(done, after)
        assert sum(records for _, records in rest) == count - done
        sent: dict[bytes, bytes] = {}
        for text, _ in [*placed[:index], *rest]:
            sent[text[:1]] = merge(sent[text[:1]], text) if text[:1] in sent else text
        assert sent == {b"u": b"u,eeee,ff\n", b"v": b"v,a,dd\n", b"w": b"w,a,a\n"}


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
