"""`status --watch`: the status again and again, on a whole screen of a terminal; elsewhere once, and at each change."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from typing import Any, NoReturn

from rich.console import Console, Group
from rich.text import Text

from pipeline.cli.output import write_json, write_line
from pipeline.cli.print_status import print_statuses
from pipeline.core.plural import counted
from pipeline.edges.clock import Clock
from pipeline.edges.standard_streams import stdout_failure
from pipeline.edges.terminal import console, is_redrawn
from pipeline.jobs.status.tenants import Statuses

#: Seconds between two looks, and between two looks at the size of the terminal.
EVERY_S, RESIZED_S = 2.0, 0.25
#: The keys that end it; Ctrl-C is a signal.
_ENDS = b"qQ"
#: Keys of a status that change although nothing happened: times that pass.
_PASSING = ("seconds", "waits_for", "token_days_left", "window")
#: Columns of what is printed where there is no terminal; lines are not broken.
_WIDTH = 200


def watch_status(read: Callable[[], Statuses], clock: Clock, *, as_json: bool) -> None:
    """Show the status until somebody ends it by q or Ctrl-C, or nobody takes it any more. Blocks."""
    with suppress(KeyboardInterrupt):
        if is_redrawn(sys.stdout) and not as_json:
            _on_a_screen(read, clock)
        else:
            _at_each_change(read, as_json=as_json)


def lasting(value: Any) -> Any:
    """A status as `as_json` has it, without what changes as time passes."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in _PASSING}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def fitting(told: Statuses, at: str, to: Console) -> list[Text]:
    """The lines of a status that fit on a terminal, under one that says when it was: of ended jobs, the latest."""
    head = Text(f"Status at {at}, every {EVERY_S:.0f} s; q ends.", style="dim", no_wrap=True, overflow="crop")
    room = to.height - 1
    for most in range(max((len(_ended(one.jobs)) for one in told.tenants), default=0), -1, -1):
        lines = _lines(_with_ended(told, most), to)
        if len(lines) <= room:
            return [head, *lines]
    more = counted(len(lines) - room + 1, "more line", "more lines")
    return [head, *lines[: room - 1], Text(f"... {more}", style="dim")]


def _at_each_change(read: Callable[[], Statuses], *, as_json: bool) -> None:
    last: Any = None
    while stdout_failure() is None:
        told = read()
        now = lasting(told.as_json())
        if now != last:
            if as_json:
                write_json(told.as_json())
            else:
                text = StringIO()
                print_statuses(told, Console(file=text, color_system=None, width=_WIDTH))
                write_line(text.getvalue())
            last = now
        if _is_gone(within_s=EVERY_S):
            return


def _is_gone(*, within_s: float) -> bool:
    """True if the reader of stdout is gone, or goes within so many seconds; returns after them otherwise."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(within_s * 1_000))


def _on_a_screen(read: Callable[[], Statuses], clock: Clock) -> None:
    """Show the status on the alternate screen, anew every `EVERY_S` and when the terminal has another size."""
    to = console()
    with _ended_by_sigterm(), _keys() as is_ended, to.screen(hide_cursor=True) as screen:
        while stdout_failure() is None:
            told, at = read(), f"{clock.utc_now():%H:%M:%S} UTC"
            next_at, size = clock.monotonic() + EVERY_S, None
            while clock.monotonic() < next_at:
                if size != to.size:
                    size = to.size
                    screen.update(Group(*fitting(told, at, to)))
                if is_ended(RESIZED_S):
                    return


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """The function that waits for seconds, and says if somebody pressed a key that ends it."""
    descriptor = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None

    def is_ended(within_s: float) -> bool:
        ready, _, _ = select.select([] if descriptor is None else [descriptor], [], [], within_s)
        if descriptor is None or not ready:
            return False
        pressed = os.read(descriptor, 1_024)
        # Nothing to read where something is: the terminal is gone.
        return not pressed or any(key in _ENDS for key in pressed)

    if descriptor is None:
        yield is_ended
        return
    before = termios.tcgetattr(descriptor)
    # Keys come as they are pressed, and are not shown; Ctrl-C is a signal as ever.
    tty.setcbreak(descriptor)
    try:
        yield is_ended
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body tidily, with the code of a process that such a signal ends."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    kept = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


def _lines(told: Statuses, to: Console) -> list[Text]:
    """A status as it is printed, broken into lines of the terminal's width."""
    text = StringIO()
    printed = Console(file=text, force_terminal=True, color_system=None if to.no_color else "standard", width=_WIDTH)
    print_statuses(told, printed)
    whole = Text.from_ansi(text.getvalue().rstrip("\n"))
    return [line for each in whole.split("\n", allow_blank=True) for line in _broken(each, to)]


def _broken(line: Text, to: Console) -> list[Text]:
    """A line over as many lines as it needs, those behind the first further in."""
    if line.cell_len <= to.width:
        return [line]
    indent = len(line.plain) - len(line.plain.lstrip()) + 2
    first, *others = broken = line.wrap(to, max(1, to.width - indent))
    for each in broken:
        each.rstrip()
    return [first, *(Text(" " * indent).append_text(other) for other in others)]


def _ended(jobs: Any) -> list[Any]:
    return [job for job in jobs if job.finished_at]


def _with_ended(told: Statuses, most: int) -> Statuses:
    """A status in which each tenant has so many ended jobs at most: the latest."""
    tenants = []
    for one in told.tenants:
        left_out = _ended(one.jobs)[: -most or None]
        jobs = tuple(job for job in one.jobs if job not in left_out)
        tenants.append(replace(one, jobs=jobs, older_jobs=one.older_jobs + len(left_out)))
    return replace(told, tenants=tuple(tenants))
