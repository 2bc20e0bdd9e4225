"""The steps that are done to the cells of one column, in a fixed order.

The cell comes trimmed, if that is asked for, and empty if it is one of [export] null_values. Then:

1. one of `clear_values` becomes `clear_as`, and an empty cell becomes `empty`: both are sent as they stand;
2. `case`;
3. one of: `values`, `dates`, `decimal`, or `true` and `false`. A cell that this makes empty becomes `empty`;
4. `max_length`;
5. `hash`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from pipeline.core.model import Reason
from pipeline.core.values.reading import iso_date, plain_number

#: Names of warnings that count cells which a step changed in a way that loses something, or could not read.
NOT_LISTED, UNREADABLE, TRUNCATED = "values_not_listed", "values_unreadable", "values_truncated"
#: Words of `hash`.
SALTED, UNSALTED = "sha256", "sha256_unsalted"
#: Of a SHA-256 in hexadecimal.
_HASH_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Done:
    """A cell after the steps of its column.

    `value`: what is sent; empty for no value.
    `notes`: the warnings that it gives cause to.
    `reason`: the reason to reject its row, or None.
    """

    value: str
    notes: tuple[str, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ColumnSteps:
    """The steps for one column; each key of a [mapping] table, as the core needs it.

    `trim`: take off what is around a cell; whoever cuts the cells does it.
    `case`: `lower`, `upper`, or empty.
    `other`: the fate of a cell that `values` does not list: `keep`, `empty` or `reject`.
    `unreadable`: that of a cell that is no date, number or boolean.
    `max_length`: in characters, 0 for any.
    `too_long`: `reject` or `truncate`.
    `hash`: `SALTED`, `UNSALTED` or empty. `salt`: for the former.
    """

    trim: bool = False
    case: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    other: str = "keep"
    dates: tuple[str, ...] = ()
    decimal: str = ""
    true: frozenset[str] = frozenset()
    false: frozenset[str] = frozenset()
    unreadable: str = "reject"
    empty: str = ""
    clear_values: frozenset[str] = frozenset()
    clear_as: str = ""
    max_length: int = 0
    too_long: str = "reject"
    hash: str = ""
    salt: bytes = b""

    def done(self, cell: str) -> Done:
        """The cell after its steps."""
        if cell in self.clear_values:
            return Done(self.clear_as)
        if not cell:
            return Done(self.empty)
        read = self._read(self.in_case(cell))
        if read.reason:
            return read
        if not read.value:
            return Done(self.empty, read.notes)
        value, notes = read.value, read.notes
        if self.max_length and len(value) > self.max_length:
            if self.too_long == "reject":
                return Done("", reason=Reason.MAPPING_LENGTH)
            value, notes = value[: self.max_length], (*notes, TRUNCATED)
        return Done(self.hashed(value), notes)

    def in_case(self, text: str) -> str:
        """The text in the case that is asked for."""
        return text.lower() if self.case == "lower" else text.upper() if self.case == "upper" else text

    def hashed(self, value: str) -> str:
        """The SHA-256 of a value in hexadecimal, if that is asked for; the salt stands before the value."""
        if not self.hash:
            return value
        return sha256((self.salt if self.hash == SALTED else b"") + value.encode()).hexdigest()

    def hashes(self, values: Sequence[bytes]) -> list[bytes]:
        """The same for many values in UTF-8."""
        if not self.hash:
            return [*values]
        salt = self.salt if self.hash == SALTED else b""
        text = b"".join([sha256(salt + value).digest() for value in values]).hex().encode()
        return [text[start : start + _HASH_CHARACTERS] for start in range(0, len(text), _HASH_CHARACTERS)]

    def _read(self, value: str) -> Done:
        if self.values:
            listed = self.values.get(value)
            return Done(listed) if listed is not None else _unlike(value, self.other, Reason.MAPPING_VALUE, NOT_LISTED)
        if self.dates:
            return _read_or(iso_date(value, self.dates), value, self.unreadable, Reason.MAPPING_DATE)
        if self.decimal:
            return _read_or(plain_number(value, self.decimal), value, self.unreadable, Reason.MAPPING_NUMBER)
        if self.true or self.false:
            read = "true" if value in self.true else "false" if value in self.false else None
            return _read_or(read, value, self.unreadable, Reason.MAPPING_VALUE)
        return Done(value)


def _read_or(read: str | None, value: str, fate: str, reason: Reason) -> Done:
    return Done(read) if read is not None else _unlike(value, fate, reason, UNREADABLE)


def _unlike(value: str, fate: str, reason: Reason, note: str) -> Done:
    """A cell that is none of those expected."""
    if fate == "reject":
        return Done("", reason=reason)
    return Done(value if fate == "keep" else "", (note,))
