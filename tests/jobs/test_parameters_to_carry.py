"""A job has all parameters that rows may get values of, however the jobs before it go on meanwhile."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from pipeline.core.batches.in_flight import InFlight
from pipeline.jobs.job import Job
from pipeline.jobs.row_source.source import parameters_to_carry
from tests.jobs.gathering.test_memory_upkeep import opened, release


@dataclass
class Releasing:
    """The memory of a state, while which is asked a batch in flight is remembered, and is over."""

    state: Any
    in_flight: InFlight

    @property
    def parameters(self) -> tuple[str, ...]:
        known: tuple[str, ...] = self.state.memory.parameters
        release(self.state, "u1")
        self.in_flight.closing(2, [1])
        return known


async def test_what_is_remembered_meanwhile_is_among_them(tmp_path: Path) -> None:
    async with opened(tmp_path, "values") as state:
        in_flight = InFlight(lambda _: np.zeros(0, dtype=np.uint64))
        for seq in (1, 2):
            in_flight.enter(seq)
        in_flight.add(1, 1, np.zeros(0, dtype=np.uint64), ("tier",))
        in_flight.leave(1)
        job = SimpleNamespace(
            export=SimpleNamespace(gone={}),
            in_flight=in_flight,
            record=SimpleNamespace(seq=2),
            state=SimpleNamespace(memory=Releasing(state, in_flight)),
            host=state.host,
        )
        assert await parameters_to_carry(cast(Job, job)) == ("tier",)
        assert in_flight.parameters(2) == ()
