"""A ledger of months: what of it is checked, and when."""

from tests.mends import Mend

CHECK = "tests/service/test_ledger_check.py"

MENDS = [
    Mend(
        "ledger of months: a start believes what is unfinished",
        ("altered-state",),
        "pipeline/edges/store/ledger_file.py",
        "next(altered(database) if is_whole else altered_of_unfinished(database), None)",
        "next(altered(database) if is_whole else iter(()), None)",
        f"{CHECK}::test_what_is_unfinished_is_checked_at_the_start",
    ),
    Mend(
        "ledger of months: nobody checks what has ended",
        ("altered-state",),
        "pipeline/service/service.py",
        '            tasks.start_soon(self._upkeep.keep, "checking the ledger", self._check_ledger)\n',
        "",
        f"{CHECK}::test_the_service_ends_over_it_as_over_any_damage",
    ),
]
