"""What keeps a write that fails, or a loss of power, from costing more than a new start."""

from tests.mends import Mend

_DURABLE = "pipeline/edges/durable.py"
_JOB_FOLDER = "pipeline/edges/store/job_folder.py"
_TAKING = "pipeline/edges/drop/taking.py"
_POWER = "tests/faults/test_power.py"

MENDS = [
    Mend(
        "power: a file takes its name before it is flushed",
        ("power",),
        _DURABLE,
        "            file.flush()\n            os.fsync(file.fileno())\n",
        "            file.flush()\n",
        f"{_POWER}::test_a_file_is_there_whole",
    ),
    Mend(
        "power: the name of a file is not flushed",
        ("power",),
        _DURABLE,
        "        temporary.replace(path)\n        sync_directory(path.parent)\n",
        "        temporary.replace(path)\n",
        f"{_POWER}::test_a_request_is_there_once_it_was_asked",
    ),
    Mend(
        "power: the name of a directory is not flushed",
        ("power",),
        _DURABLE,
        "                sync_directory(parent.parent)\n            except",
        "                pass\n            except",
        f"{_POWER}::test_a_directory_is_there",
    ),
    Mend(
        "power: a directory whose maker was killed is taken for durable",
        ("power",),
        "pipeline/edges/lock.py",
        "            sync_names(state)\n",
        "",
        f"{_POWER}::test_a_directory_whose_maker_was_killed_is_there_once_it_is_held",
    ),
    Mend(
        "power: the parents of a directory that is held are taken for durable",
        ("power",),
        _DURABLE,
        "                sync_directory(parent)\n            except",
        "                pass\n            except",
        f"{_POWER}::test_a_directory_whose_maker_was_killed_is_there_once_it_is_held",
    ),
    Mend(
        "power: the folder of a job whose maker was killed is taken for durable",
        ("power",),
        "pipeline/edges/store/state.py",
        "                sync_directory(folder)\n",
        "                pass\n",
        f"{_POWER}::test_the_folder_of_a_job_whose_maker_was_killed_is_there_when_the_state_is_opened",
    ),
    Mend(
        "power: rejects are counted before they are flushed",
        ("power",),
        _JOB_FOLDER,
        "                os.fsync(descriptor)\n",
        "                pass\n",
        f"{_POWER}::test_rejects_are_there_once_they_are_flushed",
    ),
    Mend(
        "power: the name of the rejects file is not flushed",
        ("power",),
        _JOB_FOLDER,
        "            sync_directory(self.directory)\n",
        "",
        f"{_POWER}::test_rejects_are_there_once_they_are_flushed",
    ),
    Mend(
        "power: an export goes before its copy on another file system is durable",
        ("power",),
        "pipeline/edges/drop/moving.py",
        "    temporary.replace(to)\n    # Before",
        "    temporary.replace(to)\n    return\n    # Before",
        f"{_POWER}::test_a_file_that_is_moved_to_another_file_system_is_there_before_it_goes_here",
    ),
    Mend(
        "power: an emptied subdirectory comes back",
        ("power",),
        _TAKING,
        "                os.fsync(self._held.root)\n",
        "",
        f"{_POWER}::test_a_subdirectory_from_which_all_was_taken_does_not_come_back",
    ),
    Mend(
        "failing: a directory that could not be flushed is taken for durable by the next try",
        ("failing-write", "power"),
        _DURABLE,
        "                    parent.rmdir()\n                raise\n",
        "                    pass\n                raise\n",
        f"{_POWER}::test_a_directory_that_could_not_be_flushed_is_not_taken_for_durable",
    ),
]
