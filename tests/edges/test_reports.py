"""The folder of a job: for its owner only, and every reject readable again to the byte."""

import base64
from pathlib import Path

import orjson
import pytest

from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import FailedRow, Reason, Reject
from pipeline.edges.reports import JobFolder
from tests.support import read_lines, small_disk


def test_mode_of_everything(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "jobs" / "job")
    folder.add_rejects("a.csv", [Reject(2, Reason.EMPTY_ID, b"", b",1")])
    folder.add_failed("a.csv", 1, [FailedRow("a", 3)])
    folder.write_report({"state": "done"})
    assert folder.directory.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.directory.iterdir()}
    assert modes == {"rejects.jsonl": 0o600, "failed.jsonl": 0o600, "report.json": 0o600}


class TestRejects:
    def lines(self, directory: Path, *rejects: Reject) -> list[dict[str, object]]:
        folder = JobFolder(directory / "job")
        folder.add_rejects("a.csv", rejects)
        return read_lines(folder.rejects)

    def test_a_plain_one(self, tmp_path: Path) -> None:
        (line,) = self.lines(tmp_path, Reject(7, Reason.FIELD_COUNT, None, 'ü,"x", \\n'.encode()))
        assert line == {
            "file": "a.csv",
            "line": 7,
            "reason": "local.field_count",
            "id": None,
            "raw": 'ü,"x", \\n',
        }

    def test_line_breaks_stay_within_the_line(self, tmp_path: Path) -> None:
        raw = b'a,"x\r\ny\x00\x1f"'
        lines = self.lines(tmp_path, Reject(2, Reason.NUL_BYTE, b"a", raw), Reject(4, Reason.EMPTY_ID, b"", b",1"))
        assert [line["line"] for line in lines] == [2, 4]
        assert lines[0]["raw"] == raw.decode()
        assert "raw_base64" not in lines[0]

    @pytest.mark.parametrize("raw", [b"\xff,1", b"a\xc3", b"\xed\xa0\x80", bytes(range(256))])
    def test_bytes_that_are_not_utf_8(self, tmp_path: Path, raw: bytes) -> None:
        (line,) = self.lines(tmp_path, Reject(2, Reason.INVALID_UTF8, raw, raw))
        assert base64.b64decode(str(line["raw_base64"]), validate=True) == raw
        assert line["raw"] == line["id"] == raw.decode(errors="backslashreplace")

    def test_several_calls_follow_one_another(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path)
        for line in range(1, 4):
            folder.add_rejects("a.csv", [Reject(line, Reason.EMPTY_ID, b"", b",")])
        folder.add_rejects("a.csv", [])
        assert [reject["line"] for reject in read_lines(folder.rejects)] == [1, 2, 3]


def test_failed_rows(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.add_failed("a.csv", 4, [FailedRow("ü", 9), FailedRow("unheard of", None)])
    assert read_lines(folder.failed) == [
        {"file": "a.csv", "line": 9, "batch": 4, "id": "ü", "reason": "target.failed"},
        {"file": "a.csv", "line": None, "batch": 4, "id": "unheard of", "reason": "target.failed"},
    ]


def test_report_is_there_with_a_file_of_rejects(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.write_report({"job": "ü", "rows": {"read": 0}})
    assert orjson.loads(folder.report.read_bytes()) == {"job": "ü", "rows": {"read": 0}}
    assert folder.report.read_bytes().endswith(b"}\n")
    assert folder.rejects.read_bytes() == b""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rejects.jsonl", "report.json"]


def test_full_disk() -> None:
    with small_disk(65_536) as disk:
        folder = JobFolder(disk / "job")
        reject = Reject(2, Reason.EMPTY_ID, b"", b"x" * 100_000)
        with pytest.raises(FatalError, match=r"cannot write .*rejects.jsonl: The disk is full") as caught:
            folder.add_rejects("a.csv", [reject])
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        with pytest.raises(FatalError, match=r"cannot write .*report.json: The disk is full"):
            folder.write_report({"job": "x" * 100_000})
        assert not folder.report.exists()
