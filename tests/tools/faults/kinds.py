"""The kinds of exports that the tests of faults load, and those that a seed draws for a run.

All exports of a command are loaded with the same [export], so a kind that needs a key in it goes with those only that
read the same under that key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from random import Random

from pipeline.sandbox.options import Override
from tests.tools.faults.canaries import MARK
from tests.tools.faults.content import Content, Style
from tests.tools.faults.kind_files import (
    Read,
    Write,
    csv_file,
    read_arrow,
    read_csv,
    read_json_lines,
    read_parquet,
    read_zip,
    write_arrow,
    write_json_lines,
    write_parquet,
    write_zip,
)
from tests.tools.faults.loading import GUARD, MEMORY, OF_DAYS, Export, make_export
from tests.tools.faults.part_files import read_parts, write_parts

_ID, _CHARACTER, _BYTE = "local.empty_id", "local.id_character", "local.invalid_utf8"
_FLAWS = (_ID, _CHARACTER, "local.field_count")
_TAILS = ("Grüße", 'he said "no", twice', "two\nlines", "50 % + more;a|b")
_ESCAPES, _WINDOWS = 'escape = "\\\\"', 'encoding = "windows-1252"'
#: The salt of runs in which ids are sent as hashes; it has the canary in it.
_SALT = f"{MARK}salt-of-these-tests"
#: The share of runs in which they are.
_HASHED = 0.3
#: The share of runs with a memory.
_REMEMBERING = 0.5
#: The share of runs in which exports are judged before anything is sent.
_GUARDED = 0.4


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of export: how it is written and read back, and what may stand in it.

    `key`: the line of [export] that it needs. `needs`: the library without which the product does not read it.
    `is_text`: its encoding is that of [export].
    """

    name: str
    ending: str
    write: Write
    read: Read
    flaws: tuple[str, ...] = (*_FLAWS, _BYTE)
    tails: tuple[str, ...] = _TAILS
    key: str = ""
    needs: str = ""
    is_text: bool = True

    @property
    def is_directory(self) -> bool:
        """True if it is several files."""
        return not self.ending

    def is_here(self) -> bool:
        """True if the product reads it here."""
        return not self.needs or find_spec(self.needs) is not None

    def goes_with(self, key: str) -> bool:
        """True if it can be loaded under that key of [export]."""
        return self.key == key or (not self.key and (key != _WINDOWS or not self.is_text))

    def export(self, path: Path, made: Export) -> Export:
        """Write an export, and note in it where its rows are."""
        made.places = self.write(made, path, Random(made.seed))
        return made


def _packed(name: str, ending: str) -> Kind:
    return Kind(name, f".csv.{ending}", csv_file(packed=ending), read_csv(packed=ending))


