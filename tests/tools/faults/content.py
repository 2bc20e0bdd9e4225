"""The content of exports of the tests of faults: cells, flaws by which rows are rejected, and records as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from tests.tools.faults.canaries import MARK

#: By reason, the id of a row that is rejected for it, and the cells that it has too many.
FLAWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "local.empty_id": ("", ()),
    "local.id_character": (MARK + "a/{}", ()),
    "local.field_count": (MARK + "u", ("",)),
    "local.id_placeholder": ("null", ()),
    # A byte that neither UTF-8 nor windows-1252 has in this place.
    "local.invalid_utf8": (MARK + "u\udc81", ()),
    "local.json_invalid": (MARK + "u", ()),
}
#: Reasons of rows that cannot be cut into the cells that they were made of.
BROKEN = frozenset(["local.field_count", "local.invalid_utf8", "local.json_invalid"])


@dataclass(frozen=True, slots=True)
class Content:
    """What may stand in an export: `flaws` are reasons in `FLAWS`.

    `tails`: some values end with one of them. `salt`: ids are sent as salted hashes; None: as they are.
    """

    flaws: tuple[str, ...] = ("local.empty_id", "local.id_character", "local.field_count")
    tails: tuple[str, ...] = ()
    salt: str | None = None

    def id_sent(self, profile_id: str) -> str:
        """The id by which Target knows a profile."""
        return profile_id if self.salt is None else sha256(f"{self.salt}{profile_id}".encode()).hexdigest()


def value_sent(cell: str) -> str:
    """The value that Target gets of a cell, as `on_delimiter` says where it is not set."""
    return cell.replace(",", " ").replace("\n", " ")


@dataclass(frozen=True, slots=True)
class Style:
    """A way to write CSV. `escape`: a backslash instead of a second quote (`quotes`), or of quotes at all (`all`)."""

    delimiter: str = ","
    quotes_all: bool = False
    escape: str = ""
    end: str = "\n"

    def line(self, cells: Sequence[str]) -> str:
        """A record, without its line end."""
        return self.delimiter.join(map(self._cell, cells))

    def _cell(self, cell: str) -> str:
        special = [self.delimiter, '"', "\n", *(["\\"] if self.escape else [])]
        if self.escape == "all":
            return "".join(f"\\{each}" if each in special else each for each in cell)
        if not self.quotes_all and not any(each in cell for each in special):
            return cell
        inner = cell.replace("\\", "\\\\").replace('"', '\\"') if self.escape else cell.replace('"', '""')
        return f'"{inner}"'

    def text(self, records: Sequence[Sequence[str]], first_line: int = 1) -> tuple[str, list[int]]:
        """Records one after the other, and the line on which each begins."""
        lines, at, starts = [], first_line, list[int]()
        for record in records:
            lines.append(self.line(record) + self.end)
            starts.append(at)
            at += lines[-1].count("\n")
        return "".join(lines), starts
