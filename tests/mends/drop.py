"""The drop directory and its neighbours: what is held by descriptor, what is away, locks, and the clock."""

from tests.mends import Mend

_PROCESSING = "pipeline/edges/drop/processing.py"
_TAKING = "pipeline/edges/drop/taking.py"
_LOCK = "pipeline/edges/lock.py"
_RETENTION = "pipeline/core/drop/retention.py"
_E2E = "tests/e2e/test_processing.py"
_UNITS = "tests/edges/drop/test_processing.py"
_AWAY = "tests/e2e/test_away.py"

MENDS = [
    Mend(
        "drop: what is in the place of .processing is looked at",
        ("processing",),
        _TAKING,
        "        if in_its_place := self._held.in_its_place:\n",
        '        if in_its_place := "":\n',
        f"{_E2E}::TestProcessing::test_replaced_before_a_drop_is_taken[a_link]",
    ),
    Mend(
        "drop: .processing is no link when it is opened",
        ("processing",),
        _PROCESSING,
        "os.open(NAME, _FLAGS | os.O_NOFOLLOW, dir_fd=self.root)",
        "os.open(NAME, _FLAGS, dir_fd=self.root)",
        f"{_UNITS}::test_what_cannot_be_held",
    ),
    Mend(
        "drop: .processing belongs to who uses it",
        ("processing",),
        _PROCESSING,
        "        if owner not in (os.geteuid(), of_drop, 0):\n",
        "        if owner < 0:\n",
        f"{_E2E}::TestProcessing::test_one_of_another_user_is_refused_at_the_start",
    ),
    Mend(
        "drop: the files of a job are moved from the directory that is held",
        ("processing",),
        _PROCESSING,
        "        with opened(job_id, within=self.descriptor) as folder:\n",
        '        with opened(f"{NAME}/{job_id}", within=self.root) as folder:\n',
        f"{_UNITS}::test_what_is_in_its_place_is_never_touched[a link-move_out]",
    ),
    Mend(
        "drop: an export is opened without following a link",
        ("processing",),
        _PROCESSING,
        "    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)",
        "    return os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)",
        f"{_UNITS}::test_an_export_that_became_something_else",
    ),
    Mend(
        "drop: an export of a job is opened from the directory that is held",
        ("processing",),
        "pipeline/jobs/job.py",
        "    opened = host.open_export if record.claim is None else host.drops.open_export\n",
        "    opened = host.open_export\n",
        f"{_E2E}::TestProcessing::test_replaced_after_drops_were_taken[another_directory]",
    ),
    Mend(
        "drop: a job whose directory is not there waits",
        ("away",),
        _TAKING,
        "            raise _away(path, error) from error\n        except OSError",
        "            raise _missing(path, error) from error\n        except OSError",
        f"{_UNITS}::test_a_directory_of_a_job_that_is_not_there_may_come_back",
    ),
    Mend(
        "drop: an error of the disk while reading is not one of the export",
        ("away",),
        "pipeline/edges/exports/faults.py",
        "        if error.errno in _OF_THE_DISK:\n",
        "        if error.errno is None:\n",
        "tests/edges/test_exports.py::test_an_error_while_reading",
    ),
    Mend(
        "drop: what was entered and cannot be taken now is taken later",
        ("away",),
        "pipeline/jobs/claims.py",
        "        except ConfigurationError as error:\n            raise FatalError(",
        "        except ConfigurationError as error:\n            raise error\n            raise FatalError(",
        "tests/jobs/test_claims.py::test_what_was_entered_waits_for_its_drop_directory",
    ),
    Mend(
        "drop: a drop directory that was made anew is held",
        ("lock", "away"),
        _TAKING,
        "        if not self._held.is_of(there):\n",
        "        if not there:\n",
        f"{_UNITS}::test_a_drop_directory_that_was_made_anew_is_locked",
    ),
    Mend(
        "drop: a lock that was removed is taken again",
        ("lock",),
        _LOCK,
        "            if self._is_in_place():\n                return False\n",
        "            if not self._is_in_place():\n                return False\n            return False\n",
        "tests/edges/test_lock.py::test_a_lock_that_was_removed_is_taken_again",
    ),
    Mend(
        "drop: a state directory that was replaced ends what holds it",
        ("lock",),
        "pipeline/jobs/control.py",
        "    state.held.check()\n",
        "",
        f"{_AWAY}::test_a_state_directory_that_was_replaced_ends_the_service",
    ),
    Mend(
        "drop: nothing is removed by a clock that is far off",
        ("clock",),
        "pipeline/service/service.py",
        "            left = await run_sync(remove, self._settings, old) if is_believed else []\n",
        "            left = await run_sync(remove, self._settings, old)\n",
        "tests/e2e/test_clock.py::test_a_service_removes_nothing_while_the_clock_is_far_from_the_ledger",
    ),
    Mend(
        "drop: a wrong clock does not bear itself out",
        ("clock",),
        _RETENTION,
        "            return None if later and now - later >= _STEADY else _gap(now, end, later)\n",
        "            return None if later else _gap(now, end, later)\n",
        "tests/core/drop/test_retention.py::test_a_clock_is_believed_if_the_ends_of_jobs_bear_it_out",
    ),
    Mend(
        "drop: a clock that jumps is not steady",
        ("clock",),
        _RETENTION,
        "            self._since_s = monotonic_s\n        self._difference_s",
        "            pass\n        self._difference_s",
        "tests/core/drop/test_retention.py::test_a_clock_is_steady_after_a_day",
    ),
    Mend(
        "drop: a job that ended while the clock was set back is no older than those before",
        ("clock",),
        "pipeline/service/prune.py",
        "set_back.get(job.seq, job.finished_at)",
        "job.finished_at",
        "tests/service/test_prune.py::test_a_job_that_ended_by_a_clock_set_back_is_no_older_than_those_before",
    ),
]
