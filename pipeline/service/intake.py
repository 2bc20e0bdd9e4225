"""Looks for signals in the drop directories, and claims what they tell of, in the order in which it is to be loaded.

Drops are claimed as soon as they are seen, also while others are loaded: what is claimed cannot be overwritten. A
signal whose exports are not there yet holds up those behind it for `signal_wait_s`, so that none overtakes it. The drop
directories of a client code are as one: what is in them is ordered together.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.to_thread import run_sync

from pipeline.core.drop.ordering import by_sequence
from pipeline.core.drop.signals import shown
from pipeline.core.errors import ExitCode, FatalError, InputError
from pipeline.edges.drop.listing import Found, look
from pipeline.edges.drop.taking import Taking
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.claims import Drop, complete_claims, enter, next_job
from pipeline.jobs.ending import Ending
from pipeline.settings.sections import DropSettings
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DropSource:
    """A drop directory that is held, and the route by which what is dropped there comes."""

    route: str
    processing: Taking


@dataclass(frozen=True, slots=True)
class _Signalled:
    """A signal with its exports, and where it was found."""

    source: DropSource
    found: Found

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other signals."""
        return (self.source.route, self.found.signal.path)


class Intake:
    """What was seen in the drop directories of a client code; `settings` are taken for each look and each claim.

    `waiting` are signals without their exports, `refused` what is left alone. `claimed` counts the drops that were
    claimed, and `ending.changed` is told of each. From `former` nothing is taken any more but what was entered before.
    """

    def __init__(
        self,
        state: State,
        settings: Tenant,
        ending: Ending,
        sources: Sequence[DropSource],
        former: Sequence[Taking] = (),
    ) -> None:
        self.settings = settings
        self.waiting: list[str] = []
        self.refused: set[tuple[str, str]] = set()
        self.claimed = 0
        #: After so many seconds it is to be looked again, for a signal that has waited for long enough.
        self.look_in_s = math.inf
        self._state = state
        self._ending = ending
        self._clock = state.host.clock
        self._doors = sources
        self._held = [*(source.processing for source in sources), *former]
        self._looks = 0
        #: Per signal the look that first saw it, and when that was, in seconds of the monotonic clock.
        self._first_seen: dict[tuple[str, str], tuple[int, float]] = {}
        self._turn = anyio.Lock()

    async def look(self) -> None:
        """Look once, and claim what is complete.

        Raises `FatalError`: 66 where a drop directory cannot be read, after what is in the others was claimed; 74 where
        ledger or disk refuse a claim, or one before it.
        """
        async with self._turn:
            self.look_in_s = math.inf
            # First, and nothing behind it if that fails: what was entered and not taken would be found once more.
            await complete_claims(self._state, self._held)
            self._looks += 1
            signalled: list[_Signalled] = []
            refused: dict[tuple[str, str], str] = {}
            unread: dict[str, FatalError] = {}
            for source in self._doors:
                try:
                    seen = await run_sync(look, source.processing.drop, self._drop(source).signal_suffixes)
                except OSError as error:
                    unread[source.route] = FatalError(
                        f"cannot look into the drop directory {source.processing.drop}: {error.strerror}.",
                        exit_code=ExitCode.EXPORT_MISSING,
                    )
                    continue
                refused |= {(source.route, each.path): str(each.problem) for each in seen.refused}
                obstacles = await run_sync(_obstacles, source.processing, seen.found)
                refused |= {(source.route, signal): obstacle for signal, obstacle in obstacles.items()}
                signalled += [_Signalled(source, found) for found in seen.found if found.signal.path not in obstacles]
            self._note_refused(refused)
            # What was seen where nothing can be read now keeps its place.
            kept = {key: seen for key, seen in self._first_seen.items() if key[0] in unread}
            now = self._clock.monotonic()
            self._first_seen = kept | {
                each.key: self._first_seen.get(each.key, (self._looks, now)) for each in signalled
            }
            self.waiting = []
            await self._claim_in_order(signalled)
            for away in unread.values():
                raise away

    async def next_job(self, running: Collection[int] = ()) -> JobRecord | None:
        """The job whose turn it is; never one whose files are just being taken, which would not find them.

        What a disk kept from being taken is taken first, since the order of jobs is promised. Raises as `look` does.
        """
        async with self._turn:
            await complete_claims(self._state, self._held)
            return await next_job(self._state, running)

    async def _claim_in_order(self, signalled: list[_Signalled]) -> None:
        signalled.sort(
            key=lambda each: (
                self._first_seen[each.key][0],
                each.found.signal.identity.mtime_ns,
                each.found.signal.path,
                each.source.route,
            )
        )
        for each in by_sequence(signalled, lambda one: one.found.manifest.sequence):
            error = InputError(each.found.problem) if each.found.problem else None
            if each.found.missing and error is None:
                if not self._has_waited(each):
                    self._note_waiting(each, len(signalled) - 1)
                    return
                error = self._missing(each)
            if self._ending.is_due:
                return
            await self._claim(each, error)

    def _drop(self, source: DropSource) -> DropSettings:
        return self.settings.of(source.route).drop

    def _has_waited(self, each: _Signalled) -> bool:
        first_seen_at = self._first_seen[each.key][1]
        return self._clock.monotonic() - first_seen_at >= self._drop(each.source).signal_wait_s

    def _missing(self, each: _Signalled) -> InputError:
        found = each.found
        named = ", ".join(map(shown, found.missing[:3])) + (", ..." if len(found.missing) > 3 else "")
        return InputError(
            f"{named} did not come within {self._drop(each.source).signal_wait_s:,.0f} s after the signal "
            f"{shown(found.signal.path)}. Is the signal named after its export?",
            exit_code=ExitCode.EXPORT_MISSING,
        )

    async def _claim(self, each: _Signalled, error: InputError | None) -> None:
        found, as_of = each.found, self._drop(each.source).as_of
        dates = [_date_in(export.path, as_of) for export in found.exports]
        undated = next((seen.path for seen, date in zip(found.exports, dates, strict=True) if date is None), None)
        if as_of and undated and not found.manifest.again and error is None:
            error = InputError(
                f"the name {shown(undated)} holds no date as [drop] as_of = {as_of!r} finds it, so it cannot be told "
                "whether it is older than the last one."
            )
        drop = Drop(found, tuple(dates), error, each.source.route)
        settings = self.settings.of(each.source.route).export
        # Not to be cancelled in between: nothing would be lost, but the next start would have to clear up.
        with anyio.CancelScope(shield=True):
            await enter(drop, self._state, each.source.processing, settings)
        self._first_seen.pop(each.key, None)
        self.claimed += 1
        self._ending.changed.tell()

    def _note_refused(self, refused: dict[tuple[str, str], str]) -> None:
        for key in refused.keys() - self.refused:
            log.warning("drop_refused", name=shown(key[1]), why=refused[key], route=key[0])
        self.refused = set(refused)

    def _note_waiting(self, each: _Signalled, behind: int) -> None:
        found = each.found
        self.waiting.append(found.signal.path)
        first_look, first_seen_at = self._first_seen[each.key]
        self.look_in_s = first_seen_at + self._drop(each.source).signal_wait_s - self._clock.monotonic()
        if first_look == self._looks:
            log.warning(
                "signal_without_export",
                signal=shown(found.signal.path),
                missing=[shown(name) for name in found.missing[:3]],
                wait_s=self._drop(each.source).signal_wait_s,
                others_in_the_drop_directory=behind,
                route=each.source.route,
            )


def _obstacles(processing: Taking, drops: Sequence[Found]) -> dict[str, str]:
    """By signal why a drop cannot be taken, though it could be looked at. Blocks."""
    obstacles: dict[str, str] = {}
    for found in drops:
        for each in (found.signal, *found.exports):
            if obstacle := processing.obstacle(each.path):
                named = "" if each is found.signal else f"{shown(each.path)} "
                obstacles.setdefault(found.signal.path, named + obstacle)
    return obstacles


def of_route(route: str) -> dict[str, Any]:
    """What the log says of a route: nothing of that which is the file's top level."""
    return {} if route == DEFAULT_ROUTE else {"route": route}


def _date_in(path: str, pattern: str) -> str | None:
    found = re.search(pattern, Path(path).as_posix()) if pattern else None
    return found.group(1) if found else None
