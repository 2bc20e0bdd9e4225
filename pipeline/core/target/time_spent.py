"""The time of a run by what it went to: reading the export, sending batches, and waiting for Target."""

from enum import StrEnum


class Activity(StrEnum):
    """The thing that a load does at a time.

    `SENDING`: a POST is under way, whatever else goes on.
    `READING`: none is, and the export is read; not while its rows wait for room.
    `WAITING`: neither; Target applies batches, or lets nothing more be sent.
    """

    READING = "reading"
    SENDING = "sending"
    WAITING = "waiting"


class TimeSpent:
    """The seconds of a run by activity. Times are seconds of the monotonic clock."""

    def __init__(self, began_at: float) -> None:
        self._seconds = dict.fromkeys(Activity, 0.0)
        self._since = began_at
        self._posts = 0
        self._is_reading = False

    def note_posts(self, begun: int, now: float) -> None:
        """Note that so many more POSTs are under way; fewer, if negative."""
        self._pass(now)
        self._posts += begun

    def note_reading(self, now: float, *, goes_on: bool) -> None:
        """Note that the export is read from now on, or is not."""
        self._pass(now)
        self._is_reading = goes_on

    def seconds(self, now: float) -> dict[str, float]:
        """The seconds that went to each activity up to now."""
        self._pass(now)
        return {activity.value: round(seconds, 3) for activity, seconds in self._seconds.items()}

    def _pass(self, now: float) -> None:
        activity = Activity.SENDING if self._posts else Activity.READING if self._is_reading else Activity.WAITING
        self._seconds[activity] += now - self._since
        self._since = now
