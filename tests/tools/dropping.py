"""What the tests of the service share: a drop directory, its configuration, and what became of what was dropped."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from pipeline.edges.lock import holder
from tests.tools.support import (
    Bench,
    Ended,
    Process,
    assert_every_row_is_in_one_class,
    bench,
    run_program,
    started,
    until,
)

HEADER = "id,tier,ltv"


def text_of(*lines: str) -> str:
    return "\n".join((HEADER, *lines)) + "\n"


class Drop:
    """A drop directory, its configuration, and what became of what was dropped."""

    def __init__(self, at: Bench) -> None:
        self.at = at
        self.directory = at.directory / "drop"
        self.directory.mkdir(exist_ok=True)

    def config(self, **sections: Mapping[str, Any]) -> Path:
        drop = {
            "directory": str(self.directory),
            "poll_s": 0.05,
            "signal_wait_s": 0.3,
            "settle_s": 0.05,
            **sections.pop("drop", {}),
        }
        return self.at.config(drop=drop, **sections)

    def put(self, name: str, *lines: str, signal_as: str | None = None, manifest: str = "") -> Path:
        """An export, and its signal behind it."""
        file = self.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text_of(*lines))
        if signal_as is not None:
            (file.parent / signal_as).write_text(manifest)
        return file

    def reports(self) -> list[dict[str, Any]]:
        """The reports of all jobs that have ended, in the order in which they ended."""
        found = [orjson.loads(file.read_bytes()) for file in self.at.state.glob("jobs/*/report.json")]
        for report in found:
            assert_every_row_is_in_one_class(report)
        return sorted(found, key=lambda report: (report["finished_at"], self._age(report)))

    def _age(self, report: Mapping[str, Any]) -> int:
        age: int = (self.at.state / "jobs" / report["job"] / "report.json").stat().st_mtime_ns
        return age

    def ends(self) -> dict[str, str]:
        """By name of the export how its job ended."""
        return {report["export"]["name"]: report["state"] for report in self.reports()}

    def error_of(self, name: str) -> str:
        (report,) = [report for report in self.reports() if report["export"]["name"] == name]
        assert report["state"] == "failed", report
        return str(report["error"])

    def left(self) -> list[str]:
        """What is in the drop directory, what was taken and is not settled with it."""
        files = [path.relative_to(self.directory).as_posix() for path in self.directory.rglob("*")]
        return sorted(set(files) - {".processing", ".processing/lock"})

    async def drain(self, **sections: Mapping[str, Any]) -> Ended:
        return await run_program("serve", "--drain", "--config", self.config(**sections))

    @asynccontextmanager
    async def serving(
        self, *options: str, config: Path | None = None, cold: bool = False, **sections: Mapping[str, Any]
    ) -> AsyncIterator[Process]:
        """The service, once it has begun: the lock file of one that was killed is still there, and nobody holds it."""
        async with started("serve", *options, "--config", config or self.config(**sections), cold=cold) as process:
            await until(lambda: holder(self.directory / ".processing") is not None)
            yield process


@asynccontextmanager
async def dropping(directory: Path, **options: Any) -> AsyncIterator[Drop]:
    async with bench(directory, **options) as at:
        yield Drop(at)


def events(done: Ended, name: str) -> list[dict[str, Any]]:
    found = [orjson.loads(line) for line in done.err.splitlines()]
    return [event for event in found if event["event"] == name]
