"""A few of the random plans of faults, each time others; `python -m tests.tools.faults.plans` loads under hundreds."""

import pytest

from tests.tools.drawn import seeds
from tests.tools.faults.plans import FAMILIES, load_under_faults


@pytest.mark.parametrize("seed", seeds(6))
def test_a_random_plan_of_faults_ends_as_the_export_says_or_says_what_does_not(seed: int) -> None:
    load_under_faults(seed, FAMILIES[seed % len(FAMILIES)])
