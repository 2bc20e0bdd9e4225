"""The connections to Target with real TLS servers: who is trusted, what is sent, where names may lead."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.core.errors import ConfigurationError
from pipeline.edges.target.addresses import is_public
from pipeline.edges.target.authorities import trusting
from pipeline.edges.target.proxy import proxy_for
from pipeline.edges.target.session import open_session, wrong_with_connection
from pipeline.edges.target.token_file import read_token
from tests.tools.support import put_no_file

AUTHORITY = trustme.CA()


@dataclass
class Server:
    """A server that answers 200 to each request, and what it was sent."""

    port: int = 0
    received: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.received.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=tls) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def context_of(*, name: str = "localhost", kind: str = "good") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if kind == "self-signed":
        pem = AUTHORITY.cert_pem.bytes() + AUTHORITY.private_key_pem.bytes()
        with trustme.Blob(pem).tempfile() as file:
            context.load_cert_chain(file)
        return context
    authority = trustme.CA() if kind == "unknown" else AUTHORITY
    until = datetime.now(UTC) - timedelta(days=1) if kind == "expired" else None
    certificate = authority.issue_cert(name, not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=until)
    certificate.configure_cert(context)
    if kind == "old":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def ca_file(directory: Path) -> Path:
    file = directory / "ca.pem"
    file.write_bytes(AUTHORITY.cert_pem.bytes())
    return file


class TestCertificates:
    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    @pytest.mark.parametrize(
        ("kind", "name", "told"),
        [
            ("expired", "localhost", "it has expired"),
            ("good", "elsewhere.example.com", "it is for another host"),
            ("unknown", "localhost", "it is of an authority that is not known here"),
            ("self-signed", "localhost", "not trusted"),
            # It ends the connection itself.
            ("old", "localhost", ""),
        ],
    )
    async def test_a_server_that_is_not_trusted_gets_nothing(
        self, tmp_path: Path, kind: str, name: str, told: str
    ) -> None:
        trusted = None if kind == "self-signed" else ca_file(tmp_path)
        async with serving(context_of(name=name, kind=kind)) as server:
            url = f"https://localhost:{server.port}"
            async with open_session(url, ca_file=trusted) as session:
                with pytest.raises(aiohttp.ClientError) as caught:
                    await session.post(url, data=b"rows", headers={"Authorization": "Bearer secret"})
        assert told in (wrong_with_connection(caught.value) or "")
        assert server.received == []

    async def test_a_private_authority_in_the_configuration(self, tmp_path: Path) -> None:
        """For the host of `base_url` and for the hosts of statuses alike."""
        async with serving(context_of()) as server, serving(context_of()) as of_statuses:
            url = f"https://localhost:{server.port}"
            async with open_session(url, ca_file=ca_file(tmp_path)) as session:
                assert (await session.post(url, data=b"rows")).status == 200
                assert (await session.get(f"https://localhost:{of_statuses.port}/")).status == 200

    async def test_it_is_added_to_those_of_the_system(self, tmp_path: Path) -> None:
        of_system = ssl.create_default_context().cert_store_stats()["x509"]
        context = trusting(ca_file(tmp_path))
        assert context is not None
        assert context.cert_store_stats()["x509"] == of_system + 1

    @pytest.mark.parametrize(
        ("kind", "told"),
        [
            ("missing", "is not there"),
            ("directory", "is not there, or is no file"),
            ("empty", "holds no certificate"),
            ("text", "holds no certificate"),
            ("broken", "holds no certificate"),
            ("key", "holds no certificate"),
        ],
    )
    def test_a_file_that_is_none(self, tmp_path: Path, kind: str, told: str) -> None:
        file = tmp_path / "ca.pem"
        contents = {
            "empty": b"",
            "text": b"hello",
            "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "key": AUTHORITY.private_key_pem.bytes(),
        }
        if kind == "directory":
            file.mkdir()
        elif kind in contents:
            file.write_bytes(contents[kind])
        with pytest.raises(ConfigurationError, match=told):
            trusting(file)


class TestPasswordsOfOthers:
    @pytest.mark.parametrize("token", [None, "secret"])
    async def test_a_netrc_is_never_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("default login other password hunter2\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(netrc))
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with serving(context_of()) as server:
            url = f"https://localhost:{server.port}"
            async with open_session(url, ca_file=ca_file(tmp_path)) as session:
                await session.post(url, data=b"rows", headers=headers)
                await session.get(url, headers=headers)
        sent = [line for head in server.received for line in head.splitlines() if line.startswith("Authorization")]
        assert sent == ([] if token is None else [f"Authorization: Bearer {token}"] * 2)


class TestProxy:
    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    @pytest.mark.parametrize(
        ("variables", "url", "proxy"),
        [
            ({}, "https://a.example.com", None),
            ({"HTTPS_PROXY": "http://p.example:3128"}, "https://a.example.com", "http://p.example:3128"),
            ({"https_proxy": "http://p.example:3128/"}, "https://a.example.com:8443", "http://p.example:3128"),
            ({"HTTPS_PROXY": "p.example:3128"}, "https://a.example.com", "http://p.example:3128"),
            ({"HTTPS_PROXY": "http://[::1]:3128"}, "https://a.example.com", "http://[::1]:3128"),
            ({"HTTPS_PROXY": "http://p.example"}, "https://a.example.com", "http://p.example:80"),
            ({"HTTPS_PROXY": ""}, "https://a.example.com", None),
            ({"HTTP_PROXY": "http://p.example:1"}, "https://a.example.com", None),
            ({"HTTPS_PROXY": "http://p.example:1"}, "http://localhost:8080", None),
            ({"HTTPS_PROXY": "http://p.example:1", "NO_PROXY": "example.com"}, "https://a.example.com", None),
            ({"HTTPS_PROXY": "http://p.example:1", "NO_PROXY": "*"}, "https://a.example.com", None),
        ],
    )
    def test_named_by_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = proxy_for(url)
        assert (found and found.url) == proxy

    def test_its_password_is_shown_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2%40@p.example:3128")
        found = proxy_for("https://a.example.com")
        assert found is not None
        assert (found.user, found.password) == ("me", "hunter2@")
        assert "hunter2" not in f"{found}{found.url}"

    @pytest.mark.parametrize(
        "value", ["socks5://p:1", "https://p:1", "http://", "http://p:99999", "http://me:hunter2@"]
    )
    def test_one_that_cannot_be_used(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("HTTPS_PROXY", value)
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY cannot be used") as caught:
            proxy_for("https://a.example.com")
        assert "hunter2" not in str(caught.value)


class Names(AbstractResolver):
    """A table of names and addresses."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in self._addresses[host]
        ]

    async def close(self) -> None:
        pass


