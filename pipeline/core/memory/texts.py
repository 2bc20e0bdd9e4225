"""Many short texts at once: cut out of a long one and put one behind the other, or compared byte by byte."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Offsets

_WORD_BYTES, _BITS = 8, 8
#: n -> the mask for a word that holds only the first n bytes of a text (little endian).
_FIRST_BYTES = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], dtype=np.uint64)
#: Pieces joined at a time: what lies between fits into the processor's cache.
_JOINED_AT_ONCE = 4_096
#: The longest part of a piece that is copied at once with others; its size fits into a byte.
_PART_BYTES = 192
#: What it takes to cut a piece out by itself, over a byte of a part that is copied with others; and what a part takes.
_BYTES_A_PIECE, _BYTES_A_PART = 288, 24
#: Fewer pieces than this of a text are cut out by themselves.
_FEW_PIECES = 64

Text = bytes | bytearray | memoryview


def joined_texts(text: Text, starts: Offsets, ends: Offsets) -> bytes:
    """The pieces `text[starts[i]:ends[i]]`, one behind the other. Pieces that lie side by side are copied at once."""
    return TextList.of([text]).joined(starts, ends)


@dataclass(frozen=True, slots=True, eq=False)
class TextList:
    """Texts one behind the other, as if they were one, without a copy. `begins`: where each begins, and the end."""

    texts: Sequence[Text]
    begins: Offsets

    @classmethod
    def of(cls, texts: Sequence[Text]) -> "TextList":
        """The list of these texts."""
        return cls(texts, np.cumsum([0, *map(len, texts)], dtype=np.int64))

    @property
    def size_bytes(self) -> int:
        """The bytes of all of them."""
        return int(self.begins[-1])

    def with_rows(self, starts: Offsets) -> Self:
        """The texts, in which those that begin at these offsets are there."""
        return self

    def piece(self, start: int, end: int) -> bytes:
        """One piece, which lies in one text."""
        number = min(int(np.searchsorted(self.begins, start, side="right")), len(self.texts)) - 1
        begin = int(self.begins[number])
        return bytes(self.texts[number][start - begin : end - begin])

    def joined(self, starts: Offsets, ends: Offsets) -> bytes:
        """As `joined_texts` of the one text. No piece lies in two texts."""
        parts = [*self.pieces(starts, ends)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, starts: Offsets, ends: Offsets) -> Iterator[bytes]:
        """The same, some at a time, so that not all of it is in memory."""
        if not len(starts):
            return
        is_break = np.ones(len(starts), dtype=np.bool_)
        is_break[1:] = starts[1:] != ends[:-1]
        numbers = None
        if len(self.texts) > 1:
            numbers = np.minimum(np.searchsorted(self.begins, starts, side="right"), len(self.texts)) - 1
            is_break[1:] |= numbers[1:] != numbers[:-1]
        firsts = np.flatnonzero(is_break)
        starts, ends = starts[firsts], ends[np.append(firsts[1:], len(ends)) - 1]
        numbers = np.zeros(len(firsts), dtype=np.int64) if numbers is None else numbers[firsts]
        some = (slice(first, first + _JOINED_AT_ONCE) for first in range(0, len(starts), _JOINED_AT_ONCE))
        yield from (self._joined(numbers[each], starts[each], ends[each]) for each in some)

    def _joined(self, numbers: Offsets, starts: Offsets, ends: Offsets) -> bytes:
        """The same of some pieces, at least one, by the number of their text.

        They are copied as parts of one width, of which what lies behind a piece is left out.
        """
        starts, sizes = starts - self.begins[numbers], ends - starts
        width = min(_PART_BYTES, -(-int(sizes.max()) // _WORD_BYTES) * _WORD_BYTES)
        of_each = -(-sizes // max(1, width))
        count = int(of_each.sum())
        is_little = len(starts) < _FEW_PIECES * len(self.texts)
        if not width or is_little or count * (width + _BYTES_A_PART) > len(starts) * _BYTES_A_PIECE:
            pieces = zip(numbers.tolist(), starts.tolist(), (starts + sizes).tolist(), strict=True)
            return b"".join([self.texts[number][start:end] for number, start, end in pieces])
        if (of_each != 1).any():
            offsets = (np.arange(count) - np.repeat(np.cumsum(of_each) - of_each, of_each)) * width
            numbers, starts = np.repeat(numbers, of_each), np.repeat(starts, of_each) + offsets
            sizes = np.minimum(np.repeat(sizes, of_each) - offsets, width)
        parts = np.empty(count, dtype=f"V{width}")
        for number in sorted({*numbers.tolist()}) if len(self.texts) > 1 else [0]:
            of_text = np.flatnonzero(numbers == number) if len(self.texts) > 1 else slice(None)
            parts[of_text] = _parts(self.texts[number], starts[of_text], width)
        is_in_piece = np.arange(width, dtype=np.uint8) < sizes.astype(np.uint8)[:, np.newaxis]
        return parts.view(np.uint8).reshape(-1, width)[is_in_piece].tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The texts of n rows, wherever they lie: that of row i is from `starts[i]` to `ends[i]` in `body`."""

    body: TextList
    starts: Offsets
    ends: Offsets

    def of(self, some: slice) -> "Texts":
        """Those of some rows."""
        return Texts(self.body, self.starts[some], self.ends[some])

    def pieces(self) -> Iterator[bytes]:
        """All of them, one behind the other, some at a time."""
        return self.body.pieces(self.starts, self.ends)


