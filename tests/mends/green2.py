"""Outputs that are there at once, commands that wait and can be ended, and numbers in a ledger that are none."""

from tests.mends import Mend

_LEDGER = "tests/edges/store/test_ledger.py"

MENDS = [
    Mend(
        "green2: a result is written when its job has ended",
        ("output",),
        "pipeline/cli/output.py",
        "print(printable_lines(text), flush=True)",
        "print(printable_lines(text))",
        "tests/cli/test_outputs.py::test_a_result_is_there_as_soon_as_its_job_has_ended",
    ),
    Mend(
        "green2: a service that begins while it is looked for is asked",
        ("operator",),
        "pipeline/cli/ask.py",
        "        if error.exit_code is not ExitCode.ALREADY_RUNNING:\n            raise\n        return None\n",
        "        raise error\n",
        "tests/cli/test_ask.py::test_a_service_that_begins_meanwhile_is_asked",
    ),
    Mend(
        "green2: a retry that is not answered can be ended",
        ("signal",),
        "pipeline/cli/ask.py",
        "    release_signals()\n",
        "    pass\n",
        "tests/e2e/test_first_moments.py::test_a_retry_that_is_not_answered_can_be_ended",
    ),
    Mend(
        "green2: a help text can be ended",
        ("signal",),
        "pipeline/edges/process/early_signals.py",
        '() if {"-h", "--help"} & {*arguments} else _OBEYED.get(command, ())',
        "_OBEYED.get(command, ())",
        "tests/e2e/test_first_moments.py::test_other_commands_are_ended_by_the_system",
    ),
    Mend(
        "green2: a number of transactions that is none",
        ("altered-state",),
        "pipeline/edges/store/ledger_file.py",
        "    except (TypeError, ValueError) as error:",
        "    except ZeroDivisionError as error:",
        f"{_LEDGER}::test_a_number_of_transactions_that_is_none_is_a_damaged_ledger",
    ),
]
