"""Looks for signals in the drop directories, and claims their exports in the order in which they are to be loaded.

Drops are claimed as soon as they are seen, even while others are loaded: a claimed export cannot be overwritten. A
signal whose exports are not there yet, or not whole, holds up those behind it, so that none overtakes it: for
`signal_wait_s`, or as long as an export grows, within hours. A drop that cannot be taken holds up none. All drop
directories of a client code share one order.
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
from pipeline.edges.drop.listing import Found, Listing
from pipeline.edges.drop.taking import CannotTakeError, Taking
from pipeline.edges.exports import Identity
from pipeline.edges.store.notices import DropNotice
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State
from pipeline.jobs.claims import Drop, complete_claims, enter, next_job
from pipeline.jobs.ending import Ending
from pipeline.service.settling import Settling, Wait
from pipeline.service.untaken_drops import UntakenDrops
from pipeline.settings.sections.drop import DropSettings
from pipeline.settings.tenants import DEFAULT_ROUTE, Tenant

log = structlog.get_logger()

#: Times `signal_wait_s` after which a signalled export that changes again and again fails, so that it does not hold up
#: others for ever. Ours: hours by default, for a large export that was signalled when it began to come.
_MOST_WAITS = 16


@dataclass(frozen=True, slots=True)
class DropSource:
    """A drop directory that this process holds, and its route."""

    route: str
    processing: Taking


@dataclass(frozen=True, slots=True)
class _Signalled:
    """A signal with its exports, and the drop directory it was found in."""

    source: DropSource
    found: Found

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the signal: its route and path."""
        return (self.source.route, self.found.signal.path)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The identities of its files, the signal first."""
        return (self.found.signal.identity, *(file.identity for file in self.found.files))


class Intake:
    """Finds and claims the drops of a client code; `settings` are read anew for each look and each claim.

    `waiting`: signals whose exports are awaited. `refused`: route and path of files left alone. `claimed`: the number
    of drops claimed; `ending.changed` is told of each. `former`: drop directories of which only entered files are
    taken.
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
        #: Seconds until the first waiting signal has waited for long enough: look again then.
        self.look_in_s = math.inf
        self._state = state
        self._ending = ending
        self._clock = state.host.clock
        self._sources = sources
        self._held = [*(source.processing for source in sources), *former]
        self._looks = 0
        #: By signal: the number of the look that first saw it, and its time in seconds of the monotonic clock.
        self._first_seen: dict[tuple[str, str], tuple[int, float]] = {}
        self._settling = Settling()
        self._not_whole: tuple[tuple[str, str], str] | None = None
        self._untaken = UntakenDrops(state.directory, state.host.clock)
        #: One look at a time; and one claim, or question for the next job, at a time: the first jobs of many drops run
        #: while the others are claimed.
        self._turn_to_look, self._turn = anyio.Lock(), anyio.Lock()

    async def look(self) -> None:
        """Look once, and claim the drops that are complete.

        Raises `FatalError`: 66 if a drop directory cannot be read, after the drops in the others were claimed; 74 if
        the ledger or the disk refuses this claim or an earlier one.
        """
        async with self._turn_to_look:
            self.look_in_s = math.inf
            self._untaken.waiting = None
            # First, and nothing else if it fails: files that are entered and not taken would be found once more.
            async with self._turn:
                await complete_claims(self._state, self._held)
            self._looks += 1
            signalled: list[_Signalled] = []
            refused: dict[tuple[str, str], str] = {}
            unread: dict[str, FatalError] = {}
            unreadable: dict[tuple[str, str], str] = {}
            listings: dict[str, Listing] = {}
            for source in self._sources:
                try:
                    seen = await run_sync(_look, source, self._drop(source))
                except FatalError as error:
                    unread[source.route] = error
                    unreadable |= _about_directory(source, error)
                    continue
                listings[source.route] = seen
                refused |= {(source.route, each.path): str(each.problem) for each in seen.refused}
                signalled += [_Signalled(source, found) for found in seen.found]
            # Signals in a directory that cannot be read now keep their place.
            kept = {key: seen for key, seen in self._first_seen.items() if key[0] in unread}
            now = self._clock.monotonic()
            self._first_seen = kept | {
                each.key: self._first_seen.get(each.key, (self._looks, now)) for each in signalled
            }
            self._settling.note(listings, unread, now)
            self.waiting = []
            reasons = self._untaken.reasons
            # Those behind a drop that waits are not looked at closely: what is known of them stays.
            not_taken = {each.key: why for each in signalled if (why := reasons.get(each.key))}
            not_taken |= unreadable
            try:
                await self._claim_in_order(signalled, not_taken)
            finally:
                self._note_refused(refused | not_taken)
                await self._untaken.tell(not_taken)
            for away in unread.values():
                raise away

    @property
    def untold(self) -> DropNotice | None:
        """The drops that wait or cannot be taken, if the disk does not take the notice of them."""
        return self._untaken.untold

    async def next_job(self, running: Collection[int] = ()) -> JobRecord | None:
        """The job whose turn it is, if any; never one whose files are being taken, which would not find them.

        Files that an error kept from being taken come first: the order of jobs is promised. Raises `FatalError` (74).
        """
        async with self._turn:
            await complete_claims(self._state, self._held)
            return await next_job(self._state, running)

    async def _claim_in_order(self, signalled: list[_Signalled], not_taken: dict[tuple[str, str], str]) -> None:
        """Claim drops up to the first that waits. In `not_taken` come the reasons of those that cannot be taken."""
        signalled.sort(
            key=lambda each: (
                self._first_seen[each.key][0],
                each.found.signal.identity.mtime_ns,
                each.found.signal.path,
                each.source.route,
            )
        )
        for each in by_sequence(signalled, lambda one: one.found.manifest.sequence):
            not_taken.pop(each.key, None)
            if obstacle := await self._obstacle(each):
                not_taken[each.key] = obstacle
                continue
            verdict = await self._judge(each)
            error = verdict if isinstance(verdict, InputError) else None
            if isinstance(verdict, Wait) and self._has_waited(each, _MOST_WAITS):
                verdict = error = self._never_still(each)
            if isinstance(verdict, Wait):
                self._note_not_whole(each, verdict, len(signalled) - 1)
                return
            if each.found.problem:
                error = InputError(each.found.problem)
            elif each.found.missing and error is None:
                if not self._has_waited(each):
                    self._note_waiting(each, len(signalled) - 1)
                    return
                error = self._missing(each)
            if self._ending.is_due:
                return
            if failure := await self._claim(each, error):
                not_taken[each.key] = failure

    async def _obstacle(self, each: _Signalled) -> str | None:
        """The reason why a drop cannot be taken: as it is seen, or as it was met a moment ago. None without one."""
        obstacle = await run_sync(_obstacle, each.source.processing, each.found)
        return obstacle or self._untaken.failure_of(each.key, each.identities)

    async def _judge(self, each: _Signalled) -> Wait | InputError | None:
        """The reason to wait for a drop, because it is not whole, or an error; see `Settling.judge`."""
        found = each.found
        paths = [found.signal.path, *(file.path for file in found.files)]
        writers = await run_sync(each.source.processing.writers, paths)
        return self._settling.judge(each.source.route, found, writers, self._drop(each.source), self._clock.monotonic())

    def _drop(self, source: DropSource) -> DropSettings:
        return self.settings.of(source.route).drop

    def _has_waited(self, each: _Signalled, times: int = 1) -> bool:
        """True if a drop has waited for so many times `signal_wait_s`."""
        first_seen_at = self._first_seen[each.key][1]
        return self._clock.monotonic() - first_seen_at >= times * self._drop(each.source).signal_wait_s

    def _never_still(self, each: _Signalled) -> InputError:
        return InputError(
            f"the export of {shown(each.found.signal.path)} has changed again and again for "
            f"{_MOST_WAITS * self._drop(each.source).signal_wait_s:,.0f} s after its signal: nothing was sent, and "
            "others are not held up any longer. Signal an export when it is complete, and drop it again."
        )

    def _missing(self, each: _Signalled) -> InputError:
        found = each.found
        if found.directory and found.missing == (f"{found.directory}*",):
            return InputError(
                f"{shown(found.signal.path)} says that all files in {shown(found.directory)} are complete, and there "
                "was none within "
                f"{self._drop(each.source).signal_wait_s:,.0f} s. If nothing was to be exported, this is all right.",
                exit_code=ExitCode.EXPORT_MISSING,
            )
        named = ", ".join(map(shown, found.missing[:3])) + (", ..." if len(found.missing) > 3 else "")
        return InputError(
            f"{named} did not come within {self._drop(each.source).signal_wait_s:,.0f} s after the signal "
            f"{shown(found.signal.path)}. Is the signal named after its export?",
            exit_code=ExitCode.EXPORT_MISSING,
        )

    async def _claim(self, each: _Signalled, error: InputError | None) -> str | None:
        """Claim a drop, with `error` as one that fails. Returns the reason if it cannot be taken."""
        found, pattern = each.found, self._drop(each.source).as_of
        as_of = None
        try:
            as_of = _date_of(found, pattern)
        except InputError as undated:
            error = error or (None if found.manifest.again else undated)
        drop = Drop(found, as_of, error, each.source.route)
        settings = self.settings.of(each.source.route)
        # Shielded: a claim cut in two loses nothing, but the next start would have to complete it.
        with anyio.CancelScope(shield=True):
            try:
                async with self._turn:
                    await enter(drop, self._state, each.source.processing, settings.export, settings.mapping)
            except CannotTakeError as failure:
                self._untaken.fail(each.key, each.identities, failure.why)
                return failure.why
        if found.left_out:
            log.warning(
                "temporary_files_left",
                signal=shown(found.signal.path),
                files=len(found.left_out),
                first=shown(found.left_out[0]),
                route=each.source.route,
            )
        if found.unlisted:
            log.warning(
                "unlisted_files_left",
                signal=shown(found.signal.path),
                files=len(found.unlisted),
                first=shown(found.unlisted[0]),
                lists=[*map(shown, found.beside)],
                route=each.source.route,
            )
        self._first_seen.pop(each.key, None)
        self.claimed += 1
        self._ending.changed.tell()
        return None

    def _note_refused(self, refused: dict[tuple[str, str], str]) -> None:
        for key in refused.keys() - self.refused:
            log.warning("drop_refused", name=shown(key[1]), why=refused[key], route=key[0])
        self.refused = set(refused)

    def _note_not_whole(self, each: _Signalled, wait: Wait, behind: int) -> None:
        self.waiting.append(each.found.signal.path)
        self.look_in_s = wait.look_in_s
        if wait.is_usual:
            return
        wait_s = wait.until_s - self._clock.monotonic()
        self._untaken.wait(each.key, wait.why, since_s=self._first_seen[each.key][1], wait_s=wait_s)
        if self._not_whole != (each.key, wait.why):
            self._not_whole = (each.key, wait.why)
            log.warning(
                "export_not_whole",
                signal=shown(each.found.signal.path),
                why=wait.why,
                wait_s=round(wait_s, 1),
                others_in_the_drop_directory=behind,
                route=each.source.route,
            )

    def _note_waiting(self, each: _Signalled, behind: int) -> None:
        found = each.found
        self.waiting.append(found.signal.path)
        first_look, first_seen_at = self._first_seen[each.key]
        self.look_in_s = first_seen_at + self._drop(each.source).signal_wait_s - self._clock.monotonic()
        missing = [shown(name) for name in found.missing[:3]]
        self._untaken.wait(each.key, f"without {', '.join(missing)}", since_s=first_seen_at, wait_s=self.look_in_s)
        if first_look == self._looks:
            log.warning(
                "signal_without_export",
                signal=shown(found.signal.path),
                missing=missing,
                wait_s=self._drop(each.source).signal_wait_s,
                others_in_the_drop_directory=behind,
                route=each.source.route,
            )


