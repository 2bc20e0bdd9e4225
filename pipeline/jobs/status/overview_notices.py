"""The things that somebody should know of a client code: what has to be acted on first, then what goes on by itself."""

from collections.abc import Iterator
from datetime import date, timedelta

from pipeline.core.duration import time_in_words
from pipeline.core.plural import counted
from pipeline.core.target.token_life import WARNED_DAYS, in_words
from pipeline.edges.views.overview_view import Notice
from pipeline.edges.views.wording import AWAY_TO_DO, GOES_ON_BY_ITSELF, TRIES_AGAIN
from pipeline.jobs.status.drop import DropStatus
from pipeline.jobs.status.expected import to_do_about
from pipeline.jobs.status.not_sent import NotificationStatus
from pipeline.jobs.status.tenant import MemoryStatus, Status
from pipeline.settings.tenants import DEFAULT_ROUTE


def notices_of(one: Status) -> Iterator[Notice]:
    """The notices about a client code, its jobs aside."""
    yield from _pauses(one)
    yield from _target(one)
    yield from _overdue(one)
    for drop in [one.drop] if one.routes is None else [route.drop for route in one.routes]:
        if drop is not None:
            yield from _about_drop(drop)
    if one.notifications:
        yield from _notifications(one.notifications)
    if one.window:
        then = f"; then {one.window.then}" if one.window.then else ""
        yield Notice(f"Time windows: {one.window.in_words}{then}.", GOES_ON_BY_ITSELF if one.window.pause else "")
    if one.memory:
        yield from _memory(one.memory)
    if one.log_lines_dropped:
        yield Notice(f"The log lacks {counted(one.log_lines_dropped, 'line')}: stderr did not take them.")


def _pauses(one: Status) -> Iterator[Notice]:
    if pause := one.paused_by_itself:
        why = (pause.why or "")[:1].upper() + (pause.why or "")[1:]
        yield Notice(f"The service waits since {time_in_words(pause.since)}.", f"{why} {TRIES_AGAIN}", is_urgent=True)
    if one.is_paused:
        yield Notice("Sending is paused.", "`profile-pipeline resume --config FILE` goes on.", is_urgent=True)


def _target(one: Status) -> Iterator[Notice]:
    """The token, and Target itself."""
    if one.token_expires and one.token_days_left is not None and one.token_days_left <= WARNED_DAYS:
        ends = date.fromisoformat(one.token_expires)
        yield Notice(
            f"The token {in_words(ends, ends - timedelta(days=one.token_days_left))}.",
            "Put a new one into [target] token_file, and its end into token_expires; a reload takes both.",
            is_urgent=True,
        )
    if one.held_up.away_since:
        yield Notice(
            f"Target gives no usable answer since {time_in_words(one.held_up.away_since)}, the last was: "
            f"{one.held_up.last_answer}.",
            AWAY_TO_DO,
            is_urgent=True,
        )
    else:
        for words in one.held_up.words:
            yield Notice(f"{words[0].upper()}{words[1:]}.")


def _overdue(one: Status) -> Iterator[Notice]:
    for late in one.overdue:
        of = "" if late.route == DEFAULT_ROUTE else f" of route {late.route}"
        to_do = to_do_about(late, one.directory_of(late.route))
        yield Notice(f"An export{of} had to be done by {late.by}: {late.why}.", to_do, is_urgent=True)


def _about_drop(drop: DropStatus) -> Iterator[Notice]:
    """The directory, and the drops in it, that cannot be taken, so that somebody has to act."""
    if drop.problem:
        yield Notice(f"The drop directory {drop.directory} {drop.problem}.", is_urgent=True)
        return
    for each in drop.not_taken:
        yield Notice(f"{each.name} is not taken since {time_in_words(each.since)}: {each.why}.", is_urgent=True)


def _notifications(told: NotificationStatus) -> Iterator[Notice]:
    for name, each in told.failing.items():
        yield Notice(
            f"Notifications are not taken by {name} since {time_in_words(each.since)}: {each.why}; "
            f"{told.waiting:,} wait."
        )
    if told.given_up:
        count = counted(len(told.given_up), "notification was given up", "notifications were given up")
        yield Notice(f"{count} in the last week, the last at {time_in_words(told.given_up[-1].at)}.")


def _memory(memory: MemoryStatus) -> Iterator[Notice]:
    if memory.is_behind:
        yield Notice(
            "The memory is behind: rows were sent that it does not know.",
            "`profile-pipeline memory rebuild --config FILE` empties it.",
        )
    if memory.why:
        yield Notice(f"{memory.why[0].upper()}{memory.why[1:]}")
