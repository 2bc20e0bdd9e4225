"""`profile-pipeline health`: is there a process that serves, and does its loop turn? For Docker and Kubernetes probes.

It runs every few seconds for months, so it imports next to nothing: no settings model, no command line library. That
is why it looks up `[state] directory` by itself; it does not check the rest of the configuration.
"""

import json
import os
import sys
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NoReturn

from pipeline.core.duration import roughly, time_in_words
from pipeline.core.errors import FatalError
from pipeline.core.plural import counted
from pipeline.core.printable import printable
from pipeline.core.target.token_life import days_left, in_words
from pipeline.edges.store.heartbeat_file import Beat, read_beat
from pipeline.edges.store.notices import PAUSED, HoldUps, drops_of, pause_of, read_drops, read_hold_ups, read_pause
from pipeline.settings.file_text import text_of

#: Age of the last beat from which on the loop counts as stuck (seconds): a dozen beats, as the machine may be busy.
STALE_AFTER_S = 60.0
_EXPIRY_VARIABLE = "PROFILE_PIPELINE__TARGET__TOKEN_EXPIRES"
_VARIABLE = "PROFILE_PIPELINE__STATE__DIRECTORY"


def main(config: Path, *, as_json: bool = False) -> NoReturn:
    """Print one line, and exit with 0 if the process is well, else with 1."""
    try:
        is_well, told = look(state_directory(config, os.environ), time.monotonic())
    except FatalError as error:
        is_well, told = False, str(error)
    expires = token_expires(config, os.environ)
    today = datetime.now(UTC).date()
    if as_json:
        days = None if expires is None else days_left(expires, today)
        print(json.dumps({"is_well": is_well, "told": told, "token_days_left": days}))  # noqa: T201
    else:
        print(printable(told) + (f"; the token {in_words(expires, today)}" if expires else ""))  # noqa: T201
    sys.exit(not is_well)


def state_directory(config: Path, env: Mapping[str, str]) -> Path:
    """`[state] directory`, as `load_settings` finds it. Raises `FatalError` if there is none."""
    directory: object = env.get(_VARIABLE)
    if directory is None:
        try:
            directory = tomllib.loads(text_of(config))["state"]["directory"]
        except OSError as error:
            raise FatalError(f"the configuration file {config} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise FatalError(f"the configuration file {config} is not valid TOML: {error}") from error
        except (KeyError, TypeError):
            directory = None
    if not directory or not isinstance(directory, str):
        raise FatalError(f"the configuration file {config} names no [state] directory")
    return Path(directory)


def token_expires(config: Path, env: Mapping[str, str]) -> date | None:
    """`[target] token_expires`, as `load_settings` finds it; None if it is not known, or cannot be read."""
    try:
        said: object = env.get(_EXPIRY_VARIABLE) or tomllib.loads(text_of(config))["target"]["token_expires"]
        return said if isinstance(said, date) else date.fromisoformat(str(said))
    except (FatalError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def look(state: Path, now_s: float) -> tuple[bool, str]:
    """True if a live process serves the state directory; and one line that describes it or says what is wrong."""
    beat = read_beat(state)
    if beat is None:
        return False, f"no process serves {state}: it has not begun yet, or it has ended"
    age_s = now_s - beat.at_s
    if age_s > STALE_AFTER_S:
        return False, f"process {beat.pid} is there, but does nothing: its last sign of life is {age_s:.0f} s old"
    waiting = f"{_waiting(state, beat)}{_not_taken(state, beat)}{_failing(beat)}{_not_shown(beat)}{_not_logged(beat)}"
    return True, f"alive: {_described(beat, now_s)}{waiting}"


def _described(beat: Beat, now_s: float) -> str:
    told = [f"process {beat.pid} since {roughly(now_s - beat.started_s)}", counted(beat.tasks, "task")]
    if beat.open_files is not None:
        told.append(counted(beat.open_files, "open file"))
    if beat.memory_bytes is not None:
        told.append(f"{beat.memory_bytes / 1e6:.0f} MB")
    return ", ".join([*told, f"at job {beat.job}" if beat.job else "no job"])


def _waiting(state: Path, beat: Beat) -> str:
    # A client code that only routes have keeps its notices with its ledger, under `clients/`.
    directories = (state, *sorted(state.glob("clients/*")))
    pauses = [read_pause(each) for each in directories] + [
        pause_of(each.get("pause")) for each in beat.notices.values()
    ]
    for pause in pauses:
        if pause:
            return f"; waits since {time_in_words(pause.since)}: {pause.why}"
    if beat.is_paused:
        return f"; {PAUSED}"
    held_up = [read_hold_ups(each) for each in directories]
    held_up += [HoldUps.of(each.get("sending")) for each in beat.notices.values()]
    return "".join(f"; {words}" for each in held_up for words in each.words)


def _failing(beat: Beat) -> str:
    """The things that a bug keeps from being done, tried again and again."""
    found = [each for notices in beat.notices.values() for each in notices.get("failing", ())]
    told = [
        f"; {each['what']} meets a bug again and again since {time_in_words(each['since'])} "
        f"({counted(each['times'], 'time')} in the log: unexpected_error)"
        for each in found
        if each["times"] > 1
    ]
    return "".join(told)


def _not_taken(state: Path, beat: Beat) -> str:
    told = [read_drops(place) for place in (state, *sorted(state.glob("clients/*")))]
    told += [drops_of(each.get("drops")) for each in beat.notices.values()]
    # What is in the heartbeat may be on the disk as well, from before it was full.
    drops = list(dict.fromkeys(each for notice in told for each in notice.drops_not_taken))
    if not drops:
        return ""
    first = f"{drops[0].name} {drops[0].why}, since {time_in_words(drops[0].since)}"
    more = f", and {len(drops) - 1:,} more" if len(drops) > 1 else ""
    return f"; not taken: {first}{more}"


def _not_shown(beat: Beat) -> str:
    """The reason why its web server does not listen."""
    return "".join(f"; {notices['web']}" for notices in beat.notices.values() if notices.get("web"))


def _not_logged(beat: Beat) -> str:
    lines = beat.log_lines_dropped
    return f"; stderr did not take {counted(lines, 'line')} of the log" if lines else ""
