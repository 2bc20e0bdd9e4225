"""Another configuration is taken whole: every tenant gets its own, and POSTs under way get the grace that it says."""

import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import FatalError
from pipeline.jobs.ending import Ending
from pipeline.service.reload import Reloading
from pipeline.settings.tenants import Configuration, Tenant
from tests.tools.support import CLOSED, settings_for


@dataclass
class Taker:
    """What runs for a client code, and the settings that it was given."""

    client_code: str
    taken: list[Tenant] = field(default_factory=list)

    def take(self, settings: Tenant) -> None:
        self.taken.append(settings)


async def hangups(count: int = 1) -> AsyncIterator[signal.Signals]:
    for _ in range(count):
        yield signal.SIGHUP


def configuration(
    directory: Path, *, grace_s: float = 25.0, deadline_s: float = 300.0, free: int = 0, remember: str = "nothing"
) -> Configuration:
    """Two client codes, the first with this grace."""
    tenants = []
    for code in ("acme", "other"):
        settings = settings_for(
            CLOSED,
            directory / code,
            target={"client_code": code},
            settle={"deadline_s": deadline_s},
            state={"min_free_bytes": free},
            memory={"remember": remember},
            service={"grace_s": grace_s},
        )
        tenants.append(Tenant({code: settings}, directory))
    return Configuration(tuple(tenants), directory, has_routes=True)


@dataclass
class Web:
    """The web server, and the configurations that it was given."""

    taken: list[Configuration] = field(default_factory=list)

    def take(self, configuration: Configuration) -> None:
        self.taken.append(configuration)


@dataclass
class Service:
    """A process with two client codes, before and after it is told to read its configuration again."""

    directory: Path
    ending: Ending = field(default_factory=lambda: Ending(grace_s=25.0))
    changes: list[list[str]] = field(default_factory=list)
    web: Web = field(default_factory=Web)
    takers: list[Taker] = field(default_factory=lambda: [Taker("other"), Taker("acme")])

    async def reload(self, read_again: Callable[[], Configuration] | None, *, times: int = 1) -> list[str]:
        """Be told so; the events of the log. `changes` are those that it names of each time."""
        reloading = Reloading(configuration(self.directory), read_again, self.takers, self.web, self.ending)
        with capture_logs() as logs:
            await reloading.listen(hangups(times))
        self.changes = [line["changed"] for line in logs if "changed" in line]
        return [line["event"] for line in logs]

    @property
    def taken(self) -> dict[str, list[Tenant]]:
        return {taker.client_code: taker.taken for taker in self.takers}


async def test_every_tenant_takes_its_own_and_the_process_its_grace(tmp_path: Path) -> None:
    service = Service(tmp_path)
    job = service.ending.child().child()
    new = configuration(tmp_path, grace_s=3.0, deadline_s=50.0)
    assert await service.reload(lambda: new) == ["configuration_taken"]
    assert service.taken == {"acme": [new.tenants[0]], "other": [new.tenants[1]]}
    assert (service.ending.grace_s, job.grace_s) == (3.0, 3.0)
    assert service.web.taken == [new]
    assert service.ending.is_due is False


async def test_the_next_one_is_compared_with_the_one_in_force(tmp_path: Path) -> None:
    service = Service(tmp_path)
    coming = [configuration(tmp_path, grace_s=3.0, deadline_s=50.0), configuration(tmp_path, deadline_s=50.0)]
    expected = [coming[0].tenants[0], coming[1].tenants[0]]
    assert await service.reload(lambda: coming.pop(0), times=2) == ["configuration_taken"] * 2
    assert service.taken["acme"] == expected
    assert service.ending.grace_s == 25.0
    deadlines = [f"[settle] deadline_s of route {code}" for code in ("acme", "other")]
    first, second = map(sorted, service.changes)
    assert (first, second) == (sorted(["[service] grace_s", *deadlines]), ["[service] grace_s"])


def cannot_be_read() -> Configuration:
    raise FatalError("a typo in line 3")


def is_not_there() -> Configuration:
    raise OSError("no such file")


@pytest.mark.parametrize("read_again", [cannot_be_read, is_not_there])
async def test_one_that_cannot_be_read_changes_nothing(tmp_path: Path, read_again: Callable[[], Configuration]) -> None:
    service = Service(tmp_path)
    assert await service.reload(read_again) == ["configuration_refused"]
    assert (service.taken, service.ending.grace_s) == ({"acme": [], "other": []}, 25.0)


@pytest.mark.parametrize("fixed", [{"free": 9}, {"remember": "digests"}])
async def test_nor_one_that_changes_what_cannot_change(tmp_path: Path, fixed: dict[str, Any]) -> None:
    service = Service(tmp_path)
    assert await service.reload(lambda: configuration(tmp_path, grace_s=3.0, **fixed)) == ["configuration_refused"]
    assert (service.taken, service.ending.grace_s) == ({"acme": [], "other": []}, 25.0)


async def test_without_a_file_there_is_nothing_to_read_again(tmp_path: Path) -> None:
    service = Service(tmp_path)
    assert await service.reload(None) == []
    assert service.taken == {"acme": [], "other": []}
