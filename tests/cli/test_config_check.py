"""The self-check against real files and real servers on the loopback interface."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from pipeline.cli.config.check import Finding, check, check_all
from pipeline.edges.lock import state_lock
from pipeline.edges.target.token_file import MAX_TOKEN_BYTES
from pipeline.settings.sections.memory import MemorySettings
from pipeline.settings.sections.windows import WindowSettings
from pipeline.settings.settings import Settings, load_settings
from pipeline.settings.tenants import Configuration
from tests.service.web.site import free_port
from tests.tools.support import NOBODY, settings_for

#: Nobody listens on port 1 of the loopback interface.
CLOSED = "http://127.0.0.1:1"


def settings_with(
    directory: Path, *, min_free_bytes: int = 0, id_kind: str = "thirdPartyId", **target: object
) -> Settings:
    overrides = {
        "target": {"client_code": "demo", "base_url": CLOSED, **target},
        "export": {"id_column": "id", "id_kind": id_kind},
        "state": {"directory": directory, "min_free_bytes": min_free_bytes},
    }
    return load_settings(None, env={}, overrides=overrides)


async def findings(settings: Settings, subject: str, **options: Any) -> list[Finding]:
    return [found for found in await check(settings, **options) if found.subject == subject]


async def finding(settings: Settings, subject: str, **options: Any) -> Finding:
    (found,) = await findings(settings, subject, **options)
    return found


@pytest.mark.parametrize(
    ("days", "verdict", "text"),
    [(["sat"], "ok", "now: "), (["sat", "sun"], "warning", "sending pauses for 48 hours on end")],
)
async def test_a_pause_that_outlasts_statuses(tmp_path: Path, days: list[str], verdict: str, text: str) -> None:
    keys = {"days": days, "from": "00:00", "to": "24:00", "time_zone": "UTC", "pause": True}
    settings = settings_with(tmp_path).model_copy(update={"windows": (WindowSettings(**keys),)})
    found = await finding(settings, "[[windows]]")
    assert (found.verdict, found.text[: len(text)]) == (verdict, text)


async def test_without_windows_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert await findings(settings_with(tmp_path), "[[windows]]") == []


@asynccontextmanager
async def server(
    context: ssl.SSLContext | None = None, *, greeting: bytes = b""
) -> AsyncIterator[tuple[int, asyncio.Queue[bytes]]]:
    """A server on 127.0.0.1: its port, and all that each connection sent until it was closed."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        received.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as running:
        yield running.sockets[0].getsockname()[1], received


