"""A checkpoint counts what was read and placed, and is the same after it was written down."""

import json
from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.formats.framing import START, Position
from pipeline.core.model import Reason, Reject, Warnings
from pipeline.core.rows.mapping import Mapped
from tests.core.builders import row, rows_of


def came_back(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint.from_dict(json.loads(json.dumps(checkpoint.as_dict())))


def rejects(lines: Iterable[int], reason: Reason = Reason.EMPTY_ID) -> list[Reject]:
    return [Reject(line, reason, b"", b"") for line in lines]


def mapped(
    rows: int = 0, *, rejected: Iterable[Reject] = (), empty: int = 0, warnings: Warnings | None = None
) -> Mapped:
    return Mapped(rows_of([row("u", "1")] * rows), list(rejected), empty, warnings or Warnings())


FULL = Checkpoint(
    position=Position(123, 45, is_skipping=True),
    digest_bytes=200,
    digest="abc",
    read=10,
    superseded=1,
    unchanged=4,
    rejected=2,
    empty=3,
    rejects_bytes=99,
    has_ended=True,
    parameters=("a", "b", "c"),
    columns_sent=("a", "b"),
    warnings=Warnings(1, 2, 3, 4, empty_cells=Counter(a=1), first_lines={"bare_quote": 3}),
    by_reason=Counter({"local.empty_id": 2}),
    first_rejects=[(2, "local.empty_id"), (5, "local.empty_id")],
    first_lines={"local.empty_id": 2},
    frequent_ids=[(2**64 - 1, 70, 3)],
    gathered=Gathered((Run(10, 99, "ab"),), rows=10, done=4, is_whole=True),
)


def test_a_full_one_and_a_new_one_come_back() -> None:
    for checkpoint in (FULL, Checkpoint()):
        assert came_back(checkpoint) == checkpoint
    assert came_back(FULL).position == Position(123, 45, is_skipping=True)
    assert came_back(Checkpoint()).position == START


def test_what_is_gathered_is_written_only_where_something_is() -> None:
    assert "gathered" not in Checkpoint().as_dict()
    assert FULL.as_dict()["gathered"] == {
        "runs": [{"rows": 10, "size_bytes": 99, "checksum": "ab"}],
        "rows": 10,
        "done": 4,
        "is_whole": True,
    }


NUMBERS = st.integers(0, 2**53)
RUNS = st.builds(Run, NUMBERS, NUMBERS, st.text(max_size=3))
NAMES = st.lists(st.text(max_size=5), max_size=3).map(tuple)


@given(
    st.builds(
        Checkpoint,
        position=st.builds(Position, NUMBERS, NUMBERS, st.booleans()),
        digest_bytes=NUMBERS,
        digest=st.text(),
        read=NUMBERS,
        superseded=NUMBERS,
        unchanged=NUMBERS,
        gathered=st.builds(Gathered, st.lists(RUNS, max_size=2).map(tuple), NUMBERS, NUMBERS, st.booleans()),
        rejected=NUMBERS,
        empty=NUMBERS,
        rejects_bytes=NUMBERS,
        has_ended=st.booleans(),
        parameters=NAMES,
        columns_sent=NAMES,
        warnings=st.builds(
            Warnings,
            *(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
            empty_cells=st.dictionaries(st.text(), NUMBERS).map(Counter),
            first_lines=st.dictionaries(st.sampled_from(["bare_quote", "ids_trimmed"]), NUMBERS),
        ),
        by_reason=st.dictionaries(st.sampled_from(Reason).map(str), NUMBERS).map(Counter),
        first_rejects=st.lists(st.tuples(NUMBERS, st.sampled_from(Reason).map(str)), max_size=3),
        first_lines=st.dictionaries(st.sampled_from(Reason).map(str), NUMBERS),
        frequent_ids=st.lists(st.tuples(st.integers(1, 2**64 - 1), NUMBERS, NUMBERS), max_size=3),
    )
)
def test_any_comes_back(checkpoint: Checkpoint) -> None:
    found = came_back(checkpoint)
    assert found == checkpoint
    # It counts on as the other does.
    for each in (found, checkpoint):
        each.note(mapped(1, rejected=rejects([9]), empty=1, warnings=Warnings(bare_quote=1, empty_cells=Counter(a=1))))
    assert found == checkpoint


def test_rows_are_counted_as_they_are_noted() -> None:
    checkpoint = Checkpoint()
    checkpoint.note(mapped(3, rejected=rejects([2, 5]), empty=1, warnings=Warnings(bare_quote=1)))
    checkpoint.note(mapped(rejected=rejects([7, 8], Reason.NUL_BYTE), empty=2))
    checkpoint.note(mapped(4, warnings=Warnings(bare_quote=2, empty_cells=Counter(a=5))))
    assert (checkpoint.read, checkpoint.empty, checkpoint.rejected, checkpoint.superseded) == (14, 3, 4, 0)
    assert checkpoint.warnings == Warnings(bare_quote=3, empty_cells=Counter(a=5))
    assert checkpoint.by_reason == {"local.empty_id": 2, "local.nul_byte": 2}
    assert checkpoint.first_rejects == [(2, "local.empty_id"), (5, "local.empty_id"), (7, "local.nul_byte")]
    assert checkpoint.first_lines == {"local.empty_id": 2, "local.nul_byte": 7}


def test_the_header_again_counts_against_nothing() -> None:
    checkpoint = Checkpoint()
    checkpoint.note_rejects([*rejects([2, 3], Reason.HEADER_AGAIN), *rejects([4])])
    assert (checkpoint.rejected, checkpoint.faulty) == (3, 1)
    assert checkpoint.first_rejects == [(4, "local.empty_id")]


def test_an_id_on_many_rows_is_one_of_the_warnings() -> None:
    checkpoint = Checkpoint(warnings=Warnings(bare_quote=1, first_lines={"bare_quote": 2}))
    rows = rows_of([row("same", "x")] * 60 + [row(f"u{n}", "x") for n in range(40)], first_line=5)
    checkpoint.note(mapped(100))
    checkpoint.note_repeated(rows)
    assert checkpoint.all_warnings.as_dict() == {
        "bare_quote": 1,
        "rows_of_one_id": 60,
        "first_lines": {"bare_quote": 2, "rows_of_one_id": 5},
    }
    assert checkpoint.warnings.rows_of_one_id == 0, "it is counted anew each time"


def test_rejects_noted_alone_are_not_rows_read() -> None:
    checkpoint = Checkpoint()
    checkpoint.note_rejects(rejects(range(2, 12)))
    assert (checkpoint.read, checkpoint.rejected) == (0, 10)
    assert [line for line, _ in checkpoint.first_rejects] == [2, 3, 4]


def test_what_comes_back_shares_nothing() -> None:
    checkpoint = Checkpoint()
    other = Checkpoint.from_dict(checkpoint.as_dict())
    other.note(mapped(1, rejected=rejects([2]), warnings=Warnings(empty_cells=Counter(a=1))))
    assert checkpoint == Checkpoint()
