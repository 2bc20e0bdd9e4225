"""Judges if what was signalled is whole, by what several looks saw of it and by what the system tells of its writers.

A writer that signals too early, or pauses, must not have half an export loaded. So an export is taken when it has been
still for `settle_s`, by its time before the signal or by our looks, and no process has it open for writing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.core.drop.signals import shown
from pipeline.core.errors import InputError
from pipeline.edges.drop.listing import Found, Listing, Seen
from pipeline.edges.exports import Identity
from pipeline.settings.sections.drop import DropSettings

#: The time by which a subdirectory may be younger than its `_SUCCESS` (nanoseconds). Ours: that file may have been made
#: under another name and renamed, or have a checksum beside it.
_YOUNGER_NS = 1_000_000_000
#: The time between two looks at a file that a process has open for writing (seconds).
_LOOK_AGAIN_S = 1.0
#: The longest wait of which nothing is said, where nothing looks wrong (seconds). Ours.
_USUAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Wait:
    """The reason why a drop is not taken yet, and until when at most, in seconds of the monotonic clock.

    `look_in_s`: seconds until the next look at it.
    `is_usual`: nothing looks wrong, and the wait is short and only to make sure: nothing is said of it.
    """

    why: str
    until_s: float
    look_in_s: float
    is_usual: bool = False


@dataclass(frozen=True, slots=True)
class _Still:
    """A file as it was seen last, the time at which it was first seen so, and if it was another before."""

    identity: Identity
    since_s: float
    has_changed: bool


class Settling:
    """Since when the files in the drop directories are as they are. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        #: By route and path.
        self._files: dict[tuple[str, str], _Still] = {}

    def note(self, seen: Mapping[str, Listing], unread: Iterable[str], now_s: float) -> None:
        """Take in what one look saw. `seen`: by route. `unread`: routes of which it saw nothing."""
        away = set(unread)
        files = {key: still for key, still in self._files.items() if key[0] in away}
        for route, listing in seen.items():
            for path, identity in _identities(listing):
                still = self._files.get((route, path))
                if still is None or still.identity != identity:
                    still = _Still(identity, now_s, still is not None)
                files[route, path] = still
        self._files = files

    def judge(
        self, route: str, found: Found, writers: Mapping[str, bool | None], drop: DropSettings, now_s: float
    ) -> Wait | InputError | None:
        """None if a drop is whole as far as one can tell; else the reason to wait, or an error after the longest wait.

        `writers`: by path, if a process has the file open for writing; None where nobody can tell.
        """
        for seen in (found.signal, *found.files):
            if writers.get(seen.path):
                return self._judge_open(route, seen, drop, now_s)
        for path, why in self._unsettled(route, found, writers):
            left_s = self._files[route, path].since_s + drop.settle_s - now_s
            if left_s > 0:
                return Wait(why, now_s + left_s, left_s)
        for file in found.files:
            # A writer that closes the file for a while cannot be told from one that is done, but by what it does next.
            age_ns = found.signal.identity.mtime_ns - file.identity.mtime_ns
            left_s = self._files[route, file.path].since_s + drop.settle_s - now_s
            if age_ns < drop.settle_s * 1e9 and left_s > 0:
                why = f"{shown(file.path)} changed just before its signal"
                return Wait(why, now_s + left_s, left_s, is_usual=left_s <= _USUAL_S)
        return None

    def _judge_open(self, route: str, seen: Seen, drop: DropSettings, now_s: float) -> Wait | InputError:
        until_s = self._files[route, seen.path].since_s + drop.signal_wait_s
        if now_s < until_s:
            why = f"{shown(seen.path)} is open for writing in another process"
            return Wait(why, until_s, max(drop.settle_s, _LOOK_AGAIN_S))
        return InputError(
            f"{shown(seen.path)} is still open for writing in another process, and has not changed for "
            f"{drop.signal_wait_s:,.0f} s: nothing was sent. Close a file before its signal comes, and drop it again."
        )

    def _unsettled(self, route: str, found: Found, writers: Mapping[str, bool | None]) -> Iterable[tuple[str, str]]:
        """The files that must not have changed for a while, and the reasons."""
        signal = found.signal
        if found.may_be_cut and (found.problem or writers.get(signal.path) is None):
            yield signal.path, f"the signal {shown(signal.path)} may not be written to its end"
        for file in found.files:
            if file.identity.mtime_ns > signal.identity.mtime_ns:
                yield file.path, f"{shown(file.path)} is newer than its signal"
            elif self._files[route, file.path].has_changed and writers.get(file.path) is None:
                yield file.path, f"{shown(file.path)} has changed since it was seen first"
        if (
            found.directory
            and found.changed_ns is not None
            and found.changed_ns > signal.identity.mtime_ns + _YOUNGER_NS
        ):
            yield found.directory, f"files came into {shown(found.directory)} after its {shown(signal.path)}"


def _identities(listing: Listing) -> Iterable[tuple[str, Identity]]:
    for found in listing.found:
        yield found.signal.path, found.signal.identity
        if found.directory and found.changed_ns is not None:
            yield found.directory, Identity(len(found.files), found.changed_ns)
        for file in found.files:
            yield file.path, file.identity
    for seen in listing.unsignalled:
        yield seen.path, seen.identity
