"""What a person sees while exports are loaded: captures of the display, and that it keeps within its terminal."""

import io
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.core.display.marks import Mark
from pipeline.core.display.moment import Moment
from pipeline.core.model import RowCounts
from pipeline.edges.views.load_screen import drawn
from pipeline.edges.views.signs import ASCII, STYLES, UNICODE, Signs, signs_for

LIMIT = "Target's limit of 45 calls a minute: next call in 12 s"
IN_THE_MIDDLE = Moment(
    name="customers.csv",
    bytes_read=25_100_000,
    export_bytes=50_200_000,
    rows=RowCounts(read=612_345, confirmed=400_000, superseded=1_204, rejected=12),
    held_rows=310,
    rows_per_s=84_210.4,
    passed_s=83.0,
    left_s=290.0,
    marks=tuple(
        mark
        for mark, count in {
            Mark.COMPLETE: 8,
            Mark.FAILED: 1,
            Mark.HELD: 1,
            Mark.ACCEPTED: 4,
            Mark.SENDING: 2,
            Mark.SEALED: 2,
        }.items()
        for _ in range(count)
    ),
    does="reading, sending, Target is applying 4 batches",
    waits=(LIMIT,),
)
AT_THE_BEGINNING = Moment("webshop.csv", export_bytes=1_000_000, does="reading")
AT_THE_END = Moment(
    name="orders.csv",
    bytes_read=9_000_000,
    export_bytes=9_000_000,
    is_read=True,
    rows=RowCounts(read=90_000, confirmed=88_000, failed=3),
    passed_s=3_723.0,
    left_s=42.0,
    marks=(Mark.COMPLETE,) * 8 + (Mark.ACCEPTED,),
    does="Target is applying 1 batch",
    waits=(LIMIT,),
)
MANY = replace(
    IN_THE_MIDDLE,
    marks=(Mark.COMPLETE,) * 700
    + (Mark.FAILED,)
    + (Mark.COMPLETE,) * 99
    + (Mark.ACCEPTED,) * 10
    + (Mark.SENDING,) * 2
    + (Mark.SEALED,) * 188,
    waits=(),
)


def captured(*moments: Moment, width: int = 80, height: int = 23, signs: Signs = UNICODE) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, color_system=None)
    console.print(drawn(moments, width, height, signs), no_wrap=True, overflow="ignore", crop=False)
    return text.getvalue()


def as_seen(text: str) -> str:
    return text.removeprefix("\n")


