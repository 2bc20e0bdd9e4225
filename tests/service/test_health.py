"""`profile-pipeline health`: well or not, in one line, and at next to no cost."""

import asyncio
import os
import signal
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from pipeline.core.errors import FatalError
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.store.heartbeat_file import BEAT_EVERY_S, Beat, Heart, read_beat
from pipeline.edges.store.notices import (
    DropNotice,
    HoldUps,
    NotTaken,
    Pause,
    put_up_drops,
    put_up_hold_ups,
    put_up_pause,
    read_hold_ups,
    take_down_pause,
)
from pipeline.edges.store.state import open_state
from pipeline.service.health import STALE_AFTER_S, look, state_directory, token_expires
from pipeline.service.heartbeat import heart_beating
from pipeline.settings.settings import load_settings
from tests.tools.dropping import dropping
from tests.tools.support import ended, run_program, until

BEAT = Beat(pid=7, at_s=1_000.0, started_s=400.0, tasks=9, open_files=12, memory_bytes=50_000_000)
REQUIRED = '[target]\nclient_code = "demo"\n[export]\nid_column = "id"\n'


class TestLooking:
    def test_nobody(self, tmp_path: Path) -> None:
        assert look(tmp_path, 0.0) == (
            False,
            f"no process serves {tmp_path}: it has not begun yet, or it has ended",
        )

    def test_life(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        heart.write(BEAT)
        is_well, told = look(tmp_path, 1_004.0)
        assert (is_well, told) == (True, "alive: process 7 since 10 min, 9 tasks, 12 open files, 50 MB, no job")
        heart.stop()
        assert look(tmp_path, 1_004.0)[0] is False

    def test_a_loop_that_does_not_turn(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        heart.write(BEAT)
        assert look(tmp_path, BEAT.at_s + STALE_AFTER_S)[0] is True
        is_well, told = look(tmp_path, BEAT.at_s + STALE_AFTER_S + 1)
        assert (is_well, "its last sign of life is 61 s old" in told) == (False, True), told
        heart.stop()
        assert STALE_AFTER_S > 10 * BEAT_EVERY_S, "a busy machine is no reason for a restart"

    def test_who_waits_lives_and_says_so(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        heart.write(BEAT)
        put_up_pause(tmp_path, Pause(74, "The disk is full.", "2026-11-24T10:00:00+00:00", "job"))
        is_well, told = look(tmp_path, 1_000.0)
        assert is_well
        assert told.endswith("; waits since 2026-11-24 10:00:00 UTC: The disk is full.")
        take_down_pause(tmp_path)
        assert "waits" not in look(tmp_path, 1_000.0)[1]
        heart.stop()

    def test_drops_that_cannot_be_taken_are_named(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        heart.write(BEAT)
        since = "2026-11-24T10:00:00+00:00"
        drops = [NotTaken(f"{name}.ready", "cannot be taken: it is immutable", since) for name in "ab"]
        put_up_drops(tmp_path, DropNotice((), tuple(drops[:1])))
        is_well, told = look(tmp_path, 1_000.0)
        assert is_well, "to start it again would change nothing"
        said = "; not taken: a.ready cannot be taken: it is immutable, since 2026-11-24 10:00:00 UTC"
        assert told.endswith(said)
        (tmp_path / "clients" / "other").mkdir(parents=True)
        put_up_drops(tmp_path / "clients" / "other", DropNotice((), tuple(drops[1:])))
        assert look(tmp_path, 1_000.0)[1].endswith(f"{said}, and 1 more")
        heart.stop()

    def test_drops_of_which_a_full_disk_takes_no_notice_are_in_the_heartbeat(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        drops = DropNotice((), (NotTaken("a.ready", "cannot be taken: it is immutable", "2026-11-24T10:00:00+00:00"),))
        heart.write(replace(BEAT, notices={"demo": {"drops": asdict(drops)}}))
        said = "; not taken: a.ready cannot be taken: it is immutable, since 2026-11-24 10:00:00 UTC"
        assert look(tmp_path, 1_000.0)[1].endswith(said)
        put_up_drops(tmp_path, drops)
        assert look(tmp_path, 1_000.0)[1].endswith(said), "not twice"
        heart.stop()

    def test_what_holds_up_sending_is_said_in_the_words_of_status(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        heart.write(BEAT)
        away = HoldUps("2026-11-24T10:00:00+00:00", "HTTP 500", "2026-11-24T10:07:00+00:00")
        assert put_up_hold_ups(tmp_path, away)
        assert look(tmp_path, 1_000.0)[1].endswith(f"; {away.words[0]}; {away.words[1]}")
        assert away.words == [
            "Target gives no usable answer since 2026-11-24 10:00:00 UTC, the last was: HTTP 500",
            "the budget of calls is used up, the next call begins at 2026-11-24 10:07:00 UTC",
        ]
        shared = HoldUps(is_shared=True)
        assert put_up_hold_ups(tmp_path, shared)
        assert read_hold_ups(tmp_path) == shared
        assert look(tmp_path, 1_000.0)[1].endswith(
            "; fewer calls are made, since somebody else uses the budget of the account too"
        )
        assert "used up (somebody else" in replace(away, is_shared=True).words[1]
        assert put_up_hold_ups(tmp_path, HoldUps())
        assert look(tmp_path, 1_000.0)[1].endswith("no job")
        heart.stop()

    def test_what_a_full_disk_does_not_take_is_in_the_heartbeat(self, tmp_path: Path) -> None:
        heart = Heart(tmp_path)
        pause = Pause(74, "The disk is full.", "2026-11-24T10:00:00+00:00", "job")
        away = HoldUps("2026-11-24T10:00:00+00:00", "HTTP 500")
        heart.write(replace(BEAT, notices={"demo": {"sending": asdict(away)}}))
        assert look(tmp_path, 1_000.0)[1].endswith(f"; {away.words[0]}")
        heart.write(replace(BEAT, notices={"demo": {"pause": asdict(pause), "sending": asdict(away)}}))
        assert look(tmp_path, 1_000.0)[1].endswith("; waits since 2026-11-24 10:00:00 UTC: The disk is full.")
        many = {f"client{number}": {"pause": asdict(pause)} for number in range(100)}
        heart.write(replace(BEAT, notices=many))
        assert look(tmp_path, 1_000.0) == (True, look(tmp_path, 1_000.0)[1]), "it lives all the same"
        heart.stop()


class TestStateDirectory:
    @pytest.mark.parametrize(
        ("in_file", "env"),
        [
            ("/data/state", {}),
            ("state", {}),
            ("/data/state", {"PROFILE_PIPELINE__STATE__DIRECTORY": "/elsewhere"}),
            ("/data/state", {"PROFILE_PIPELINE__STATE__MIN_FREE_BYTES": "1"}),
            (None, {"PROFILE_PIPELINE__STATE__DIRECTORY": "/elsewhere"}),
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    def test_is_the_one_of_the_settings(
        self, tmp_path: Path, in_file: str | None, env: dict[str, str], encoding: str
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(REQUIRED + (f'[state]\ndirectory = "{in_file}"\n' if in_file else ""), encoding)
        assert state_directory(config, env) == load_settings(config, env=env).state.directory

    def test_so_is_the_end_of_the_token(self, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text('[target]\ntoken_expires = "2026-12-01"\n', "utf-8-sig")
        assert token_expires(config, {}) == date(2026, 12, 1)

    @pytest.mark.parametrize(
        ("text", "env", "said"),
        [
            (None, {}, "cannot be read"),
            ("[state", {}, "not valid TOML"),
            ("\udcff", {}, "not valid TOML"),
            ("", {}, "names no"),
            ("state = 1", {}, "names no"),
            ("[state]\ndirectory = 3", {}, "names no"),
            ('[state]\ndirectory = ""', {}, "names no"),
            ('[state]\ndirectory = "/a"', {"PROFILE_PIPELINE__STATE__DIRECTORY": ""}, "names no"),
        ],
    )
    def test_is_not_told(self, tmp_path: Path, text: str | None, env: dict[str, str], said: str) -> None:
        config = tmp_path / "config.toml"
        if text is not None:
            config.write_text(text, errors="surrogateescape")
        with pytest.raises(FatalError, match=said):
            state_directory(config, env)
        with pytest.raises(FatalError):
            load_settings(config, env=env)


class TestBeating:
    async def test_again_and_again(self, tmp_path: Path) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await anyio.lowlevel.checkpoint()

        clock = Clock(sleep=sleep)
        async with open_state(tmp_path, "demo", Host(clock), min_free_bytes=0) as state:
            async with heart_beating(tmp_path, clock, lambda: "this-job", lambda: state.is_paused):
                first = read_beat(tmp_path)
                assert first is not None
                assert (first.pid, first.job, first.is_paused) == (os.getpid(), "this-job", False)
                assert (first.tasks, first.open_files is None) == (len(asyncio.all_tasks()) - 1, False)
                state.is_paused = True
                await until(lambda: (read_beat(tmp_path) or first).is_paused)
                latest = read_beat(tmp_path)
                assert latest is not None
                assert (latest.at_s > first.at_s, latest.started_s) == (True, first.started_s)
                assert "sending is paused" in look(tmp_path, latest.at_s)[1]
            assert set(slept) == {BEAT_EVERY_S}
            assert read_beat(tmp_path) is None

    async def test_a_disk_that_refuses_it_does_not_end_the_process(self, tmp_path: Path) -> None:
        clock = Clock(sleep=lambda _: anyio.lowlevel.checkpoint())
        (tmp_path / "heartbeat").mkdir()
        async with heart_beating(tmp_path, clock, lambda: None, lambda: False):
            (tmp_path / "heartbeat").rmdir()
            await until((tmp_path / "heartbeat").is_file)
            assert read_beat(tmp_path) is not None


class TestTheCommand:
    async def test_a_life_and_its_end(self, tmp_path: Path) -> None:
        async with dropping(tmp_path) as drop:
            config = drop.config()
            before = await run_program("health", "--config", config)
            assert (before.code, before.err) == (1, ""), before.said
            async with drop.serving(config=config) as process:
                await until((drop.at.state / "heartbeat").exists)
                done = await run_program("health", "--config", config)
                assert (done.code, done.err) == (0, ""), done.said
                assert done.out.startswith(f"alive: process {process.pid} since "), done.out
                assert done.out.count("\n") == 1
                process.send_signal(signal.SIGKILL)
                await ended(process)
            after = await run_program("health", "--config", config)
            assert (after.code, "no process serves" in after.out) == (1, True), after.said
            async with drop.serving(config=config) as process:
                await until(lambda: look(drop.at.state, 0.0)[0])
                process.send_signal(signal.SIGTERM)
                assert (await ended(process)).code == 0
            assert look(drop.at.state, 0.0)[0] is False

    async def test_without_configuration(self, tmp_path: Path) -> None:
        done = await run_program("health", "--config", tmp_path / "none.toml", cold=True)
        assert done.code == 1
        assert "none.toml cannot be read: No such file" in done.out
        assert (await run_program("health")).code == 64

    async def test_it_is_cheap(self) -> None:
        """A probe every few seconds must not load what takes half a second to load."""
        code = "import sys, pipeline.__main__, pipeline.service.health; print(*sys.modules)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        loaded = {name.partition(".")[0] for name in out.decode().split()}
        heavy = {"pydantic", "pydantic_settings", "typer", "rich", "anyio", "asyncio", "aiohttp", "numpy", "sqlite3"}
        assert "pipeline" in loaded
        assert loaded & heavy == set()