class TestConnection:
    authority = trustme.CA()

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def certified(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        return context

    async def test_trusted_certificate(self, tmp_path: Path) -> None:
        async with server(self.certified("localhost")) as (port, received):
            settings = settings_with(tmp_path, base_url=f"https://localhost:{port}")
            found = await finding(settings, "[target] base_url", ssl_context=self.trusting())
            text = f"localhost:{port}: connected over TLS, its certificate is trusted"
            assert found == Finding("[target] base_url", "ok", text)
            assert await asyncio.wait_for(received.get(), 5) == b""

    async def test_unknown_authority(self, tmp_path: Path) -> None:
        async with server(self.certified("localhost")) as (port, _):
            found = await finding(settings_with(tmp_path, base_url=f"https://localhost:{port}"), "[target] base_url")
        assert found.verdict == "problem"
        assert "its certificate is not trusted (it is of an authority that is not known here)" in found.text

    async def test_certificate_of_another_host(self, tmp_path: Path) -> None:
        async with server(self.certified("elsewhere.example.com")) as (port, _):
            settings = settings_with(tmp_path, base_url=f"https://localhost:{port}")
            found = await finding(settings, "[target] base_url", ssl_context=self.trusting())
        assert found.verdict == "problem"
        assert "its certificate is not trusted (it is for another host)" in found.text

    async def test_server_without_tls(self, tmp_path: Path) -> None:
        async with server(greeting=b"220 this is no TLS\r\n") as (port, _):
            settings = settings_with(tmp_path, base_url=f"https://127.0.0.1:{port}")
            found = await finding(settings, "[target] base_url")
        assert found.verdict == "problem"
        assert "no TLS handshake (" in found.text

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    async def test_server_that_ends_the_handshake(self, tmp_path: Path) -> None:
        """One of old TLS only, say. Python's error is without a word then."""
        old = self.certified("localhost")
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        async with server(old) as (port, _):
            settings = settings_with(tmp_path, base_url=f"https://localhost:{port}")
            found = await finding(settings, "[target] base_url", ssl_context=self.trusting())
        assert found.verdict == "problem"
        assert "()" not in found.text
        assert "no connection (it was closed while it was made)" in found.text or "no TLS handshake (" in found.text

    async def test_server_that_never_answers(self, tmp_path: Path) -> None:
        async with server() as (port, _):
            settings = settings_with(tmp_path, base_url=f"https://127.0.0.1:{port}")
            found = await finding(settings, "[target] base_url", connect_limit_s=0.05)
        assert found.verdict == "problem"
        assert "no answer within 0.05 s" in found.text

    async def test_plain_http_on_loopback(self, tmp_path: Path) -> None:
        async with server() as (port, received):
            found = await finding(settings_with(tmp_path, base_url=f"http://127.0.0.1:{port}"), "[target] base_url")
            assert found == Finding("[target] base_url", "ok", f"127.0.0.1:{port}: connected, without TLS")
            assert await asyncio.wait_for(received.get(), 5) == b""

    async def test_nobody_listens(self, tmp_path: Path) -> None:
        found = await finding(settings_with(tmp_path), "[target] base_url")
        assert found.verdict == "problem"
        assert "127.0.0.1:1: no connection (" in found.text
        assert found.text.endswith("if [target] base_url is right")

    async def test_name_that_does_not_exist(self, tmp_path: Path) -> None:
        settings = settings_with(tmp_path, base_url="https://nowhere.invalid")
        found = await finding(settings, "[target] base_url")
        assert found.verdict == "problem"
        assert "nowhere.invalid:443: the name cannot be resolved" in found.text


class TestToken:
    async def check(self, tmp_path: Path, content: bytes, mode: int = 0o600) -> Finding:
        file = tmp_path / "token"
        file.write_bytes(content)
        file.chmod(mode)
        return await finding(settings_with(tmp_path, token_file=str(file)), "[target] token_file")

    async def test_none(self, tmp_path: Path) -> None:
        found = await finding(settings_with(tmp_path), "[target] token_file")
        assert found.verdict == "ok"
        assert "calls carry no token" in found.text

    @pytest.mark.parametrize("content", [b"abc.DEF-123", b"abc.DEF-123\n", b"abc.DEF-123\r\n"])
    async def test_good(self, tmp_path: Path, content: bytes) -> None:
        found = await self.check(tmp_path, content)
        assert found == Finding("[target] token_file", "ok", f"{tmp_path / 'token'} holds a token")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    @pytest.mark.parametrize(("mode", "verdict"), [(0o440, "ok"), (0o444, "warning")])
    async def test_of_somebody_else_and_read_by_its_group(self, tmp_path: Path, mode: int, verdict: str) -> None:
        """So Kubernetes gives secrets to those who are not root."""
        file = tmp_path / "token"
        file.write_bytes(b"abc")
        file.chmod(mode)
        os.chown(file, NOBODY, os.getegid())
        found = await finding(settings_with(tmp_path, token_file=str(file)), "[target] token_file")
        assert found.verdict == verdict

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
    async def test_others_can_read_it(self, tmp_path: Path, mode: int) -> None:
        found = await self.check(tmp_path, b"abc", mode)
        assert found.verdict == "warning"
        assert f"(mode {mode:04o}): chmod 600 {tmp_path / 'token'}" in found.text

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"", "is empty"),
            (b" \n\n", "is empty"),
            (b"hunter2\nhunter3", "holds blanks or line breaks inside the token"),
            (b"Bearer hunter2", 'without "Bearer"'),
            (b"\xef\xbb\xbfhunter2", "byte order mark"),
            ("hunter2é".encode(), "characters that no token has"),
            (b"hunter2\0", "characters that no token has"),
            (b"hunter2" * MAX_TOKEN_BYTES, f"holds more than {MAX_TOKEN_BYTES} bytes"),
        ],
    )
    async def test_unusable_and_not_shown(self, tmp_path: Path, content: bytes, text: str) -> None:
        found = await self.check(tmp_path, content)
        assert found.verdict == "problem"
        assert text in found.text
        assert "hunter" not in found.text

    async def test_missing(self, tmp_path: Path) -> None:
        settings = settings_with(tmp_path, token_file=str(tmp_path / "none"))
        found = await finding(settings, "[target] token_file")
        assert found.verdict == "problem"
        assert "none cannot be read (No such file or directory)" in found.text

    async def test_directory(self, tmp_path: Path) -> None:
        found = await finding(settings_with(tmp_path, token_file=str(tmp_path)), "[target] token_file")
        assert found.verdict == "problem"
        assert "is not a file" in found.text


