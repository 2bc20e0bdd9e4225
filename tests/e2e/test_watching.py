"""A person at a terminal watches the real program: what the screen shows meanwhile, and that it is left as it was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.support import Bench, bench, run_program, started, until
from tests.tools.terminal import CTRL_C, Screen, Terminal, on_terminal

#: Batches are applied when a test says so.
SLOW: dict[str, Any] = {"apply_min_s": 3_600.0, "apply_max_s": 3_600.0}
TWO_A_BATCH: Mapping[str, Any] = {"batch": {"max_rows": 2}}
ROWS = tuple(f"u{n},gold,{n}" for n in range(6))


def assert_left_as_it_was(terminal: Terminal, settings: list[object]) -> None:
    assert terminal.screen.is_cursor_shown
    assert not terminal.screen.is_alternate
    assert terminal.settings == settings


def shows_batches(screen: Screen) -> bool:
    return "▆ 3 accepted" in screen.text


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"LC_ALL": "C"}])
async def test_a_load_from_its_beginning_to_its_end(tmp_path: Path, env: dict[str, str]) -> None:
    accepted = "+ 3 accepted" if env.get("LC_ALL") else "▆ 3 accepted"
    async with bench(tmp_path, **SLOW) as on:
        arguments = ("load", on.export(*ROWS), "--config", on.config(**TWO_A_BATCH))
        async with on_terminal(*arguments, env=env) as terminal:
            settings = terminal.settings
            await terminal.until(lambda screen: "  now      Target is applying 3 batches" in screen.lines)
            assert not terminal.screen.is_cursor_shown
            assert "  rows     6 read  6 under way" in terminal.screen.lines
            assert f"           {accepted}" in terminal.screen.lines
            on.sandbox.apply_all()
            assert await terminal.ended() == 0
            assert_left_as_it_was(terminal, settings)
    text = terminal.screen.text
    assert accepted not in text, "the display is gone"
    assert text.startswith("export.csv -> Target client demo: done after"), text


async def test_ctrl_c_ends_a_load_tidily(tmp_path: Path) -> None:
    async with (
        bench(tmp_path, **SLOW) as on,
        on_terminal("load", on.export(*ROWS), "--config", on.config(**TWO_A_BATCH)) as terminal,
    ):
        settings = terminal.settings
        await terminal.until(shows_batches)
        terminal.press(CTRL_C)
        assert await terminal.ended() == 75
        assert_left_as_it_was(terminal, settings)
    assert "stopped by SIGINT." in terminal.screen.text
    assert "6  pending" in terminal.screen.text
    assert "accepted" not in terminal.screen.text


async def test_a_load_on_a_terminal_that_becomes_another_size(tmp_path: Path) -> None:
    async with bench(tmp_path, **SLOW) as on:
        name = f"{'customers-' * 6}2026.csv"
        export = on.export(*ROWS, name=name)
        async with on_terminal("load", export, "--config", on.config(**TWO_A_BATCH)) as terminal:
            await terminal.until(shows_batches)
            assert max(map(len, terminal.screen.lines)) == 80
            terminal.resize(40, 10)
            await terminal.until(lambda screen: max(map(len, screen.lines[-6:])) <= 40 and shows_batches(screen))
            terminal.resize(120, 30)
            await terminal.until(lambda screen: max(map(len, screen.lines)) == 120)
            assert name in terminal.screen.text
            assert len([line for line in terminal.screen.lines if "accepted" in line]) == 1


async def test_a_report_goes_to_a_file_while_others_are_shown(tmp_path: Path) -> None:
    """The report of the first load is written while the second is shown, unless that ends sooner."""
    async with bench(tmp_path, apply_min_s=0.5, apply_max_s=4.0) as on:
        first, second = on.export(*ROWS[:2], name="a.csv"), on.export(*(f"v{n},gold,{n}" for n in range(20)))
        reports = tmp_path / "reports.txt"
        arguments = ("load", first, second, "--config", on.config(**TWO_A_BATCH))
        async with on_terminal(*arguments, stdout=reports) as terminal:
            await terminal.until(lambda screen: "a.csv" in screen.text and "export.csv" in screen.text)
            assert await terminal.ended() == 0
    assert [line.split()[0] for line in reports.read_text().splitlines() if " -> Target" in line] == [
        "a.csv",
        "export.csv",
    ]
    assert not terminal.screen.text.strip()


async def seen_on_a_screen(on: Bench, *, end: bytes) -> int:
    async with started("load", on.export(*ROWS), "--config", on.config(**TWO_A_BATCH)):
        await until(lambda: on.sandbox.counts()["batches"] >= 3)
        async with on_terminal("status", "--watch", "--config", on.config(**TWO_A_BATCH)) as terminal:
            settings = terminal.settings
            await terminal.until(lambda screen: "3 being applied by Target" in screen.text)
            assert terminal.screen.is_alternate
            assert terminal.screen.lines[0].startswith("Status at ")
            terminal.resize(60, 8)
            await terminal.until(lambda screen: "more lines" in screen.text)
            terminal.press(b"x")
            terminal.press(end)
            code = await terminal.ended()
            assert_left_as_it_was(terminal, settings)
            assert terminal.screen.text == ""
            return code


@pytest.mark.parametrize("end", [b"q", CTRL_C])
async def test_status_is_watched_until_a_key_ends_it(tmp_path: Path, end: bytes) -> None:
    async with bench(tmp_path, **SLOW) as on:
        assert await seen_on_a_screen(on, end=end) == 0


async def test_status_is_printed_at_each_change_where_there_is_no_terminal(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        config = on.config(**TWO_A_BATCH)
        async with started("status", "--watch", "--json", "--config", config) as watching:
            assert watching.stdout is not None
            first = orjson.loads(await watching.stdout.readline())
            assert first["jobs"] == []
            await run_program("load", on.export(*ROWS), "--config", config)
            second = orjson.loads(await watching.stdout.readline())
            while second["jobs"][0]["state"] != "done":
                second = orjson.loads(await watching.stdout.readline())
            assert second["jobs"][0]["rows"]["confirmed"] == 6
