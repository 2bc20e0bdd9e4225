"""The files that lie in a drop directory and are not claimed: for `status`, which looks beside the service."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.drop.signals import nearest_signal, shown
from pipeline.core.duration import roughly, time_in_words
from pipeline.core.plain import written
from pipeline.core.plural import counted
from pipeline.edges.drop.listing import look
from pipeline.edges.drop.processing import NAME
from pipeline.edges.store.notices import DropNotice, NotTaken, read_drops
from pipeline.settings.settings import Settings

#: The most names of a kind that are listed.
_MOST = 20

#: Exports without a signal that are compared with signals without an export, and signals that they are compared with.
_MOST_COMPARED = 50


@dataclass(frozen=True, slots=True)
class LyingExport:
    """An export that nobody has signalled, and the signal with the most similar name, if there is one."""

    export: str
    age_s: float
    nearest_signal: str | None


@dataclass(frozen=True, slots=True)
class WaitingSignal:
    """A signal, and the exports it names that are not there.

    `why`, `until`: of the drop for which the service waits, the reason in words, and until when at most (UTC).
    """

    signal: str
    age_s: float
    missing: list[str]
    why: str | None = written(default=None, if_default=False)
    until: str | None = written(default=None, if_default=False)


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that is left alone, and the reason."""

    name: str
    why: str | None


@dataclass(frozen=True, slots=True)
class DropStatus:
    """The files that lie in a drop directory and are not claimed. With a `problem` it cannot be read.

    `ready`: the number of drops that are whole and not taken yet. A drop that is waited for holds up those behind it.
    """

    directory: str
    problem: str | None
    unsignalled: tuple[LyingExport, ...] | None = written(default=None, if_default=False)
    waiting: tuple[WaitingSignal, ...] | None = written(default=None, if_default=False)
    refused: tuple[RefusedFile, ...] | None = written(default=None, if_default=False)
    not_taken: tuple[NotTaken, ...] = written(key="drops_not_taken", default=(), if_default=False)
    ready: int = written(default=0, if_default=False)


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route of a tenant, and its drop directory if it has one."""

    route: str
    drop: DropStatus | None


def drop_status(settings: Settings, state: Path | None, now: datetime) -> DropStatus | None:
    """Exports without a signal for `signal_wait_s`, signals without exports, refused files; None without `[drop]`.

    `state`: the state directory of its client code, where the service says what it waits for and what it cannot take;
    None if no process serves it.
    """
    directory = settings.drop.directory
    if directory is None:
        return None
    told = DropNotice() if state is None else read_drops(state)
    itself = {shown(str(each)) for each in (directory, directory / NAME)}
    try:
        seen = look(directory, settings.drop.signal_suffixes, settings.drop.ignore)
    except OSError as error:
        not_taken = tuple(each for each in told.drops_not_taken if each.name in itself)
        return DropStatus(str(directory), f"cannot be read: {error.strerror}", not_taken=not_taken)
    signals = [found.signal for found in seen.found if found.missing or found.problem]
    names = [Path(signal.path).name for signal in signals]
    lying = [(each.path, _age_s(each.identity.mtime_ns, now)) for each in seen.unsignalled]
    overdue = [(path, age_s) for path, age_s in lying if age_s >= settings.drop.signal_wait_s]
    unsignalled = [
        LyingExport(
            shown(path),
            age_s,
            # Comparing all names with all signals would take hours where somebody has dropped many thousands.
            _shown(nearest_signal(Path(path).name, names[:_MOST_COMPARED])) if number < _MOST_COMPARED else None,
        )
        for number, (path, age_s) in enumerate(overdue)
    ]
    by_name = {each.name: each for each in told.drops_waiting}
    waiting = [
        WaitingSignal(
            name,
            _age_s(found.signal.identity.mtime_ns, now),
            [shown(name) for name in found.missing[:_MOST]],
            by_name[name].why if name in by_name else None,
            by_name[name].until if name in by_name else None,
        )
        for found in seen.found
        for name in [shown(found.signal.path)]
        if (found.missing and not found.problem) or name in by_name
    ]
    signals_here = {shown(found.signal.path) for found in seen.found}
    not_taken = tuple(each for each in told.drops_not_taken if each.name in signals_here | itself)
    not_ready = {each.signal for each in waiting} | {each.name for each in not_taken}
    ready = [found for found in seen.found if not found.missing and not found.problem]
    refused = [RefusedFile(shown(each.path), each.problem) for each in seen.refused]
    return DropStatus(
        str(directory),
        None,
        tuple(unsignalled[:_MOST]),
        tuple(waiting[:_MOST]),
        tuple(refused[:_MOST]),
        not_taken,
        sum(shown(found.signal.path) not in not_ready for found in ready),
    )


def _age_s(mtime_ns: int, now: datetime) -> float:
    return max(0.0, round((now - datetime.fromtimestamp(mtime_ns / 1e9, UTC)).total_seconds(), 1))


def _shown(name: str | None) -> str | None:
    return None if name is None else shown(name)


def drop_lines(told: DropStatus) -> list[str]:
    """The lines that tell people the same."""
    if told.problem:
        since = f", since {time_in_words(told.not_taken[0].since)}" if told.not_taken else ""
        return [f"The drop directory {told.directory} {told.problem}{since}."]
    lines = []
    for each in told.unsignalled or ():
        near = f", nearest signal {each.nearest_signal}" if each.nearest_signal else ""
        lines.append(f"Not signalled: {each.export}, {roughly(each.age_s)}{near}")
    for signal in told.waiting or ():
        why = signal.why or f"without {', '.join(signal.missing)}"
        until = f"; waits until {time_in_words(signal.until)}, or longer if it changes" if signal.until else ""
        lines.append(f"Signal {signal.signal}, {roughly(signal.age_s)}, {why}{until}")
    if told.ready:
        behind = ", behind the one that is waited for" if told.waiting else ""
        lines.append(f"{counted(told.ready, 'drop is', 'drops are')} whole and not taken yet{behind}.")
    lines += [f"Not taken: {drop.name} {drop.why}, since {time_in_words(drop.since)}" for drop in told.not_taken]
    lines += [f"Refused: {file.name} {file.why}" for file in told.refused or ()]
    return lines
