"""Looks for signals in the drop directory, and claims what they tell of, in the order in which it is to be loaded.

Drops are claimed as soon as they are seen, also while others are loaded: what is claimed cannot be overwritten. A
signal whose exports are not there yet holds up those behind it for `signal_wait_s`, so that none overtakes it.
"""

import re
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.claims import Drop, enter
from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.core.signals import shown
from pipeline.core.turns import in_turn
from pipeline.edges.clock import Clock
from pipeline.edges.dropdir import Found, look
from pipeline.edges.processing import Processing
from pipeline.edges.state import State
from pipeline.settings import Settings

log = structlog.get_logger()


class Intake:
    """What was seen in the drop directory; `waiting` are signals without their exports, `refused` what is left alone.

    `has_claimed` is set by every claim, for whoever waits for work.
    """

    def __init__(self, state: State, settings: Settings, clock: Clock, processing: Processing) -> None:
        self.waiting: list[str] = []
        self.refused: set[str] = set()
        self.has_claimed = anyio.Event()
        self._state = state
        self._settings = settings
        self._clock = clock
        self._processing = processing
        self._looks = 0
        #: Per signal the look that first saw it, and when that was, in seconds of the monotonic clock.
        self._first_seen: dict[str, tuple[int, float]] = {}
        self._turn = anyio.Lock()

    async def look(self) -> None:
        """Look once, and claim what is complete.

        Raises `FatalError`: 66 where the drop directory cannot be read, 74 where ledger or disk refuse a claim.
        """
        async with self._turn:
            self._looks += 1
            drop = self._settings.drop
            try:
                seen = await run_sync(look, self._processing.drop, drop.signal_suffixes)
            except OSError as error:
                raise FatalError(
                    f"cannot look into the drop directory {self._processing.drop}: {error.strerror}.",
                    exit_code=ExitCode.EXPORT_MISSING,
                ) from error
            self._note_refused({each.path: str(each.problem) for each in seen.refused})
            paths = {each.signal.path for each in seen.found}
            now = self._clock.monotonic()
            self._first_seen = {path: self._first_seen.get(path, (self._looks, now)) for path in paths}
            self.waiting = []
            await self._claim_in_order(list(seen.found))

    async def _claim_in_order(self, found: list[Found]) -> None:
        found.sort(
            key=lambda each: (
                self._first_seen[each.signal.path][0],
                each.signal.identity.mtime_ns,
                each.signal.path,
            )
        )
        for each in in_turn(found, lambda one: one.manifest.sequence):
            error = InputError(each.problem) if each.problem else None
            if each.missing and error is None:
                if not self._has_waited(each):
                    self._note_waiting(each, len(found) - 1)
                    return
                error = self._missing(each)
            if self._state.is_stopping:
                return
            await self._claim(each, error)

    def _has_waited(self, found: Found) -> bool:
        first_seen_at = self._first_seen[found.signal.path][1]
        return self._clock.monotonic() - first_seen_at >= self._settings.drop.signal_wait_s

    def _missing(self, found: Found) -> InputError:
        named = ", ".join(map(shown, found.missing[:3])) + (", ..." if len(found.missing) > 3 else "")
        return InputError(
            f"{named} did not come within {self._settings.drop.signal_wait_s:,.0f} s after the signal "
            f"{shown(found.signal.path)}. Is the signal named after its export?",
            exit_code=ExitCode.EXPORT_MISSING,
        )

    async def _claim(self, found: Found, error: InputError | None) -> None:
        dates = [self._as_of(export.path) for export in found.exports]
        undated = next((each.path for each, date in zip(found.exports, dates, strict=True) if date is None), None)
        if self._settings.drop.as_of and undated and not found.manifest.again and error is None:
            error = InputError(
                f"the name {shown(undated)} holds no date as [drop] as_of = {self._settings.drop.as_of!r} finds it, so "
                "it cannot be told whether it is older than the last one."
            )
        drop = Drop(found, tuple(dates), error)
        # Not to be cancelled in between: nothing would be lost, but the next start would have to clear up.
        with anyio.CancelScope(shield=True):
            await enter(drop, self._state, self._processing, self._clock, self._settings.export)
        self._first_seen.pop(found.signal.path, None)
        self.has_claimed.set()
        self.has_claimed = anyio.Event()

    def _as_of(self, path: str) -> str | None:
        pattern = self._settings.drop.as_of
        found = re.search(pattern, Path(path).as_posix()) if pattern else None
        return found.group(1) if found else None

    def _note_refused(self, refused: dict[str, str]) -> None:
        for path in refused.keys() - self.refused:
            log.warning("drop_refused", name=shown(path), why=refused[path])
        self.refused = set(refused)

    def _note_waiting(self, found: Found, behind: int) -> None:
        self.waiting.append(found.signal.path)
        if self._first_seen[found.signal.path][0] == self._looks:
            log.warning(
                "signal_without_export",
                signal=shown(found.signal.path),
                missing=[shown(name) for name in found.missing[:3]],
                wait_s=self._settings.drop.signal_wait_s,
                others_in_the_drop_directory=behind,
            )
