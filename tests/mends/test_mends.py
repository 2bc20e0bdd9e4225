"""The table of mends: each row fits the product as it is, names a test that there is, and all kinds have a row."""

import re
from pathlib import Path

import pytest

from tests.mends import KINDS, Mend
from tests.mends.table import all_mends
from tests.mends.taken_out import ROOT, Judge, Verdict, edited

MENDS = all_mends()


@pytest.mark.parametrize("mend", MENDS, ids=lambda mend: mend.name)
def test_each_row_fits(mend: Mend) -> None:
    compile(edited(mend), mend.file, "exec")
    file, _, name = mend.test.partition("::")
    function = re.sub(r"\[.*", "", name.rpartition("::")[2])
    assert f"def {function}(" in (ROOT / file).read_text(), mend.test
    assert set(mend.kinds) <= set(KINDS)


def test_no_two_rows_have_one_name() -> None:
    assert len({mend.name for mend in MENDS}) == len(MENDS)


def test_each_kind_has_a_row() -> None:
    assert set(KINDS) - {kind for mend in MENDS for kind in mend.kinds} == set()


def test_a_mend_that_is_taken_out_is_missed_and_what_is_none_is_not() -> None:
    told = "tests/core/test_plural.py"
    function = re.findall(r"def (test_\w+)", (ROOT / told).read_text())[0]
    source = (ROOT / "pipeline/core/plural.py").read_text()
    line = next(line for line in source.splitlines() if line.strip().startswith("return"))
    no_mend = Mend("a", (), "pipeline/core/plural.py", line, line, f"{told}::{function}")
    a_mend = Mend("b", (), "pipeline/core/plural.py", line, '    return ""', f"{told}::{function}")
    judge = Judge()
    assert judge.judge(no_mend)[0] is Verdict.UNMISSED
    assert judge.judge(a_mend)[0] is Verdict.MISSED


def test_a_test_that_fails_anyway_misses_no_mend(tmp_path: Path) -> None:
    test = tmp_path / "test_that_fails.py"
    test.write_text("def test_it() -> None:\n    assert False\n")
    line = '"""Numbers of things in words, for people: one place for plural forms."""'
    mend = Mend("a", (), "pipeline/core/plural.py", line, '""', f"{test}::test_it")
    verdict, said = Judge().judge(mend)
    assert verdict is Verdict.VACUOUS
    assert "1 failed" in said
