"""The sample of a job: the ids that are drawn first, whatever batches they come in, and others for another job."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.explain.sample import drawn_first, draws

hash_sets = st.sets(st.integers(1, 2**64 - 1), max_size=60)


@given(hash_sets, st.integers(0, 70), st.integers(0, 60))
def test_the_first_of_all_are_among_the_first_of_each_part(found: set[int], count: int, cut: int) -> None:
    hashes = np.array(sorted(found), dtype=np.uint64)
    first = hashes[drawn_first(hashes, "job", count)].tolist()
    assert first == sorted(found, key=lambda each: int(draws(np.array([each], dtype=np.uint64), "job")[0]))[:count]
    parts = [part[drawn_first(part, "job", count)].tolist() for part in (hashes[:cut], hashes[cut:])]
    assert {*first} <= {*parts[0], *parts[1]}


def test_another_job_draws_others() -> None:
    hashes = np.arange(1, 10_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    one, other = ({*drawn_first(hashes, job, 100).tolist()} for job in ("a", "b"))
    assert len(one) == len(other) == 100
    assert len(one & other) < 20


def test_any_id_may_be_drawn() -> None:
    hashes = np.arange(1, 101, dtype=np.uint64) * np.uint64(0xFF51AFD7ED558CCD)
    counts = np.zeros(100)
    for number in range(400):
        counts[drawn_first(hashes, f"job {number}", 10)] += 1
    assert counts.min() > 10
    assert counts.max() < 90
