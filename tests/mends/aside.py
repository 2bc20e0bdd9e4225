"""An unexpected error ends one batch or one job, and is not met again at each start."""

from tests.mends import Mend

_JOBS = "tests/jobs/test_set_aside.py"
_SERVED = "tests/e2e/test_set_aside.py"

MENDS = [
    Mend(
        "set aside: a bug of one batch is that batch's alone",
        ("set-aside",),
        "pipeline/jobs/delivery/courier.py",
        "                await self._give_up(batch, tell_unexpected(error))\n",
        "                raise\n",
        f"{_JOBS}::test_a_batch_whose_post_meets_a_bug_is_unconfirmed_and_the_rest_of_its_job_goes_on",
    ),
    Mend(
        "set aside: an attempt that met a bug is in doubt",
        ("set-aside",),
        "pipeline/jobs/delivery/courier.py",
        "            await self._record(batch, InDoubt(str(bug)))\n",
        '            await self._record(batch, NotTaken(""))\n',
        f"{_JOBS}::test_its_open_attempt_is_held_as_that_of_any_unconfirmed_batch",
    ),
    Mend(
        "set aside: a job ends because of a bug in its tasks",
        ("set-aside",),
        "pipeline/jobs/ending.py",
        "            self.raise_to(EndStage.LET_POSTS_END, tell_unexpected(errors))\n",
        "            raise\n",
        "tests/jobs/test_ending.py::test_an_error_that_nobody_expected_ends_it_as_a_bug_without_its_text",
    ),
    Mend(
        "set aside: the text of an error that is none of ours is not told",
        ("set-aside", "foreign-text"),
        "pipeline/core/errors.py",
        'f"an unexpected {type(error).__name__}"\n',
        'f"an unexpected {error!r}"\n',
        f"{_JOBS}::test_a_batch_whose_post_meets_a_bug_is_unconfirmed_and_the_rest_of_its_job_goes_on",
    ),
    Mend(
        "set aside: a job that met a bug is not run again",
        ("set-aside",),
        "pipeline/jobs/runner.py",
        "        await self.state.in_turn(ledger.set_job_aside, record.job_id, aside)\n",
        "",
        f"{_JOBS}::test_a_job_that_cannot_be_read_for_a_bug_is_set_aside_and_the_others_go_on[ValueError]",
    ),
    Mend(
        "set aside: a job that cannot be followed either ends without",
        ("set-aside",),
        "pipeline/jobs/runner.py",
        "else replace(before, is_followed=False)\n",
        "else before\n",
        f"{_JOBS}::test_a_job_that_cannot_be_followed_for_a_bug_either_ends_without",
    ),
    Mend(
        "set aside: what a job sent that is not followed is held",
        ("set-aside",),
        "pipeline/jobs/recovery.py",
        "            facts.append(GivenUp(why))\n            life = fold(life, facts[-1], now)\n",
        "            pass\n",
        f"{_JOBS}::test_a_job_that_cannot_be_followed_for_a_bug_either_ends_without",
    ),
    Mend(
        "set aside: a job that is followed keeps none from beginning",
        ("set-aside",),
        "pipeline/jobs/load.py",
        "recover(job, stock)\n                job.in_flight.pass_over(job.record.seq)\n",
        "recover(job, stock)\n",
        f"{_SERVED}::test_while_it_is_followed_status_says_why_and_abandoning_it_is_allowed",
    ),
    Mend(
        "set aside: settings that are none are those of their job",
        ("set-aside",),
        "pipeline/jobs/runner.py",
        "            if aside is None:\n                raise\n            return self.settings",
        "            raise\n            return self.settings",
        f"{_SERVED}::test_settings_of_a_job_that_are_none_are_those_of_that_job",
    ),
    Mend(
        "set aside: what a service does besides its jobs is tried again",
        ("set-aside",),
        "pipeline/service/upkeep.py",
        "                self.note(what, error)\n",
        "                raise\n",
        "tests/service/test_upkeep.py::test_a_task_that_meets_a_bug_is_begun_anew_and_told_less_and_less_often",
    ),
    Mend(
        "set aside: a client code that cannot be served is no reason to end the others",
        ("set-aside",),
        "pipeline/service/served.py",
        "            if is_only or error.exit_code is not ExitCode.DISK_OR_LEDGER:\n",
        "            if True:\n",
        "tests/e2e/test_routes.py::TestWhatHoldsUpOne::test_a_damaged_ledger_is_that_of_its_client_code_and_tried_again",
    ),
]
