"""The text of the open batch as it grows, in segments.

Writing a sealed batch releases its pieces one by one, and so its segments. The next batch, which is filled meanwhile,
gets their memory long before the last one is written.
"""

import numpy as np

#: Bytes of a segment. Numpy asks the system for large pages from this size on: appending to a bytearray took six times
#: as long.
SEGMENT_BYTES = 4_194_304


class Body:
    """A text that can be appended to. Positions are bytes from its start."""

    def __init__(self, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.size_bytes = 0
        self._segment_bytes = segment_bytes
        self._segments: list[memoryview] = []

    def append(self, text: bytes) -> None:
        """Append a text."""
        left = memoryview(text)
        while left:
            place = self.size_bytes % self._segment_bytes
            if not place:
                self._segments.append(np.empty(self._segment_bytes, dtype=np.uint8).data)
            taken = left[: self._segment_bytes - place]
            self._segments[-1][place : place + len(taken)] = taken
            self.size_bytes += len(taken)
            left = left[len(taken) :]

    def text(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> list[memoryview]:
        """The bytes from `start` to `end`, as pieces of the segments."""
        found = []
        while start < end:
            number, place = divmod(start, self._segment_bytes)
            piece = self._segments[number][place : place + end - start]
            found.append(piece)
            start += len(piece)
        return found