CAPTURES: dict[str, tuple[list[Moment], int, str]] = {
    "one": (
        [IN_THE_MIDDLE],
        80,
        """
customers.csv                                      1:23 passed, about 5 min left
  read     ━━━━━━━━━━━━━━──────────────  50 %  25.1 of 50.2 MB, 84,210 rows/s
  rows     612,345 read  400,000 confirmed  1,204 superseded  12 rejected
           211,129 under way (310 held)
  batches  ████████×◆▆▆▆▆▃▃▁▁
           █ 8 complete  ▆ 4 accepted  ▃ 2 sending  ▁ 2 sealed  ◆ 1 held
           × 1 failed
  now      reading, sending, Target is applying 4 batches
  waits    Target's limit of 45 calls a minute: next call in 12 s
""",
    ),
    "on a narrow terminal": (
        [IN_THE_MIDDLE],
        60,
        """
customers.csv                  1:23 passed, about 5 min left
  read     ━━━━────  50 %  25.1 of 50.2 MB, 84,210 rows/s
  rows     612,345 read  400,000 confirmed  1,204 superseded
           12 rejected  211,129 under way (310 held)
  batches  ████████×◆▆▆▆▆▃▃▁▁
           █ 8 complete  ▆ 4 accepted  ▃ 2 sending
           ▁ 2 sealed  ◆ 1 held  × 1 failed
  now      reading, sending, Target is applying 4 batches
  waits    Target's limit of 45 calls a minute: next call in
           12 s
""",
    ),
    "a thousand batches": (
        [MANY],
        80,
        """
customers.csv                                      1:23 passed, about 5 min left
  read     ━━━━━━━━━━━━━━──────────────  50 %  25.1 of 50.2 MB, 84,210 rows/s
  rows     612,345 read  400,000 confirmed  1,204 superseded  12 rejected
           211,129 under way (310 held)
  batches  ██████████████████████████████████████████████×██████▆▃▁▁▁▁▁▁▁▁▁▁▁▁
           █ 799 complete  ▆ 10 accepted  ▃ 2 sending  ▁ 188 sealed  × 1 failed
           (a cell is 15 batches)
  now      reading, sending, Target is applying 4 batches
""",
    ),
    "three": (
        [AT_THE_END, IN_THE_MIDDLE, AT_THE_BEGINNING],
        80,
        """
orders.csv                                       1:02:03 passed, about 42 s left
  read     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100 %  9.0 of 9.0 MB
  rows     90,000 read  88,000 confirmed  3 failed  1,997 under way
  batches  ████████▆
           █ 8 complete  ▆ 1 accepted
  now      Target is applying 1 batch

customers.csv                                      1:23 passed, about 5 min left
  read     ━━━━━━━━━━━━━━──────────────  50 %  25.1 of 50.2 MB, 84,210 rows/s
  rows     612,345 read  400,000 confirmed  1,204 superseded  12 rejected
           211,129 under way (310 held)
  batches  ████████×◆▆▆▆▆▃▃▁▁
           █ 8 complete  ▆ 4 accepted  ▃ 2 sending  ▁ 2 sealed  ◆ 1 held
           × 1 failed
  now      reading, sending, Target is applying 4 batches

webshop.csv                                                          0:00 passed
  read     ──────────────────────────────   0 %  0.0 of 1.0 MB
  rows     0 read
  batches  none yet
  now      reading

  waits    Target's limit of 45 calls a minute: next call in 12 s
""",
    ),
    "six, in two lines each": (
        [AT_THE_END, *[IN_THE_MIDDLE] * 4, AT_THE_BEGINNING],
        80,
        """
orders.csv                    100 % read, 88,000 of 90,000 rows confirmed, 3 not
  batches  ████████▆
customers.csv               50 % read, 400,000 of 612,345 rows confirmed, 12 not
  batches  ████████×◆▆▆▆▆▃▃▁▁
customers.csv               50 % read, 400,000 of 612,345 rows confirmed, 12 not
  batches  ████████×◆▆▆▆▆▃▃▁▁
customers.csv               50 % read, 400,000 of 612,345 rows confirmed, 12 not
  batches  ████████×◆▆▆▆▆▃▃▁▁
customers.csv               50 % read, 400,000 of 612,345 rows confirmed, 12 not
  batches  ████████×◆▆▆▆▆▃▃▁▁
webshop.csv                                      0 % read, 0 of 0 rows confirmed
  batches  none yet

           █ 40 complete  ▆ 17 accepted  ▃ 8 sending  ▁ 8 sealed  ◆ 4 held
           × 4 failed

  waits    Target's limit of 45 calls a minute: next call in 12 s
""",
    ),
    "sixteen, in a line each": (
        [AT_THE_END, *[IN_THE_MIDDLE] * 14, AT_THE_BEGINNING],
        80,
        """
orders.csv                   100 %  ████████▆
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
customers.csv                 50 %  ████████×◆▆▆▆▆▃▃▁▁
webshop.csv                    0 %  none yet
           █ 120 complete  ▆ 57 accepted  ▃ 28 sending  ▁ 28 sealed  ◆ 14 held
           × 14 failed
  waits    Target's limit of 45 calls a minute: next call in 12 s
""",
    ),
    "thirty": (
        [AT_THE_END, *[MANY] * 28, AT_THE_BEGINNING],
        60,
        """
orders.csv                   100 %  ████████▆
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
customers.csv                 50 %  ████████████████×██▃▁▁▁▁
and 12 more loads
           █ 22,380 complete  ▆ 281 accepted  ▃ 56 sending
           ▁ 5,264 sealed  × 28 failed
  waits    Target's limit of 45 calls a minute: next call in
           12 s
""",
    ),
}


