"""Exports for the benchmark: seeded, so that every run reads the same bytes."""

import random
from collections.abc import Iterator
from pathlib import Path

HEADER = "customer_id,tier,ltv,segment,city,last_order,channel,score,note,lang,points,opt_in\n"
ID_COLUMN = "customer_id"
_CITIES = ("Amsterdam", "Utrecht", "Rotterdam", "Lyon", "Leuven", "Köln", "Den Haag")
_NOTES = ("", "", "vip", "ok", "new")
#: Rows are drawn from so many different tails; drawing each anew would take longer than the load itself.
_TAILS = 20_000


def write_crm_export(path: Path, rows: int, *, repeated: float = 0.02, seed: int = 1) -> None:
    """A plain CRM mix: 12 columns, some 80 bytes a row, 3 % of cells to encode, 6 % of lines quoted.

    `repeated` is the share of rows whose id came before; 0.35 % of records hold a line break.
    """
    draw = random.Random(seed)
    tails = [_tail(draw) for _ in range(_TAILS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for lines in _lines(draw, tails, rows, repeated):
            file.write("".join(lines))


def _lines(draw: random.Random, tails: list[str], rows: int, repeated: float) -> Iterator[list[str]]:
    for start in range(0, rows, 10_000):
        yield [
            f"cust-{draw.randrange(number) if number and draw.random() < repeated else number:09d},{draw.choice(tails)}"
            for number in range(start, min(start + 10_000, rows))
        ]


def _tail(draw: random.Random) -> str:
    note = draw.choice(_NOTES)
    if draw.random() < 0.06:
        note = '"two\nlines"' if draw.random() < 0.06 else '"likes ""blue"", red"'
    cells = (
        draw.choice(("gold", "silver", "bronze")),
        f"{draw.expovariate(1 / 300):.2f}",
        f"segment-{draw.randrange(40)}",
        draw.choice(_CITIES),
        f"2026-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d}",
        draw.choice(("web", "store", "app")),
        str(draw.randrange(1_000)),
        note,
        draw.choice(("nl", "fr", "de")),
        str(draw.randrange(50_000)) if draw.random() < 0.9 else "10%",
        draw.choice("YN"),
    )
    return ",".join(cells) + "\n"
