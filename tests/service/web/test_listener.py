"""Where the service listens: over a port that is in use, another configuration, and none at all; rows come first."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from structlog.testing import capture_logs

from pipeline.edges.clock import Clock
from pipeline.jobs.ending import Ending
from pipeline.service.web.listener import Listener
from pipeline.service.web.readiness import Condition
from pipeline.settings.tenants import Configuration
from tests.service.web.site import free_port, of_settings
from tests.tools.support import until


@asynccontextmanager
async def listening(configuration: Configuration, **options: Any) -> AsyncIterator[Listener]:
    """A listener at work."""
    listener = Listener(configuration, Clock(), Condition([], Ending(), drain=False), again_in_s=0.02, **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        yield listener
        tasks.cancel_scope.cancel()


async def health(address: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{address}/healthz") as response:
        return response.status


def on(directory: Path, **web: Any) -> Configuration:
    return of_settings(directory, web=web)


async def test_a_port_in_use_is_told_and_tried_again(tmp_path: Path) -> None:
    with capture_logs() as logs, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with listening(on(tmp_path, port=port)) as listener:
            await until(lambda: logs)
            (told,) = logs
            assert (told["event"], told["log_level"], told["port"]) == ("web_not_listening", "warning", port)
            assert "in use" in told["why"]
            assert told["to_do"].startswith("end what listens there, or set another [web] port")
            assert (listener.address, listener.problem) == (
                None,
                f"cannot listen on 127.0.0.1 port {port}: {told['why']}",
            )
            other.close()
            await until(lambda: listener.address == f"http://127.0.0.1:{port}")
            assert await health(f"http://127.0.0.1:{port}") == 200
            assert listener.problem is None
    # Each try but the first is left out of the log.
    assert [line["event"] for line in logs] == ["web_not_listening", "web_listening"]


@pytest.mark.parametrize(("host", "to_do"), [("nowhere.invalid", "see [web] host"), ("192.0.2.1", "set [web] host to")])
async def test_an_address_that_is_not_of_this_machine(tmp_path: Path, host: str, to_do: str) -> None:
    token = tmp_path / "token"
    with capture_logs() as logs:
        async with listening(on(tmp_path, host=host, port=free_port(), token_file=str(token))) as listener:
            await until(lambda: logs)
            assert logs[0]["to_do"].startswith(to_do), logs
            assert listener.address is None


async def test_another_port_and_token_are_taken_at_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    first, second = free_port(), free_port()
    async with listening(on(tmp_path, port=first)) as listener:
        await until(lambda: listener.address)
        listener.take(on(tmp_path, port=second, token_file=str(tmp_path / "token")))
        await until(lambda: listener.address and listener.address.endswith(f":{second}"))
        assert listener.address is not None
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{listener.address}/status") as response:
                assert response.status == 401
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.1:{first}/healthz")


async def test_off_and_on_again(tmp_path: Path) -> None:
    port = free_port()
    with capture_logs() as logs:
        async with listening(on(tmp_path, port=0)) as listener:
            listener.take(on(tmp_path, port=port))
            await until(lambda: listener.address)
            listener.take(on(tmp_path, port=0))
            await until(lambda: listener.address is None)
            with socket.create_server(("127.0.0.1", port)):
                pass
    assert [line["event"] for line in logs] == ["web_listening"]


async def test_what_is_no_address_any_more_goes_at_once(tmp_path: Path) -> None:
    """While it waits for a port, another configuration is taken without a wait."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with listening(on(tmp_path, port=other.getsockname()[1])) as listener:
            listener.take(on(tmp_path, port=free_port()))
            await until(lambda: listener.address)


async def test_all_addresses_are_those_of_both_kinds(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    (tmp_path / "token").write_text("a-token")
    async with listening(on(tmp_path, host="::", port=port, token_file=str(tmp_path / "token"))) as listener:
        await until(lambda: listener.address)
        assert listener.address == f"http://[::]:{port}"
        assert [await health(f"http://{host}:{port}") for host in ("127.0.0.1", "[::1]")] == [200, 200]


async def test_it_ends_with_open_connections(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with listening(on(tmp_path, port=free_port())) as listener:
            await until(lambda: listener.address)
            response = await session.get(f"{listener.address}/events")
            await response.content.readuntil(b"retry")
        assert b"event:" not in await response.content.read()
