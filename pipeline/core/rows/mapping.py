"""Turns the records of an export into rows to send.

`RowMapper` maps, encodes and judges every record, by the plan that `header` makes of the columns. A row that is bad in
several ways is rejected for the first reason of `Reason` that applies, so the order of the checks is part of the
meaning. Values are not trimmed, and only delimiters in them may be replaced (`on_delimiter`). Only mapped columns are
sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from pipeline.core.model import Reason, Reject, Rows, Warnings
from pipeline.core.rows.dialect import Dialect
from pipeline.core.rows.encoding import KEPT, encode, encode_joined, has_delimiter, replace_delimiters
from pipeline.core.rows.framing import BrokenLine, Record
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.profile_id import SAFE_ID_CHARACTERS, problem_of_id

#: Longest value without a warning, in characters. Adobe names the limit for other ways of setting attributes.
SAFE_VALUE_CHARACTERS = 256
#: External data that Target keeps per visitor, in bytes. We count parameter names, and values before encoding.
MAX_ATTRIBUTES_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The fields of a record that are sent: the id first, then the cells in the order of the export's header.

    `carried`: parameters that only an earlier export had; rows held for one of its batches carry them. The rows of
    this export end before these columns, as Target allows.
    `unnamed`: the number of columns that are not sent because they have no name.
    """

    field_count: int
    id_kind: str
    id_index: int
    cell_indexes: tuple[int, ...]
    parameters: tuple[str, ...]
    carried: tuple[str, ...] = ()
    unnamed: int = 0

    @property
    def body_start(self) -> bytes:
        """The beginning of every batch: `batch=`, then the header row with its line feed."""
        return f"batch={','.join((self.id_kind, *self.parameters, *self.carried))}\n".encode()

    def carrying(self, parameters: Iterable[str]) -> "ColumnPlan":
        """This plan, for batches that may also carry these parameters."""
        more = dict.fromkeys(name for name in parameters if name not in self.parameters)
        return replace(self, carried=tuple(more))


@dataclass(frozen=True, slots=True)
class Mapped:
    """The result of mapping a list of records.

    `rows`: the rows to send.
    `rejects`: in the order of the export.
    `empty`: the number of rows with an id and no value.
    `warnings`: counts over the rows to send.
    """

    rows: Rows
    rejects: list[Reject]
    empty: int
    warnings: Warnings

    @property
    def read(self) -> int:
        """The number of rows read."""
        return len(self.rows) + len(self.rejects) + self.empty


def pack_rows(texts: list[bytes], id_lengths: list[int], lines: list[int], salt: int) -> Rows:
    """Rows from encoded row texts, the lengths of their encoded ids, and their line numbers."""
    body = b"".join(texts)
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    ends = np.cumsum(sizes)
    lengths = np.array(id_lengths, dtype=np.int64)
    return Rows(body, ends, lengths, np.array(lines, dtype=np.int64), hash_ids(body, ends - sizes, lengths, salt))


