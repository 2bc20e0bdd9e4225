"""Turns the records of an export into rows to send.

`RowMapper` maps, encodes and judges every record, by the plan that `header` makes of the columns. A row that is bad in
several ways is rejected for the first reason of `Reason` that applies, so the order of the checks is part of the
meaning. `CellRules` says what is trimmed and what means no value; delimiters in values may be replaced
(`on_delimiter`). Only mapped columns are sent, after the steps that [mapping] asks for (`core/values`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import itemgetter

import numpy as np

from pipeline.core.formats.dialect import Dialect
from pipeline.core.formats.framing import BOM, BrokenLine, Record
from pipeline.core.formats.text_codec import is_utf8
from pipeline.core.model import NO_FAULTS, Reason, Reject, Rows, Warnings
from pipeline.core.rows.cells import (
    CellRules,
    ends_in_point_zero,
    is_blank,
    is_guarded,
    is_heading,
    is_in_quotes,
    trimmed,
)
from pipeline.core.rows.encoding import KEPT, encode, encode_joined, has_delimiter, replace_delimiters
from pipeline.core.rows.hashing import hash_ids
from pipeline.core.rows.heading_order import HeadingOrder
from pipeline.core.rows.id_forms import EMPTY, IdForms, NotSent, excluded_by, not_sent
from pipeline.core.rows.profile_id import SAFE_ID_CHARACTERS, problem_of_id, problem_of_sent_id, problem_of_written_id
from pipeline.core.values.cell_memory import CellMemory
from pipeline.core.values.row_steps import NO_STEPS, PlacedSteps

#: Longest value without a warning, in characters. Adobe names the limit for other ways of setting attributes.
SAFE_VALUE_CHARACTERS = 256
#: External data that Target keeps per visitor, in bytes. We count parameter names, and values before encoding.
MAX_ATTRIBUTES_BYTES = 65_536
#: The same, without a warning. Half of the limit, since other sources share it; Adobe asks to stay well below.
SAFE_ATTRIBUTES_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The fields of a record that are sent: the id first, then the cells in the order of the export's header.

    `parameters`: the names of these cells, then those of the constants in `steps`.
    `header`: the fields of the header as they stand in the export, by which it is known again among the rows; empty for
    an export without a header.
    `carried`: parameters that only an earlier export had; rows held for one of its batches carry them. The rows of
    this export end before these columns, as Target allows.
    `unnamed`: the number of columns that are not sent because they have no name.
    `steps`: what is done to rows before they are sent.
    """

    field_count: int
    id_kind: str
    id_index: int
    cell_indexes: tuple[int, ...]
    parameters: tuple[str, ...]
    carried: tuple[str, ...] = ()
    unnamed: int = 0
    steps: PlacedSteps = NO_STEPS
    header: tuple[bytes, ...] = ()

    @property
    def body_start(self) -> bytes:
        """The beginning of every batch: `batch=`, then the header row with its line feed."""
        return f"batch={','.join((self.id_kind, *self.parameters, *self.carried))}\n".encode()

    def carrying(self, parameters: Iterable[str]) -> "ColumnPlan":
        """This plan, for batches that may also carry these parameters."""
        own = {*self.parameters}
        more = dict.fromkeys(name for name in parameters if name not in own)
        return replace(self, carried=tuple(more))


@dataclass(frozen=True, slots=True)
class Mapped:
    """The result of mapping a list of records.

    `rows`: the rows to send.
    `rejects`: in the order of the export.
    `empty`: the number of rows with an id and no value.
    `warnings`: counts over the rows to send, and of blank records, which are no rows.
    `excluded`: the number of rows left out, by the column of the condition.
    `not_sent`: the rows that are empty or left out, by why.
    """

    rows: Rows
    rejects: list[Reject]
    empty: int
    warnings: Warnings
    excluded: Mapping[str, int] = field(default_factory=dict)
    not_sent: tuple[NotSent, ...] = ()

    @property
    def read(self) -> int:
        """The number of rows read."""
        return len(self.rows) + len(self.rejects) + self.empty + sum(self.excluded.values())

    @property
    def faulty(self) -> int:
        """The number of rejects that count against `max_rejects`."""
        return sum(reject.reason not in NO_FAULTS for reject in self.rejects)


def pack_rows(texts: list[bytes], id_lengths: list[int], lines: list[int], salt: int) -> Rows:
    """Rows from encoded row texts, the lengths of their encoded ids, and their line numbers."""
    body = b"".join(texts)
    sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    ends = np.cumsum(sizes)
    lengths = np.array(id_lengths, dtype=np.int64)
    return Rows(body, ends, lengths, np.array(lines, dtype=np.int64), hash_ids(body, ends - sizes, lengths, salt))


