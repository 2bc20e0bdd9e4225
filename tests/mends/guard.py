"""Exports that are unlike the ones before them: what holds them back, and what keeps others from being held back."""

from tests.mends import Mend

CORE = "pipeline/core/expectations/guard.py"
E2E = "tests/e2e/test_guard.py"

MENDS = [
    Mend(
        "guard: rows are sent before they are judged",
        ("cut-off",),
        "pipeline/jobs/producer.py",
        "            if job.state.memory is None and not is_judged:\n",
        "            if job.state.memory is None:\n",
        f"{E2E}::test_nothing_is_sent_before_it_is_approved",
    ),
    Mend(
        "guard: ids that are gone fail a job that could be approved",
        ("operator",),
        "pipeline/jobs/gathering/gather.py",
        "    if gone.too_many and not is_judged:\n",
        "    if gone.too_many:\n",
        f"{E2E}::test_ids_that_are_gone_are_too_many",
    ),
    Mend(
        "guard: a rare value that is missing by chance holds an export back",
        ("operator",),
        CORE,
        "        if not is_by_chance and limit",
        "        if limit",
        "tests/core/expectations/test_guard.py::test_what_breaks_a_limit",
    ),
    Mend(
        "guard: a column that was given up is missed for a week",
        ("operator",),
        CORE,
        "    for parameter in known[0].filled:\n",
        "    for parameter in {name for each in known for name in each.filled}:\n",
        "tests/core/expectations/test_guard.py::test_a_column_that_was_given_up_is_not_missed_for_a_week",
    ),
    Mend(
        "guard: a service that drains waits for an approval for ever",
        ("operator",),
        "pipeline/service/service.py",
        "        if await self._state.in_turn(self._state.ledger.is_quarantined, record):\n",
        "        if False:\n",
        f"{E2E}::test_a_service_that_drains_ends_with_what_waits",
    ),
    Mend(
        "guard: a job in quarantine of a route that is gone fills the log",
        ("operator",),
        "pipeline/service/service.py",
        " and record.seq not in self._warned_of:\n",
        ":\n",
        f"{E2E}::test_all_routes_of_a_client_code_wait_and_no_other_client_code",
    ),
    Mend(
        "guard: a command is over though one of its jobs waits, and sends older exports anew behind it",
        ("command",),
        "pipeline/jobs/one_shot.py",
        '        if report.state != "quarantined":\n',
        "        if True:\n",
        f"{E2E}::test_a_command_that_sends_again_goes_on_behind_what_was_approved",
    ),
    Mend(
        "guard: the end of a job that was approved meanwhile is not told",
        ("operator",),
        "pipeline/jobs/one_shot.py",
        ' and first.state != "quarantined":\n',
        ":\n",
        f"{E2E}::test_jobs_before_it_go_on_and_it_may_be_approved_meanwhile",
    ),
]
