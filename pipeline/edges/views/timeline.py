"""The picture of a job's batches over time, and of the rows that Target confirmed in it, as numbers for SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.core.plural import counted
from pipeline.edges.views.batch_track import BatchTrack, Doing
from pipeline.edges.views.figures import duration_in_words, time_on_page

#: Batches that are drawn. Of more, those with trouble and those that took longest.
MOST_DRAWN = 120
#: Batches up to which each has a thick bar with its number and a mark.
_MOST_NUMBERED = 24
#: Columns of the rate.
_COLUMNS = 40
#: Units of SVG: the height of the rate, of the axis, of a thick and of a thin bar with what is between two.
_RATE, _AXIS, _THICK, _THIN = 64.0, 24.0, 20.0, 5.0
#: Steps of the axis in seconds; longer ones are whole numbers of days.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis of time, with its label."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Row:
    """A batch that is drawn: its number, the place of its bar, and of the mark at its end."""

    track: BatchTrack
    y: float
    end_x: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture, `width` by `height`, with the paths of what was done.

    `left`: where time begins. `rate_height`, `rate`: height and path of the columns of confirmed rows; `pace`: their
    number a minute, in words. Both are empty if nothing was confirmed.
    `rows`: the batches that are drawn, with bars as high as `bar`; `is_numbered`: each with its number and a mark of
    the size `mark`, else only those with trouble have a mark. `undrawn`: the number of batches that are not drawn.
    """

    width: float
    height: float
    left: float
    axis_y: float
    ticks: tuple[Tick, ...]
    rate: str
    pace: str
    rate_height: float
    paths: dict[str, str]
    rows: tuple[Row, ...]
    bar: float
    mark: float
    is_numbered: bool
    undrawn: int
    words: str


def timeline(tracks: Sequence[BatchTrack], now: datetime, *, width: float) -> Timeline | None:
    """The picture of batches up to the time `now`; None if none of them was sent."""
    begun = [track for track in tracks if track.begun_at is not None]
    if not begun:
        return None
    first = min(track.spans[0].begun for track in begun)
    # What has happened may have been read, and noted to the millisecond, a moment after `now`.
    now = max(now, *(span.ended or span.begun for track in begun for span in track.spans))
    last = max(track.settled_at or now for track in begun)
    scale = _Scale(first, max(last, first + timedelta(seconds=1)), 34.0, width - 20)
    drawn = _drawn(begun, now)
    is_numbered = len(drawn) <= _MOST_NUMBERED
    step = _THICK if is_numbered else _THIN
    bar = step - (6 if is_numbered else 1)
    rate, pace = _rate(begun, scale)
    top = _RATE + 26 if rate else 6.0
    rows = tuple(
        Row(track, top + number * step, scale.x(track.settled_at or now)) for number, track in enumerate(drawn)
    )
    axis_y = top + len(drawn) * step + 2
    return Timeline(
        width=width,
        height=axis_y + _AXIS,
        left=scale.left,
        axis_y=axis_y,
        ticks=scale.ticks(most=max(2, int(width / 130))),
        rate=rate,
        pace=pace,
        rate_height=_RATE,
        paths={doing.value: _bars(rows, doing, scale, now, bar) for doing in Doing},
        rows=rows,
        bar=bar,
        mark=12.0 if is_numbered else 9.0,
        is_numbered=is_numbered,
        undrawn=len(begun) - len(drawn),
        words=_in_words(begun, scale, pace),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """The places of times on the axis."""

    begin: datetime
    end: datetime
    left: float
    right: float

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()

    def x(self, at: datetime) -> float:
        """The place of a time."""
        share = (at - self.begin).total_seconds() / self.seconds
        return round(self.left + min(1.0, max(0.0, share)) * (self.right - self.left), 1)

    def ticks(self, *, most: int) -> tuple[Tick, ...]:
        """At most so many round times, and one at least."""
        days = -(-self.seconds // (86_400 * most))
        step = next((each for each in _STEPS if self.seconds / each <= most), days * 86_400)
        at = -(-self.begin.timestamp() // step) * step
        times = []
        while at <= self.end.timestamp():
            times.append(datetime.fromtimestamp(at, UTC))
            at += step
        return tuple(
            Tick(self.x(time), _label(time, step), "end" if self.x(time) > self.right - 25 else "middle")
            for time in times or [self.begin.astimezone(UTC)]
        )


def _label(at: datetime, step: float) -> str:
    if step >= 86_400 or (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"{at.day} {at:%b}"
    return f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"


def _drawn(tracks: Sequence[BatchTrack], now: datetime) -> list[BatchTrack]:
    """The batches to draw, in the order of their numbers."""

    def weight(track: BatchTrack) -> tuple[bool, float]:
        took = (track.settled_at or now) - track.spans[0].begun
        return not track.is_well, took.total_seconds()

    chosen = sorted(tracks, key=weight, reverse=True)[:MOST_DRAWN]
    return sorted(chosen, key=lambda track: track.number)


def _bars(rows: Sequence[Row], doing: Doing, scale: _Scale, now: datetime, height: float) -> str:
    """One path for all bars of a kind."""
    pieces = []
    for row in rows:
        for span in row.track.spans:
            if span.doing is doing:
                begin = scale.x(span.begun)
                width = max(2.0, scale.x(span.ended or row.track.settled_at or now) - begin)
                pieces.append(f"M{begin:.1f} {row.y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return "".join(pieces)


def _rate(tracks: Sequence[BatchTrack], scale: _Scale) -> tuple[str, str]:
    """The path of the columns, and the rate of all in words; empty if Target has confirmed nothing."""
    columns = [0] * _COLUMNS
    width = (scale.right - scale.left) / _COLUMNS
    for track in tracks:
        if track.settled_at is not None and track.applied:
            place = int((scale.x(track.settled_at) - scale.left) / width)
            columns[min(_COLUMNS - 1, max(0, place))] += track.applied
    highest = max(columns)
    if not highest:
        return "", ""
    path = "".join(
        f"M{scale.left + number * width:.1f} {_RATE + 18 - height:.1f}h{width - 1:.1f}v{height:.1f}h-{width - 1:.1f}z"
        for number, count in enumerate(columns)
        if count
        for height in [max(2.0, count / highest * _RATE)]
    )
    per_minute = sum(columns) * 60 / scale.seconds
    return path, f"{per_minute:,.0f} rows a minute"


def _in_words(tracks: Sequence[BatchTrack], scale: _Scale, pace: str) -> str:
    settled = sum(track.settled_at is not None for track in tracks)
    told = (
        f"{counted(len(tracks), 'batch', 'batches')} sent from {time_on_page(scale.begin)} on, {settled:,} settled, "
        f"within {duration_in_words(scale.seconds)}"
    )
    return f"{told}; {pace} were confirmed." if pace else f"{told}."
