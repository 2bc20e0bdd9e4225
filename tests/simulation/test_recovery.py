"""I6: to recover, having crashed in a recovery, is to recover."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.batches.checkpoint import Checkpoint
from tests.simulation.climate import Climate
from tests.simulation.disk import Fuse
from tests.simulation.world import World
from tests.tools.ordering import in_order

#: Processes that crash, and attempts of which nobody knows what became of them, but no other faults.
CRASHING = Climate(
    actions=(*["answer"] * 12, *["grow"] * 8, *["wait"] * 4, *["drop"] * 3, *["crash"] * 3),
    commands=(),
    least=20,
    clients=(1,),
)


def comparable(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint without what differs from ledger to ledger, as hashes are salted, and what hangs on the time."""
    counters = sorted((0, rows, line) for _, rows, line in checkpoint.frequent_ids)
    return replace(checkpoint, turn=0, seconds=0.0, calls=0, frequent_ids=counters)


def facts_of(world: World) -> list[Any]:
    """What is in the ledger, but for times, in the order in which the jobs go on.

    The turn of a job depends on whether the one before has ended or only been read: their order does not.
    """
    (client,) = world.clients
    ledger = client.ledger
    return [
        (
            *(job.seq, job.state, comparable(job.checkpoint), ledger.held_rows(job)),
            # Hashes are salted.
            [(replace(each.batch, ids_sha256=""), each.facts) for each in batches],
        )
        for job in in_order(ledger.jobs())
        for batches in [ledger.batches(job=job)]
    ]


def recovered(seed: int, crash_after: int | None) -> list[Any]:
    """What is in the ledger when a process has crashed and another has come to rest; or crashed as well, and another.

    Nothing is read and nothing is sent meanwhile.
    """
    with tempfile.TemporaryDirectory(
        prefix="simulation-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as name:
        world = World(Path(name), seed, CRASHING)
        try:
            for _ in range(world.random.randint(CRASHING.least, CRASHING.most)):
                world.act()
            world.recover(None if crash_after is None else Fuse(crash_after))
            return facts_of(world)
        finally:
            world.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_recovery_that_was_cut_off_changes_nothing(seed: int) -> None:
    with capture_logs():
        once = recovered(seed, None)
        for crash_after in (2, 6, 11):
            assert recovered(seed, crash_after) == once, f"crashed again before step {crash_after}"
