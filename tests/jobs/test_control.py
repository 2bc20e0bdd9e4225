"""Requests whose holder ends before it answers: nobody waits for ever, and nobody is told what is not known."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from pipeline.core.errors import ExitCode, PipelineError
from pipeline.edges.changed import Changed
from pipeline.edges.clock import Clock
from pipeline.edges.host import Host
from pipeline.edges.lock import state_lock
from pipeline.edges.store.mailbox import Answer, Mailbox
from pipeline.edges.store.state import State, open_state
from pipeline.jobs.control import ANSWER_WITHIN_S, ANSWERS_KEPT_S, answer_requests, ask_holder
from tests.tools.support import HANGS_AFTER_S, fill, names_in, small_disk, until


class Steps:
    """A clock that moves only when somebody sleeps on it; before that, `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[float], None]) -> None:
        self.now = 0.0
        self._meanwhile = meanwhile

    async def sleep(self, seconds: float) -> None:
        self._meanwhile(self.now)
        self.now += seconds
        await anyio.lowlevel.checkpoint()

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


def claimed_at_once(mailbox: Mailbox) -> Callable[[float], None]:
    def claim(_now: float) -> None:
        for request in mailbox.requests():
            assert mailbox.take_on(request)

    return claim


async def test_a_holder_that_ended_after_it_took_the_request_on(tmp_path: Path) -> None:
    steps = Steps(claimed_at_once(Mailbox(tmp_path)))
    with anyio.fail_after(HANGS_AFTER_S), pytest.raises(PipelineError, match="is not known, see `status`") as caught:
        await ask_holder(tmp_path, "retry", "j1", steps.clock())
    assert caught.value.exit_code is ExitCode.UNFINISHED
    assert steps.now > ANSWER_WITHIN_S
    assert names_in(tmp_path / "requests") == []


async def test_a_holder_that_is_at_it_for_long_is_waited_for(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    take_on = claimed_at_once(mailbox)

    def answer_late(now: float) -> None:
        take_on(now)
        if now > 3 * ANSWER_WITHIN_S:
            for request in mailbox.taken():
                mailbox.answer(request, Answer("done"))

    with anyio.fail_after(HANGS_AFTER_S), state_lock(tmp_path):
        assert await ask_holder(tmp_path, "retry", "j1", Steps(answer_late).clock()) == "done"


async def test_a_request_that_nobody_takes_on_is_withdrawn(tmp_path: Path) -> None:
    with (
        anyio.fail_after(HANGS_AFTER_S),
        state_lock(tmp_path),
        pytest.raises(PipelineError, match="nothing was changed"),
    ):
        await ask_holder(tmp_path, "pause", None, Steps(lambda _now: None).clock())
    assert names_in(tmp_path / "requests") == []


async def test_what_an_ended_holder_left_is_answered_by_the_next(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    left = mailbox.ask("retry", "j1")
    mailbox.take_on(mailbox.requests()[0])
    for seconds, name in ((ANSWERS_KEPT_S + 60, "old"), (60, "new")):
        file = tmp_path / "requests" / f"{name}.answer"
        file.write_text("{}")
        at = Clock().utc_now().timestamp() - seconds
        os.utime(file, (at, at))
    async with open_state(tmp_path, "demo", Host(), min_free_bytes=0) as state, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_requests, state, list, Changed())
        await until(lambda: mailbox.is_answered(left))
        await until(lambda: "old.answer" not in names_in(tmp_path / "requests"))
        tasks.cancel_scope.cancel()
    answer = mailbox.take_answer(left)
    assert answer is not None
    assert answer.exit_code is ExitCode.UNFINISHED
    assert names_in(tmp_path / "requests") == ["new.answer"]


async def test_what_a_full_disk_keeps_from_being_answered_is_answered_later() -> None:
    with small_disk(4_000_000) as disk:
        mailbox = Mailbox(disk)
        async with open_state(disk, "demo", Host(), min_free_bytes=0) as state, anyio.create_task_group() as tasks:
            asked = mailbox.ask("abandon", "nobody's")
            fill(disk / "ballast")
            with capture_logs() as logs:
                tasks.start_soon(answer_requests, state, list, Changed())
                await until(lambda: any(line["event"] == "request_not_answered" for line in logs))
            assert mailbox.taken()
            (disk / "ballast").unlink()
            await until(lambda: mailbox.is_answered(asked))
            tasks.cancel_scope.cancel()
        assert mailbox.taken() == []
        answer = mailbox.take_answer(asked)
        assert answer is not None
        assert answer.exit_code is ExitCode.USAGE


async def test_what_was_taken_on_is_answered_though_the_job_ends(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    async with open_state(tmp_path, "demo", Host(), min_free_bytes=0) as state:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_requests, state, list, Changed())
            asked = mailbox.ask("pause", None)
            with anyio.fail_after(HANGS_AFTER_S):
                # Without a pause: it is the very moment in which it was taken on.
                while mailbox.requests():
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert mailbox.take_answer(asked) is not None
        assert state.is_paused


async def test_whoever_waits_is_told_when_something_was_carried_out(tmp_path: Path) -> None:
    mailbox, changed = Mailbox(tmp_path), Changed()
    async with open_state(tmp_path, "demo", Host(), min_free_bytes=0) as state, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_requests, state, list, changed)
        for command, is_paused in (("pause", True), ("resume", False)):
            mailbox.ask(command, None)
            with anyio.fail_after(HANGS_AFTER_S):
                await changed.until(partial(_is_paused, state, is_paused=is_paused))
        tasks.cancel_scope.cancel()


def _is_paused(state: State, *, is_paused: bool) -> bool:
    return state.is_paused is is_paused
