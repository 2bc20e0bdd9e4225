"""The plan of an export: what it is, and what a load of it would come to. `as_json` has the keys in their order."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.core.batches.parts import Place
from pipeline.core.errors import ExitCode
from pipeline.core.model import RowCounts
from pipeline.core.survey.ids import IdCounts
from pipeline.core.survey.naive import Mistake
from pipeline.core.survey.samples import SampleRow


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A file of an export that came as several, or the only one."""

    name: str
    size_bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Description:
    """The kind of an export, and the way it is written. Texts are empty where a thing does not apply.

    `kind`: csv, jsonl, or what a columnar file is.
    `packing`: what it is packed with, or empty.
    `delimiter_from`: what told the delimiter: `configuration`, `header`, or `sep=`.
    `escape_in`: the cells in which the escape counts; empty without one.
    `read_otherwise`: rows of the beginning that have other cells if it counts in the others; the line of the first.
    `line_ends`: LF, CR LF, CR, or `mixed`.
    `header_line`: 0 if it has none.
    `lists`: of a directory, the lists in it that say which files are parts.
    `left_out`: the files in it that none of them names.
    """

    name: str
    size_bytes: int = 0
    sha256: str = ""
    rows: int = 0
    kind: str = ""
    packing: str = ""
    encoding: str = ""
    has_mark: bool = False
    delimiter: str = ""
    delimiter_from: str = ""
    quote: str = ""
    escape: str = ""
    escape_in: str = ""
    read_otherwise: int = 0
    first_read_otherwise: int | None = None
    line_ends: str = ""
    header_line: int = 0
    parts: tuple[PlannedPart, ...] = ()
    lists: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        parts = [{"name": part.name, "bytes": part.size_bytes, "rows": part.rows} for part in self.parts]
        named = {"size_bytes": "bytes", "has_mark": "byte_order_mark"}
        return {named.get(name, name): value for name, value in asdict(self).items()} | {"parts": parts}


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """A column of an export.

    `sent_as`: its parameter, the kind of the id for the id column, or None if it is not sent.
    `fill_rate`: the share of rows in which it holds a value; by the beginning of the export if it `is_sampled`.
    `samples`: masked values.
    `personal`: the kind of personal data that it seems to hold, or None.
    """

    name: str
    sent_as: str | None
    fill_rate: float
    is_sampled: bool
    samples: tuple[str, ...]
    personal: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is told of an export before it is sent.

    `samples`: rows before and after [mapping], if there is one; `samples_of`: the part that they are in.
    `first_places`: by reason, where the first rejects are.
    `batches`, `calls`: that a load would send, and make at the least.
    `spool_bytes`: the most that lies in the spool at once.
    `minutes`: by the minutes in which Target completes a batch, those that the load takes.
    `quarantine`: the reason for which a guard would hold it back, or None.
    `error`, `exit_code`: with which a load would end, if not well.
    """

    export: Description
    columns: tuple[PlannedColumn, ...] = ()
    samples: tuple[SampleRow, ...] = ()
    samples_of: str = ""
    rows: RowCounts = field(default_factory=RowCounts)
    by_reason: dict[str, int] = field(default_factory=dict)
    first_places: dict[str, list[Place]] = field(default_factory=dict)
    has_parts: bool = False
    warnings: dict[str, Any] = field(default_factory=dict)
    batches: int = 0
    calls: int = 0
    spool_bytes: int = 0
    minutes: dict[str, float] = field(default_factory=dict)
    batch_bytes: int = 0
    ids: IdCounts = field(default_factory=IdCounts)
    mistakes: tuple[Mistake, ...] = ()
    client_code: str = ""
    quarantine: str | None = None
    error: str | None = None
    exit_code: ExitCode = ExitCode.DONE

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `--json` has them."""
        rows = asdict(self.rows)
        del rows["pending"]
        return {
            "export": self.export.as_json(),
            "columns": [asdict(column) for column in self.columns],
            "rows": rows,
            "rejects": self._rejects(),
            "warnings": self.warnings,
            "batches": self.batches,
            "calls": self.calls,
            "spool_bytes": self.spool_bytes,
            "minutes": self.minutes,
            "batch_bytes": self.batch_bytes,
            "ids": asdict(self.ids),
            "samples": self._samples(),
            "naive_sender": [asdict(mistake) for mistake in self.mistakes],
            "client_code": self.client_code,
            "quarantine": self.quarantine,
            "error": self.error,
            "exit_code": int(self.exit_code),
        }

    def _samples(self) -> list[dict[str, Any]]:
        part = {"part": self.samples_of} if self.has_parts else {}
        return [part | asdict(row) | {"cells": [asdict(cell) for cell in row.cells]} for row in self.samples]

    def _rejects(self) -> dict[str, Any]:
        lines = {reason: [place.line for place in places] for reason, places in self.first_places.items()}
        parts = {reason: [place.file for place in places] for reason, places in self.first_places.items()}
        told = {"by_reason": self.by_reason, "first_lines": lines}
        return told | {"first_parts": parts} if self.has_parts else told
