"""Time windows: hours of local time in which there are fewer calls, fewer POSTs at once, or no sending at all.

On each of its days, a window begins when clocks in its zone first show `begins` or later. It ends when they show `ends`
or later for good, on the next day if `ends` is not after `begins`. So where clocks jump over one of these times, the
jump counts as that time. Where clocks are set back, the window is longer, and never in two pieces. Where windows
overlap, the strictest limit of each kind holds.

Pure: moments are aware datetimes, passed in; zones are values that know their clock changes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from pipeline.core.plural import counted

#: The time ahead in which the next change is sought. Ours: a clock change may skip a weekly window once, never twice.
_HORIZON = timedelta(days=15)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: Spans of time whose limits are remembered: for now, a minute ago, in a minute.
_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that windows demand: sending pauses, or there is a maximum (None: no maximum).

    `calls_per_minute`: the most calls in a minute.
    `concurrency`: the most POSTs at once.
    """

    is_paused: bool = False
    calls_per_minute: int | None = None
    concurrency: int | None = None

    def in_words(self) -> str:
        """The limits in words, such as "at most 20 calls per minute and 2 POSTs at once"."""
        if self.is_paused:
            return "sending pauses"
        told = []
        if self.calls_per_minute is not None:
            told.append(f"{counted(self.calls_per_minute, 'call')} per minute")
        if self.concurrency is not None:
            told.append(f"{counted(self.concurrency, 'POST')} at once")
        return f"at most {' and '.join(told)}" if told else "nothing is held back"


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours on some days of the week.

    `days`: Monday is 0.
    `begins`, `ends`: minutes from local midnight; `ends` may be 1440.
    """

    days: frozenset[int]
    begins: int
    ends: int
    zone: tzinfo
    limits: Limits

    def spans(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The beginning and end, in UTC, of each occurrence of the window that overlaps `start` to `end`."""
        # One that began the day before may still hold. One more day, since clocks may be set by a whole day.
        day, last = start.astimezone(self.zone).date() - 2 * _DAY, end.astimezone(self.zone).date() + _DAY
        ends = self.ends if self.ends > self.begins else self.ends + 24 * 60
        while day <= last:
            if day.weekday() in self.days:
                begun, over = first_shown(day, self.begins, self.zone), _shown_for_good(day, ends, self.zone)
                if begun < over and begun < end and over > start:
                    yield begun, over
            day += _DAY


def first_shown(day: date, minutes: int, zone: tzinfo) -> datetime:
    """The moment at which clocks first show a local time or a later one."""
    first, last = _showings(day, timedelta(minutes=minutes), zone)
    return first if first <= last else _jump(last, first, zone)


def _shown_for_good(day: date, minutes: int, zone: tzinfo) -> datetime:
    """The moment at which clocks show a local time or a later one, and will never show an earlier one again."""
    first, last = _showings(day, timedelta(minutes=minutes) - _SECOND, zone)
    return last + _SECOND if first <= last else _jump(last, first, zone)


def _showings(day: date, passed: timedelta, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first and the last moment at which clocks show a local time.

    Where clocks jump over it, the first is after the jump and the last is before it.
    """
    local = datetime(day.year, day.month, day.day) + passed  # noqa: DTZ001 - local by definition
    first, last = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, last


def _jump(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The moment between these two at which clocks are set."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


@dataclass(frozen=True, slots=True)
class InForce:
    """The limits in force from `since` to `until`.

    `since`: a moment at which they hold, not always the first.
    `until`: in the local time of the window that changes them; None if nothing changes within 15 days.
    """

    limits: Limits
    since: datetime
    until: datetime | None


class Schedule:
    """All windows together: the limits in force at a moment, and the time of the next change."""

    def __init__(self, windows: Sequence[Window] = ()) -> None:
        self._windows = tuple(windows)
        self._pauses = tuple(window for window in windows if window.limits.is_paused)
        self._known: deque[InForce] = deque(maxlen=_REMEMBERED)
        #: The two moments between which the pauses are known, and these pauses.
        self._paused: tuple[datetime, datetime, list[tuple[datetime, datetime]]] | None = None

    def __bool__(self) -> bool:
        return bool(self._windows)

    def at(self, moment: datetime) -> InForce:
        """The limits in force at a moment, and the time at which they change."""
        # Python compares times of one zone by what clocks show, which is wrong where clocks are set back.
        moment = moment.astimezone(UTC)
        for held in self._known:
            if held.since <= moment < (held.until or held.since + _HORIZON):
                return held
        held = self._look_up(moment)
        self._known.append(held)
        return held

    def within(self, start: datetime, end: datetime) -> Iterator[InForce]:
        """The limits in force from `start` until before `end`, one span after the other."""
        held = self.at(start)
        yield held
        while held.until is not None and held.until < end:
            held = self.at(held.until)
            yield held

    def paused_s(self, start: datetime, end: datetime) -> float:
        """The seconds between these two moments in which sending pauses."""
        if not self._pauses:
            return 0.0
        if self._paused is None or start < self._paused[0] or end > self._paused[1]:
            # Calls are frequent and for similar times, so a day before and behind is looked up too.
            first, last = start - _DAY, end + _DAY
            self._paused = first, last, sorted(span for window in self._pauses for span in window.spans(first, last))
        paused, counted_to = timedelta(0), start
        for begun, over in self._paused[2]:
            paused += max(timedelta(0), min(over, end) - max(begun, counted_to))
            counted_to = max(counted_to, over)
        return paused.total_seconds()

    def longest_pause_s(self, start: datetime) -> float:
        """The seconds of the longest pause that begins within 15 days from `start`, or holds at `start`."""
        longest, begun = timedelta(0), datetime.min.replace(tzinfo=UTC)
        over = begun
        for next_begun, next_over in sorted(
            span for window in self._pauses for span in window.spans(start, start + _HORIZON)
        ):
            begun = begun if next_begun <= over else next_begun
            over = max(over, next_over)
            longest = max(longest, over - begun)
        return longest.total_seconds()

    def after(self, start: datetime, seconds: float) -> datetime:
        """The moment by which this many seconds without a pause have passed; too early a guess if pauses never end."""
        left, moment = timedelta(seconds=seconds), start
        for held in self.within(start, start + left + _HORIZON):
            moment = max(moment, held.since)
            if not held.limits.is_paused:
                if held.until is None or held.until - moment >= left:
                    break
                left -= held.until - moment
        return moment + left

    def _look_up(self, moment: datetime) -> InForce:
        ahead = moment + _HORIZON
        spans = [(*span, window) for window in self._windows for span in window.spans(moment, ahead)]

        def at(then: datetime) -> Limits:
            return _strictest(window.limits for begun, over, window in spans if begun <= then < over)

        limits = at(moment)
        changes = [(edge, window.zone) for begun, over, window in spans for edge in (begun, over)]
        for edge, zone in sorted(changes, key=lambda change: change[0]):
            if moment < edge <= ahead and at(edge) != limits:
                return InForce(limits, moment, edge.astimezone(zone))
        return InForce(limits, moment, None)


def _strictest(limits: Iterable[Limits]) -> Limits:
    every = tuple(limits)
    return Limits(
        is_paused=any(each.is_paused for each in every),
        calls_per_minute=min(
            (each.calls_per_minute for each in every if each.calls_per_minute is not None), default=None
        ),
        concurrency=min((each.concurrency for each in every if each.concurrency is not None), default=None),
    )
