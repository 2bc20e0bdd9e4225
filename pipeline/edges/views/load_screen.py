"""The display of running loads, as lines of text: of each what is read, its rows by class, and a cell for each batch.

It keeps within the width and the height that it is given. All loads are shown alike: in full if there is room, else in
two lines each, else in one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipeline.core.display.marks import Mark, compressed
from pipeline.core.display.moment import Moment
from pipeline.core.drop.signals import shown
from pipeline.core.duration import roughly
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.edges.views.signs import STYLES, Signs
from pipeline.edges.views.wording import GOOD, MEANINGS

#: The column in which figures begin, behind their names.
_INDENT = 11
_MEGABYTE = 1_000_000
#: The widest bar, in columns. Ours: a longer one says no more.
_WIDEST_BAR = 40
#: The columns of a rate, such as `, 1,204,000 rows/s`.
_OF_A_RATE = 18
#: The narrowest display, in columns.
_NARROWEST = 20


def drawn(moments: Sequence[Moment], width: int, height: int, signs: Signs) -> Text:
    """The display of these loads, at most `width` columns wide and `height` lines high."""
    width, height = max(_NARROWEST, width), max(2, height)
    waits = dict.fromkeys(words for moment in moments for words in moment.waits)
    below = [line for words in waits for line in _words("waits", words, width, style="yellow")]
    below = below[: height // 3]
    legend = _legend([mark for moment in moments for mark in moment.marks], width, signs)
    # What is said of all stands apart.
    apart = [Text()] if len(moments) > 1 and below else []
    room = height - len(below)
    for block in (_in_full, _in_two_lines):
        blocks = [block(moment, width, signs) for moment in moments]
        is_full = block is _in_full
        between = [Text()] if is_full else []
        lines = [line for each in blocks for line in (*between, *each)][len(between) :]
        lines += [] if is_full else [Text(), *legend]
        if len(lines) + len(apart) <= room:
            lines += apart
            break
    else:
        lines = [_in_a_line(moment, width, signs) for moment in moments]
        below = [*legend, *below][-(height // 2) :]
        room = height - len(below)
        if len(lines) > room:
            more = len(lines) - room + 1
            lines = [*lines[: room - 1], Text(f"and {counted(more, 'more load', 'more loads')}", style="dim")]
    lines += below
    for line in lines:
        line.truncate(width)
    return Text("\n").join(lines)


def _in_full(moment: Moment, width: int, signs: Signs) -> list[Text]:
    """A load in five lines or more: its name and time, what is read, rows by class, batches, what it does."""
    times = _times(moment)
    name = Text(_shortened(shown(moment.name), max(8, width - len(times) - 2), signs), style="bold")
    gap = width - name.cell_len - len(times)
    head = [name.append(" " * gap).append(times, style="dim")]
    if gap < 2:
        head = [Text(_shortened(shown(moment.name), width, signs), style="bold"), *_words("time", times, width)]
    return [
        *head,
        _reading(moment, width, signs),
        *_flow("rows", _classes(moment), width),
        *_batches(moment.marks, width, signs),
        *(_words("now", moment.does, width) if moment.does else []),
    ]


def _in_two_lines(moment: Moment, width: int, signs: Signs) -> list[Text]:
    """A load in two lines: what is read and confirmed, and its batches."""
    rows = moment.rows
    lost = rows.failed + rows.unconfirmed + rows.rejected
    told = f"{_share(moment)} read, {rows.confirmed:,} of {rows.read:,} rows confirmed" + (
        f", {lost:,} not" if lost else ""
    )
    told = told if len(told) + 14 <= width else f"{_share(moment)} read"
    name = _shortened(shown(moment.name), width - len(told) - 2, signs)
    gap = " " * (width - cell_len(name) - len(told))
    cells, _ = compressed(moment.marks, width - _INDENT)
    return [Text.assemble((name, "bold"), gap, (told, "")), _labelled("batches", _cells(cells, signs))]


def _in_a_line(moment: Moment, width: int, signs: Signs) -> Text:
    """A load in one line: its name, the share that is read, and its batches."""
    name_width = min(28, width // 2)
    name = set_cell_size(_shortened(shown(moment.name), name_width, signs), name_width)
    share = f"{_share(moment):>6} "
    cells, _ = compressed(moment.marks, max(1, width - name_width - len(share) - 1))
    return Text.assemble((name, "bold"), share, " ", _cells(cells, signs))


def _reading(moment: Moment, width: int, signs: Signs) -> Text:
    """A bar of what is read, and how much that is."""
    read, total = (f"{size / _MEGABYTE:,.1f}" for size in (moment.bytes_read, moment.export_bytes))
    rate = f", {moment.rows_per_s:,.0f} rows/s" if moment.rows_per_s else ""
    if not moment.export_bytes:
        return _labelled("read", Text(f"{read} MB{rate}"))
    told = f" {_share(moment):>5}  {read} of {total} MB"
    told += rate if len(told + rate) <= width - _INDENT else ""
    # As wide as it may become: a bar that changes its width is none.
    widest = len(f" 100 %  {total} of {total} MB") + _OF_A_RATE
    bar_width = max(0, min(_WIDEST_BAR, width - _INDENT - widest))
    done = int(bar_width * min(1.0, moment.bytes_read / moment.export_bytes))
    style = "green" if moment.is_read else "cyan"
    bar = Text.assemble((signs.done * done, style), (signs.left * (bar_width - done), "dim"))
    line = _labelled("read", bar.append(told))
    line.truncate(width)
    return line


def _share(moment: Moment) -> str:
    if moment.is_read:
        return "100 %"
    if not moment.export_bytes:
        return f"{moment.bytes_read / _MEGABYTE:,.0f} MB"
    # Rounded down: 100 % is all of it.
    return f"{min(99, int(100 * moment.bytes_read / moment.export_bytes))} %"


def _times(moment: Moment) -> str:
    minutes, seconds = divmod(int(moment.passed_s), 60)
    hours, minutes = divmod(minutes, 60)
    passed = f"{hours}:{minutes:02}:{seconds:02} passed" if hours else f"{minutes}:{seconds:02} passed"
    return passed if moment.left_s is None else f"{passed}, about {roughly(moment.left_s)} left"


def _classes(moment: Moment) -> list[Text]:
    """The rows read, those of each class, and those that have no outcome yet."""
    counts = asdict(moment.rows)
    pieces = [Text(f"{moment.rows.read:,} read")]
    for name in MEANINGS:
        if counts[name]:
            style = "green" if name == "confirmed" else "" if name in GOOD else "bold yellow"
            pieces.append(Text(f"{counts[name]:,} {name}", style=style))
    if moment.under_way:
        held = f" ({moment.held_rows:,} held)" if moment.held_rows else ""
        pieces.append(Text(f"{moment.under_way:,} under way{held}", style="cyan"))
    return pieces


def _batches(marks: Sequence[Mark], width: int, signs: Signs) -> list[Text]:
    """A line of cells, one for each batch or for so many of them, and how many there are of each mark."""
    cells, size = compressed(marks, width - _INDENT)
    return [_labelled("batches", _cells(cells, signs)), *(_legend(marks, width, signs, size) if marks else [])]


def _legend(marks: Iterable[Mark], width: int, signs: Signs, size: int = 1) -> list[Text]:
    """The signs of these marks, and how many there are of each; `size`: the number of batches in a cell."""
    counts = Counter(marks)
    legend = [
        Text.assemble((signs.marks[mark], STYLES[mark]), f" {counts[mark]:,} {mark}") for mark in Mark if counts[mark]
    ]
    if size > 1:
        legend.append(Text(f"(a cell is {size:,} batches)", style="dim"))
    return _flow("", legend, width)


def _cells(marks: Sequence[Mark], signs: Signs) -> Text:
    if not marks:
        return Text("none yet", style="dim")
    return Text.assemble(*((signs.marks[mark], STYLES[mark]) for mark in marks))


def _words(label: str, words: str, width: int, *, style: str = "") -> list[Text]:
    """Words under a label, over as many lines as they need."""
    return _flow(label, [Text(word, style=style) for word in printable(words).split()], width, gap=1)


def _flow(label: str, pieces: Sequence[Text], width: int, *, gap: int = 2) -> list[Text]:
    """Pieces beside one another, over as many lines as they need; none is cut, unless it is wider than a line."""
    lines = [Text()]
    for piece in pieces:
        if lines[-1].cell_len and lines[-1].cell_len + gap + piece.cell_len > width - _INDENT:
            lines.append(Text())
        lines[-1].append(" " * gap if lines[-1].cell_len else "").append_text(piece)
    labelled = [_labelled(label if not number else "", line) for number, line in enumerate(lines)]
    for line in labelled:
        line.truncate(width)
    return labelled


def _labelled(label: str, text: Text) -> Text:
    return Text.assemble((f"  {label:<{_INDENT - 2}}", "dim"), text)


def _shortened(name: str, width: int, signs: Signs) -> str:
    """A name within so many columns; of a longer one the beginning and the end."""
    if cell_len(name) <= width:
        return name
    behind = max(1, (width - 1) // 2)
    end = _last(name, behind)
    return set_cell_size(name, width - cell_len(end) - 1) + signs.cut + end


def _last(name: str, width: int) -> str:
    start = len(name)
    while start and cell_len(name[start - 1 :]) <= width:
        start -= 1
    return name[start:]
