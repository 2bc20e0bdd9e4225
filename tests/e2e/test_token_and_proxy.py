"""The way to Target as people have it: a token that ends or is missing, and a proxy between."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import trustme
from aiohttp import web

from pipeline.cli.config.check import check
from tests.tools.dropping import dropping, events
from tests.tools.support import Bench, Ended, bench, run_program, settings_for, unheard


def in_days(days: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=days)


class TestNoToken:
    async def test_where_one_is_wanted(self, tmp_path: Path) -> None:
        async with bench(tmp_path, token="right") as at:
            done = await at.load("u1,gold,1")
        assert done.code == 77
        assert "Target requires authentication (HTTP 401), and no token is set" in done.report["error"]
        assert "[target] token_file" in done.report["error"]
        assert "refuses the token" not in done.said

    async def test_the_check_says_what_it_means(self, tmp_path: Path) -> None:
        settings = settings_for("https://nowhere.invalid", tmp_path)
        (found,) = [each for each in await check(settings) if each.subject == "[target] token_file"]
        assert found.verdict == "warning"
        assert 'works only while "Require Authentication" is off' in found.text
        assert "everybody who knows the client code can send" in found.text


class TestExpiry:
    @pytest.mark.parametrize(
        ("days", "verdict", "code", "told"),
        [
            (40, "ok", 0, "expires in 40 days"),
            (3, "warning", 0, "expires in 3 days"),
            (0, "warning", 0, "expires today"),
            (-2, "problem", 78, "expired 2 days ago"),
        ],
    )
    async def test_in_all_places(self, tmp_path: Path, days: int, verdict: str, code: int, told: str) -> None:
        token, expires = tmp_path / "token", in_days(days)
        token.write_text("right")
        token.chmod(0o600)
        target = {"token_file": str(token), "token_expires": expires.isoformat()}
        async with bench(tmp_path, token="right") as at:
            config = ("--config", at.config(target=target))
            checked = await run_program("config", "check", *config, "--json")
            load = await run_program("load", at.export("u1,gold,1"), *config, "--json")
            status = await run_program("status", *config)
            as_json = orjson.loads((await run_program("status", *config, "--json")).out)
            health = await run_program("health", *config)
        assert checked.code == code
        (found,) = [
            each for each in orjson.loads(checked.out)["findings"] if each["subject"] == "[target] token_expires"
        ]
        assert found["verdict"] == verdict
        for text in (found["text"], status.out, health.out):
            assert f"the token {told}" in text.replace("The token", "the token")
        assert (as_json["token_expires"], as_json["token_days_left"]) == (expires.isoformat(), days)
        warned = events(load, "token_expires")
        assert [(event["days_left"], event["on"], event["level"]) for event in warned] == (
            [] if days > 10 else [(days, expires.isoformat(), "warning")]
        )
        assert load.code == 0, "it is Target that decides"

    async def test_a_service_warns_too(self, tmp_path: Path) -> None:
        target = {"token_expires": in_days(5).isoformat()}
        async with dropping(tmp_path) as drop:
            done = await run_program("serve", "--drain", "--config", drop.config(target=target))
        assert [event["days_left"] for event in events(done, "token_expires")] == [5]

    async def test_without_it_nothing_is_said(self, tmp_path: Path) -> None:
        async with bench(tmp_path) as at:
            done = await at.load("u1,gold,1")
            config = ("--config", at.config())
            assert "oken" not in (await run_program("status", *config)).out
            assert orjson.loads((await run_program("status", *config, "--json")).out)["token_expires"] is None
        assert events(done, "token_expires") == []

    async def test_a_date_without_a_token(self, tmp_path: Path) -> None:
        at = unheard(tmp_path)
        config = at.config(target={"token_expires": "2027-02-28"})
        assert "2027-02-28, but there is no token" in (await run_program("config", "check", "--config", config)).out


# --- Proxies ----------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """An HTTP proxy on loopback, which connects to whatever it is asked for, if `user` is who asks."""

    port: int = 0
    user: str | None = None
    asked: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, place, _ = head.split(" ", 2)
            self.asked.append(f"{method} {place}")
            if self.user is not None and "Proxy-Authorization: Basic" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = place.rpartition(":")
            there_reads, there_writes = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pass_on(reader, there_writes), _pass_on(there_reads, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@dataclass
class Surroundings:
    """A sandbox that is reached over TLS, and a proxy on the way to it."""

    at: Bench
    proxy: Proxy
    url: str
    authority: Path

    async def run(self, *arguments: str | Path, **variables: str) -> Ended:
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{self.proxy.port}", "SSL_CERT_FILE": str(self.authority)}
        env = {"NO_PROXY": "", **proxy, **variables}
        env["no_proxy"] = env["NO_PROXY"]
        # The HTTP library reads the certificates to trust when it is imported.
        return await run_program(*arguments, env=env, cold=True)

    def config(self) -> Path:
        return self.at.config(target={"base_url": self.url})


@asynccontextmanager
async def surroundings(directory: Path, *, user: str | None = None) -> AsyncIterator[Surroundings]:
    authority = trustme.CA()
    trusted = directory / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    proxy = Proxy(user=user)
    async with (
        bench(directory) as at,
        _over_tls(at.base_url, tls) as url,
        await asyncio.start_server(proxy.answer, "127.0.0.1", 0) as server,
    ):
        proxy.port = server.sockets[0].getsockname()[1]
        yield Surroundings(at, proxy, url, trusted)


@asynccontextmanager
async def _over_tls(base_url: str, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """A server over TLS that passes calls on to a sandbox."""
    async with aiohttp.ClientSession() as session:

        async def pass_on(request: web.Request) -> web.Response:
            content = {"Content-Type": request.headers.get("Content-Type", "")}
            body, url = await request.read(), base_url + request.path_qs
            async with session.request(request.method, url, data=body, headers=content) as answer:
                text = (await answer.text()).replace(base_url, str(request.url.origin()))
                return web.Response(text=text, status=answer.status)

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{rest:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        try:
            yield f"https://localhost:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def connection(done: Ended) -> dict[str, Any]:
    (found,) = [each for each in orjson.loads(done.out)["findings"] if each["subject"] == "[target] base_url"]
    return dict(found)


class TestProxy:
    async def test_a_load_and_the_check_go_the_same_way(self, tmp_path: Path) -> None:
        async with surroundings(tmp_path) as around:
            config = around.config()
            place = around.url.removeprefix("https://")
            found = connection(await around.run("config", "check", "--config", config, "--json"))
            assert around.proxy.asked == [f"CONNECT {place}"]
            assert found["verdict"] == "ok"
            assert found["text"].endswith(f"certificate is trusted through the proxy 127.0.0.1:{around.proxy.port}")
            assert sum(around.at.sandbox.calls.values()) == 0, "nothing is sent"
            done = await around.run("load", around.at.export("u1,gold,1"), "--config", config, "--json")
            assert done.report["rows"]["confirmed"] == 1
            assert len(around.proxy.asked) == 1 + done.report["calls"]
            assert set(around.proxy.asked) == {f"CONNECT {place}"}

    async def test_not_where_no_proxy_says_so(self, tmp_path: Path) -> None:
        async with surroundings(tmp_path) as around:
            config = around.config()
            found = connection(await around.run("config", "check", "--config", config, "--json", NO_PROXY="localhost"))
            load = ("load", around.at.export("u1,gold,1"), "--config", config, "--json")
            done = await around.run(*load, NO_PROXY="localhost")
            assert (found["verdict"], done.code) == ("ok", 0)
            assert "proxy" not in found["text"]
            assert around.proxy.asked == []

    async def test_one_that_wants_a_password(self, tmp_path: Path) -> None:
        async with surroundings(tmp_path, user="me") as around:
            config = around.config()
            refused = connection(await around.run("config", "check", "--config", config, "--json"))
            with_password = f"http://me:hunter2@127.0.0.1:{around.proxy.port}"
            done = await around.run("config", "check", "--config", config, "--json", HTTPS_PROXY=with_password)
            given_up = await around.run(
                "load", around.at.export("u1,gold,1"), "--config", config, "--json", "--wait", "0.5"
            )
        assert refused["verdict"] == "problem"
        assert "the proxy answers HTTP 407; give its user and password in HTTPS_PROXY" in refused["text"]
        assert connection(done)["verdict"] == "ok"
        assert "hunter2" not in done.said
        assert given_up.report["rows"]["unconfirmed"] == 0, "a proxy that refuses passed nothing on"

    async def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        async with surroundings(tmp_path) as around:
            done = await around.run(
                "config", "check", "--config", around.config(), "--json", HTTPS_PROXY="http://127.0.0.1:1"
            )
        found = connection(done)
        assert (found["verdict"], done.code) == ("problem", 78)
        assert "through the proxy 127.0.0.1:1: no connection to the proxy" in found["text"]
        assert "see HTTPS_PROXY and NO_PROXY" in found["text"]

    async def test_the_sandbox_needs_none(self, tmp_path: Path) -> None:
        """By plain http, which is for loopback only, nothing goes through a proxy."""
        async with bench(tmp_path) as at:
            env = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
            config = ("--config", at.config(), "--json")
            assert connection(await run_program("config", "check", *config, env=env))["verdict"] == "ok"
            assert (await run_program("load", at.export("u1,gold,1"), *config, env=env)).code == 0