class _Unsent(Enum):
    """A record that is neither sent nor rejected."""

    EMPTY = "an id and no value"
    BLANK = "no row at all"
    EXCLUDED = "left out by a condition"


class RowMapper:
    """Maps, encodes and judges records.

    `dialect`: the export's.
    `on_delimiter`: the fate of a comma or line break inside a value: `replace`, `encode` or `reject`. A row with one in
    its id is rejected, unless it is `encode`.
    `replacement`: the text that replaces each of them.
    `max_row_bytes`: the most that one encoded row with its line feed may take, which still fits a batch of its own.
    `salt`: of the ids' hashes.
    `rules`: the meaning of cells.
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
        rules: CellRules = CellRules(),  # noqa: B008 - frozen
    ) -> None:
        self.plan = plan
        self.dialect, self.delimiter = dialect, dialect.delimiter
        self.on_delimiter = on_delimiter
        self.replacement = replacement.encode()
        self.max_row_bytes = max_row_bytes
        self.salt = salt
        self.rules = rules
        self.has_steps = plan.steps != NO_STEPS
        #: The forms in which ids are found again.
        self.forms = IdForms(salt, plan.steps.id_steps, is_trimmed=rules.trim != "none")
        self._warnings = Warnings()
        self._excluded: Counter[str] = Counter()
        self._not_sent: list[tuple[str, bytes, int]] = []
        #: For each cell, if it is trimmed.
        asked = plan.steps.trims or (False,) * len(plan.cell_indexes)
        self.trims = tuple(rules.trim == "all" or is_asked for is_asked in asked)
        #: The places of the cells with steps, and what the steps made of cells.
        self.stepped = [(place, CellMemory(steps)) for place, steps in enumerate(plan.steps.cell_steps) if steps]
        self._name_bytes = [len(parameter) for parameter in plan.parameters]
        # A slice, since an `itemgetter` of one place gives no tuple: an export may have nothing but its ids.
        alone = slice(plan.id_index, plan.id_index + 1)
        self._pick = itemgetter(plan.id_index, *plan.cell_indexes) if plan.cell_indexes else itemgetter(alone)
        self._header = [*map(trimmed, plan.header)]
        self.order = HeadingOrder(plan.header, (plan.id_index, *plan.cell_indexes), salt)
        # A record of these bytes only, and at most `_short_bytes` long, is within every limit on ids, values and rows.
        self._plain = (KEPT + dialect.delimiter).translate(None, dialect.quoting)
        names_bytes = sum(self._name_bytes)
        self._short_bytes = min(SAFE_ID_CHARACTERS, max_row_bytes - 1, MAX_ATTRIBUTES_BYTES - names_bytes)
        self._light_bytes = SAFE_ATTRIBUTES_BYTES - names_bytes

    @property
    def header_id(self) -> bytes:
        """The name of the id column in the header, trimmed; empty if there is no header."""
        return self._header[self.plan.id_index] if self._header else b""

    def map(self, records: Sequence[Record | BrokenLine]) -> Mapped:
        """The rows to send and the rejects of these records, each in the order of the export.

        Raises `InputError` (65) for the header in another order.
        """
        texts: list[bytes] = []
        id_lengths: list[int] = []
        lines: list[int] = []
        rejects: list[Reject] = []
        empty = 0
        self._warnings, self._excluded, self._not_sent = Warnings(), Counter(), []
        for record in records:
            row = self._encoded_row(record)
            if isinstance(row, Reject):
                rejects.append(row)
            elif row is _Unsent.BLANK:
                self._warnings.note("blank_records", record.line)
            elif row is _Unsent.EMPTY:
                empty += 1
                self._note_not_sent(EMPTY, record)
            elif row is _Unsent.EXCLUDED:
                continue
            else:
                if b",," in row or row.endswith(b",\n"):
                    self._count_empty_cells(row, record.line)
                texts.append(row)
                id_lengths.append(row.index(b","))
                lines.append(record.line)
        rows = pack_rows(texts, id_lengths, lines, self.salt)
        if not self.has_steps:
            self.order.check(rows)
        return Mapped(rows, rejects, empty, self._warnings, self._excluded, not_sent(self._not_sent, self.salt))

    def _note_not_sent(self, why: str, record: Record | BrokenLine) -> None:
        if isinstance(record, Record):
            (form,) = self.forms.of([record.fields[self.plan.id_index]])
            self._not_sent.append((why, form, record.line))

    def _encoded_row(self, record: Record | BrokenLine) -> bytes | Reject | _Unsent:
        """The encoded row of a record, id first, with its line feed."""
        if isinstance(record, BrokenLine):
            return Reject(record.line, record.reason, None, record.raw)
        _, raw, fields, _, _ = record
        is_short = len(raw) <= self._short_bytes and len(fields) == self.plan.field_count
        if is_short and not self.has_steps and not raw.translate(None, self._plain):
            # The fast path: most records are short, and have nothing to encode or to judge.
            picked = self._pick(fields)
            is_plain = (
                picked[0].isalnum()
                and not is_heading(picked[0], self.header_id)
                and self.rules.nulls.isdisjoint(picked)
            )
            if is_plain and not self.rules.is_placeholder(picked[0]):
                return b",".join(picked) + b"\n" if any(picked[1:]) else _Unsent.EMPTY
        return self._encoded_by_the_letter(record)

    def _encoded_by_the_letter(self, record: Record) -> bytes | Reject | _Unsent:
        if unsent := self._unsent_as_it_is(record):
            return unsent
        line, raw, fields, has_bare_quote, arrays_joined = record
        written_id = fields[self.plan.id_index]
        profile_id = written_id if self.rules.trim == "none" else trimmed(written_id)
        if reason := self._problem_of_id(profile_id, fields):
            return Reject(line, reason, profile_id, raw)
        if has_bare_quote and is_in_quotes(profile_id, self.dialect.quote):
            return Reject(line, Reason.ID_IN_QUOTES, profile_id, raw)
        if self.has_steps:
            self.order.check_cells([*map(trimmed, self._pick(fields))], line)
        noted = Warnings()
        values, reason = self._stepped(self._values(self._pick(fields)[1:], line, noted), line, noted)
        if reason:
            return Reject(line, reason, profile_id, raw)
        sent_id = self.sent_id(profile_id)
        cells = (sent_id, *values, *self.plan.steps.constants)
        joined = b",".join(cells)
        if b"\n" in joined or b"\r" in joined or joined.count(b",") >= len(cells):
            noted.note("value_with_delimiter", line, sum(map(has_delimiter, cells)))
            if self._may_hold_no_delimiter(sent_id):
                return Reject(line, Reason.DELIMITER, profile_id, raw)
            if self.on_delimiter == "replace":
                cells = (sent_id, *(replace_delimiters(cell, self.replacement) for cell in cells[1:]))
            row = b",".join(map(encode, cells)) + b"\n"
        else:
            row = encode_joined(joined) + b"\n"
        attributes_bytes = self._attributes_bytes(cells) if len(row) > min(self._short_bytes, self._light_bytes) else 0
        if reason := self._problem_of_size(attributes_bytes, len(row)):
            return Reject(line, reason, profile_id, raw)
        if not any(cells[1:]):
            return _Unsent.EMPTY
        noted.note("bare_quote", line, has_bare_quote)
        noted.note("array_joined", line, arrays_joined)
        noted.note("row_over_32_kb", line, attributes_bytes >= SAFE_ATTRIBUTES_BYTES)
        noted.note("value_over_256_characters", line, sum(map(_is_long, cells[1:])))
        noted.note("id_over_128_characters", line, len(sent_id.decode()) > SAFE_ID_CHARACTERS)
        self._note_id(written_id, profile_id, line, noted)
        if noted.first_lines:
            self._warnings.add(noted)
        return row

    def _unsent_as_it_is(self, record: Record) -> Reject | _Unsent | None:
        """The fate of a record that is no text or no row, has a wrong number of fields, or is left out; else None."""
        line, raw, fields, _, _ = record
        written_id = fields[self.plan.id_index] if len(fields) == self.plan.field_count else None
        if reason := problem_of_text(raw):
            return Reject(line, reason, written_id, raw)
        if is_blank(fields):
            return _Unsent.BLANK
        if written_id is None:
            return Reject(line, Reason.FIELD_COUNT, None, raw)
        if column := self.left_out_by(fields):
            self._excluded[column] += 1
            self._note_not_sent(excluded_by(column), record)
            return _Unsent.EXCLUDED
        return None

    def _problem_of_size(self, attributes_bytes: int, row_bytes: int) -> Reason | None:
        if attributes_bytes > MAX_ATTRIBUTES_BYTES:
            return Reason.ATTRIBUTES_TOO_LARGE
        return Reason.ROW_TOO_LARGE if row_bytes > self.max_row_bytes else None

    def _may_hold_no_delimiter(self, profile_id: bytes) -> bool:
        return self.on_delimiter == "reject" or (self.on_delimiter == "replace" and has_delimiter(profile_id))

    def _problem_of_id(self, profile_id: bytes, fields: list[bytes]) -> Reason | None:
        if self._header and all(map(_is_heading, fields, self._header)):
            return Reason.HEADER_AGAIN
        return self.problem_of_id(profile_id)

    def problem_of_id(self, profile_id: bytes) -> Reason | None:
        """The reason to reject a row with this id, which is no name of the header, or None."""
        if self.plan.steps.id_steps is None:
            return problem_of_id(profile_id, self.plan.id_kind, self.rules)
        written = problem_of_written_id(profile_id, self.rules)
        return written or problem_of_sent_id(self.sent_id(profile_id), self.plan.id_kind)

    def sent_id(self, profile_id: bytes) -> bytes:
        """The id that is sent for one of the export, which is valid UTF-8 and trimmed."""
        steps = self.plan.steps.id_steps
        return profile_id if steps is None else steps.hashed(steps.in_case(profile_id.decode())).encode()

    def sent_ids(self, profile_ids: Sequence[bytes]) -> list[bytes]:
        """The same for many ids."""
        steps = self.plan.steps.id_steps
        if steps is None:
            return [*profile_ids]
        if steps.case:
            profile_ids = [steps.in_case(each.decode()).encode() for each in profile_ids]
        return steps.hashes(profile_ids)

    def left_out_by(self, fields: Sequence[bytes]) -> str | None:
        """The column of the first condition by which a record of valid UTF-8 is left out, or None."""
        for condition in self.plan.steps.conditions:
            if condition.leaves_out(self.judged(fields[condition.index])):
                return condition.column
        return None

    def judged(self, cell: bytes) -> bytes:
        """A cell as conditions see it: trimmed, and empty if it means no value."""
        bare = trimmed(cell)
        return b"" if bare in self.rules.nulls else bare

    def _stepped(self, values: list[bytes], line: int, noted: Warnings) -> tuple[list[bytes], Reason | None]:
        """The values after their steps; or the first reason, in the order of `Reason`, to reject their row."""
        reasons = set()
        for place, memory in self.stepped:
            values[place], notes, reason = memory.done(values[place])
            for note in notes:
                noted.note(note, line)
            if reason:
                reasons.add(reason)
        return values, next((reason for reason in Reason if reason in reasons), None)

    def _values(self, values: Sequence[bytes], line: int, noted: Warnings) -> list[bytes]:
        """The values as they are to be sent, but for delimiters and encoding."""
        bare = [*map(trimmed, values)]
        taken = [new if is_trimmed else old for old, new, is_trimmed in zip(values, bare, self.trims, strict=True)]
        noted.note("values_trimmed", line, sum(map(bytes.__ne__, taken, values)))
        noted.note("values_padded", line, sum(map(bytes.__ne__, bare, taken)))
        values = taken
        nulls = self.rules.nulls
        if nulls.isdisjoint(values):
            return values
        noted.note("null_cells", line, sum(value in nulls for value in values))
        return [b"" if value in nulls else value for value in values]

    def _attributes_bytes(self, cells: tuple[bytes, ...]) -> int:
        sized = zip(self._name_bytes, cells[1:], strict=True)
        return sum(name_bytes + len(value) for name_bytes, value in sized if value)

    def _note_id(self, written: bytes, profile_id: bytes, line: int, noted: Warnings) -> None:
        noted.note("ids_trimmed", line, written != profile_id)
        noted.note("ids_padded", line, profile_id != trimmed(profile_id))
        noted.note("id_ends_in_point_zero", line, ends_in_point_zero(profile_id))
        noted.note("id_with_guard", line, is_guarded(profile_id))

    def _count_empty_cells(self, row: bytes, line: int) -> None:
        cells = zip(self.plan.parameters, row[:-1].split(b",")[1:], strict=True)
        self._warnings.note_empty_cells({parameter: 1 for parameter, cell in cells if not cell}, line)


def _is_heading(field: bytes, heading: bytes) -> bool:
    """True if a field is this one of the header, padded perhaps, or behind the byte order mark of an export."""
    bare = trimmed(field)
    # Behind a byte order mark, the quotes around a field are no quotes of CSV any more.
    return is_heading(bare, heading) or (
        field.startswith(BOM) and is_heading(bare, b'"' + heading.replace(b'"', b'""') + b'"')
    )


def _is_long(value: bytes) -> bool:
    return len(value) > SAFE_VALUE_CHARACTERS and len(value.decode()) > SAFE_VALUE_CHARACTERS


def problem_of_text(raw: bytes) -> Reason | None:
    """The reason to reject a record that is no text, or None."""
    if b"\0" in raw:
        return Reason.NUL_BYTE
    return None if is_utf8(raw) else Reason.INVALID_UTF8
