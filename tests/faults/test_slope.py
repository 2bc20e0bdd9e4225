"""A leak is found beneath the ups and downs of jobs, and ups and downs are not taken for one."""

import random

import pytest

from tests.tools.faults.slope import trend

SECONDS = range(600)


def saw(second: int) -> float:
    """The memory of a process whose jobs take up to 30 s, in MB."""
    return 90.0 + second * 7 % 30


def noise(seed: int) -> list[float]:
    draw = random.Random(seed)
    return [saw(second) + draw.gauss(0.0, 5.0) for second in SECONDS]


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_found(seed: int) -> None:
    leaking = [value + 24.0 * second / len(SECONDS) for second, value in enumerate(noise(seed))]
    found = trend(leaking, tolerance=5.0)
    assert found is not None
    assert found.is_slope
    assert 12.0 < found.rise < 20.0, "three quarters of 24, between the middles of the windows"


@pytest.mark.parametrize("seed", range(20))
def test_ups_and_downs_are_no_slope(seed: int) -> None:
    found = trend(noise(seed), tolerance=1.0)
    assert found is not None
    assert not found.is_slope


@pytest.mark.parametrize(
    "values",
    [
        [100.0] * 600,
        [60.0] * 100 + [100.0] * 500,
        [100.0] * 570 + [200.0] * 30,
        [100.0] * 300 + [110.0] * 300,
        [150.0 - second / 10 for second in SECONDS],
    ],
    ids=["level", "caches fill", "a job at the end", "one step", "falling"],
)
def test_no_slope(values: list[float]) -> None:
    found = trend(values, tolerance=5.0)
    assert found is not None
    assert not found.is_slope


def test_a_rise_within_the_tolerance_is_no_slope() -> None:
    values = [100.0 + second / 100 for second in SECONDS]
    assert [trend(values, tolerance=tolerance).is_slope for tolerance in (10.0, 1.0)] == [False, True]  # type: ignore[union-attr]


def test_too_few_to_tell() -> None:
    assert trend([1.0] * 10, tolerance=1.0) is None
