"""`load DIRECTORY` obeys the lists that lie in it, as a drop does."""

from tests.mends import Mend

_PART_FILES = "pipeline/edges/exports/part_files.py"
_TEST = "tests/edges/test_exports.py::TestListsInADirectory"

MENDS = [
    Mend(
        "lists of loads: a directory is compared with the manifest in it",
        ("parts", "cut-off"),
        "pipeline/jobs/command.py",
        "    if export.error is not None or not manifest.describes:\n",
        "    if manifest is not None:\n",
        "tests/jobs/test_command.py::test_a_directory_is_as_the_manifest_in_it_says",
    ),
    Mend(
        "lists of loads: plan tells the files that no list names",
        ("parts",),
        "pipeline/jobs/survey/planning.py",
        "            left_out=found.unlisted,\n",
        "",
        "tests/jobs/survey/test_planning.py::TestWhatItIs::test_a_directory_with_lists",
    ),
    Mend(
        "lists of loads: a manifest in the directory is read",
        ("parts",),
        _PART_FILES,
        " if GROUP_SIGNAL in found else Manifest()",
        " if not found else Manifest()",
        f"{_TEST}::test_of_ours",
    ),
    Mend(
        "lists of loads: a file of another size is refused",
        ("parts",),
        _PART_FILES,
        "        if file.size_bytes not in (None, identity.size_bytes):\n",
        "        if file.size_bytes == -1:\n",
        f"{_TEST}::test_what_is_not_as_a_list_says_is_refused",
    ),
    Mend(
        "lists of loads: a list that is not whole refuses",
        ("parts",),
        _PART_FILES,
        "    if listed.awaited:\n",
        "    if listed.awaited is False:\n",
        f"{_TEST}::test_what_is_not_as_a_list_says_is_refused",
    ),
]
