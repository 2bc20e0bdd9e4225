"""The service as a process of its own, with a drop directory and a sandbox."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.support import (
    Bench,
    Ended,
    assert_every_row_is_in_one_class,
    bench,
    profiles_after,
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
        drop = {"directory": str(self.directory), "poll_s": 0.05, "signal_wait_s": 0.3, **sections.pop("drop", {})}
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
    async def serving(self, **sections: Mapping[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
        async with started("serve", "--config", self.config(**sections)) as process:
            await until(lambda: (self.directory / ".processing" / "lock").exists())
            yield process


@asynccontextmanager
async def dropping(directory: Path, **options: Any) -> AsyncIterator[Drop]:
    async with bench(directory, **options) as at:
        yield Drop(at)


def events(done: Ended, name: str) -> list[dict[str, Any]]:
    found = [orjson.loads(line) for line in done.err.splitlines()]
    return [event for event in found if event["event"] == name]


class TestDrain:
    async def test_all_forms_of_signals_at_once(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            drop.put("a.csv", "a,gold,1", signal_as="a.csv.ready")
            drop.put("b.csv", "b,gold,1", signal_as="b.ready")
            drop.put("c.csv", "c,gold,1", signal_as="c.csv.fin", manifest='{"rows": 1}')
            drop.put("d.csv", "d,gold,1", signal_as="d.fin", manifest="rows=1\n")
            drop.put("e/part-1.csv", "e,gold,1")
            drop.put("e/part-0.csv", "e,silver,2", signal_as="_SUCCESS")
            drop.put("f1.csv", "f,gold,1")
            drop.put("f2.csv", "f,silver,", signal_as="both.ready", manifest='{"files": ["f2.csv", "f1.csv"]}')
            drop.put("not-signalled.csv", "x,gold,1")
            done = await drop.drain()
            assert done.code == 0, done.said
            drop.at.sandbox.apply_all()
            lines = [f"{name},gold,1" for name in "abcdef"]
            assert drop.at.sandbox.profiles() == profiles_after("e,silver,2", *lines)
            assert drop.at.sandbox.mistakes == []
            assert len(drop.reports()) == 8
            assert drop.left() == ["not-signalled.csv"]
            (told,) = [event for event in events(done, "drop_finished") if event["signal"] == "e/_SUCCESS"]
            assert (told["exports"], told["not_done"], told["rows"], told["confirmed"]) == (2, 0, 2, 2)
            assert done.out == ""
