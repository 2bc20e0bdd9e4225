"""The speed of encodings and dialects relative to plain CSV in UTF-8, in one run: reading, digest, decoding, mapping.

    python -m tests.tools.bench.encodings [ROWS]

Rounds are interleaved, and the best of each kind counts: what else the machine does meanwhile is none of it.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio

from pipeline.settings.export_section import ExportSettings
from tests.tools.bench.transform import transform

ROWS, ROUNDS = 400_000, 5
_NAMES = ["Müller", "Dupont", "García", "Schmidt", "Lefèvre", "Weiß", "Martin", "Rossi", "Núñez", "Jensen"]
_CITIES = ["Paris", "München", "Orléans", "Ulm", "Córdoba", "Nantes", "Köln", "Lyon", "Málaga", "Århus"]
#: Of so many rows of Spark, one has a value with escaped quotes.
_ROWS_PER_ESCAPE = 100

#: Kind, the encoding it is written in, and the keys of [export] with which it is read.
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "CSV in UTF-8": ("utf-8", {}),
    "windows-1252": ("windows-1252", {"encoding": "windows-1252"}),
    "ISO-8859-15": ("iso-8859-15", {"encoding": "iso-8859-15"}),
    "UTF-16": ("utf-16", {}),
    "Spark, 1 % with an escape": ("utf-8", {"escape": "\\"}),
    "a trailer": ("utf-8", {"trailer": "TRL|{rows}"}),
}


def written(kind: str, rows: int) -> Iterator[str]:
    """The lines of an export of this kind, of data as it is in Europe; the same each time."""
    seeded = random.Random(1)
    yield "crm_id,tier,city,name,note,visits\n"
    for number in range(rows):
        tier, city, name = seeded.choice(("gold", "silver", "iron")), seeded.choice(_CITIES), seeded.choice(_NAMES)
        is_escaped = kind.startswith("Spark") and number % _ROWS_PER_ESCAPE == 0
        note = '"called \\"urgent\\" by phone"' if is_escaped else "called by phone"
        yield f"C-{number:08d},{tier},{city},{name},{note},{seeded.randrange(100)}\n"
    if kind == "a trailer":
        yield f"TRL|{rows}\n"


def speeds(rows: int = ROWS, rounds: int = ROUNDS) -> dict[str, float]:
    """Rows per second of each kind."""
    best = dict.fromkeys(KINDS, float("inf"))
    with tempfile.TemporaryDirectory() as directory:
        for kind, (encoding, _) in KINDS.items():
            (Path(directory) / kind).write_text("".join(written(kind, rows)), encoding=encoding)
        for _ in range(rounds):
            for kind, (_, keys) in KINDS.items():
                settings = ExportSettings(id_column="crm_id", unlisted="send", **keys)
                before = time.perf_counter()
                read, rejected = anyio.run(transform, Path(directory) / kind, settings)
                best[kind] = min(best[kind], time.perf_counter() - before)
                assert (read, rejected) == (rows, 0)
    return {kind: rows / seconds for kind, seconds in best.items()}


def main() -> None:
    found = speeds(*map(int, sys.argv[1:2]))
    plain = next(iter(found.values()))
    for kind, speed in found.items():
        print(f"{kind:28}{speed:12,.0f} rows/s   {speed / plain:5.2f} of plain CSV")


if __name__ == "__main__":
    main()
