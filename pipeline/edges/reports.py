"""The folder of a job: its report, its rejects, and the rows Target failed. All of it for the owner's eyes only.

Lines of `rejects.jsonl` are `{"file", "line", "reason", "id", "raw"}`, with `raw_base64` where the row holds bytes
that are not UTF-8; lines of `failed.jsonl` are `{"file", "line", "batch", "id", "reason"}`.
"""

import base64
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from pipeline.core.mapping import is_utf8
from pipeline.core.model import FailedRow, Reject
from pipeline.edges.durable import disk_error, make_directory, write_durably


class JobFolder:
    """The folder of one job, made where it is not there yet. All methods block."""

    def __init__(self, directory: Path) -> None:
        make_directory(directory)
        self.directory = directory

    @property
    def rejects(self) -> Path:
        """One JSON object for each rejected row, in the order of the export."""
        return self.directory / "rejects.jsonl"

    @property
    def failed(self) -> Path:
        """One JSON object for each row that Target named as failed."""
        return self.directory / "failed.jsonl"

    @property
    def report(self) -> Path:
        """The report, written once, at the end."""
        return self.directory / "report.json"

    def add_rejects(self, export_name: str, rejects: Iterable[Reject]) -> None:
        """Write down rejected rows."""
        _append(self.rejects, (_reject_line(export_name, reject) for reject in rejects))

    def add_failed(self, export_name: str, batch_number: int, rows: Iterable[FailedRow]) -> None:
        """Write down rows that Target named as failed."""
        _append(
            self.failed,
            (
                {
                    "file": export_name,
                    "line": row.line,
                    "batch": batch_number,
                    "id": row.profile_id,
                    "reason": "target.failed",
                }
                for row in rows
            ),
        )

    def write_report(self, report: dict[str, Any]) -> None:
        """Write the report, whole or not at all."""
        if not self.rejects.exists():
            _append(self.rejects, ())
        write_durably(self.report, [orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)])


def _append(path: Path, objects: Iterable[dict[str, Any]]) -> None:
    lines = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in objects)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines)
    except OSError as error:
        raise disk_error(error, f"cannot write {path}") from error


def _reject_line(export_name: str, reject: Reject) -> dict[str, Any]:
    profile_id = reject.profile_id
    line: dict[str, Any] = {
        "file": export_name,
        "line": reject.line,
        "reason": reject.reason.value,
        "id": None if profile_id is None else profile_id.decode(errors="backslashreplace"),
        "raw": reject.raw.decode(errors="backslashreplace"),
    }
    if not is_utf8(reject.raw):
        line["raw_base64"] = base64.b64encode(reject.raw).decode()
    return line
