"""The folder of a job: for its owner only, and every reject readable again to the byte."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import orjson
import pytest

from pipeline.core.batches.lifecycle import RowRejected
from pipeline.core.batches.parts import Places
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.model import FailedRow, Reason, Reject
from pipeline.edges.store.job_folder import MAX_ANSWER_CHARS, MAX_ANSWERS_BYTES, JobFolder
from tests.tools.support import read_lines, read_only, small_disk


def test_mode_of_everything(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "jobs" / "job").make()
    folder.add_rejects(Places("a.csv"), [Reject(2, Reason.EMPTY_ID, b"", b",1")])
    folder.write_failed(Places("a.csv"), [FailedRow("a", 3, 1)])
    folder.write_report(Report.from_json({"state": "done"}))
    assert folder.directory.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.directory.iterdir()}
    assert modes == {"rejects.jsonl": 0o600, "failed.jsonl": 0o600, "report.json": 0o600}


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "jobs" / "job").make()
    elsewhere = tmp_path / "elsewhere"
    folder.directory.rename(elsewhere)
    folder.directory.symlink_to(elsewhere)
    writes: list[Callable[[], object]] = [
        folder.make,
        lambda: folder.add_rejects(Places("a.csv"), []),
        lambda: folder.add_answer(1, "POST", "no", datetime(2026, 11, 23, tzinfo=UTC)),
        lambda: folder.write_failed(Places("a.csv"), []),
        lambda: folder.write_header(b"id"),
        lambda: folder.write_page("page"),
        lambda: folder.write_report(Report.from_json({"state": "done"})),
    ]
    for write in writes:
        with pytest.raises(FatalError, match="is a symbolic link now") as failure:
            write()
        assert failure.value.exit_code is ExitCode.DISK_OR_LEDGER
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job").make()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    folder.rejects.symlink_to(elsewhere)
    with pytest.raises(FatalError, match="cannot write"):
        folder.add_rejects(Places("a.csv"), [Reject(2, Reason.EMPTY_ID, b"", b",1")])
    assert elsewhere.read_bytes() == b""


class TestRejects:
    def lines(self, directory: Path, *rejects: Reject) -> list[dict[str, object]]:
        folder = JobFolder(directory / "job").make()
        folder.add_rejects(Places("a.csv"), rejects)
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
        folder = JobFolder(tmp_path).make()
        for line in range(1, 4):
            folder.add_rejects(Places("a.csv"), [Reject(line, Reason.EMPTY_ID, b"", b",")])
        folder.add_rejects(Places("a.csv"), [])
        assert [reject["line"] for reject in read_lines(folder.rejects)] == [1, 2, 3]


class TestTakingRejectsBack:
    """What a crash left behind the latest checkpoint is read once more, so it may not stay."""

    REJECTS: ClassVar = [Reject(line, Reason.EMPTY_ID, b"", b",1") for line in range(2, 6)]

    def test_length_and_cut(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        assert folder.rejects_bytes == folder.sync_rejects() == 0
        folder.add_rejects(Places("a.csv"), self.REJECTS[:2])
        length = folder.sync_rejects()
        assert length == folder.rejects_bytes == folder.rejects.stat().st_size > 0
        folder.add_rejects(Places("a.csv"), self.REJECTS[2:])
        assert folder.rejects_bytes > length
        folder.cut_rejects(length)
        assert [line["line"] for line in read_lines(folder.rejects)] == [2, 3]
        folder.add_rejects(Places("a.csv"), self.REJECTS[3:])
        assert [line["line"] for line in read_lines(folder.rejects)] == [2, 3, 5]

    def test_rejects_that_somebody_took_away_are_noticed(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        folder.cut_rejects(0)
        with pytest.raises(FatalError, match=r"has 0 bytes, and the ledger knows of 100: restore it") as caught:
            folder.cut_rejects(100)
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        folder.add_rejects(Places("a.csv"), self.REJECTS[:1])
        with pytest.raises(FatalError, match=r"knows of 10,000"):
            folder.cut_rejects(10_000)
        folder.cut_rejects(10_000, may_be_shorter=True)
        assert len(read_lines(folder.rejects)) == 1

    def test_a_disk_that_turned_read_only(self) -> None:
        with small_disk(65_536) as disk:
            folder = JobFolder(disk / "job").make()
            folder.add_rejects(Places("a.csv"), self.REJECTS)
            with read_only(disk), pytest.raises(FatalError, match=r"cannot cut .*rejects.jsonl") as caught:
                folder.cut_rejects(1)
            assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER


class TestAnswers:
    """What Target said is kept for the owner only, and not without bounds."""

    AT = datetime(2026, 11, 29, 2, 14, tzinfo=UTC)

    def test_a_line(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        assert folder.add_answer(3, "POST", 'no "\n\x1b[2J\u202e\ud800', self.AT)
        assert read_lines(folder.answers) == [
            {
                "at": "2026-11-29T02:14:00+00:00",
                "batch": 3,
                "call": "POST",
                "characters": 11,
                "text": 'no "\n\x1b[2J\u202e\\ud800',
            }
        ]
        assert folder.answers.stat().st_mode & 0o777 == 0o600
        assert b"\x1b" not in folder.answers.read_bytes()

    def test_its_bounds(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        kept = sum(folder.add_answer(1, "GET", "\x01" * 60_000, self.AT) for _ in range(200))
        lines = read_lines(folder.answers)
        assert len(lines) == kept < 200
        assert {(line["characters"], len(line["text"])) for line in lines} == {(60_000, MAX_ANSWER_CHARS)}
        assert folder.answers.stat().st_size < MAX_ANSWERS_BYTES + 7 * MAX_ANSWER_CHARS


class TestRowsThatTargetRefused:
    def test_a_line(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        folder.add_rejects(Places("a.csv"), [Reject(2, Reason.EMPTY_ID, b"", b",1")])
        folder.add_target_rejects(Places("a.csv"), [(3, RowRejected('Bad "id"\n', 9, "%C3%BC%2C,gold,%25"))])
        first, second = read_lines(folder.rejects)
        assert first["line"] == 2
        assert second == {
            "file": "a.csv",
            "line": 9,
            "reason": "target.refused",
            "id": "ü,",
            "raw": "%C3%BC%2C,gold,%25",
            "message": 'Bad "id"\n',
        }

    def test_its_message_is_what_was_kept_of_it(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        for batch, call, text in ((3, "POST", "first"), (3, "POST", "bad u3"), (3, "GET", "lost"), (4, "GET", "lost")):
            folder.add_answer(batch, "POST" if call == "POST" else "GET", text, TestAnswers.AT)
        with folder.answers.open("ab") as answers:
            answers.write(b'{"batch":4,"call":"PO')
        folder.add_target_rejects(
            Places("a.csv"), [(3, RowRejected("told", 9, "u3")), (4, RowRejected("told", 10, "u4"))]
        )
        assert [line["message"] for line in read_lines(folder.rejects)] == ["bad u3", "told"]

    def test_none(self, tmp_path: Path) -> None:
        folder = JobFolder(tmp_path).make()
        folder.add_target_rejects(Places("a.csv"), [])
        assert read_lines(folder.rejects) == []


def test_failed_rows(tmp_path: Path) -> None:
    """Written as a whole: a second time replaces the first."""
    folder = JobFolder(tmp_path).make()
    folder.write_failed(Places("a.csv"), [FailedRow("never", 1, 1)])
    folder.write_failed(Places("a.csv"), [FailedRow("ü", 9, 4), FailedRow("unheard of", None, 5)])
    assert read_lines(folder.failed) == [
        {"file": "a.csv", "line": 9, "batch": 4, "id": "ü", "reason": "target.failed"},
        {"file": "a.csv", "line": None, "batch": 5, "id": "unheard of", "reason": "target.failed"},
    ]


def test_report_is_there_with_a_file_of_rejects(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path).make()
    report = Report.from_json({"job": "ü", "rows": {"read": 0}})
    folder.write_report(report)
    assert orjson.loads(folder.report.read_bytes()) == report.as_json()
    assert list(orjson.loads(folder.report.read_bytes()))[:2] == ["job", "state"]
    assert folder.report.read_bytes().endswith(b"}\n")
    assert folder.rejects.read_bytes() == b""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rejects.jsonl", "report.json"]


def test_full_disk() -> None:
    with small_disk(65_536) as disk:
        folder = JobFolder(disk / "job").make()
        reject = Reject(2, Reason.EMPTY_ID, b"", b"x" * 100_000)
        with pytest.raises(FatalError, match=r"cannot write .*rejects.jsonl: The disk is full") as caught:
            folder.add_rejects(Places("a.csv"), [reject])
        assert caught.value.exit_code is ExitCode.DISK_OR_LEDGER
        with pytest.raises(FatalError, match=r"cannot write .*report.json: The disk is full"):
            folder.write_report(Report.from_json({"job": "x" * 100_000}))
        with pytest.raises(FatalError, match=r"cannot write .*failed.jsonl: The disk is full"):
            folder.write_failed(Places("a.csv"), [FailedRow("x" * 100_000, 1, 1)])
        assert not folder.failed.exists()
        assert not folder.report.exists()