class RowMapper:
    """Maps, encodes and judges records.

    `dialect`: the export's.
    `on_delimiter`: the fate of a comma or line break inside a value: `replace`, `encode` or `reject`. A row with one in
    its id is rejected, unless it is `encode`.
    `replacement`: the text that replaces each of them.
    `max_row_bytes`: the most that one encoded row with its line feed may take, which still fits a batch of its own.
    `salt`: of the ids' hashes.
    """

    def __init__(
        self,
        plan: ColumnPlan,
        *,
        dialect: Dialect,
        on_delimiter: str,
        replacement: str,
        max_row_bytes: int,
        salt: int,
    ) -> None:
        self.plan = plan
        self.dialect, self.delimiter = dialect, dialect.delimiter
        self.on_delimiter = on_delimiter
        self.max_row_bytes = max_row_bytes
        self.salt = salt
        self._warnings = Warnings()
        self._replacement = replacement.encode()
        self._name_bytes = [len(parameter) for parameter in plan.parameters]
        self._pick = itemgetter(plan.id_index, *plan.cell_indexes)
        # A record of these bytes only, and at most `_short_bytes` long, is within every limit on ids, values and rows.
        self._plain = (KEPT + dialect.delimiter).translate(None, dialect.quoting)
        self._short_bytes = min(SAFE_ID_CHARACTERS, max_row_bytes - 1, MAX_ATTRIBUTES_BYTES - sum(self._name_bytes))

    def map(self, records: Sequence[Record | BrokenLine]) -> Mapped:
        """The rows to send and the rejects of these records, each in the order of the export."""
        texts: list[bytes] = []
        id_lengths: list[int] = []
        lines: list[int] = []
        rejects: list[Reject] = []
        empty = 0
        self._warnings = Warnings()
        for record in records:
            row = self._encoded_row(record)
            if isinstance(row, Reject):
                rejects.append(row)
            elif row is None:
                empty += 1
            else:
                if b",," in row or row.endswith(b",\n"):
                    self._count_empty_cells(row)
                texts.append(row)
                id_lengths.append(row.index(b","))
                lines.append(record.line)
        return Mapped(pack_rows(texts, id_lengths, lines, self.salt), rejects, empty, self._warnings)

    def _encoded_row(self, record: Record | BrokenLine) -> bytes | Reject | None:
        """The encoded row of a record, id first, with its line feed; None if all cells but the id are empty."""
        if isinstance(record, BrokenLine):
            return Reject(record.line, record.reason, None, record.raw)
        _, raw, fields, _, _ = record
        is_short = len(raw) <= self._short_bytes and len(fields) == self.plan.field_count
        if is_short and not raw.translate(None, self._plain):
            # The fast path: most records are short, and have nothing to encode or to judge.
            picked = self._pick(fields)
            if picked[0]:
                return b",".join(picked) + b"\n" if any(picked[1:]) else None
        return self._encoded_by_the_letter(record)

    def _encoded_by_the_letter(self, record: Record) -> bytes | Reject | None:
        reason = self._problem_of_record(record)
        fields = record.fields
        profile_id = fields[self.plan.id_index] if len(fields) == self.plan.field_count else None
        if reason or profile_id is None:
            return Reject(record.line, reason or Reason.FIELD_COUNT, profile_id, record.raw)
        cells: tuple[bytes, ...] = self._pick(fields)
        joined = b",".join(cells)
        with_delimiter = 0
        if b"\n" in joined or b"\r" in joined or joined.count(b",") >= len(cells):
            with_delimiter = sum(map(has_delimiter, cells))
            if self.on_delimiter == "reject" or (self.on_delimiter == "replace" and has_delimiter(profile_id)):
                return Reject(record.line, Reason.DELIMITER, profile_id, record.raw)
            if self.on_delimiter == "replace":
                cells = (profile_id, *(replace_delimiters(cell, self._replacement) for cell in cells[1:]))
            row = b",".join(map(encode, cells)) + b"\n"
        else:
            row = encode_joined(joined) + b"\n"
        if len(row) > self._short_bytes and self._attributes_bytes(cells) > MAX_ATTRIBUTES_BYTES:
            return Reject(record.line, Reason.ATTRIBUTES_TOO_LARGE, profile_id, record.raw)
        if len(row) > self.max_row_bytes:
            return Reject(record.line, Reason.ROW_TOO_LARGE, profile_id, record.raw)
        if not any(cells[1:]):
            return None
        self._warn(record, cells, with_delimiter, len(row))
        return row

    def _attributes_bytes(self, cells: tuple[bytes, ...]) -> int:
        sized = zip(self._name_bytes, cells[1:], strict=True)
        return sum(name_bytes + len(value) for name_bytes, value in sized if value)

    def _problem_of_record(self, record: Record) -> Reason | None:
        if b"\0" in record.raw:
            return Reason.NUL_BYTE
        if not is_utf8(record.raw):
            return Reason.INVALID_UTF8
        if len(record.fields) != self.plan.field_count:
            return Reason.FIELD_COUNT
        return problem_of_id(record.fields[self.plan.id_index])

    def _warn(self, record: Record, cells: tuple[bytes, ...], with_delimiter: int, row_bytes: int) -> None:
        warnings = self._warnings
        warnings.bare_quote += record.has_bare_quote
        warnings.array_joined += record.joined
        warnings.value_with_delimiter += with_delimiter
        if row_bytes <= SAFE_ID_CHARACTERS:
            return
        warnings.id_over_128_characters += len(cells[0].decode()) > SAFE_ID_CHARACTERS
        warnings.value_over_256_characters += sum(
            len(value) > SAFE_VALUE_CHARACTERS and len(value.decode()) > SAFE_VALUE_CHARACTERS for value in cells[1:]
        )

    def _count_empty_cells(self, row: bytes) -> None:
        for parameter, cell in zip(self.plan.parameters, row[:-1].split(b",")[1:], strict=True):
            if not cell:
                self._warnings.empty_cells[parameter] += 1


def is_utf8(raw: bytes) -> bool:
    """True if the bytes are valid UTF-8."""
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
