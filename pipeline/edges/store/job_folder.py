"""The folder of a job: its report, its rejects, and the rows that Target failed; readable by the owner only.

Lines of `rejects.jsonl` are `{"file", "line", "reason", "id", "raw"}`, with `raw_base64` if the row holds bytes that
are not UTF-8. Rows that Target refused have `message` too. Lines of `failed.jsonl` are
`{"file", "line", "batch", "id", "reason"}`, those of `answers.jsonl` `{"at", "batch", "call", "characters", "text"}`.
"""

import base64
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from pipeline.core.batches.lifecycle import RowRejected
from pipeline.core.batches.parts import Place, Places
from pipeline.core.batches.progress import TARGET_REFUSED
from pipeline.core.batches.report import Report
from pipeline.core.errors import ExitCode, FatalError
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import FailedRow, Reject
from pipeline.core.target.messages import ANSWERS_FILE
from pipeline.edges.durable import disk_errors, make_directory, sync_directory, write_durably
from pipeline.edges.store.job_rows.row_index import RowIndex
from pipeline.edges.store.job_rows.sample_files import SampleFiles
from pipeline.edges.store.records import MENDED

#: Characters of a text of Target's that are kept, and bytes of all of a job. Ours: one is to be understood from them.
MAX_ANSWER_CHARS, MAX_ANSWERS_BYTES = 2_000, 1_048_576