def _parts(text: Text, starts: Offsets, width: int) -> npt.NDArray[np.void]:
    """The parts of `text` that begin at these offsets, which are within it; zeros follow its last byte."""
    padded = text if len(text) >= width else bytes(text) + bytes(width)
    last = len(padded) - width
    view: npt.NDArray[np.void] = np.ndarray(shape=(last + 1,), dtype=f"V{width}", buffer=padded, strides=(1,))
    parts = view[np.minimum(starts, last)]
    for index in np.flatnonzero(starts > last).tolist():
        parts[index] = bytes(padded[int(starts[index]) :]).ljust(width, b"\0")
    return parts


def same_texts(
    text: bytes, starts: Offsets, sizes: Offsets, other: bytes, other_starts: Offsets, other_sizes: Offsets
) -> Flags:
    """Set where `text[starts[i]:starts[i] + sizes[i]]` is the piece of `other` of the same index; shape (n,)."""
    same: Flags = sizes == other_sizes
    left = np.flatnonzero(same & (sizes > 0))
    if not len(left):
        return same
    words, other_words = Words(text), Words(other)
    offset = 0
    while len(left):
        mask = _FIRST_BYTES[np.minimum(sizes[left] - offset, _WORD_BYTES)]
        differ = (words.at(starts[left] + offset) ^ other_words.at(other_starts[left] + offset)) & mask != 0
        same[left[differ]] = False
        offset += _WORD_BYTES
        left = left[~differ & (sizes[left] > offset)]
    return same


class Words:
    """The words of eight bytes that begin at each byte of a text, little endian; zeros follow its last byte.

    A text of eight bytes or more is not copied.
    """

    def __init__(self, text: bytes) -> None:
        padded = text if len(text) >= _WORD_BYTES else text + bytes(_WORD_BYTES)
        self._last = len(padded) - _WORD_BYTES
        self._words: npt.NDArray[np.uint64] = np.ndarray(
            shape=(self._last + 1,), dtype="<u8", buffer=padded, strides=(1,)
        )

    def at(self, offsets: Offsets) -> npt.NDArray[np.uint64]:
        """The words that begin at these offsets, which are within the text; shape of `offsets`."""
        if not len(offsets) or int(offsets.max()) <= self._last:
            return self._words[offsets]
        # A word that would reach behind the text is cut out of the last whole one.
        over = np.maximum(offsets - self._last, 0)
        words: npt.NDArray[np.uint64] = self._words[offsets - over] >> (over * _BITS).astype(np.uint64)
        return words
