"""The memory beside jobs: what is compared with what, and what is left of it when a job ends."""

from tests.mends import Mend

FILLED_IN = "tests/jobs/test_retry_filled_in.py"

MENDS = [
    Mend(
        "memory: a row is compared though the open batch has an older one of its id",
        ("memory",),
        "pipeline/jobs/producer.py",
        "waits | self._placer.chunker.has(rows.hashes)",
        "waits",
        "tests/jobs/gathering/test_switched_on.py"
        "::test_a_row_that_says_what_was_sent_goes_over_one_that_waits_to_be_sent",
    ),
    Mend(
        "memory: a job that ends leaves the file of a merge that was under way",
        ("memory",),
        "pipeline/jobs/gathering/merge.py",
        "anyio.CancelScope(shield=True)",
        "anyio.CancelScope()",
        "tests/jobs/gathering/test_merge_steps.py::test_a_step_that_is_under_way_is_done_when_the_job_ends",
    ),
    Mend(
        "memory: a row goes without what was remembered while its job began",
        ("memory",),
        "pipeline/jobs/row_source/source.py",
        "    return tuple(dict.fromkeys((*job.export.gone, *in_flight, *remembered)))",
        "    return tuple(dict.fromkeys((*job.export.gone, *job.in_flight.parameters(job.record.seq), *remembered)))",
        "tests/jobs/test_parameters_to_carry.py::test_what_is_remembered_meanwhile_is_among_them",
    ),
    Mend(
        "memory: a lost row comes back with an older value that it was filled in with",
        ("memory",),
        "pipeline/jobs/retries/lost_rows.py",
        "            if hash_ in filled_in:\n",
        "            if False:\n",
        f"{FILLED_IN}::test_a_value_that_a_lost_row_was_filled_in_with_never_goes_over_a_newer_one",
    ),
    Mend(
        "memory: what was filled in is not known of the children of a batch that was split",
        ("memory",),
        "pipeline/edges/store/ledger_reader.py",
        "            place = None if (record := self.batch(place)) is None else record.batch.parent\n",
        "            place = None\n",
        "tests/edges/store/test_ledger.py::test_what_rows_were_filled_in_with_is_kept_beside_what_is_overtaken",
    ),
    Mend(
        "memory: what a row says itself is taken for all that a later one of its id says",
        ("memory",),
        "pipeline/jobs/producer.py",
        "        own, self._own = self._own, {}\n",
        "        own = self._own\n",
        f"{FILLED_IN}::test_what_a_row_was_filled_in_with_says_nothing_of_another_row_of_its_id",
    ),
    Mend(
        "memory: a row that finds no room is held with what it was filled in with",
        ("memory",),
        "pipeline/core/batches/placer.py",
        "rows if unfilled is None else unfilled, [",
        "rows, [",
        "tests/core/batches/test_placer.py::test_freed_rows_that_find_no_room_wait_as_they_were_held",
    ),
    Mend(
        "memory: what was lost is left out of its retry",
        ("memory",),
        "pipeline/jobs/gathering/sieve.py",
        'settings.send == "changes" and job.record.retry_of is None',
        'settings.send == "changes"',
        f"{FILLED_IN}::test_what_is_sent_again_is_sent_though_it_is_known",
    ),
    Mend(
        "memory: an id that was to be forgotten stays known of a row that was filled in",
        ("memory",),
        "pipeline/jobs/forgetting/store.py",
        "    state.ledger.erase_filled_in(hashes)\n",
        "",
        f"{FILLED_IN}::test_forget_erases_what_is_known_of_rows_that_were_filled_in",
    ),
    Mend(
        "memory: an older value goes over one that Target failed, and may have by another attempt",
        ("memory",),
        "pipeline/core/memory/row_fates.py",
        "        if is_another_open:\n",
        "        if False:\n",
        "tests/core/memory/test_row_fates.py"
        "::test_what_target_failed_or_was_never_sent_is_in_doubt_if_another_attempt_may_be_applied",
    ),
    Mend(
        "memory: an older value goes over one that was never sent, and may have arrived before its batch was split",
        ("memory",),
        "pipeline/core/memory/row_fates.py",
        "    is_of_one_split = isinstance(last, NeverSent) and bool(life.open_since)\n",
        "    is_of_one_split = False\n",
        "tests/core/memory/test_row_fates.py"
        "::test_what_target_failed_or_was_never_sent_is_in_doubt_if_another_attempt_may_be_applied",
    ),
]