class JobFolder:
    """The folder of one job; call `make` first. All methods block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        #: One JSON object for each rejected row. Rows rejected here are in the order of the export; rows that Target
        #: refused are appended when it does.
        self.rejects = directory / "rejects.jsonl"
        #: The rejected rows once more, as a table in the columns of the export, to be mended; made when the job ends.
        self.rejects_table = directory / "rejects.csv"
        #: The way the export is written, by which that table is made, and mended rows are read.
        self.columns = directory / "columns.json"
        #: The ids that each batch had, by its id: see `sent_ids`.
        self.sent = directory / "sent"
        #: What every row that was read is, by the hash of its id.
        self.index = RowIndex(directory / "rows" / "index")
        #: The rows that are to be read back from Target, until that is done; and what that came to.
        self.sample, self.verified = SampleFiles(directory / "rows" / "sample"), directory / "verified.json"
        #: Of a job that loads mended rows: the table as it was given, and the job whose table it was; the export made
        #: of it, and the lines of its rows.
        self.fixed, self.asked = directory / "fixed.csv", directory / "fixed.of"
        self.mended, self.mended_lines = directory / MENDED, directory / "mended.lines"
        #: One JSON object for each row that Target named as failed.
        self.failed = directory / "failed.jsonl"
        #: One JSON object for each text of Target's that is not told in log and report, which never quote it.
        self.answers = directory / ANSWERS_FILE
        #: The header of the export as it was read, if it cannot be used; where the export has none, a row.
        self.header = directory / "header.txt"
        #: The report, which is written once, at the end; and the same as a page for people.
        self.report, self.page = directory / "report.json", directory / "report.html"
        #: The directory for the dropped files of the job, if they are kept.
        self.dropped = directory / "drop"

    def make(self) -> "JobFolder":
        """Make the folder if it does not exist. Raises `FatalError` (74) if the disk refuses."""
        make_directory(self.directory)
        self._check_place()
        return self

    def _check_place(self) -> None:
        """Raise `FatalError` (74) if somebody put a link in the place of the folder: it is not followed."""
        if self.directory.is_symlink():
            raise FatalError(
                f"{self.directory} is a symbolic link now: somebody who may write to {self.directory.parent} moved or "
                "replaced the folder. Nothing is written there. Move the folder back to that name; with mode 3770 "
                "nobody else can do this.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            )

    def add_rejects(self, places: Places, rejects: Iterable[Reject]) -> None:
        """Append rejected rows to the rejects file."""
        self._append(self.rejects, (_reject_line(places.of(reject.line), reject) for reject in rejects))

    @property
    def rejects_bytes(self) -> int:
        """The length of the rejects file so far."""
        return self.rejects.stat().st_size if self.rejects.exists() else 0

    def cut_rejects(self, length: int, *, may_be_shorter: bool = False) -> None:
        """Cut the rejects file to `length` bytes.

        Raises `FatalError` (74) if it is shorter, unless `may_be_shorter`.
        """
        if self.rejects_bytes < length and not may_be_shorter:
            raise FatalError(
                f"{self.rejects} has {self.rejects_bytes:,} bytes, and the ledger knows of {length:,}: restore it, or "
                "give the job up with `abandon`.",
                exit_code=ExitCode.DISK_OR_LEDGER,
            )
        if self.rejects_bytes > length:
            with disk_errors(f"cannot cut {self.rejects}"):
                os.truncate(self.rejects, length)

    def sync_rejects(self) -> int:
        """Make the rejects written so far durable; return the length of the file in bytes."""
        if not self.rejects.exists():
            return 0
        with disk_errors(f"cannot write {self.rejects}"):
            descriptor = os.open(self.rejects, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # The file's name must be durable too: these may be the first rejects.
            sync_directory(self.directory)
        return self.rejects_bytes

    def add_answer(self, batch_number: int, call: Literal["POST", "GET"], text: str, at: datetime) -> bool:
        """Keep what Target said of a batch, its first `MAX_ANSWER_CHARS` characters; False if the file is full.

        Raises `FatalError` (74) if the disk refuses.
        """
        if self.answers.exists() and self.answers.stat().st_size >= MAX_ANSWERS_BYTES:
            return False
        kept = text[:MAX_ANSWER_CHARS].encode(errors="backslashreplace").decode()
        line = {"at": at.isoformat(timespec="seconds"), "batch": batch_number, "call": call}
        self._append(self.answers, [{**line, "characters": len(text), "text": kept}])
        return True

    def add_target_rejects(self, places: Places, rejected: Iterable[tuple[int, RowRejected]]) -> None:
        """Append the rows that Target refused, each with the number of its batch, to the rejects file, durably.

        `raw` is the encoded row that was sent, `message` Target's text where it was kept, else what is told of it.
        """
        said = self._refusals()
        self._append(
            self.rejects,
            (
                {
                    **places.of(row.line)._asdict(),
                    "reason": TARGET_REFUSED,
                    "id": unquote(row.row.partition(",")[0]),
                    "raw": row.row,
                    "message": said.get(number, row.message),
                }
                for number, row in rejected
            ),
        )
        self.sync_rejects()

    def _refusals(self) -> dict[int, str]:
        """By number of the batch what Target said when it refused it, as far as it was kept."""
        said = {}
        with suppress(OSError):
            for line in self.answers.read_bytes().splitlines():
                # The last one may be cut off, after a crash.
                with suppress(orjson.JSONDecodeError):
                    answer = orjson.loads(line)
                    if answer["call"] == "POST":
                        said[answer["batch"]] = answer["text"]
        return said

    def write_failed(self, places: Places, rows: Iterable[FailedRow]) -> None:
        """Write the file of the rows that Target named as failed, whole or not at all."""
        lines = [
            {
                **_where(places, row.line),
                "batch": row.batch_number,
                "id": row.profile_id,
                "reason": "target.failed",
            }
            for row in rows
        ]
        self._write(self.failed, [orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines])

    def write_header(self, header: bytes) -> None:
        """Write the header of an export that cannot be used, whole or not at all."""
        self._write(self.header, [header, b"\n"])

    def write_page(self, page: str) -> None:
        """Write the page of the report, whole or not at all."""
        self._write(self.page, [page.encode(errors="backslashreplace")])

    def write_verified(self, found: dict[str, Any]) -> None:
        """Write what the sample came to that was read back, whole or not at all."""
        self._write(self.verified, [orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)])

    def read_verified(self) -> dict[str, Any] | None:
        """The content of that file; None if there is none that can be read."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = orjson.loads(self.verified.read_bytes())
            return found
        return None

    def write_report(self, report: Report) -> None:
        """Write the report, whole or not at all."""
        if not self.rejects.exists():
            self._append(self.rejects, ())
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        self._write(self.report, [orjson.dumps(report.as_json(), option=option)])

    def _append(self, path: Path, objects: Iterable[dict[str, Any]]) -> None:
        self._check_place()
        lines = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in objects)
        with disk_errors(f"cannot write {path}"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(lines)

    def _write(self, path: Path, pieces: list[bytes]) -> None:
        self._check_place()
        write_durably(path, pieces)


def _where(places: Places, line: int | None) -> dict[str, Any]:
    return {"file": places.export, "line": None} if line is None else places.of(line)._asdict()


def _reject_line(place: Place, reject: Reject) -> dict[str, Any]:
    profile_id = reject.profile_id
    line: dict[str, Any] = {
        **place._asdict(),
        "reason": reject.reason.value,
        "id": None if profile_id is None else profile_id.decode(errors="backslashreplace"),
        "raw": reject.raw.decode(errors="backslashreplace"),
    }
    if not is_utf8(reject.raw):
        line["raw_base64"] = base64.b64encode(reject.raw).decode()
    return line
