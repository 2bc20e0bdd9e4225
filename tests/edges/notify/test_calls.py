"""A call to a receiver: what it gets, what counts as taken, and what it may do to us."""

import asyncio
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from pipeline.core.notifications.notification import Notification
from pipeline.edges.notify.calls import call
from pipeline.edges.notify.receiver import NotTaken, Receiver
from tests.tools.receiving import SetClock, receiving
from tests.tools.support import CLOSED

MADE = Notification("j-failed", "failed", "2026-11-30T03:00:00+00:00", "acme", "eu", "acme: failed: <a.csv>.", {"x": 1})
SECRET = b"0123456789abcdef"


def webhook(url: str, **keys: object) -> Receiver:
    return replace(Receiver("eu", "webhook", url), **keys)  # type: ignore[arg-type]


async def test_it_gets_the_event_with_its_id() -> None:
    async with receiving() as receiver:
        assert await call(webhook(receiver.webhook), MADE, SetClock().clock) is None
        ((method, path, headers, body),) = receiver.got
    assert (method, path) == ("POST", "/hooks/s3cret")
    assert headers["Content-Type"] == "application/json"
    assert headers["Webhook-Id"] == "j-failed"
    assert headers["User-Agent"].startswith("profile-pipeline/")
    assert "Webhook-Signature" not in headers
    assert orjson.loads(body)["x"] == 1


async def test_each_attempt_is_signed_anew(tmp_path: Path) -> None:
    file, clock = tmp_path / "secret", SetClock()
    file.write_bytes(SECRET + b"\n")
    async with receiving() as receiver:
        for _ in range(2):
            assert await call(webhook(receiver.webhook, secret_file=file), MADE, clock.clock) is None
            clock.go_on(600)
        times = []
        for _, _, headers, body in receiver.got:
            at, signed = headers["Webhook-Signature"].removeprefix("t=").split(",v1=")
            assert signed == hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            times.append(int(at))
    assert times == [int(clock.at.timestamp()), int(clock.at.timestamp()) + 600]


async def test_the_text_for_chats() -> None:
    async with receiving() as receiver:
        assert await call(webhook(receiver.webhook, form="text"), MADE, SetClock().clock) is None
        assert receiver.told == [{"text": "acme: failed: &lt;a.csv&gt;."}]


async def test_a_heartbeat_is_a_get_without_anything() -> None:
    async with receiving() as receiver:
        assert await call(Receiver("eu", "heartbeat", receiver.heartbeat), MADE, SetClock().clock) is None
        ((method, path, _, body),) = receiver.got
    assert (method, path, body) == ("GET", "/ping/s3cret", b"")


async def test_the_url_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    async with receiving() as receiver:
        file.write_text(f"{receiver.webhook}\n")
        assert await call(webhook("", url_file=file), MADE, SetClock().clock) is None
        assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("status", "why", "is_refused"),
    [
        (204, None, False),
        (299, None, False),
        (302, "it answers HTTP 302, and redirects are not followed: name the URL they lead to", True),
        (400, "it answers HTTP 400", True),
        (404, "it answers HTTP 404", True),
        (408, "it answers HTTP 408", False),
        (429, "it answers HTTP 429", False),
        (500, "it answers HTTP 500", False),
        (503, "it answers HTTP 503", False),
    ],
)
async def test_what_counts_as_taken(status: int, why: str | None, is_refused: bool) -> None:
    async with receiving() as receiver:
        receiver.usual = status
        outcome = await call(webhook(receiver.webhook), MADE, SetClock().clock)
        assert outcome == (None if why is None else NotTaken(why, is_refused=is_refused))
        assert len(receiver.got) == 1


async def test_a_redirect_is_not_followed() -> None:
    async with receiving() as receiver:
        receiver.answers = [302]
        outcome = await call(webhook(receiver.webhook), MADE, SetClock().clock)
        assert outcome is not None
        assert outcome.is_refused
        assert len(receiver.got) == 1


async def test_one_that_hangs_is_left_alone_after_the_limit() -> None:
    async with receiving() as receiver:
        receiver.usual = "hang"
        async with asyncio.timeout(5):
            outcome = await call(webhook(receiver.webhook), MADE, SetClock().clock, limit_s=0.2)
        assert outcome == NotTaken("no answer within 0.2 s")


async def test_an_answer_without_end_is_not_read() -> None:
    async with receiving() as receiver:
        receiver.usual = "huge"
        assert await call(webhook(receiver.webhook), MADE, SetClock().clock) is None


async def test_nobody_listens() -> None:
    outcome = await call(webhook(f"{CLOSED}/s3cret"), MADE, SetClock().clock)
    assert outcome is not None
    assert not outcome.is_refused
    assert "s3cret" not in outcome.why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read [notify] secret_file"),
        (b"short\n", "holds 5 bytes: put at least 16 in it"),
        (b"x" * 5_000, "holds more than 4096 bytes"),
    ],
)
async def test_without_its_secret_nothing_is_sent(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    async with receiving() as receiver:
        outcome = await call(webhook(receiver.webhook, secret_file=file), MADE, SetClock().clock)
        assert receiver.got == []
    assert outcome is not None
    assert why in outcome.why
    assert "short" not in outcome.why


@pytest.mark.parametrize(
    "content", ["", "http://example.com/s3cret", "s3cret", "https://a/\ns3cret", "https://ü/s3cret"]
)
async def test_what_is_no_url_in_a_file_is_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "url"
    file.write_text(content)
    with capture_logs() as logs:
        outcome = await call(webhook("", url_file=file), MADE, SetClock().clock)
    assert outcome is not None
    assert "[notify] webhook_file" in outcome.why
    assert "s3cret" not in outcome.why + repr(logs)


async def test_where_the_proxy_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://u:s3cret@proxy")
    outcome = await call(webhook("https://hooks.example.com/x"), MADE, SetClock().clock)
    assert outcome is not None
    assert "HTTPS_PROXY" in outcome.why
    assert "s3cret" not in outcome.why
