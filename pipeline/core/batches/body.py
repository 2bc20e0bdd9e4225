"""The text of the open batch as it grows, in segments.

Whoever writes a sealed batch down lets go of its pieces one by one, and so of its segments: their memory is there for
the next batch, which is filled meanwhile, long before the last one is written.
"""

import numpy as np

#: Numpy asks the system for large pages from this size on: bytes appended to a bytearray took six times as long.
SEGMENT_BYTES = 4_194_304


class Body:
    """Text to which more can be appended; positions in it are bytes from its start."""

    def __init__(self, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.size_bytes = 0
        self._segment_bytes = segment_bytes
        self._segments: list[memoryview] = []

    def append(self, text: bytes) -> None:
        """Put a text at the end."""
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
        """The bytes from `start` up to `end`."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> list[memoryview]:
        """The same, as it lies in the segments."""
        found = []
        while start < end:
            number, place = divmod(start, self._segment_bytes)
            piece = self._segments[number][place : place + end - start]
            found.append(piece)
            start += len(piece)
        return found