def _look(source: DropSource, drop: DropSettings) -> Listing:
    """The content of a drop directory, once it is sure that it is the one that is held. Blocks.

    Raises `FatalError`: 66 if it cannot be read, and the errors of `Taking.renew`.
    """
    processing = source.processing
    try:
        if found := processing.renew():
            log.warning("drop_directory_held_anew", directory=str(processing.drop), why=found, route=source.route)
        return processing.look(drop.signal_suffixes, drop.ignore)
    except OSError as error:
        text = f"cannot look into the drop directory {processing.drop}: {error.strerror}."
        raise FatalError(text, exit_code=ExitCode.EXPORT_MISSING) from error


def _about_directory(source: DropSource, error: FatalError) -> dict[tuple[str, str], str]:
    """By route and path the part of a drop directory that is not as it should be, and the reason, for `status`."""
    processing = source.processing
    if isinstance(error.__cause__, OSError):
        return {(source.route, str(processing.drop)): f"cannot be looked into: {error.__cause__.strerror}"}
    return {(source.route, str(processing.directory)): str(error).removeprefix(f"{processing.directory} ")}


def _obstacle(processing: Taking, found: Found) -> str | None:
    """The reason why a drop that could be listed cannot be taken, or None. Blocks."""
    for each in (found.signal, *found.files):
        if obstacle := processing.obstacle(each.path):
            return obstacle if each is found.signal else f"{shown(each.path)} {obstacle}"
    return None


