"""What a reader has of a command at once, and texts in a ledger that are none."""

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
        "green2: a schema that is no UTF-8",
        ("altered-state",),
        "pipeline/edges/store/ledger_file.py",
        "    except UnicodeDecodeError as error:",
        "    except ZeroDivisionError as error:",
        f"{_LEDGER}::test_a_schema_that_is_no_utf8_is_a_damaged_ledger",
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