class TestAddresses:
    HOST = "mboxedge35.tt.omtrdc.net"
    PATTERN = ("mboxedge*.tt.omtrdc.net",)

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("8.8.8.8", True),
            ("2606:4700::1111", True),
            *[
                (address, False)
                for address in (
                    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
                    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
                    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
                    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "no address"),
                )
            ],
            ("64:ff9b::808:808", True),
        ],
    )
    def test_which_are_public(self, address: str, public: bool) -> None:
        assert is_public(address) == public

    async def test_a_name_that_only_a_pattern_allows(self) -> None:
        async with serving() as server:
            names = Names({self.HOST: ["127.0.0.1"]})
            async with open_session("http://localhost", status_hosts=self.PATTERN, resolver=names) as session:
                with pytest.raises(aiohttp.ClientError) as caught:
                    await session.get(f"http://{self.HOST}:{server.port}/")
        assert "it leads to a private network" in str(wrong_with_connection(caught.value))
        assert server.received == []

    async def test_one_address_of_several_is_enough(self) -> None:
        async with serving() as server:
            names = Names({self.HOST: ["127.0.0.1", "203.0.113.1"]})
            async with open_session("http://localhost", status_hosts=self.PATTERN, resolver=names) as session:
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"http://{self.HOST}:{server.port}/")
        assert server.received == []

    @pytest.mark.parametrize("host", ["gateway.example.com", "status.example.com"])
    async def test_names_of_the_configuration_may_lie_anywhere(self, host: str) -> None:
        async with serving() as server:
            names, of_statuses = Names({host: ["127.0.0.1"]}), ("status.example.com:8443",)
            async with open_session("http://gateway.example.com", status_hosts=of_statuses, resolver=names) as session:
                assert (await session.get(f"http://{host}:{server.port}/")).status == 200

    async def test_the_default_host_is_not_named(self) -> None:
        async with serving() as server:
            names = Names({"demo.tt.omtrdc.net": ["127.0.0.1"]})
            async with open_session("https://demo.tt.omtrdc.net", is_named=False, resolver=names) as session:
                with pytest.raises(aiohttp.ClientError) as caught:
                    await session.get(f"http://demo.tt.omtrdc.net:{server.port}/")
        assert "it leads to a private network" in str(wrong_with_connection(caught.value))
        assert server.received == []


class TestTokenFile:
    @pytest.mark.parametrize(
        ("kind", "told"),
        [
            ("fifo", "is not a file"),
            ("directory", "is not a file"),
            ("loop", "Too many levels of symbolic links"),
            ("missing", "No such file"),
            ("device", "is not a file"),
        ],
    )
    def test_what_is_no_file_is_never_waited_for(self, tmp_path: Path, kind: str, told: str) -> None:
        file = put_no_file(tmp_path / "token", kind)
        with pytest.raises(ConfigurationError, match=told):
            read_token(file)

    @pytest.mark.parametrize(
        "content",
        [b"", b" \n", b"a\x01b", b"a\0b", b"a\x7fb", "tök".encode(), b"\xef\xbb\xbfabc", b"a b", b"a" * 2_000_000],
    )
    def test_a_content_that_is_no_token(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "token"
        file.write_bytes(content)
        with pytest.raises(ConfigurationError):
            read_token(file)

    def test_a_token(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_bytes(b" abc.DEF-123\r\n")
        assert read_token(file) == "abc.DEF-123"
