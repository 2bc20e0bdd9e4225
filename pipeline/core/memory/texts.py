"""Many short texts at once: cut out of a long one and put one behind the other, or compared byte by byte."""

import numpy as np
import numpy.typing as npt

from pipeline.core.model import Flags, Offsets

_WORD_BYTES = 8
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


def same_texts(
    text: bytes, starts: Offsets, sizes: Offsets, other: bytes, other_starts: Offsets, other_sizes: Offsets
) -> Flags:
    """Set where `text[starts[i]:starts[i] + sizes[i]]` is the piece of `other` of the same index; shape (n,)."""
    same: Flags = sizes == other_sizes
    left = np.flatnonzero(same & (sizes > 0))
    if not len(left):
        return same
    words, other_words = words_of(text), words_of(other)
    offset = 0
    while len(left):
        mask = _FIRST_BYTES[np.minimum(sizes[left] - offset, _WORD_BYTES)]
        differ = (words[starts[left] + offset] ^ other_words[other_starts[left] + offset]) & mask != 0
        same[left[differ]] = False
        offset += _WORD_BYTES
        left = left[~differ & (sizes[left] > offset)]
    return same


def words_of(text: bytes) -> npt.NDArray[np.uint64]:
    """A view of a text with the word of eight bytes that begins at each of its bytes; zeros follow the last one."""
    padded = text + bytes(_WORD_BYTES)
    return np.ndarray(shape=(len(text) + 1,), dtype="<u8", buffer=padded, strides=(1,))
