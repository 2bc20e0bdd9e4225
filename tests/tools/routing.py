"""What the tests of routes share: drop directories of several client codes, each with a sandbox of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.sandbox import FaultPlan
from tests.tools.dropping import text_of
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


@dataclass(slots=True)
class Route:
    """A drop directory: its name, the client code it goes to, and the keys it has of its own."""

    directory: Path
    client_code: str
    keys: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, *lines: str, manifest: str | None = "") -> None:
        """An export, and unless the manifest is None its signal behind it."""
        (self.directory / name).write_text(text_of(*lines))
        if manifest is not None:
            (self.directory / f"{name}.ready").write_text(manifest)


class Routes:
    """A configuration of routes, and what became of what was dropped. The first client code is the top level's."""

    def __init__(self, directory: Path, benches: Mapping[str, Bench]) -> None:
        self.directory = directory
        self.at = benches
        self.routes: dict[str, Route] = {}

    def add(self, name: str, client_code: str, **keys: Any) -> Route:
        """A route; keys are given as `target__token_file="..."`."""
        route = Route(self.directory / name, client_code, {key.replace("__", "."): keys[key] for key in keys})
        route.directory.mkdir(exist_ok=True)
        self.routes[name] = route
        return route

    @property
    def file(self) -> Path:
        """The configuration."""
        return self.directory / "config.toml"

    def config(self, **sections: Mapping[str, Any]) -> Path:
        """The configuration, as the routes are now."""
        owner = next(iter(self.at.values()))
        first = next(iter(self.at))
        target = {"client_code": first, **sections.pop("target", {})}
        drop = {"poll_s": 0.05, "signal_wait_s": 0.3, "settle_s": 0.05, **sections.pop("drop", {})}
        owner.config(target=target, drop=drop, **sections)
        text = self.file.read_text()
        for name, route in self.routes.items():
            keys = {
                "drop.directory": str(route.directory),
                "target.client_code": route.client_code,
                "target.base_url": self.at[route.client_code].base_url,
                **route.keys,
            }
            text += f'[[routes]]\nname = "{name}"\n'
            text += "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
        self.file.write_text(text)
        return self.file

    def state(self, client_code: str) -> Path:
        """Where the ledger of a client code is to be."""
        state = self.directory / "state"
        return state if client_code == next(iter(self.at)) else state / "clients" / client_code

    def reports(self, client_code: str) -> list[dict[str, Any]]:
        """The reports of its jobs that have ended, in the order in which they ended."""
        files = list(self.state(client_code).glob("jobs/*/report.json"))
        found = sorted((file.stat().st_mtime_ns, orjson.loads(file.read_bytes())["job"], file) for file in files)
        reports = [orjson.loads(file.read_bytes()) for _, _, file in found]
        for report in reports:
            assert_every_row_is_in_one_class(report)
            assert report["client_code"] == client_code
        return reports

    def ends(self, client_code: str) -> dict[str, str]:
        """By name of the export how its job ended."""
        return {report["export"]["name"]: report["state"] for report in self.reports(client_code)}

    def profiles(self, client_code: str) -> dict[str, dict[str, str]]:
        """What is in its sandbox when all is applied; nothing must have gone wrong there."""
        sandbox = self.at[client_code].sandbox
        sandbox.apply_all()
        assert sandbox.mistakes == [], sandbox.mistakes
        return sandbox.profiles()

    def left(self) -> list[str]:
        """What is in the drop directories, what was taken and is not settled with it."""
        return [f"{name}/{file}" for name, route in self.routes.items() for file in _left(route.directory)]

    async def status(self, *arguments: str) -> dict[str, Any]:
        done = await self.run("status", *arguments, "--json")
        assert done.code == 0, done.said
        told: dict[str, Any] = orjson.loads(done.out)
        return told

    async def run(self, command: str, *arguments: str) -> Ended:
        """A command with the configuration as it is."""
        return await run_program(command, *arguments, "--config", self.file)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        """The service with the configuration as it is, once it listens."""
        async with started("serve", "--config", self.file) as process:
            await until(lambda: all((self.state(code) / "requests").exists() for code in self._served()))
            yield process

    def _served(self) -> set[str]:
        return {route.client_code for route in self.routes.values()}


def _left(directory: Path) -> list[str]:
    files = [path.relative_to(directory).as_posix() for path in directory.rglob("*")]
    return sorted(set(files) - {".processing", ".processing/lock"})


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return orjson.dumps(value).decode()


@asynccontextmanager
async def routing(
    directory: Path, *client_codes: str, faults: Mapping[str, FaultPlan] | None = None, **options: Mapping[str, Any]
) -> AsyncIterator[Routes]:
    """A sandbox for each client code; `options` are those of each by its name."""
    async with AsyncExitStack() as stack:
        benches = {
            code: await stack.enter_async_context(
                bench(directory, faults=(faults or {}).get(code), client_code=code, **options.get(code, {}))
            )
            for code in client_codes
        }
        yield Routes(directory, benches)
