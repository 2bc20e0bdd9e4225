"""An export in any dialect, from its first byte on, means what the oracle says, by the letter and in blocks."""

from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, Unpack

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import HeaderError, InputError
from pipeline.core.formats.framing import BOM, Framer
from pipeline.core.formats.trailer import Trailer
from pipeline.core.rows.header import plan_columns
from pipeline.core.rows.mapping import RowMapper
from pipeline.core.rows.transform import Transform
from pipeline.edges.export_start import Layout, Start, read_start
from pipeline.edges.exports import Identity
from tests.core.builders import assert_same, joined
from tests.tools.drawn import examples
from tests.tools.oracle import Expected, Style, Unusable, expect

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
SALT = 7


class Blocks:
    """An export that is there already, in blocks."""

    path = place = Path("export.csv")
    part, size_bytes, columns = "", 0, None
    identity = Identity(0, 0)
    bytes_read = 0
    sha256 = ""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        ends = [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
        self._blocks = [data[start:end] for start, end in pairwise([0, *ends])]

    async def read_block(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""

    async def next_part(self) -> bool:
        return False

    def look_only(self) -> None:
        raise NotImplementedError

    async def skip_to(self, part: int, offset: int, *, digest_bytes: int, digest: str) -> bytes:
        raise NotImplementedError


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


async def call(function: Callable[[Unpack[Arguments]], T], /, *args: *Arguments) -> T:
    """What a thread would do, without one: nothing is waited for here."""
    return function(*args)


async def start_behind_first(export: "Blocks", layout: Layout) -> Start:
    return await read_start(export, layout, await export.read_block(), call)


def start_of(data: bytes, layout: Layout, cuts: list[int] | None = None) -> Start:
    return at_once(start_behind_first(Blocks(data, cuts or []), layout))


def read(data: bytes, cuts: list[int], options: dict[str, Any], style: Style) -> tuple[bytes, Any]:
    """The body of a batch with all rows, and what became of the records; the two readers agree on it."""
    used = [options["id_column"], *options["columns"]]
    layout = Layout(
        delimiter=b"" if options["delimiter"] == "auto" else options["delimiter"].encode(),
        quote=style.quote.encode(),
        escape=style.escape.encode(),
        escape_in="quotes" if style.escape_in == "quotes" else "all",
        id_column=options["id_column"],
        has_header=style.header,
        last_position=0 if style.header else max(map(int, used)),
        skip_first=style.skip_first,
    )
    export = Blocks(data, cuts)
    start = at_once(start_behind_first(export, layout))
    plan = plan_columns(
        start.names,
        id_column=options["id_column"],
        id_kind="thirdPartyId",
        columns=options["columns"],
        unlisted=options["unlisted"],
        has_header=style.header,
    )
    mapper = RowMapper(
        plan,
        dialect=start.dialect,
        on_delimiter=options["on_delimiter"],
        replacement=" ",
        max_row_bytes=1_000_000,
        salt=SALT,
    )
    trailer = Trailer(style.skip_last, start.dialect)
    blocks = [start.behind, *export._blocks]
    passed = [trailer.feed(block) for block in blocks] if style.skip_last else blocks
    transform = Transform(mapper, start=start.end)
    framer = Framer(start.dialect, start=start.end)
    parts = []
    for block in [*passed, None]:
        in_blocks = transform.finish() if block is None else transform.feed(block)
        by_the_letter = mapper.map(framer.finish() if block is None else framer.feed(block))
        assert_same(in_blocks, by_the_letter)
        assert transform.position == framer.position
        parts.append(by_the_letter)
    return plan.body_start, joined(parts)


def check(data: bytes, cuts: list[int], options: dict[str, Any], style: Style) -> None:
    try:
        expected: Expected = expect(data, **options, style=style)
    except Unusable:
        with pytest.raises(InputError):
            read(data, cuts, options, style)
        return
    head, mapped = read(data, cuts, options, style)
    assert head + mapped.rows.body == expected.body()
    assert mapped.rows.lines.tolist() == [row.line for row in expected.sent]
    assert [(each.line, each.reason.value) for each in mapped.rejects] == [(a, b) for a, b, _ in expected.rejects]
    assert [each.raw for each in mapped.rejects] == expected.raws
    assert (mapped.empty, mapped.read) == (expected.rows["empty"], expected.rows["read"])
    assert mapped.warnings.as_dict() == expected.warnings


@st.composite
def dialects(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], Style]:
    """An export in some dialect, with everything in it that means something there, and how to read it."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    quote = draw(st.sampled_from(['"', '"', '"', "'", "", "~", "|"]).filter(lambda mark: mark != delimiter))
    escape = draw(st.sampled_from(["", "", "\\", "\\", "^", "."]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\r"]))
    header = draw(st.booleans()) or draw(st.booleans())
    escape_in = draw(st.sampled_from(["all", "all", "quotes"]))
    style = Style(
        quote, escape, escape_in, header, draw(st.sampled_from([0, 0, 1, 2])), draw(st.sampled_from([0, 0, 1, 2]))
    )
    auto = header and draw(st.booleans())
    specials = [
        delimiter,
        quote,
        quote * 2,
        escape,
        escape * 2,
        escape + quote,
        end,
        end,
        "a",
        "bc",
        "é",
        "\0",
        escape + "N",
    ]
    alone = draw(st.sampled_from([["\r"], ["\n"], ["\r", "\n", "\r\n"], []]))
    pieces = st.sampled_from([piece for piece in [*specials, *alone] if piece])
    cell = st.one_of(
        st.sampled_from(["u1", "u2", "x", "", "gold"]),
        st.lists(pieces, max_size=4).map("".join),
        st.lists(pieces, max_size=4).map(lambda found: quote + "".join(found) + quote),
    )
    plain_row = st.lists(st.sampled_from(["u1", "x", "y", "", quote + "z" + end + quote]), min_size=3, max_size=3)
    row = st.one_of(plain_row, plain_row, st.lists(cell, min_size=3, max_size=3))
    lines = [delimiter.join(["id", "a", "b"]) + end] if header else []
    lines += [
        delimiter.join(each) + draw(st.sampled_from([end, end, end, end + end]))
        for each in draw(st.lists(row, max_size=8))
    ]
    lines += [draw(st.sampled_from(["T" + delimiter + "3" + end, "T", end])) for _ in range(style.skip_last)]
    first = ["sep=" + delimiter + end] if draw(st.sampled_from([False, False, False, True])) else []
    first += ["title" + end] * (style.skip_first - len(first))
    data = "".join([*first, *lines])
    if draw(st.booleans()):
        data = data.removesuffix(end)
    options = {
        "id_column": "id" if header else "1",
        "columns": {} if header else {"2": "a", "3": "b"},
        "unlisted": "send" if header else "ignore",
        "delimiter": "auto" if auto else delimiter,
        "on_delimiter": draw(st.sampled_from(["encode", "replace"])),
    }
    return draw(st.sampled_from([b"", BOM])) + data.encode(), options, style


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=examples(150)
)
@given(dialects(), st.lists(st.integers(0, 120), max_size=8))
def test_any_dialect(export: tuple[bytes, dict[str, Any], Style], cuts: list[int]) -> None:
    data, options, style = export
    assume(style.escape not in (style.quote, options["delimiter"]) or not style.escape)
    check(data, cuts, options, style)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"id,a,b,c\nu1,1,2,3\n", {}),
        (b"id;a;b;c\n", {}),
        (b"id\ta\tb\tc\n", {"delimiter": b"\t"}),
        (b'"id","a","b","c"\n', {}),
        (b"\n\n,,\nid,a,b,c\n", {}),
        (b"sep=;\nid;a;b;c\n", {}),
        (b"x,x,x,x,x,x\nid,a,b,c\n", {"skip_first": 1}),
        (b"id," + b"," * 1_000_000 + b"\n", {}),
        (b"id" + b"," * 2_000_000 + b"\n", {}),
        (b"1,2,3,4\n", {"has_header": False, "id_column": None}),
        (b"\n\n1,2,3,4\n", {"has_header": False, "id_column": None}),
        (b"id\\,x,a,b,c\n", {"escape": b"\\"}),
    ],
)
def test_more_columns_than_allowed_are_refused(data: bytes, options: dict[str, Any]) -> None:
    layout = Layout(**{"id_column": "id", "max_columns": 3, **options})
    with pytest.raises(HeaderError, match=r"columns, more than \[export\] max_columns = 3 allows") as raised:
        start_of(data, layout, [1, 2, 5, 300_000, 600_000])
    assert raised.value.exit_code == 65


@pytest.mark.parametrize(
    "data", [b"id,a,b\n1,2,3,4\n", b'id,"a,a,a",b\n', b'id,"a,""a,a",b\n', b"x,x,x,x,x\nid,a,b\n", b"id,a,b"]
)
def test_as_many_columns_as_allowed_are_read(data: bytes) -> None:
    skipped = int(data.startswith(b"x"))
    assert len(start_of(data, Layout(id_column="id", max_columns=3, skip_first=skipped)).names) == 3


@pytest.mark.parametrize("data", [b"\n" * 3_000_000 + b"id,a\n", b"\r" * 3_000_000, (b"," * 99_999 + b"\n") * 50])
def test_nothing_is_looked_for_behind_a_megabyte_of_nothing(data: bytes) -> None:
    with pytest.raises(InputError, match="begins with more than 1,048,576 bytes of lines in which nothing stands"):
        start_of(data, Layout(id_column="id"), [*range(0, len(data), 262_144)])
