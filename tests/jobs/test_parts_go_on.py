"""Loads of several parts that are stopped and go on, in virtual time."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.edges.exports import BLOCK_BYTES, Parts, identity_of
from tests.simulation.exports import TextExport, text_of
from tests.simulation.staged import staged
from tests.simulation.virtually import virtually
from tests.tools.support import profiles_after

HEADER = "id,tier,ltv\n"


@virtually
async def test_a_seal_between_two_parts_is_gone_on_from(tmp_path: Path) -> None:
    """The next part is looked into, then a held row is freed and fills a batch; then the process ends."""
    lines = ("u1,gold,1", "u2,gold,2", "u3,gold,3", "u1,silver,4")
    one_by_one = {"max_rows": 1}
    directory = tmp_path / "export"
    directory.mkdir()

    @asynccontextmanager
    async def slow(path: Path, _encoding: str | None = None, parts: Parts = (), /) -> AsyncIterator[TextExport]:
        async def end_of(start: int) -> int:
            if export.part == "part-1":
                if start > parts[0].identity.size_bytes:
                    signal.raise_signal(signal.SIGTERM)
                    await asyncio.sleep(1_000.0)
                # By then the first batches are applied. The block has a header, and no row.
                await asyncio.sleep(100.0)
                return start + len(HEADER)
            return start + BLOCK_BYTES

        texts = [(part.name, text_of(path.parent / part.name)) for part in parts]
        export = TextExport(path, identity_of(parts), texts, end_of)
        yield export

    async with staged(tmp_path, apply_min_s=10.0, apply_max_s=20.0) as stage:
        stage.export("export/part-0", *lines)
        stage.export("export/part-1", "u4,gold,5", "u5,gold,6")
        stopped_by = replace(stage, host=replace(stage.host, open_export=slow))
        (stopped,) = await stopped_by.load_all(directory, batch=one_by_one)
        assert (stopped["state"], stopped["error"]) == ("unfinished", "stopped by SIGTERM.")
        with stage.ledger() as ledger:
            (job,) = ledger.jobs()
        assert [part.name for part in job.checkpoint.parts] == ["part-0"]
        assert job.checkpoint.read == len(lines)
        (done,) = await stage.load_all(directory, batch=one_by_one)
        assert (done["job"], done["state"], done["error"]) == (stopped["job"], "done", None)
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == profiles_after(*lines, "u4,gold,5", "u5,gold,6")
