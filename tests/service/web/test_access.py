"""Who may ask: by the name under which the server is asked, and by the token."""

from base64 import b64encode
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline.edges.clock import Clock
from pipeline.service.web.access import wrong_name
from pipeline.settings.sections.web import WebSettings
from tests.service.web.site import of_settings, site
from tests.tools.support import put_no_file

TOKEN = "a-token-of-32-random-characters:"
OPEN, CLOSED = ("/healthz", "/readyz"), ("/status", "/jobs", "/jobs/none", "/events", "/openapi.json", "/")


def web(file: Path, text: str = f"{TOKEN}\n") -> WebSettings:
    """Settings for all addresses of a machine, with this in the file of the token."""
    file.write_text(text)
    return WebSettings(host="0.0.0.0", token_file=file)


def basic(password: str, user: str = "anybody") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize("sent", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN), basic(TOKEN, "")])
async def test_whoever_sends_the_token_may_ask(tmp_path: Path, sent: str) -> None:
    async with site(of_settings(tmp_path), web=web(tmp_path / "token")) as at:
        assert (await at.get("/status", Authorization=sent)).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        *("", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.upper()}"),
        *(f"Digest {TOKEN}", "Basic", "Basic ***", basic(""), basic("anybody", TOKEN), f"Basic {TOKEN}", "Bearer \xe9"),
    ],
)
async def test_nobody_else_may_but_where_it_is_open(tmp_path: Path, sent: str) -> None:
    async with site(of_settings(tmp_path), web=web(tmp_path / "token")) as at:
        for path in CLOSED:
            said = await at.get(path, Authorization=sent)
            assert (said.status, said.told["status"]) == (401, 401), path
            assert said.headers.getall("WWW-Authenticate") == [  # type: ignore[attr-defined]
                'Basic realm="profile-pipeline", charset="UTF-8"',
                "Bearer",
            ]
        assert [(await at.get(path, Authorization=sent)).status for path in OPEN] == [200, 503]
        assert (await at.get("/none", Authorization=sent)).status == 404


async def test_without_a_token_file_nobody_needs_one(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        assert (await at.get("/status")).status == 200


async def test_another_token_in_the_file_counts_within_a_second(tmp_path: Path) -> None:
    now_s = 0.0
    settings = web(tmp_path / "token")
    async with site(of_settings(tmp_path), web=settings, clock=Clock(monotonic=lambda: now_s)) as at:
        assert (await at.get("/status", Authorization=f"Bearer {TOKEN}")).status == 200
        (tmp_path / "token").write_text("another")
        now_s += 1.0
        assert (await at.get("/status", Authorization=f"Bearer {TOKEN}")).status == 401
        assert (await at.get("/status", Authorization="Bearer another")).status == 200


@pytest.mark.parametrize("text", ["", "two words", "x" * 4_097, "caf\xe9"])
async def test_nobody_is_let_in_while_the_file_holds_none(tmp_path: Path, text: str) -> None:
    now_s = 0.0
    settings = web(tmp_path / "token", text)
    async with site(of_settings(tmp_path), web=settings, clock=Clock(monotonic=lambda: now_s)) as at:
        with capture_logs() as logs:
            for sent in ("", f"Bearer {text}", "Bearer "):
                now_s += 1.0
                said = await at.get("/status", Authorization=sent.replace("\xe9", "e"))
                assert (said.status, "[web] token_file" in said.told["detail"]) == (503, True)
        # It is told once, until it can be read again.
        assert [line["event"] for line in logs] == ["web_token_not_read"]
        assert (await at.get("/healthz")).status == 200
        (tmp_path / "token").write_text(TOKEN)
        now_s += 1.0
        assert (await at.get("/status", Authorization=f"Bearer {TOKEN}")).status == 200


@pytest.mark.parametrize("kind", ["fifo", "directory", "missing"])
async def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    settings = WebSettings(host="0.0.0.0", token_file=put_no_file(tmp_path / "token", kind))
    async with site(of_settings(tmp_path), web=settings) as at:
        assert (await at.get("/status", Authorization="Bearer x")).status == 503


LOOPBACK = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.0.0.1:9",
    "localhost",
    "localhost:8080",
    "LOCALHOST:1",
    "[::1]:8080",
    "[::1]",
]
ELSEWHERE = ["evil.example", "evil.example:8080", "10.0.0.7:8080", "[fe80::1]:8080", "localhost.evil.example"]
NO_NAMES = [
    "",
    "a b",
    "localhost:x",
    "::1",
    "[::1",
    "[x]",
    "u@localhost",
    "localhost/x",
    "-",
    "localhost:123456",
    "a\tb",
]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_a_loopback_address_is_asked_under_a_name_of_this_machine(host: str) -> None:
    settings = WebSettings(host=host)
    assert [name for name in LOOPBACK if wrong_name([name], settings)] == []
    assert [name for name in (*ELSEWHERE, *NO_NAMES) if not wrong_name([name], settings)] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "pipeline.example"])
def test_another_one_under_any_name(host: str) -> None:
    settings = WebSettings(host=host, token_file=Path("token"))
    assert [name for name in (*LOOPBACK, *ELSEWHERE) if wrong_name([name], settings)] == []
    assert [name for name in NO_NAMES if not wrong_name([name], settings)] == []


def test_under_one_name_only() -> None:
    assert wrong_name([], WebSettings())
    assert wrong_name(["localhost", "localhost"], WebSettings())


async def test_under_another_name_nothing_is_told_not_even_health(tmp_path: Path) -> None:
    async with site(of_settings(tmp_path)) as at:
        for path in (*OPEN, *CLOSED, "/none"):
            said = await at.get(path, Host="evil.example:8080")
            assert (said.status, said.told["title"]) == (421, "Misdirected Request"), path
            assert (await at.get(path, Host=f"localhost:{at.port}", method="HEAD")).status != 421
