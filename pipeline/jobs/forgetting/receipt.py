"""The receipt of an erasure: how much was erased where, and what is left and why. It holds no id.

An id is known again by its digest, an HMAC-SHA256 with the salt of the ledger as its key: whoever has the id and the
ledger can tell that it was among those asked for.
"""

import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson

from pipeline import __version__
from pipeline.edges.durable import make_directory, write_durably

#: The directory of receipts, in the state directory.
RECEIPTS = "receipts"


@dataclass(slots=True)
class Receipt:
    """The receipt while it is made.

    `erased`: by the word for a place, the number of rows, lines, entries or files that were erased there.
    `left`: each place where something is left, or may be, and why.
    """

    erased: Counter[str] = field(default_factory=Counter)
    left: list[tuple[str, str]] = field(default_factory=list)

    def leave(self, where: str | Path, why: str) -> None:
        """Note that something is left at a place."""
        self.left.append((str(where), why))

    def write(self, state: Path, ids: Iterable[bytes], salt: int, at: datetime) -> Path:
        """Write it into the state directory, durably; return the file. Blocks. Raises `FatalError` (74)."""
        digests = sorted(hmac.new(str(salt).encode(), each, sha256).hexdigest() for each in ids)
        content: dict[str, Any] = {
            "at": at.isoformat(timespec="seconds"),
            "version": __version__,
            "ids": len(digests),
            "erased": dict(sorted(self.erased.items())),
            "left": [{"where": where, "why": why} for where, why in self.left],
            "digests": digests,
        }
        make_directory(state / RECEIPTS)
        file = state / RECEIPTS / f"{at:%Y%m%dT%H%M%SZ}-{token_hex(4)}.json"
        write_durably(file, [orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)])
        return file
