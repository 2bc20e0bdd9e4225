"""Exports for the benchmark, of seven kinds, seeded: every run reads the same bytes.

`plain` is the mix of a CRM: 12 columns, some 80 bytes a row, 3 % of fields with something to encode, 6 % of records
with a quoted field (0.35 % of all with a line break in it), 2 % of rows whose id came before, anywhere in the file. The
others are `plain` but for one thing:

clean      nothing to encode, nothing quoted
dirty      four fields or more to encode in every row, one of them not ASCII
quote-all  every field is quoted
crlf-bad   lines end with CR LF, and 0.1 % of the rows are bad, each kind of bad as often as the next
wide       120 columns
id-dense   each id ten times, spread evenly over the file

What repeats: all fields but the id, every 200,000 rows (20,000 of `wide`). The records of one such chunk are drawn and
written as CSV once; for each further chunk only the digits of the ids are put in anew.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

VARIANTS = ("plain", "clean", "dirty", "quote-all", "crlf-bad", "wide", "id-dense")
ID_COLUMN = "customer_id"
_ATTRIBUTES = ("tier", "ltv", "segment", "city", "last_order", "channel", "score", "note", "lang", "points", "opt_in")
COLUMNS = (ID_COLUMN, *_ATTRIBUTES)
#: Columns that `wide` has more.
EXTRA_COLUMNS = tuple(f"attribute_{number}" for number in range(len(COLUMNS), 120))
REPEATED_IDS = 0.02
QUOTED_RECORDS = 0.06
LINE_BREAKS = 0.0035
BAD_ROWS = 0.001
#: In these shares of the records one of the twelve fields has something to encode; with the quoted ones, in 36 %.
ODD_CITIES, ODD_SEGMENTS, ODD_POINTS = 0.15, 0.08, 0.07
ODD_EXTRAS = 0.03
ROWS_PER_ID = 10

_CHUNK_FIELDS = 2_400_000
#: Nine digits in a record's id; the sign stands nowhere else.
_DIGITS = b"#########"
_ID = "cust-" + _DIGITS.decode()
_CITIES = ("Amsterdam", "Utrecht", "Rotterdam", "Lyon", "Leuven", "Gent", "Aachen")
_CITIES_TO_ENCODE = ("Köln", "Den Haag", "Orléans", "São Paulo", "Kraków")
_CITIES_NOT_ASCII = ("Köln", "Orléans", "São Paulo", "Kraków", "東京")
_SEGMENTS_TO_ENCODE = ("B2B & retail", "R+D", "a/b test", "50% club")
_NOTES_TO_ENCODE = ("50% off & more", "size=L; colour: blue?", "naïve + kind", "see https://example.org/?a")
_NOTES_QUOTED = ('likes "blue", red', "calls, rarely", 'the "old" one', "Ms., Dr.")

Texts = NDArray[np.object_]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def write_export(path: Path, rows: int, variant: str = "plain", *, seed: int = 1) -> None:
    """Write an export of so many records and a header line."""
    with path.open("wb") as file:
        for piece in pieces(rows, variant, seed=seed):
            file.write(piece)


def pieces(rows: int, variant: str, *, seed: int = 1) -> Iterator[bytes]:
    """The export in pieces: its header line, then chunks of whole records."""
    if variant not in VARIANTS:
        raise ValueError(f"{variant!r} is none of {', '.join(VARIANTS)}")
    names = COLUMNS + (EXTRA_COLUMNS if variant == "wide" else ())
    size = max(1, min(rows, _CHUNK_FIELDS // len(names)))
    draw = np.random.default_rng(seed)
    columns = _columns(draw, size, variant)
    yield _as_csv([names], variant)[0]
    chunk = _Chunk.of(_bad_ones_in(draw, _as_csv(zip(*columns, strict=True), variant), variant))
    ids = _dense_ids(rows) if variant == "id-dense" else _sparse_ids(draw)
    for start in range(0, rows, size):
        count = min(size, rows - start)
        yield chunk.first(count).with_ids(ids(start, count))


def row_bytes(variant: str) -> float:
    """How long a record is on average."""
    sample = 2_000
    return sum(map(len, pieces(sample, variant))) / sample


def _columns(draw: np.random.Generator, count: int, variant: str) -> list[list[str]]:
    """The values of each column."""
    odd = 0.0 if variant == "clean" else 1.0
    everywhere = variant == "dirty"

    def pick(usual: tuple[str, ...], unusual: tuple[str, ...] = (), share: float = 0.0) -> Texts:
        column: Texts = draw.choice(np.array(usual, dtype=object), count)
        chosen = spread(draw, count, 1.0 if everywhere else share * odd)
        column[chosen] = draw.choice(np.array(unusual or usual, dtype=object), int(chosen.sum()))
        return column

    tens = tuple(f"{number:02d}" for number in range(1, 29))
    columns: list[Any] = [
        [_ID] * count,
        pick(("gold", "silver", "bronze")),
        [f"{value:.2f}" for value in draw.exponential(300, count).tolist()],
        pick(tuple(f"segment-{number}" for number in tens), _SEGMENTS_TO_ENCODE, ODD_SEGMENTS),
        pick(_CITIES, _CITIES_NOT_ASCII if everywhere else _CITIES_TO_ENCODE, ODD_CITIES),
        "2026-" + pick(tens[:12]) + "-" + pick(tens),
        pick(("web", "store", "app")),
        draw.integers(0, 1_000, count).astype(str).tolist(),
        _quoted_in(draw, pick(("", "", "vip", "ok", "new"), _NOTES_TO_ENCODE), odd, variant),
        pick(("nl", "fr", "de")),
        pick(tuple(map(str, range(0, 50_000, 7))), ("10%", "25%"), ODD_POINTS),
        pick(("Y", "N")),
    ]
    if variant == "wide":
        usual = ("", "Y", "N", *map(str, range(100, 9_999, 101)))
        columns += [pick(usual, ("up to 5", "yes & no"), ODD_EXTRAS) for _ in EXTRA_COLUMNS]
    return columns


def _quoted_in(draw: np.random.Generator, notes: Texts, odd: float, variant: str) -> Texts:
    """The notes with those that have to be quoted among them."""
    quoted = np.flatnonzero(spread(draw, len(notes), QUOTED_RECORDS * odd))
    notes[quoted] = draw.choice(np.array(_NOTES_QUOTED, dtype=object), len(quoted))
    broken = draw.permutation(quoted)[: round(LINE_BREAKS * odd * len(notes))]
    notes[broken] = "two\r\nlines" if variant == "crlf-bad" else "two\nlines"
    return notes


def _as_csv(rows: Any, variant: str) -> list[bytes]:
    """Each row as a record, its line end with it."""
    records: list[str] = []
    # A CSV writer writes each record with one call.
    csv.writer(
        SimpleNamespace(write=records.append),
        quoting=csv.QUOTE_ALL if variant == "quote-all" else csv.QUOTE_MINIMAL,
        lineterminator="\r\n" if variant == "crlf-bad" else "\n",
    ).writerows(rows)
    return [record.encode() for record in records]


#: What makes a record bad, each from the record without its line end, whose last field is one letter.
_SPOILT: tuple[Callable[[bytes], bytes], ...] = (
    lambda record: record[:-2],  # a field too few
    lambda record: record + b",one,too,many",
    lambda record: record + b"\xff",  # not UTF-8
    lambda record: record[:-1] + b'"Y" or "N"',  # text behind a closing quote
    lambda record: record[:-1] + b'"Y',  # a quote that does not close
    lambda record: record.partition(_DIGITS)[2],  # no id
)


def _bad_ones_in(draw: np.random.Generator, records: list[bytes], variant: str) -> list[bytes]:
    if variant == "crlf-bad":
        for number, index in enumerate(np.flatnonzero(spread(draw, len(records), BAD_ROWS)).tolist()):
            records[index] = _SPOILT[number % len(_SPOILT)](records[index].removesuffix(b"\r\n")) + b"\r\n"
    return records


def spread(draw: np.random.Generator, count: int, share: float) -> Mask:
    """Which of `count` rows belong to a share of them, rounded to whole rows, anywhere."""
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[draw.permutation(count)[: round(share * count)]] = True
    return chosen


def _sparse_ids(draw: np.random.Generator) -> Callable[[int, int], Numbers]:
    """Numbers of ids, chunk by chunk: the next one, or in 2 % of rows any that came before."""
    given = 0

    def ids(_start: int, count: int) -> Numbers:
        nonlocal given
        repeated = spread(draw, count, REPEATED_IDS)
        repeated[0] &= given > 0
        before = given + np.cumsum(~repeated) - ~repeated
        given = int(before[-1] + ~repeated[-1])
        return np.where(repeated, (draw.random(count) * before).astype(np.int64), before)

    return ids


def _dense_ids(rows: int) -> Callable[[int, int], Numbers]:
    """Numbers of ids, each for ten rows that lie far from each other: steps of the golden ratio meet each row once."""
    step = round(rows * 0.618)
    while gcd(step, rows) > 1:
        step += 1
    return lambda start, count: np.arange(start, start + count, dtype=np.int64) * step % rows // ROWS_PER_ID


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Records, and where the digits of their ids are; a record without an id has none."""

    records: list[bytes]
    text: NDArray[np.uint8]
    has_id: Mask
    digits: Numbers

    @classmethod
    def of(cls, records: list[bytes]) -> "_Chunk":
        text = np.frombuffer(b"".join(records), dtype=np.uint8)
        has_id = np.array([_DIGITS in record for record in records], dtype=np.bool_)
        return cls(records, text, has_id, np.flatnonzero(text == _DIGITS[0]).reshape(-1, len(_DIGITS)))

    def first(self, count: int) -> "_Chunk":
        return self if count == len(self.records) else self.of(self.records[:count])

    def with_ids(self, numbers: Numbers) -> bytes:
        text, rest = self.text.copy(), numbers[self.has_id]
        for place in reversed(range(len(_DIGITS))):
            rest, digit = np.divmod(rest, 10)
            text[self.digits[:, place]] = digit + ord("0")
        return text.tobytes()
