"""What [mapping] does to rows, and what must hold of it in blocks as row by row."""

from tests.mends import Mend

TEST = "tests/jobs/test_mapping.py"

MENDS = [
    Mend(
        "mapping: rows that are left out are not counted",
        (),
        "pipeline/core/batches/checkpoint.py",
        "        self.excluded += sum(mapped.excluded.values())\n",
        "",
        f"{TEST}::test_ids_are_hashed_values_mapped_and_rows_left_out",
    ),
    Mend(
        "mapping: an id is judged as it stands in the export, though its hash is sent",
        (),
        "pipeline/core/rows/mapping.py",
        "        if self.plan.steps.id_steps is None:\n            return problem_of_id",
        "        if True:\n            return problem_of_id",
        f"{TEST}::test_ids_are_hashed_values_mapped_and_rows_left_out",
    ),
    Mend(
        "mapping: steps that contradict each other are not told before a load",
        (),
        "pipeline/settings/sections/mapping.py",
        "        if problem := _problem_of_keys(self, given):\n            raise ValueError(problem)\n",
        "",
        f"{TEST}::test_contradictions_are_told",
    ),
]