def names_in(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


class TestState:
    async def test_existing_directory_is_left_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.db").touch()
        found = await finding(settings_with(tmp_path), "[state] directory")
        assert found == Finding("[state] directory", "ok", f"{tmp_path} can be written")
        assert names_in(tmp_path) == ["ledger.db"]

    async def test_missing_directory_is_not_created(self, tmp_path: Path) -> None:
        directory = tmp_path / "a" / "b"
        found = await finding(settings_with(directory), "[state] directory")
        assert found.verdict == "ok"
        assert found.text == f"{directory} does not exist yet and can be created"
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("below", [".", "a/b"])
    async def test_file_in_its_place(self, tmp_path: Path, below: str) -> None:
        file = tmp_path / "file"
        file.touch()
        assert await findings(settings_with(file / below), "[state] min_free_bytes") == []
        found = await finding(settings_with(file / below), "[state] directory")
        assert found.verdict == "problem"
        assert "Not a directory" in found.text

    async def test_name_too_long(self, tmp_path: Path) -> None:
        found = await finding(settings_with(tmp_path / ("x" * 300)), "[state] directory")
        assert found.verdict == "problem"
        assert "File name too long" in found.text

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a directory in which nobody can create a file")
    @pytest.mark.parametrize("directory", ["/proc", "/proc/a/b"])
    async def test_directory_that_cannot_be_written(self, directory: str) -> None:
        found = await finding(settings_with(Path(directory)), "[state] directory")
        assert found.verdict == "problem"
        assert f"{directory} cannot be used: " in found.text

    @pytest.mark.parametrize("below", [".", "a/b"])
    async def test_free_bytes(self, tmp_path: Path, below: str) -> None:
        directory = tmp_path / below
        enough = await finding(settings_with(directory, min_free_bytes=1), "[state] min_free_bytes")
        assert enough.verdict == "ok"
        short = await finding(settings_with(directory, min_free_bytes=2**50), "[state] min_free_bytes")
        assert short.verdict == "problem"
        assert f"{2**50:,} are needed; make room, or lower it" in short.text


class TestDropDirectory:
    async def test_there_need_be_none(self, tmp_path: Path) -> None:
        assert await findings(settings_with(tmp_path), "[drop] directory") == []

    async def test_it_must_be_there_and_may_be_written(self, tmp_path: Path) -> None:
        settings = settings_with(tmp_path)
        for directory, verdict in ((tmp_path, "ok"), (tmp_path / "missing", "problem"), (Path("/proc"), "problem")):
            drop = settings.drop.model_copy(update={"directory": directory})
            found = await finding(settings.model_copy(update={"drop": drop}), "[drop] directory")
            assert found.verdict == verdict
        assert names_in(tmp_path) == []

    async def test_others_may_replace_the_folders_of_jobs(self, tmp_path: Path) -> None:
        subject, settings = "[drop] outcome_directory", settings_with(tmp_path / "state")
        for name, mode, verdicts in (("a", 0o2770, ["warning"]), ("b", 0o777, ["warning"]), ("c", 0o3770, [])):
            directory = tmp_path / name
            directory.mkdir()
            directory.chmod(mode)
            drop = settings.drop.model_copy(update={"outcome_directory": directory})
            found = await findings(settings.model_copy(update={"drop": drop}), subject)
            assert [each.verdict for each in found] == verdicts


class TestCombinations:
    async def test_pcid_with_v2(self, tmp_path: Path) -> None:
        found = await finding(settings_with(tmp_path, id_kind="pcId"), "[export] id_kind")
        assert found.verdict == "warning"
        assert 'set [target] api_version = "v1"' in found.text

    async def test_pcid_with_v1_and_thirdpartyid_with_v2(self, tmp_path: Path) -> None:
        for settings in (
            settings_with(tmp_path, id_kind="pcId", api_version="v1"),
            settings_with(tmp_path, api_version="v2"),
        ):
            assert await findings(settings, "[export] id_kind") == []

    async def test_what_says_nothing_new_is_sent_before_target_forgets_it(self, tmp_path: Path) -> None:
        subject = "[memory] refresh_days"
        for memory, verdicts in (
            ({"remember": "digests", "send": "changes", "refresh_days": 14.0}, ["warning"]),
            ({"remember": "digests", "send": "changes", "refresh_days": 13.5}, []),
            ({"remember": "digests", "refresh_days": 30.0}, []),
        ):
            settings = settings_with(tmp_path).model_copy(update={"memory": MemorySettings.model_validate(memory)})
            assert [each.verdict for each in await findings(settings, subject)] == verdicts

    async def test_more_calls_than_target_allows(self, tmp_path: Path) -> None:
        subject, url = "[target] calls_per_minute", "https://nowhere.invalid"
        found = await finding(settings_with(tmp_path, calls_per_minute=51, base_url=url), subject)
        assert found.verdict == "warning"
        assert "51 calls per minute, but Target answers 503 above 50" in found.text
        assert await findings(settings_with(tmp_path, calls_per_minute=50, base_url=url), subject) == []
        assert await findings(settings_with(tmp_path, calls_per_minute=51), subject) == []

    async def test_everything_that_can_be_wrong_is_looked_at(self, tmp_path: Path) -> None:
        assert [found.subject for found in await check(settings_with(tmp_path))] == [
            "[target] token_file",
            "[target] base_url",
            "[state] directory",
            "[state] min_free_bytes",
        ]


class TestWeb:
    """The port and the token of [web]; `tests.service.web.test_access` has what the service makes of them."""

    async def found(self, directory: Path, *, drop: bool = True, **web: Any) -> dict[str, Finding]:
        """The findings about [web], by key."""
        (directory / "drop").mkdir(exist_ok=True)
        drops = {"directory": str(directory / "drop")} if drop else {}
        settings = settings_for(CLOSED, directory / "state", web=web, drop=drops)
        findings = await check_all(Configuration.of_one(settings))
        return {each.subject: each for each in findings if each.subject.startswith("[web]")}

    async def test_a_port_that_nobody_has(self, tmp_path: Path) -> None:
        (found,) = (await self.found(tmp_path, port=free_port())).values()
        assert (found.subject, found.verdict) == ("[web] port", "ok")

    async def test_nothing_is_said_where_nothing_listens(self, tmp_path: Path) -> None:
        assert await self.found(tmp_path, port=0) == {}
        assert await self.found(tmp_path, port=free_port(), drop=False) == {}

    async def test_a_port_in_use(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            found = (await self.found(tmp_path, port=port))["[web] port"]
            assert (found.verdict, found.text.partition(";")[0]) == (
                "warning",
                f"127.0.0.1 port {port}: Address already in use",
            )
            # The service itself may be the one.
            with state_lock(tmp_path / "state"):
                found = (await self.found(tmp_path, port=port))["[web] port"]
                assert (found.verdict, f"while process {os.getpid()} is at work" in found.text) == ("ok", True)

    async def test_a_host_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("x" * 16)
        (tmp_path / "token").chmod(0o600)
        found = await self.found(tmp_path, host="nowhere.invalid", port=1, token_file=str(tmp_path / "token"))
        assert {key: each.verdict for key, each in found.items()} == {"[web] port": "warning", "[web] token_file": "ok"}

    @pytest.mark.parametrize(
        ("content", "mode", "verdict", "text"),
        [
            ("x" * 16, 0o600, "ok", "holds a token"),
            ("x" * 15, 0o600, "warning", "can be guessed"),
            ("x" * 16, 0o644, "warning", "chmod 600"),
            ("x" * 16, 0o640, "warning", "chmod 600"),
            ("two words", 0o600, "problem", "must hold one token"),
            ("", 0o600, "problem", "is empty"),
        ],
    )
    async def test_its_token(self, tmp_path: Path, content: str, mode: int, verdict: str, text: str) -> None:
        file = tmp_path / "token"
        file.write_text(content)
        file.chmod(mode)
        found = (await self.found(tmp_path, port=free_port(), token_file=str(file)))["[web] token_file"]
        assert (found.verdict, text in found.text) == (verdict, True), found

    async def test_its_token_is_missing(self, tmp_path: Path) -> None:
        found = (await self.found(tmp_path, port=free_port(), token_file=str(tmp_path / "none")))["[web] token_file"]
        assert (found.verdict, "No such file" in found.text) == ("problem", True)
