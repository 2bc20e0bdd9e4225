"""Salted 64-bit hashes of encoded ids, a whole block of them at once.

Two ids with one hash can only make a row wait needlessly: whoever merges rows compares the exact ids. So the hash needs
an even spread, not cryptographic strength. The salt keeps anyone from preparing collisions.
"""

import numpy as np

from pipeline.core.model import Hashes, Offsets

_WORD_BYTES = 8
#: Odd 64-bit constants with an even bit pattern, from the finalizer of MurmurHash3 and the golden ratio.
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(33)
#: n -> the mask for a word that holds only the last n bytes of an id (little endian).
_LAST_WORD = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], dtype=np.uint64)


def _mix(hashes: Hashes) -> Hashes:
    hashes = hashes ^ (hashes >> _SHIFT)
    hashes *= _MIX_1
    hashes ^= hashes >> _SHIFT
    hashes *= _MIX_2
    # The low bits choose the slot in a table. Without this shift they would depend on the low bits of the id alone.
    hashes ^= hashes >> _SHIFT
    return hashes


def hash_ids(body: bytes, starts: Offsets, lengths: Offsets, salt: int) -> Hashes:
    """The hash of each id, `body[starts[i]:starts[i] + lengths[i]]`; shape (n,), never 0.

    The same id and salt give the same hash wherever the id stands.
    """
    if not len(lengths):
        return np.zeros(0, dtype=np.uint64)
    # A view with an 8-byte word at every byte of the body; the padding is for the last ones.
    shortest, longest = int(lengths.min()), int(lengths.max())
    if int(starts[-1]) + longest + _WORD_BYTES > len(body):
        body += bytes(longest + _WORD_BYTES)
    words = np.ndarray(shape=(len(body) - _WORD_BYTES + 1,), dtype="<u8", buffer=body, strides=(1,))
    # There are few different lengths, so each is mixed once.
    hashes = _mix(np.arange(longest + 1, dtype=np.uint64) * _GOLDEN ^ np.uint64(salt))[lengths]
    for offset in range(0, max(longest, 1), _WORD_BYTES):
        if offset + _WORD_BYTES <= shortest:
            hashes = _mix(hashes ^ words[starts + offset])
        else:
            rows = np.flatnonzero(lengths > offset) if offset >= max(shortest, 1) else slice(None)
            word = words[starts[rows] + offset] & _LAST_WORD[np.minimum(lengths[rows] - offset, _WORD_BYTES)]
            hashes[rows] = _mix(hashes[rows] ^ word)
    hashes[hashes == 0] = _GOLDEN
    return hashes
