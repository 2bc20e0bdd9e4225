"""What a row says anew, and what is filled in, as dictionaries of cells say it."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.memory.cells import patterns
from pipeline.core.memory.comparison import filled_in, says_all_anew, unchanged_by_digest, unchanged_by_values
from pipeline.core.memory.digest import digest_rows
from pipeline.core.memory.entries import Entries, Found, Values
from pipeline.core.model import Rows
from pipeline.core.rows.mapping import pack_rows

SHAPES = (("tier", "city"), ("city",), ("zip", "tier", "age"))
CELLS = st.sampled_from(["", "a", "b", "a rather long value", "a rather long one"])
REMEMBERED = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 2), st.lists(CELLS, min_size=3, max_size=3), st.booleans(), st.booleans()),
)
HEADER = ("city", "tier", "name")
ASKED = st.lists(st.tuples(st.lists(CELLS, min_size=3, max_size=3), st.booleans(), REMEMBERED), max_size=12)

#: Cells, if the row lacks those empty at its end, and what is remembered: shape, cells, the same, if it counts as sent.
Asked = tuple[list[str], bool, tuple[int, list[str], bool, bool] | None]


def text(profile_id: str, cells: list[str], *, is_cut: bool) -> bytes:
    row = ",".join((profile_id, *cells))
    return (row.rstrip(",") if is_cut else row).encode() + b"\n"


def packed(texts: list[bytes]) -> Rows:
    return pack_rows(
        texts, [len(each.rstrip(b"\n").partition(b",")[0]) for each in texts], [*range(len(texts))], salt=1
    )


def cells_of(row: bytes, names: tuple[str, ...]) -> dict[str, str]:
    cells = row.decode().rstrip("\n").split(",")[1:]
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell}


def found_of(asked: list[Asked]) -> tuple[Found, list[dict[str, str] | None]]:
    texts: list[bytes] = []
    shapes, sent_at, indexes = list[int](), list[int](), list[int]()
    known: list[dict[str, str] | None] = []
    for number, (_, _, remembered) in enumerate(asked):
        if remembered is None:
            indexes.append(-1)
            known.append(None)
            continue
        shape, cells, is_cut, is_sent = remembered
        indexes.append(len(texts))
        texts.append(text(f"u{number}", cells[: len(SHAPES[shape])], is_cut=is_cut))
        known.append(cells_of(texts[-1], SHAPES[shape]))
        shapes.append(shape)
        sent_at.append(7 if is_sent else 0)
    rows = packed(texts)
    values = Values.side_by_side(np.array(shapes, np.uint16), rows.id_lengths.astype(np.uint32), rows.ends, rows.body)
    wholes = np.array(sent_at, np.uint32)
    digests = np.zeros(len(texts), np.uint64)
    no_patterns, no_sources = np.zeros(len(texts), np.uint64), np.zeros(len(texts), np.uint16)
    entries = Entries(rows.hashes, digests, wholes, wholes, no_sources, no_patterns, values)
    return Found(entries, np.array(indexes, np.int64)), known


@given(ASKED)
def test_a_row_is_unchanged_if_each_of_its_cells_was_sent(asked: list[Asked]) -> None:
    found, known = found_of(asked)
    rows = packed([text(f"u{number}", cells, is_cut=is_cut) for number, (cells, is_cut, _) in enumerate(asked)])
    expected = [
        before is not None
        and bool(found.sent_at[number])
        and all(before.get(name) == cell for name, cell in cells_of(rows.text(number), HEADER).items())
        for number, before in enumerate(known)
    ]
    assert unchanged_by_values(rows, HEADER, found, SHAPES).tolist() == expected


@given(ASKED, st.integers(10, 60))
def test_cells_that_a_row_lacks_are_filled_in(asked: list[Asked], max_row_bytes: int) -> None:
    found, known = found_of(asked)
    rows = packed([text(f"u{number}", cells, is_cut=is_cut) for number, (cells, is_cut, _) in enumerate(asked)])
    filled, too_long = filled_in(rows, HEADER, found, SHAPES, max_row_bytes)
    for number, before in enumerate(known):
        said = cells_of(rows.text(number), HEADER)
        wanted = {name: cell for name, cell in (before or {}).items() if name in HEADER} | said
        got = cells_of(filled.text(number), HEADER)
        assert filled.text(number)[: int(filled.id_lengths[number])] == f"u{number}".encode()
        if got != wanted:
            assert number in too_long
            assert filled.text(number) == rows.text(number)
            row = ",".join((f"u{number}", *(wanted.get(name, "") for name in HEADER)))
            assert len(row) + 1 > max_row_bytes
    assert filled.lines.tolist() == rows.lines.tolist()
    assert filled.hashes.tolist() == rows.hashes.tolist()


def test_by_digest_a_row_is_unchanged_if_it_is_the_same_word_for_word() -> None:
    texts = [b"u1,gold,\n", b"u2,gold,Ulm\n", b"u3,tin,Ulm\n"]
    sent = packed(texts)
    digests = digest_rows(sent.body, sent.starts, sent.ends, ("tier", "city"), 5)
    times = np.array([9, 9, 0], np.uint32)
    found = Found(
        Entries(sent.hashes, digests, times, times, np.zeros(3, np.uint16), np.zeros(3, np.uint64)), np.arange(3)
    )
    now = packed([b"u1,gold,,\n", b"u2,iron,Ulm,\n", b"u3,tin,Ulm,\n"])

    def unchanged(*parameters: str) -> list[bool]:
        flags: list[bool] = unchanged_by_digest(
            digest_rows(now.body, now.starts, now.ends, parameters, 5), found
        ).tolist()
        return flags

    # The third one does not count as sent.
    assert unchanged("tier", "city", "carried") == [True, False, False]
    assert unchanged("city", "tier", "carried") == [False, False, False]


@given(ASKED)
def test_a_row_that_says_all_anew_needs_no_cells(asked: list[Asked]) -> None:
    """It is sent as it is, whatever is remembered: it is not unchanged, and nothing is filled in."""
    found, _ = found_of(asked)
    values = found.entries.values
    assert values is not None
    told = np.array([len(values.row(index)) for index in range(len(found.entries))], np.uint64)
    for shape, names in enumerate(SHAPES):
        of_shape = np.flatnonzero(values.shapes == shape)
        rows = packed([values.row(index) for index in of_shape.tolist()])
        told[of_shape] = patterns(rows.body, rows.ends, rows.id_lengths, shape, 1)
        digests = digest_rows(rows.body, rows.starts, rows.ends, names, 1)
        found.entries.digests[of_shape] = np.where(found.entries.sent_at[of_shape] > 0, digests, 0)
    found = Found(replace(found.entries, patterns=told), found.indexes)
    for shape, names in enumerate(SHAPES):
        cells_of_each = [cells[: len(names)] for cells, _, _ in asked]
        rows = packed([text(f"u{number}", cells, is_cut=False) for number, cells in enumerate(cells_of_each)])
        is_other = ~unchanged_by_digest(digest_rows(rows.body, rows.starts, rows.ends, names, 1), found)
        says_all = says_all_anew(rows, shape, 1, found) & is_other
        unchanged = unchanged_by_values(rows, names, found, SHAPES)
        filled, _ = filled_in(rows, names, found, SHAPES, 10_000)
        for number in np.flatnonzero(says_all).tolist():
            assert not unchanged[number]
            assert filled.text(number) == rows.text(number)
        # And it is found of each that has cells wherever the one sent last has some, and something else in any.
        for number, (_, _, remembered) in enumerate(asked):
            if remembered and remembered[0] == shape and any(cells_of_each[number]) and is_other[number]:
                is_there = zip(remembered[1], cells_of_each[number], strict=False)
                if any(remembered[1][: len(names)]) and all(cell or not before for before, cell in is_there):
                    assert says_all[number]
