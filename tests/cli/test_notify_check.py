"""`config check` about who is told and what is expected; with `--notify` a test is sent."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.config.notify_check import Found, check_expect, check_notify
from pipeline.core.notifications.events import TEST
from tests.tools.receiving import receiving
from tests.tools.support import CLOSED, run_program, settings_for, unheard

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def found(directory: Path, *, is_to_send: bool = False, **notify: Any) -> list[Found]:
    return await check_notify(settings_for(CLOSED, directory, notify=notify), "default", is_to_send=is_to_send)


class TestFiles:
    @pytest.mark.parametrize("key", ["webhook_file", "secret_file"])
    async def test_one_that_can_be_used(self, tmp_path: Path, key: str) -> None:
        file = tmp_path / "file"
        file.write_text("https://hooks.example.com/s3cret")
        file.chmod(0o600)
        keys: dict[str, Any] = {key: str(file)}
        if key == "secret_file":
            keys["webhook"] = "https://hooks.example.com/s3cret"
        (told,) = await found(tmp_path, **keys)
        assert told == (f"[notify] {key}", "ok", f"{file} can be used")
        file.chmod(0o644)
        (told,) = await found(tmp_path, **keys)
        assert told == (
            f"[notify] {key}",
            "warning",
            f"{file} can be read by other users (mode 0644): chmod 600 {file}",
        )

    @pytest.mark.parametrize("content", [None, "", "hunter2"])
    async def test_one_that_cannot(self, tmp_path: Path, content: str | None) -> None:
        file = tmp_path / "file"
        if content is not None:
            file.write_text(content)
        told = await found(tmp_path, is_to_send=True, webhook_file=str(file))
        assert [verdict for _, verdict, _ in told] == ["problem"], "and nothing is sent"
        assert "hunter2" not in told[0][2].replace(str(file), "")

    async def test_a_secret_that_signs_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("0123456789abcdef")
        assert "warning" in [verdict for _, verdict, _ in await found(tmp_path, secret_file=str(file))]


class TestSending:
    async def test_without_being_asked_nothing_is_sent(self, tmp_path: Path) -> None:
        async with receiving() as receiver:
            assert await found(tmp_path, webhook=receiver.webhook, heartbeat_url=receiver.heartbeat) == []
            assert receiver.got == []

    async def test_a_test_is_sent_and_no_heartbeat(self, tmp_path: Path) -> None:
        async with receiving() as receiver:
            keys = {"webhook": receiver.webhook, "heartbeat_url": receiver.heartbeat}
            told = await found(tmp_path, is_to_send=True, **keys)
            assert told == [
                ("[notify] webhook", "ok", "localhost: took a test"),
                (
                    "[notify] heartbeat_url",
                    "ok",
                    "localhost: connected, and not called: a call says that a job is done",
                ),
            ]
            assert (receiver.events, receiver.beats) == ([TEST], 0)

    async def test_one_that_refuses_or_is_away(self, tmp_path: Path) -> None:
        async with receiving() as receiver:
            receiver.usual = 404
            told = await found(tmp_path, is_to_send=True, webhook=receiver.webhook, heartbeat_url=f"{CLOSED}/s3cret")
        assert told == [
            ("[notify] webhook", "problem", "localhost: it answers HTTP 404"),
            ("[notify] heartbeat_url", "problem", "127.0.0.1: no connection"),
        ]

    async def test_nobody_is_told(self, tmp_path: Path) -> None:
        assert [verdict for _, verdict, _ in await found(tmp_path, is_to_send=True)] == ["warning"]


class TestCommand:
    async def test_of_each_route(self, tmp_path: Path) -> None:
        async with receiving() as receiver:
            receiver.answers = [200, 500]
            at = unheard(tmp_path)
            config = at.config(notify={"webhook": receiver.webhook})
            route = f'[[routes]]\nname = "eu"\ndrop.directory = "{tmp_path}"\n'
            config.write_text(f"{config.read_text()}{route}")
            done = await run_program("config", "check", "--notify", "--config", config)
            assert receiver.events == [TEST, TEST]
            assert "localhost: it answers HTTP 500" in done.out
            assert "localhost: took a test" in done.out
            assert "s3cret" not in done.said
            assert done.code == 78


class TestExpect:
    def test_when_the_next_one_is_due(self, tmp_path: Path) -> None:
        expect = {"by": "05:00", "time_zone": "Europe/Berlin", "days": ["tue"]}
        settings = settings_for(CLOSED, tmp_path, expect=expect, drop={"directory": str(tmp_path)})
        text = "the next export has to be done by 2026-12-01 05:00 (Europe/Berlin)"
        assert check_expect(settings, NOW) == [("[expect] by", "ok", text)]

    def test_where_none_can_come(self, tmp_path: Path) -> None:
        ((_, verdict, _),) = check_expect(settings_for(CLOSED, tmp_path, expect={"by": "05:00"}), NOW)
        assert verdict == "warning"

    def test_where_none_is_expected(self, tmp_path: Path) -> None:
        assert check_expect(settings_for(CLOSED, tmp_path), NOW) == []
