"""The table of mends: each row fits the product as it is, names a test that there is, and all kinds have a row."""

import re

import pytest

from tests.mends import KINDS, Mend
from tests.mends.table import all_mends
from tests.mends.taken_out import ROOT, edited, is_missed

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


def test_a_mend_that_is_taken_out_is_missed_and_what_is_none_is_not() -> None:
    told = "tests/core/test_plural.py"
    function = re.findall(r"def (test_\w+)", (ROOT / told).read_text())[0]
    source = (ROOT / "pipeline/core/plural.py").read_text()
    line = next(line for line in source.splitlines() if line.strip().startswith("return"))
    no_mend = Mend("a", (), "pipeline/core/plural.py", line, line, f"{told}::{function}")
    a_mend = Mend("b", (), "pipeline/core/plural.py", line, '    return ""', f"{told}::{function}")
    assert not is_missed(no_mend)[0]
    assert is_missed(a_mend)[0]