def of_route(route: str) -> dict[str, Any]:
    """The fields of a log event that name a route; none for the default route."""
    return {} if route == DEFAULT_ROUTE else {"route": route}


def _date_of(found: Found, pattern: str) -> str | None:
    """The date of an export: in the path that its parts go by, else in that of each file, where all must have the same.

    `pattern`: finds it, in a group; empty if exports have none. Raises `InputError` (65) if it finds none, or several.
    """
    if not pattern or not found.files:
        return None
    if found.parts_of and (date := _date_in(found.parts_of, pattern)) is not None:
        return date
    dates = {_date_in(file.path, pattern): file.path for file in reversed(found.files)}
    if None in dates:
        raise InputError(
            f"the name {shown(dates[None])} holds no date as [drop] as_of = {pattern!r} finds it, so it cannot be told "
            "whether it is older than the last one."
        )
    if len(dates) > 1:
        raise InputError(
            f"{' and '.join(map(shown, sorted(dates.values())[:2]))} are parts of one export, and hold different dates "
            f"as [drop] as_of = {pattern!r} finds them: drop them each with a signal of its own."
        )
    return next(iter(dates))


def _date_in(path: str, pattern: str) -> str | None:
    found = re.search(pattern, Path(path).as_posix())
    return found.group(1) if found else None
