"""Every answer of Target has a name to be counted by, and no two have the same."""

from typing import get_args

import pytest

from pipeline.core.target.outcome_names import POST_OUTCOMES, STATUS_OUTCOMES
from pipeline.core.target.replies import PostOutcome, StatusOutcome


@pytest.mark.parametrize(("names", "outcomes"), [(POST_OUTCOMES, PostOutcome), (STATUS_OUTCOMES, StatusOutcome)])
def test_every_answer_has_a_name_of_its_own(names: dict[type, str], outcomes: object) -> None:
    assert names.keys() == set(get_args(outcomes))
    assert len(set(names.values())) == len(names)