PLAIN = Kind("plain", ".csv", csv_file(), read_csv(), tails=())
_ESCAPED = (Style(escape="quotes"), Style(escape="all"), Style(escape="all", end="\r\n"))
KINDS = (
    PLAIN,
    Kind("quoted", ".csv", csv_file(styles=[Style(quotes_all=True)]), read_csv()),
    Kind("semicolons", ".csv", csv_file(styles=[Style(delimiter=";")]), read_csv(delimiter=";")),
    Kind("parts", "", write_parts, read_parts),
    _packed("gzip", "gz"),
    _packed("zstd", "zst"),
    _packed("bzip2", "bz2"),
    _packed("xz", "xz"),
    Kind("zip", ".zip", write_zip, read_zip),
    Kind("UTF-16", ".csv", csv_file(codecs=["utf-16", "utf-16-be", "utf-16-le"]), read_csv(codec="utf-16"), _FLAWS),
    Kind("JSON Lines", ".jsonl", write_json_lines, read_json_lines, (_ID, _CHARACTER, "local.json_invalid")),
    Kind("Parquet", ".parquet", write_parquet, read_parquet, (_ID, _CHARACTER, _BYTE), needs="pyarrow", is_text=False),
    Kind("Arrow", ".arrow", write_arrow, read_arrow, (_ID, _CHARACTER, _BYTE), needs="pyarrow", is_text=False),
    Kind(
        "escapes", ".csv", csv_file(styles=_ESCAPED), read_csv(escape="\\"),
        tails=(*_TAILS, "C:\\temp\\", "a\\\\b"), key=_ESCAPES,
    ),
    Kind("windows-1252", ".csv", csv_file(codecs=["cp1252"]), read_csv(codec="cp1252"), key=_WINDOWS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """Kinds for the exports of a run, and what the configuration says of all of them.

    `key`: a line of [export]. `is_hashed`: [mapping] sends ids as salted hashes. `is_remembering`: what was sent is
    remembered, exports have different columns, and Target replaces what an earlier one set. `is_guarded`: exports are
    judged before anything is sent, by a limit that none breaks.
    """

    seed: int
    kinds: tuple[Kind, ...]
    key: str
    is_hashed: bool
    is_remembering: bool = False
    is_guarded: bool = False

    def make(self, place: int, rows: int, seed: int, *, rejected: float = 0.0, first_id: int = 0) -> Export:
        """The export in this place, not yet written."""
        return self.export(self.kinds[place], rows, seed, rejected=rejected, first_id=first_id, day=place)

    def export(
        self, kind: Kind, rows: int, seed: int, *, rejected: float = 0.0, first_id: int = 0, day: int = 0
    ) -> Export:
        """An export for that kind."""
        columns = OF_DAYS[day % len(OF_DAYS) if self.is_remembering else 0]
        # Of a hash Target takes all characters.
        flaws = tuple("local.id_placeholder" if self.is_hashed and each == _CHARACTER else each for each in kind.flaws)
        content = Content(flaws, kind.tails, _SALT if self.is_hashed else None)
        return make_export(rows, seed, rejected=rejected, first_id=first_id, content=content, columns=columns)

    def in_one_file_with(self, first: "Drawn") -> "Drawn":
        """The same, with what the configuration says of the kinds of another."""
        return replace(
            self, is_hashed=first.is_hashed, is_remembering=first.is_remembering, is_guarded=first.is_guarded
        )

    @property
    def override(self) -> Override:
        """What Target makes of a later batch of an id."""
        return "replace" if self.is_remembering else "merge"

    def sections(self, folder: Path) -> str:
        """What the configuration has beyond [export]; a file with the salt is made."""
        memory = MEMORY * self.is_remembering + GUARD * self.is_guarded
        if not self.is_hashed:
            return memory
        (file := folder / "salt").write_text(_SALT)
        file.chmod(0o600)
        return f'{memory}[mapping]\nsalt_file = "{file}"\n[mapping.id]\nhash = "sha256"\n'

    def __str__(self) -> str:
        key = f", with {self.key}" if self.key else ""
        names = ", ".join(dict.fromkeys(kind.name for kind in self.kinds))
        hashed, remembering = ", ids hashed" * self.is_hashed, ", remembering" * self.is_remembering
        return f"seed {self.seed}: {names}{key}{hashed}{remembering}{', guarded' * self.is_guarded}"


def here() -> list[Kind]:
    """The kinds that the product reads here."""
    return [kind for kind in KINDS if kind.is_here()]


def draw_kinds(seed: int, count: int, *, first: str = "") -> Drawn:
    """So many kinds: each is the first of a seed in turn, or the named one is; the others go with it."""
    kinds, draw = here(), Random(f"kinds {seed}")
    leading = next((kind for kind in kinds if kind.name == first), kinds[seed % len(kinds)])
    others = [kind for kind in kinds if kind.goes_with(leading.key)]
    chosen = (leading, *(draw.choice(others) for _ in range(count - 1)))
    hashed, remembering, guarded = draw.random() < _HASHED, draw.random() < _REMEMBERING, draw.random() < _GUARDED
    return Drawn(seed, chosen, leading.key, hashed, remembering, guarded)


def all_kinds() -> list[Drawn]:
    """All kinds, each once: those that need no key together, each other one with two that go with it, ids hashed.

    These have a memory too.
    """
    together = tuple(kind for kind in here() if not kind.key)
    others = [draw_kinds(number, 3, first=kind.name) for number, kind in enumerate(here(), 1) if kind.key]
    return [
        Drawn(0, together, "", is_hashed=False),
        *(replace(each, is_hashed=True, is_remembering=True) for each in others),
    ]


@contextmanager
def told_with(drawn: object) -> Iterator[None]:
    """A promise that is broken within is told with the kinds and the seed."""
    try:
        yield
    except AssertionError as error:
        error.args = (f"{drawn}: {error}",)
        raise
