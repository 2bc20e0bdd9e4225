"""`retry --rejects` from the command line, killed and asked for rows that were not rejected."""

import asyncio
import os
from pathlib import Path

from tests.tools.support import bench, ended, names_in, profiles_after, run_program, started, until


async def test_a_kill_before_the_job_is_entered_leaves_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        done = await at.load("u1,gold,1", ",silver,2", export={"max_rejects": "100%"})
        job, config, fixed = done.report["job"], tmp_path / "config.toml", tmp_path / "fixed.csv"
        pipe = tmp_path / "pipe"
        os.mkfifo(fixed)
        os.mkfifo(pipe)
        async with started("retry", job, "--config", config, "--rejects", fixed) as process:
            # It is read once to know if it was loaded, and then copied: from a pipe into which nobody writes.
            with await asyncio.to_thread(fixed.open, "w") as first:
                first.write("_line,id,tier,ltv\n3,u2,silver,2\n")
                pipe.rename(fixed)
            await until(lambda: len(names_in(at.state / "jobs")) == 2)
            process.kill()
            await ended(process)
        fixed.unlink()
        fixed.write_text("_line,id,tier,ltv\n3,u2,silver,2\n9,u3,new,3\n")
        refused = await run_program("retry", job, "--config", config, "--rejects", fixed)
        assert (refused.code, "1 row is named by `_line` as no" in refused.err) == (65, True), refused.said
        assert names_in(at.state / "jobs") == [job]
        fixed.write_text("_line,id,tier,ltv\n3,u2,silver,2\n")
        assert (await run_program("retry", job, "--config", config, "--rejects", fixed)).code == 0
        at.sandbox.apply_all()
        assert at.sandbox.profiles() == profiles_after("u1,gold,1", "u2,silver,2")
