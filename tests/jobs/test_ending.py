"""The end of a process and of its parts only rises, and tells of the error that says most."""

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.core.batches.retry_policy import EndStage
from pipeline.core.errors import ExitCode, FatalError, InputError, PipelineError, is_bug
from pipeline.jobs.ending import Ending

STAGES = list(EndStage)


def error(name: str, code: ExitCode = ExitCode.UNFINISHED) -> FatalError:
    return FatalError(name, exit_code=code)


async def settle_down() -> None:
    for _ in range(10):
        await checkpoint()


# It only rises.


def test_at_first_nothing_ends() -> None:
    ending = Ending()
    assert (ending.stage, ending.is_due, ending.error, ending.own_error) == (EndStage.NONE, False, None, None)


@given(st.lists(st.sampled_from(STAGES), max_size=8))
def test_it_only_rises(stages: list[EndStage]) -> None:
    ending = Ending()
    for count, stage in enumerate(stages, 1):
        ending.raise_to(stage)
        assert ending.stage is max(stages[:count])


@pytest.mark.parametrize("stage", STAGES)
def test_it_is_due_when_posts_are_to_end(stage: EndStage) -> None:
    ending = Ending()
    ending.raise_to(stage)
    assert ending.is_due is (stage in (EndStage.LET_POSTS_END, EndStage.NOW))


def test_each_stage_includes_those_before_it() -> None:
    assert sorted(STAGES) == STAGES
    assert [stage.name for stage in STAGES] == ["NONE", "NO_FIRST_ATTEMPTS", "NO_ATTEMPTS", "LET_POSTS_END", "NOW"]


# Parts end with the whole.


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(STAGES)), max_size=8))
def test_a_part_ends_with_the_whole_at_the_latest(raises: list[tuple[int, EndStage]]) -> None:
    process = Ending()
    tenant = process.child()
    one, other = tenant.child(), tenant.child()
    own = [EndStage.NONE] * 4
    for which, stage in raises:
        (process, tenant, one, other)[which].raise_to(stage)
        own[which] = max(own[which], stage)
        assert process.stage == own[0]
        assert tenant.stage == max(own[0], own[1])
        assert one.stage == max(own[0], own[1], own[2])
        assert other.stage == max(own[0], own[1], own[3])


def test_one_that_begins_after_the_whole_has_ended_has_ended_too() -> None:
    process = Ending()
    process.raise_to(EndStage.NOW, error("stopped"))
    job = process.child().child()
    assert (job.stage, str(job.error), job.own_error) == (EndStage.NOW, "stopped", None)


def test_an_error_of_a_part_is_its_own() -> None:
    process = Ending()
    one, other = process.child(), process.child()
    one.raise_to(EndStage.LET_POSTS_END, error("mine"))
    assert (process.error, other.error, str(one.error)) == (None, None, "mine")


# Which error it tells of.


def test_its_own_error_is_told_of_without_those_of_the_whole() -> None:
    process = Ending()
    job = process.child()
    job.raise_to(EndStage.NO_FIRST_ATTEMPTS, InputError("too many rejects"))
    process.raise_to(EndStage.LET_POSTS_END, error("stopped"))
    assert str(job.own_error) == "too many rejects"
    assert str(job.error) == "stopped", "it ends unfinished, and is run again"


@pytest.mark.parametrize("stage", [EndStage.LET_POSTS_END, EndStage.NOW])
def test_what_ends_it_unfinished_comes_before_what_ended_it_early(stage: EndStage) -> None:
    ending = Ending()
    ending.raise_to(EndStage.NO_ATTEMPTS, error("configuration", ExitCode.CONFIGURATION))
    assert str(ending.error) == "configuration"
    ending.raise_to(stage, error("stopped"))
    assert str(ending.error) == "stopped"
    assert str(ending.own_error) == "stopped"


def test_the_most_telling_of_several_is_told_of() -> None:
    process = Ending()
    job = process.child()
    job.raise_to(EndStage.LET_POSTS_END, error("away", ExitCode.TARGET_UNAVAILABLE))
    job.raise_to(EndStage.LET_POSTS_END, error("token", ExitCode.REFUSED_BY_TARGET))
    job.raise_to(EndStage.LET_POSTS_END, error("disk", ExitCode.DISK_OR_LEDGER))
    process.raise_to(EndStage.LET_POSTS_END, error("stopped", ExitCode.UNFINISHED))
    assert str(job.error) == str(job.own_error) == "token"
    assert str(process.error) == "stopped"
    process.raise_to(EndStage.NOW, error("configuration", ExitCode.CONFIGURATION))
    assert (str(job.error), str(job.own_error)) == ("configuration", "token")


def test_an_error_that_comes_late_is_told_of_too() -> None:
    ending = Ending()
    ending.raise_to(EndStage.NOW)
    assert ending.error is None
    ending.raise_to(EndStage.LET_POSTS_END, error("late"))
    assert (ending.stage, str(ending.error)) == (EndStage.NOW, "late")


# Grace.


