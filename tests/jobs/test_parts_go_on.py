"""Loads of several parts that are stopped and go on, in virtual time."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.exports import BLOCK_BYTES, Parts
from pipeline.edges.target.call_queue import CallQueue
from pipeline.jobs.job import Job
from tests.simulation.exports import TextExport, files_of
from tests.simulation.staged import Stage, staged
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
        async def end_of(number: int, start: int) -> int:
            if number == 1:
                if start:
                    signal.raise_signal(signal.SIGTERM)
                    await asyncio.sleep(1_000.0)
                # By then the first batches are applied. The block has a header, and no row.
                await asyncio.sleep(100.0)
                return start + len(HEADER)
            return start + BLOCK_BYTES

        yield TextExport(path, files_of(path, parts), end_of)

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


ONE_BY_ONE: dict[str, Any] = {"batch": {"max_rows": 1}, "upload": {"concurrency": 1}}


async def stopped_in_second(stage: Stage, *directories: Path) -> str:
    """Load directories, until a batch of the first was accepted; the id of its job."""

    async def stop(job: Job, _: CallQueue) -> None:
        while not stage.posts:  # noqa: ASYNC110 - it is the doing of the load
            await asyncio.sleep(0.01)
        raise FatalError("stopped", exit_code=ExitCode.UNFINISHED)

    reports = await stage.load_all(*directories, watch=stop, **ONE_BY_ONE)
    assert reports[0]["state"] == "unfinished"
    return str(reports[0]["job"])


def directory_of(stage: Stage, name: str, *rows: str) -> Path:
    """A directory with a part of each of these rows."""
    for number, row in enumerate(rows):
        (stage.directory / name).mkdir(exist_ok=True)
        stage.export(f"{name}/part-{number:02}", row)
    return stage.directory / name


@virtually
async def test_the_same_command_goes_on_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        one = directory_of(stage, "one", "u1,gold,1", "u2,gold,2", "u3,gold,3")
        other = directory_of(stage, "other", "u1,silver,4")
        job = await stopped_in_second(stage, one, other)
        first, second = await stage.load_all(one, other, **ONE_BY_ONE)
        assert [first["job"], first["state"], second["state"]] == [job, "done", "done"]
        assert [part["name"] for part in first["parts"]] == ["part-00", "part-01", "part-02"]
        stage.sandbox.apply_all()
        assert stage.sandbox.profiles() == profiles_after("u2,gold,2", "u3,gold,3", "u1,silver,4")
        again = await stage.load_all(one, other, **ONE_BY_ONE)
        assert [(each["state"], each["same_as"]) for each in again] == [
            ("skipped", each["job"]) for each in (first, second)
        ]
        assert len(stage.posts) == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda last: last.write_text("id,tier,ltv\nu0,silver,33\n"), "part-29 was changed while it was being loaded"),
        (Path.unlink, "cannot read the export .*part-29: No such file"),
        (lambda last: rmtree(last.parent), "cannot read the export .*part-00: No such file"),
    ],
)
@virtually
async def test_a_part_that_changed_ends_the_job_and_is_named(
    tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    async with staged(tmp_path) as stage:
        directory = directory_of(stage, "one", *(f"u{number},gold,1" for number in range(30)))
        job = await stopped_in_second(stage, directory)
        change(directory / "part-29")
        reports = await stage.load_all(directory, **ONE_BY_ONE)
        (failed,) = [report for report in reports if report["job"] == job]
        assert failed["state"] == "failed"
        assert re.search(told, failed["error"])
        assert 1 <= failed["rows"]["confirmed"] <= failed["rows"]["read"] < 30
        # What is there now, if anything, is another export.
        others = [report["state"] for report in reports if report["job"] != job]
        assert others == (["done"] if directory.exists() else [])


@virtually
async def test_a_part_that_was_added_is_of_another_export(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        directory = directory_of(stage, "one", "u1,gold,1", "u2,gold,2")
        job = await stopped_in_second(stage, directory)
        stage.export("one/part-9", "u9,gold,9")
        first, second = await stage.load_all(directory, **ONE_BY_ONE)
        assert (first["job"], first["state"], first["rows"]["read"]) == (job, "done", 2)
        assert (second["state"], second["rows"]["read"]) == ("done", 3)


@virtually
async def test_many_parts_come_to_as_many_batches_as_one_file_of_the_same_rows(tmp_path: Path) -> None:
    rows = [f"u{number},gold,{number}" for number in range(5_000)]
    async with staged(tmp_path) as stage:
        (tmp_path / "many").mkdir()
        for number in range(200):
            stage.export(f"many/part-{number:03}", *rows[25 * number :][:25])
        export = stage.export("one.csv", *rows)
        each = await stage.load_all(tmp_path / "many", export, batch={"max_rows": 2_000})
        sizes = [[batch["rows"] for batch in report["batches"]] for report in each]
        assert sizes == [[2_000, 2_000, 1_000]] * 2
        assert len(stage.posts) == 6
