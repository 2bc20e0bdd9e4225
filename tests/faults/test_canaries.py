"""A canary is found wherever it must not be, in whatever form; and not where rows may lie."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.tools.faults.canaries import MARK, check_canaries, is_marked
from tests.tools.faults.tally import FoundError, HarmError, Tally, hold, tally_of
from tests.tools.faults.unusable import load_unusable

ROW = f"{MARK}u1,gold".encode()


@pytest.mark.parametrize(
    "text",
    [
        ROW,
        ROW.lower(),
        b"x" + base64.b64encode(ROW),
        base64.b64encode(b"a" + ROW),
        base64.b64encode(b"ab" + ROW + b"c"),
        ROW.hex().encode(),
        ROW.hex().upper().encode(),
        "".join(f"%{byte:02X}" for byte in ROW).encode(),
        quote(ROW).encode(),
        "".join(f"&#{byte};" for byte in ROW).encode(),
        ROW.decode().encode("utf-16"),
    ],
)
def test_in_whatever_form(text: bytes) -> None:
    assert is_marked(b"some words " + text + b" and more")
    assert not is_marked(text[:6])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with all that may hold rows, each readable to its owner only."""
    state = tmp_path / "state"
    for name in ("ledger.db", "ledger.db-wal", "spool/00000001.body", "jobs/j/rejects.jsonl", "jobs/j/header.txt"):
        file = state / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ROW)
        file.chmod(0o600)
    state.chmod(0o700)
    return state


def test_not_where_rows_may_lie(tmp_path: Path, state: Path) -> None:
    (tmp_path / "export.csv").write_bytes(ROW)
    check_canaries(tmp_path, state, [b"nothing"], exports=[tmp_path / "export.csv"])
    with pytest.raises(HarmError, match=r"export\.csv"):
        check_canaries(tmp_path, state, [])


@pytest.mark.parametrize("name", ["state/jobs/j/report.json", "state/heartbeat", "state/service.json", "log", "a/b"])
def test_anywhere_else(tmp_path: Path, state: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"so it is: " + ROW)
    with pytest.raises(HarmError, match=name):
        check_canaries(tmp_path, state, [])


def test_in_a_name_and_in_what_was_told(tmp_path: Path, state: Path) -> None:
    with pytest.raises(HarmError, match="what was told"):
        check_canaries(tmp_path, state, [b"{}", ROW])
    (state / "jobs" / MARK).touch()
    with pytest.raises(HarmError, match="the name"):
        check_canaries(tmp_path, state, [])


def test_what_may_hold_rows_is_for_its_owner_only(tmp_path: Path, state: Path) -> None:
    (state / "spool" / "00000001.body").chmod(0o640)
    with pytest.raises(HarmError, match="readable to others"):
        check_canaries(tmp_path, state, [])


def test_a_kept_export_has_its_own_mode_in_a_folder_for_its_owner_only(tmp_path: Path, state: Path) -> None:
    kept = state / "jobs" / "j" / "drop" / "export.csv"
    kept.parent.mkdir(0o700)
    kept.write_bytes(ROW)
    kept.chmod(0o644)
    check_canaries(tmp_path, state, [])
    kept.parent.chmod(0o750)
    with pytest.raises(HarmError, match="readable to others"):
        check_canaries(tmp_path, state, [])


@pytest.mark.parametrize("seed", [2, 13])
async def test_an_export_without_an_id_column_with_canaries_in_its_names(seed: int) -> None:
    """Some of `python -m tests.tools.faults.unusable`."""
    await load_unusable(seed)


def test_a_run_that_does_harm_is_counted_as_that() -> None:
    def harms() -> Tally:
        hold("stale", False, "an older value", 3)
        return Tally(runs=1)

    def breaks() -> Tally:
        raise ValueError("a bug")

    def finds() -> Tally:
        raise FoundError(Tally(runs=4, refused=1, lost=2), ["lost: u1", "lost: u2"])

    total = Tally()
    for run in (harms, breaks, finds, lambda: Tally(runs=1, rows=5, refused=1, blocked_ms=7.0)):
        total.add(tally_of(run)[0])
    assert total == Tally(runs=7, rows=5, lost=2, stale=3, broken=1, refused=2, blocked_ms=7.0)
    assert total.harm == 6
