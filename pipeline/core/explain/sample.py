"""The sample of a job's rows: the same ids for the same job, whatever its batches are; any id may be among them."""

from hashlib import sha256

import numpy as np

from pipeline.core.model import Hashes, Offsets

#: An odd number with an even bit pattern, from the golden ratio.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def draws(hashes: Hashes, job_id: str) -> Hashes:
    """A number for each id, by its salted hash: those with the least ones are drawn first; shape (n,)."""
    seed = np.uint64(int.from_bytes(sha256(job_id.encode()).digest()[:8]))
    drawn: Hashes = (hashes ^ seed) * _GOLDEN
    return drawn


def drawn_first(hashes: Hashes, job_id: str, count: int) -> Offsets:
    """The indexes of the `count` ids that are drawn first, or of all if there are fewer, in that order."""
    numbers = draws(hashes, job_id)
    if count < len(numbers):
        first = np.argpartition(numbers, count)[:count]
        return first[np.argsort(numbers[first])]
    return np.argsort(numbers)
