"""Seconds of fuzzing: the seeds of each target and the same few examples each time; `make fuzz` looks for more."""

import pytest

from tests.tools.fuzz.running import Fuzzing, SlowError, judged, run_examples, run_seeds
from tests.tools.fuzz.seeds import FOUND, long_inputs, seeds
from tests.tools.fuzz.targets import LONGEST_BYTES, TARGETS, warm_up

SEEDS, EXAMPLES = 60, 40


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_on_what_others_write(name: str) -> None:
    warm_up(name)
    fuzzing = Fuzzing(name)
    known = seeds(name)
    run_seeds(fuzzing, [*known[:: 1 + len(known) // SEEDS], *FOUND.get(name, ())])
    run_examples(TARGETS[name], fuzzing, EXAMPLES, 0)
    assert fuzzing.crashes == []
    assert fuzzing.inputs >= EXAMPLES


def test_each_target_has_seeds() -> None:
    assert {name for name in TARGETS if len(seeds(name)) < 2} == set()
    assert set(FOUND) <= set(TARGETS)


def test_long_inputs_are_as_long_as_any_may_be() -> None:
    assert {len(data) for data in long_inputs("status")} == {LONGEST_BYTES}


def test_what_breaks_is_told_with_its_input() -> None:
    def breaks(data: bytes) -> None:
        assert b"<status>" not in data

    fuzzing = Fuzzing("status")
    run_examples(breaks, fuzzing, EXAMPLES, 0)
    assert len(fuzzing.crashes) == 1
    assert fuzzing.crashes[0].startswith("status: AssertionError")
    assert "<status>" in fuzzing.crashes[0].rpartition(", for ")[2]


def test_what_takes_long_is_a_finding_too() -> None:
    judged(TARGETS["status"])(b"<response>")
    with pytest.raises(SlowError):
        judged(TARGETS["status"], slow_s=0.0)(b"<response>")
