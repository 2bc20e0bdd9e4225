"""What lies in the drop directory without going on: for `status`, looked at beside the service."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.drop.signals import nearest_signal, shown
from pipeline.core.duration import roughly
from pipeline.edges.drop.listing import look
from pipeline.settings.settings import Settings

#: So many names of a kind are told.
_MOST = 20


def drop_status(settings: Settings, now: datetime) -> dict[str, Any] | None:
    """Exports that nobody signalled for a while, signals without exports, and what is refused; None without a drop."""
    directory = settings.drop.directory
    if directory is None:
        return None
    try:
        seen = look(directory, settings.drop.signal_suffixes)
    except OSError as error:
        return {"directory": str(directory), "problem": f"cannot be read: {error.strerror}"}
    signals = [found.signal for found in seen.found if found.missing or found.problem]
    names = [Path(signal.path).name for signal in signals]
    lying = [(each.path, _age_s(each.identity.mtime_ns, now)) for each in seen.unsignalled]
    return {
        "directory": str(directory),
        "problem": None,
        "unsignalled": [
            {"export": shown(path), "age_s": age_s, "nearest_signal": _shown(nearest_signal(Path(path).name, names))}
            for path, age_s in lying
            if age_s >= settings.drop.signal_wait_s
        ][:_MOST],
        "waiting": [
            {
                "signal": shown(found.signal.path),
                "age_s": _age_s(found.signal.identity.mtime_ns, now),
                "missing": [shown(name) for name in found.missing[:_MOST]],
            }
            for found in seen.found
            if found.missing and not found.problem
        ][:_MOST],
        "refused": [{"name": shown(each.path), "why": each.problem} for each in seen.refused][:_MOST],
    }


def _age_s(mtime_ns: int, now: datetime) -> float:
    return max(0.0, round((now - datetime.fromtimestamp(mtime_ns / 1e9, UTC)).total_seconds(), 1))


def _shown(name: str | None) -> str | None:
    return None if name is None else shown(name)


def drop_lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    if told["problem"]:
        return [f"The drop directory {told['directory']} {told['problem']}."]
    lines = []
    for each in told["unsignalled"]:
        near = f", nearest signal {each['nearest_signal']}" if each["nearest_signal"] else ""
        lines.append(f"Not signalled: {each['export']}, {roughly(each['age_s'])}{near}")
    for each in told["waiting"]:
        lines.append(f"Signal {each['signal']}, {roughly(each['age_s'])}, without {', '.join(each['missing'])}")
    lines += [f"Refused: {each['name']} {each['why']}" for each in told["refused"]]
    return lines
