"""An id's hash depends on the id and the salt alone, is never 0, and spreads evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import Hashes, Offsets
from pipeline.core.rows.hashing import hash_ids

IDS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20)
SALTS = st.integers(0, 2**64 - 1)


def layout(ids: list[bytes], between: bytes = b",x\n") -> tuple[bytes, Offsets, Offsets]:
    """A body with the ids at some distance, where each begins, and how long it is."""
    body, starts = bytearray(), []
    for profile_id in ids:
        starts.append(len(body))
        body += profile_id + between
    return bytes(body), np.array(starts, dtype=np.int64), np.array(list(map(len, ids)), dtype=np.int64)


def hash_all(ids: list[bytes], salt: int = 7, between: bytes = b",x\n") -> Hashes:
    return hash_ids(*layout(ids, between), salt)


@given(IDS, SALTS, st.binary(max_size=9))
def test_a_hash_does_not_depend_on_where_the_id_stands(ids: list[bytes], salt: int, between: bytes) -> None:
    together = hash_all(ids, salt, between)
    assert together.dtype == np.uint64
    assert together.tolist() == [int(hash_all([profile_id], salt, b"")[0]) for profile_id in ids]


@given(st.binary(min_size=1, max_size=40), st.data(), SALTS)
def test_every_byte_and_the_length_count(profile_id: bytes, data: st.DataObject, salt: int) -> None:
    place = data.draw(st.integers(0, len(profile_id) - 1))
    flipped = profile_id[place] ^ data.draw(st.integers(1, 255))
    other = profile_id[:place] + bytes([flipped]) + profile_id[place + 1 :]
    hashes = hash_all([profile_id, other, profile_id + b"\0", profile_id + b"a"], salt)
    assert len(set(hashes.tolist())) == 4


@given(IDS, SALTS, SALTS)
def test_another_salt_gives_other_hashes(ids: list[bytes], salt: int, other: int) -> None:
    if salt != other:
        assert not np.any(hash_all(ids, salt) == hash_all(ids, other))


def test_a_hash_is_never_zero() -> None:
    # This salt undoes the length of a one-byte id, so that the hash of a NUL would come to 0.
    assert hash_all([b"\0", b"a"], 0x9E3779B97F4A7C15).all()


def test_no_ids() -> None:
    assert hash_all([]).shape == (0,)
    nothing = np.zeros(0, dtype=np.int64)
    assert hash_ids(b"u,1\n", nothing, nothing, 1).shape == (0,)


@pytest.mark.parametrize(
    "pattern",
    [
        b"%d",
        b"u%09d",
        # Only the second word of these counts up.
        b"customer-%07d",
    ],
)
def test_hashes_of_ids_that_count_up_are_distinct_and_spread_evenly(pattern: bytes) -> None:
    ids = [pattern % number for number in range(65_536)]
    hashes = hash_all(ids)
    assert len(np.unique(hashes)) == len(ids)
    for shift in (0, 8, 28, 56):
        # 256 in each bucket on average, with a standard deviation of 16.
        buckets = np.bincount(((hashes >> np.uint64(shift)) & np.uint64(0xFF)).astype(np.int64), minlength=256)
        assert buckets.min() > 256 - 5 * 16
        assert buckets.max() < 256 + 5 * 16
