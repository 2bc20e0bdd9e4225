"""A state directory that this user may not look into is said with the exit code of a disk, and is no bug."""

from pathlib import Path

import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.ledger_file import owner_of
from pipeline.edges.store.ledger_reader import read_ledger
from tests.tools.support import as_nobody


@pytest.mark.parametrize("look", [read_ledger, owner_of])
def test_a_state_directory_of_somebody_else(tmp_path: Path, look: object) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o000)
    with as_nobody(), pytest.raises(FatalError, match=r"cannot look at .*ledger\.db: Permission denied") as caught:
        assert callable(look)
        look(state / "ledger.db")
    assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
    state.chmod(0o700)
