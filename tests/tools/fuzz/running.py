"""Runs a target on inputs of hypothesis, and judges each run: it raises nothing, and takes no more than a second."""

import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.tools.faults.tally import Tally
from tests.tools.fuzz.seeds import inputs, long_inputs, seeds, shown
from tests.tools.fuzz.targets import TARGETS, Target, warm_up

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
        longest = f"{self.longest_s * 1e3:>9.1f} ms the longest" if self.longest_s else ""
        return f"{self.name:<12}{self.inputs:>10,} inputs{len(self.crashes):>5} crashes{self.seconds:>8.1f} s{longest}"


def judged(target: Target, fuzzing: Fuzzing | None = None, *, slow_s: float = SLOW_S) -> Target:
    """A target with a limit on its time."""

    def run(data: bytes) -> None:
        took_s = _timed(target, data)
        if took_s > slow_s:
            # Garbage, or the first use of something: only what takes as long again counts.
            took_s = min(took_s, _timed(target, data))
        if fuzzing is not None:
            fuzzing.inputs += 1
            fuzzing.longest_s = max(fuzzing.longest_s, took_s)
        if took_s > slow_s:
            raise SlowError(f"{took_s:.1f} s for {len(data):,} bytes")

    return run


def _timed(target: Target, data: bytes) -> float:
    began_s = time.thread_time()
    target(data)
    return time.thread_time() - began_s


def run_seeds(fuzzing: Fuzzing, given_seeds: Iterable[bytes]) -> None:
    """A target on these inputs."""
    run = judged(TARGETS[fuzzing.name], fuzzing)
    for data in given_seeds:
        _note(fuzzing, run, data)


def run_examples(target: Target, fuzzing: Fuzzing, count: int, number: int) -> None:
    """So many examples of hypothesis, by this seed; one crash at most, in its smallest form."""
    run = judged(target, fuzzing)
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
    @given(inputs(fuzzing.name))
    def examples(data: bytes) -> None:
        last[0] = data
        run(data)

    try:
        examples()
    except Exception as error:  # noqa: BLE001 - anything that a target raises is a finding
        fuzzing.crashes.append(_told(fuzzing.name, last[0], error))


def fuzz_for(name: str, seconds: float, number: int) -> Fuzzing:
    """Seeds, inputs of full length made of them, then examples until the time is over; it ends at the first crash."""
    warm_up(name)
    fuzzing, began_s = Fuzzing(name), time.monotonic()
    run_seeds(fuzzing, (*seeds(name), *long_inputs(name)))
    while time.monotonic() - began_s < seconds and not fuzzing.crashes:
        run_examples(TARGETS[name], fuzzing, 200, number)
        number += 1
    fuzzing.seconds = time.monotonic() - began_s
    return fuzzing


def one_run(seed: int) -> Tally:
    """A few seconds of all targets, with atheris where it is. Raises `AssertionError` at a crash."""
    # In processes of their own, as `make fuzz` does.
    command = [sys.executable, "-m", "tests.tools.fuzz", "--json", "--seconds", "12", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, check=False)
    told = [Fuzzing(**orjson.loads(line)) for line in done.stdout.splitlines()]
    crashes = [crash for each in told for crash in each.crashes]
    assert told and not crashes, "\n".join(crashes) or done.stderr.decode()
    return Tally(runs=1, events=sum(each.inputs for each in told))


def _note(fuzzing: Fuzzing, run: Target, data: bytes) -> None:
    try:
        run(data)
    except Exception as error:  # noqa: BLE001 - anything that a target raises is a finding
        if len(fuzzing.crashes) < 3:
            fuzzing.crashes.append(_told(fuzzing.name, data, error))


def _told(name: str, data: bytes, error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = f"{type(error).__name__}: {error}"[:300]
    return f"{name}: {words}\n  at {place.filename}:{place.lineno}, for {shown(data)[:2_000]}"
