"""The number of bad rows that is tolerated: a percentage of all rows, or a count.

A percentage says little about the first rows of an export, so it is judged from `PERCENT_FROM_ROWS` rows on and at
the end. A count is judged at once. Exceeded always means strictly more than the allowance.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

#: Rows from which a percentage is judged. Ours: in fewer rows, a single bad one may already exceed it.
PERCENT_FROM_ROWS = 10_000

ALLOWANCE_PATTERN = r"[0-9]{1,15}|[0-9]{1,3}(\.[0-9]{1,9})?%"
ALLOWED = 'must be a percentage of the rows such as "1%" (0% to 100%), or a number of rows such as 100'


@dataclass(frozen=True, slots=True)
class Allowance:
    """A tolerated number of bad rows: exactly one of `percent` and `count` is set.

    `percent`: 0 to 100, of all rows.
    `count`: rows, 0 or more.

    Raises `ValueError` for anything else; its message says what is allowed.
    """

    percent: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.percent is None) == (self.count is None):
            raise ValueError(ALLOWED)
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise ValueError(ALLOWED)
        if self.count is not None and self.count < 0:
            raise ValueError(ALLOWED)

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read an allowance from `"1%"`, `"100"` or `100`; raise `ValueError` saying what is allowed."""
        if not re.fullmatch(ALLOWANCE_PATTERN, str(text)):
            raise ValueError(ALLOWED)
        if isinstance(text, str) and text.endswith("%"):
            return cls(percent=float(text[:-1]))
        return cls(count=int(text))

    def __str__(self) -> str:
        if self.percent is None:
            return str(self.count)
        return f"{Decimal(repr(self.percent)):f}".removesuffix(".0") + "%"

    def is_exceeded(self, bad: int | Fraction, total: int | Fraction, *, final: bool) -> bool:
        """True if `bad` of `total` rows are too many. `final`: the last row is counted."""
        if self.count is not None:
            return bad > self.count
        if not bad or (total < PERCENT_FROM_ROWS and not final):
            return False
        # Exact: 0.1 as a binary float times a row count can fall on either side of the limit.
        return bad * 100 > Fraction(repr(self.percent)) * total
