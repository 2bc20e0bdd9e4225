"""Runs a target on inputs of hypothesis, and judges each run: it raises nothing, and takes no more than a second."""

import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.tools.faults.tally import Tally
from tests.tools.fuzz.seeds import inputs, long_inputs, seeds, shown
from tests.tools.fuzz.targets import TARGETS, warm_up

#: Seconds of the processor that an input may take.
SLOW_S = 1.0


class SlowError(AssertionError):
    """An input takes too long for its length."""


@dataclass(slots=True)
class Fuzzing:
    """What came of a target. `crashes`: each in words, with the input."""

    name: str
    inputs: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    crashes: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In one line."""
        return (
            f"{self.name:<12}{self.inputs:>10,} inputs{len(self.crashes):>5} crashes{self.seconds:>8.1f} s"
            f"{self.longest_s * 1e3:>9.1f} ms the longest"
        )


def judged(name: str, fuzzing: Fuzzing | None = None) -> Callable[[bytes], None]:
    """The target, with a limit on its time."""
    target = TARGETS[name]

    def run(data: bytes) -> None:
        took_s = _timed(target, data)
        if took_s > SLOW_S:
            # Garbage, or the first use of something: only what takes as long again counts.
            took_s = min(took_s, _timed(target, data))
        if fuzzing is not None:
            fuzzing.inputs += 1
            fuzzing.longest_s = max(fuzzing.longest_s, took_s)
        if took_s > SLOW_S:
            raise SlowError(f"{took_s:.1f} s for {len(data):,} bytes")

    return run


def _timed(target: Callable[[bytes], None], data: bytes) -> float:
    began_s = time.thread_time()
    target(data)
    return time.thread_time() - began_s


def run_seeds(name: str, fuzzing: Fuzzing, *, and_long_ones: bool = True) -> None:
    """Every seed, each followed by the input of full length that is made of it."""
    run = judged(name, fuzzing)
    for data in (*seeds(name), *(long_inputs(name) if and_long_ones else ())):
        _note(fuzzing, run, data)


def run_examples(name: str, fuzzing: Fuzzing, count: int, number: int) -> None:
    """So many examples of hypothesis, by this seed; one crash at most, in its smallest form."""
    run = judged(name, fuzzing)
    last = [b""]

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(inputs(name))
    def examples(data: bytes) -> None:
        last[0] = data
        run(data)

    try:
        examples()
    except Exception as error:  # noqa: BLE001 - anything that a target raises is a finding
        fuzzing.crashes.append(_told(name, last[0], error))


def fuzz_for(name: str, seconds: float, number: int) -> Fuzzing:
    """Seeds, then examples until the time is over; it ends at the first crash."""
    warm_up(name)
    fuzzing, began_s = Fuzzing(name), time.monotonic()
    run_seeds(name, fuzzing)
    while time.monotonic() - began_s < seconds and not fuzzing.crashes:
        run_examples(name, fuzzing, 200, number)
        number += 1
    fuzzing.seconds = time.monotonic() - began_s
    return fuzzing


def one_run(seed: int) -> Tally:
    """A few seconds of all targets, with atheris where it is. Raises `AssertionError` at a crash."""
    # In processes of their own, as `make fuzz` does.
    command = [sys.executable, "-m", "tests.tools.fuzz", "--json", "--seconds", "30", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, check=False)
    told = [Fuzzing(**orjson.loads(line)) for line in done.stdout.splitlines()]
    crashes = [crash for each in told for crash in each.crashes]
    assert told and not crashes, "\n".join(crashes) or done.stderr.decode()
    return Tally(runs=1, events=sum(each.inputs for each in told))


def _note(fuzzing: Fuzzing, run: Callable[[bytes], None], data: bytes) -> None:
    try:
        run(data)
    except Exception as error:  # noqa: BLE001 - anything that a target raises is a finding
        if len(fuzzing.crashes) < 3:
            fuzzing.crashes.append(_told(fuzzing.name, data, error))


def _told(name: str, data: bytes, error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = f"{type(error).__name__}: {error}"[:300]
    return f"{name}: {words}\n  at {place.filename}:{place.lineno}, for {shown(data)[:2_000]}"
