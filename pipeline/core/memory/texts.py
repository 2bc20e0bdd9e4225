"""Many short texts at once: cut out of a long one and put one behind the other, or compared byte by byte."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Offsets

_WORD_BYTES, _BITS = 8, 8
#: n -> the mask for a word that holds only the first n bytes of a text (little endian).
_FIRST_BYTES = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], dtype=np.uint64)
#: Pieces joined at a time: each is an object of two hundred bytes meanwhile.
_JOINED_AT_ONCE = 16_384


def joined_texts(text: bytes | memoryview, starts: Offsets, ends: Offsets) -> bytes:
    """The pieces `text[starts[i]:ends[i]]`, one behind the other. Pieces that lie side by side are copied at once."""
    if not len(starts):
        return b""
    breaks = np.flatnonzero(starts[1:] != ends[:-1])
    firsts = starts[np.concatenate([np.zeros(1, dtype=np.int64), breaks + 1])]
    lasts = ends[np.append(breaks, len(ends) - 1)]
    parts = []
    for first in range(0, len(firsts), _JOINED_AT_ONCE):
        some = slice(first, first + _JOINED_AT_ONCE)
        parts.append(b"".join([text[a:b] for a, b in zip(firsts[some].tolist(), lasts[some].tolist(), strict=True)]))
    return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class TextList:
    """Texts one behind the other, as if they were one, without a copy. `begins`: where each begins, and the end."""

    texts: Sequence[bytes]
    begins: Offsets

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "TextList":
        """The list of these texts."""
        return cls(texts, np.cumsum([0, *map(len, texts)], dtype=np.int64))

    def joined(self, starts: Offsets, ends: Offsets) -> bytes:
        """As `joined_texts` of the one text. No piece lies in two texts."""
        if len(self.texts) == 1:
            return joined_texts(self.texts[0], starts, ends)
        some = (slice(first, first + _JOINED_AT_ONCE) for first in range(0, len(starts), _JOINED_AT_ONCE))
        return b"".join([self._joined(starts[each], ends[each]) for each in some])

    def _joined(self, starts: Offsets, ends: Offsets) -> bytes:
        """The same of some pieces, at least one."""
        number = np.searchsorted(self.begins, starts, side="right") - 1
        is_break = (starts[1:] != ends[:-1]) | (number[1:] != number[:-1])
        firsts = np.append(0, np.flatnonzero(is_break) + 1)
        lasts = np.append(firsts[1:], len(starts)) - 1
        numbers = number[firsts]
        begins = self.begins[numbers]
        pieces = zip(numbers.tolist(), (starts[firsts] - begins).tolist(), (ends[lasts] - begins).tolist(), strict=True)
        return b"".join([self.texts[number][start:end] for number, start, end in pieces])


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
