"""What must not grow or block: the check of a ledger of months, and blocks of quotes."""

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
    Mend(
        "blocks of quotes that frame no field are mapped off the loop",
        ("header",),
        "pipeline/core/rows/transform.py",
        "_loose_quotes(block, self._delimiter) > _FEW_QUOTES",
        "False",
        "tests/core/rows/test_transform.py::test_a_block_of_quotes_is_slow_if_its_fields_are_not_just_quoted",
    ),
]
