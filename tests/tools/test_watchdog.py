"""The watchdog sees a step that blocks the loop, and nothing hostile makes one; `watchdog` runs them all."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import structlog

from tests.tools.hostile import Hostile
from tests.tools.hostile_answers import all_hostile
from tests.tools.watchdog import LONGEST_BLOCK_S, block_of, watched

#: Those that once blocked the loop for the longest, and take little time now; the rest is `make torture`'s.
QUICK = (
    "a header of 40,000 columns",
    "a megabyte of commas behind the id column",
    "a header of 50 MB, packed",
    "names that are all but the columns configured",
    "long names that are all but the columns configured",
    "marks upon marks in names",
    "blanks before a sep",
    "comments of a page",
    "byte order marks",
    "lines of commas before a header",
    "30,000 broken rows",
    "an object of 50,000 keys",
    "a manifest of a megabyte",
    "to a POST: CDATA that opens",
    "to a POST: what was sent",
    "of a status: profiles that open",
)


async def block(for_s: float) -> None:
    await asyncio.sleep(0)
    began = time.thread_time()
    while time.thread_time() - began < for_s:
        pass


def test_a_step_that_blocks_is_seen() -> None:
    with watched() as found:
        asyncio.run(block(0.15))
    assert found.longest_s >= 0.15
    with watched() as found:
        asyncio.run(block(0.0))
    assert found.longest_s < 0.15


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Hostile]]:
    """All that is hostile, by name; it takes seconds to make, and hundreds of megabytes while it is there."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield {hostile.name: hostile for hostile in all_hostile()}
    structlog.reset_defaults()


@pytest.mark.parametrize("name", QUICK)
def test_no_hostile_export_blocks_the_loop(name: str, table: dict[str, Hostile]) -> None:
    worst = block_of(table[name])
    assert worst.longest_s < LONGEST_BLOCK_S, worst
