"""The memory beside jobs: what is compared with what, and what is left of it when a job ends."""

from tests.mends import Mend

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
]