@pytest.mark.parametrize("name", CAPTURES)
def test_captures(name: str) -> None:
    moments, width, seen = CAPTURES[name]
    assert captured(*moments, width=width) == as_seen(seen)


@given(
    moments=st.lists(
        st.builds(
            Moment,
            name=st.text(st.sampled_from(string.printable + "ßé名单\x1b\u202e"), max_size=120),
            bytes_read=st.integers(0, 10**12),
            export_bytes=st.integers(0, 10**12),
            is_read=st.booleans(),
            rows=st.builds(RowCounts, read=st.integers(0, 10**9), confirmed=st.integers(0, 10**9)),
            held_rows=st.integers(0, 10**6),
            rows_per_s=st.none() | st.floats(0, 10**7),
            passed_s=st.floats(0, 10**6),
            left_s=st.none() | st.floats(0, 10**6),
            marks=st.lists(st.sampled_from(Mark), max_size=300).map(tuple),
            does=st.text("ab [/]", max_size=300),
            waits=st.lists(st.text("ab [/]\x1b", max_size=100), max_size=3).map(tuple),
        ),
        max_size=30,
    ),
    width=st.integers(20, 200),
    height=st.integers(2, 60),
    signs=st.sampled_from([UNICODE, ASCII]),
)
def test_it_keeps_within_its_terminal_which_obeys_nothing(
    moments: list[Moment], width: int, height: int, signs: Signs
) -> None:
    lines = drawn(moments, width, height, signs).split("\n", allow_blank=True)
    assert len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert all(line.plain.isprintable() for line in lines)


def test_no_two_marks_have_one_sign() -> None:
    """So they can be told apart without colours."""
    for signs in (UNICODE, ASCII):
        assert len(set(signs.marks.values())) == len(Mark)
        assert signs.done != signs.left
    assert "".join([*ASCII.marks.values(), ASCII.done, ASCII.left, ASCII.cut]).isascii()
    assert STYLES.keys() == UNICODE.marks.keys() == ASCII.marks.keys() == set(Mark)


def test_without_unicode() -> None:
    text = captured(IN_THE_MIDDLE, MANY, AT_THE_END, signs=ASCII)
    assert text.isascii()
    assert "########x?++++--.." in text


@pytest.mark.parametrize(
    ("encoding", "environment", "signs"),
    [
        ("utf-8", {"LANG": "en_US.UTF-8"}, UNICODE),
        ("utf-8", {"LC_ALL": "C.utf8", "LANG": "C"}, UNICODE),
        ("utf-8", {"LC_CTYPE": "UTF-8"}, UNICODE),
        ("utf-8", {"LC_ALL": "C", "LANG": "en_US.UTF-8"}, ASCII),
        ("utf-8", {"LANG": "de_DE.ISO-8859-1"}, ASCII),
        ("utf-8", {}, ASCII),
        ("ascii", {"LANG": "en_US.UTF-8"}, ASCII),
        ("utf-8", {"LANG": "en_US.UTF-8", "TERM": "linux"}, ASCII),
    ],
)
def test_signs_are_those_that_the_terminal_has(encoding: str, environment: dict[str, str], signs: Signs) -> None:
    assert signs_for(encoding, environment) is signs


def test_a_bar_does_not_change_its_width() -> None:
    widths = set()
    for read in range(0, 50_200_000, 1_000_000):
        for rate in (None, 9.0, 123_456.0):
            text = captured(replace(IN_THE_MIDDLE, bytes_read=read, rows_per_s=rate))
            widths.add(sum(text.count(sign) for sign in (UNICODE.done, UNICODE.left)))
    assert len(widths) == 1


def test_only_what_is_read_to_its_end_is_read_whole() -> None:
    almost = replace(IN_THE_MIDDLE, bytes_read=50_199_999, waits=())
    assert " 99 %" in captured(almost)
    assert " 100 %" in captured(replace(almost, is_read=True))