def test_posts_get_the_grace_that_the_process_gives() -> None:
    process = Ending(grace_s=25.0)
    job = process.child().child()
    assert (process.grace_s, job.grace_s) == (25.0, 25.0)
    process.grace_s = 3.0
    assert job.grace_s == 3.0
    assert Ending().grace_s == 0.0


# Somebody wants it to end.


def test_asked_for_once_more_it_ends_now() -> None:
    process = Ending()
    job = process.child()
    process.hasten(error("first"))
    assert (process.stage, job.stage, str(job.error)) == (EndStage.LET_POSTS_END, EndStage.LET_POSTS_END, "first")
    process.hasten(error("second"))
    assert (process.stage, job.stage) == (EndStage.NOW, EndStage.NOW)
    process.hasten(error("third"))
    assert process.stage is EndStage.NOW


def test_asked_for_while_it_ends_for_another_reason_it_ends_now() -> None:
    ending = Ending()
    ending.raise_to(EndStage.LET_POSTS_END, error("disk"))
    ending.hasten(error("stopped"))
    assert ending.stage is EndStage.NOW


def test_what_ended_early_only_gets_its_grace() -> None:
    ending = Ending()
    ending.raise_to(EndStage.NO_ATTEMPTS)
    ending.hasten(error("stopped"))
    assert ending.stage is EndStage.LET_POSTS_END


# Waiting for it.


async def test_who_waits_is_woken_when_it_has_come_so_far() -> None:
    process = Ending()
    job = process.child()
    reached: list[EndStage] = []

    async def wait(stage: EndStage) -> None:
        await job.until(stage)
        reached.append(stage)

    async with anyio.create_task_group() as tasks:
        for stage in STAGES:
            tasks.start_soon(wait, stage)
        await settle_down()
        assert reached == [EndStage.NONE]
        job.raise_to(EndStage.NO_ATTEMPTS)
        await settle_down()
        assert sorted(reached) == STAGES[:3]
        process.raise_to(EndStage.NOW)
    assert sorted(reached) == STAGES


async def test_all_parts_share_what_tells_of_changes() -> None:
    process = Ending()
    one, other = process.child().child(), process.child()
    assert one.changed is other.changed is process.changed
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.changed.until, lambda: one.is_due)
        await settle_down()
        one.raise_to(EndStage.LET_POSTS_END)


# Errors end it.


def test_an_error_from_inside_ends_it() -> None:
    process = Ending()
    job = process.child()
    with job.by_errors():
        raise error("disk", ExitCode.DISK_OR_LEDGER)
    assert (job.stage, str(job.error), process.stage) == (EndStage.LET_POSTS_END, "disk", EndStage.NONE)


def test_of_several_at_once_the_most_telling_is_kept() -> None:
    ending = Ending()
    with ending.by_errors():
        raise BaseExceptionGroup(
            "tasks",
            [
                error("away", ExitCode.TARGET_UNAVAILABLE),
                ExceptionGroup("more", [InputError("rejects"), error("token", ExitCode.REFUSED_BY_TARGET)]),
            ],
        )
    assert (ending.stage, str(ending.error)) == (EndStage.LET_POSTS_END, "token")


async def test_those_of_tasks_end_it_too() -> None:
    ending = Ending()

    async def fail() -> None:
        raise error("disk")

    with ending.by_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            tasks.start_soon(anyio.sleep_forever)
    assert str(ending.error) == "disk"


def test_without_an_error_nothing_ends() -> None:
    ending = Ending()
    with ending.by_errors():
        pass
    assert (ending.stage, ending.error) == (EndStage.NONE, None)


def test_what_is_no_error_passes_through_as_it_is() -> None:
    ending, foreign = Ending(), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught, ending.by_errors():
        raise foreign
    assert caught.value is foreign
    assert (ending.stage, ending.error) == (EndStage.NONE, None)


@pytest.mark.parametrize("foreign", [ValueError("u1,gold"), TimeoutError("u1,gold"), MemoryError()])
def test_an_error_that_nobody_expected_ends_it_as_a_bug_without_its_text(foreign: Exception) -> None:
    ending = Ending()
    with capture_logs() as logs, ending.by_errors():
        raise foreign
    assert ending.stage is EndStage.LET_POSTS_END
    assert ending.error and is_bug(ending.error)
    assert "a bug in profile-pipeline, please report it" in str(ending.error)
    assert "gold" not in str(ending.error)
    assert [each["event"] for each in logs] == ["unexpected_error"]


def test_of_a_group_what_is_ours_and_what_is_not_both_end_it() -> None:
    ending = Ending()
    with ending.by_errors():
        raise BaseExceptionGroup("tasks", [error("disk", ExitCode.DISK_OR_LEDGER), ValueError("a bug")])
    assert (ending.stage, str(ending.error)) == (EndStage.LET_POSTS_END, "disk")


async def test_a_cancelled_body_is_no_error() -> None:
    ending = Ending()
    with anyio.move_on_after(0) as scope, ending.by_errors():
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert ending.stage is EndStage.NONE


def test_an_error_of_ours_is_any_of_them() -> None:
    for each in (PipelineError("ours"), InputError("export"), error("fatal")):
        ending = Ending()
        with ending.by_errors():
            raise each
        assert ending.error is each
