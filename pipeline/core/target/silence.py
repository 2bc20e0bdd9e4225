"""The silence of Target: since when no call has had a usable answer, for all jobs of a client code together."""

#: Seconds without a usable answer from which on Target counts as away. Ours: a single failed call is no absence.
AWAY_AFTER_S = 5.0


class Silence:
    """Notes answers as they come. Times are seconds of the monotonic clock. `last`: the last answer, in our words."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.last = ""

    def note(self, unusable: str | None, now: float) -> None:
        """Note an answer: None if it was usable, else what it was, in our words."""
        if unusable is None:
            self._since = None
            return
        self.last = unusable
        if self._since is None:
            self._since = now

    def since(self, now: float) -> float | None:
        """The time since which Target is away; None if it is not."""
        return self._since if self._since is not None and now - self._since >= AWAY_AFTER_S else None
