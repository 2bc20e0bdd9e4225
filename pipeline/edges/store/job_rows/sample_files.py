"""The rows of a job that are to be read back from Target: a file of JSON for each batch, readable by the owner only.

`{"id_kind", "parameters", "rows"}`: the rows as they were sent, encoded. The files are not flushed; one that a crash
has taken only makes the sample smaller. They go when the sample is read back.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from pipeline.core.plain import of_plain


@dataclass(frozen=True, slots=True)
class Sampled:
    """Rows of a batch as they were sent, each `id,cell,...` and encoded, without line feed."""

    id_kind: str
    parameters: tuple[str, ...]
    rows: tuple[str, ...]


class SampleFiles:
    """The files of one job. All methods block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def note(self, batch_id: int, sampled: Sampled) -> None:
        """Write the file of a batch, as far as the disk lets it."""
        with suppress(OSError):
            self.directory.parent.mkdir(mode=0o700, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
            path = self.directory / str(batch_id)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(asdict(sampled)))

    def read(self) -> dict[int, Sampled]:
        """The rows by batch; files that are not whole are left out."""
        found = {}
        for file in self._files():
            with suppress(OSError, ValueError, KeyError, TypeError):
                found[int(file.name)] = of_plain(Sampled, orjson.loads(file.read_bytes()))
        return found

    def erase(self, is_wanted: Callable[[str], bool]) -> int:
        """Leave out the rows of ids, given encoded, that are wanted; return how many there were."""
        count = 0
        for batch_id, sampled in self.read().items():
            kept = tuple(row for row in sampled.rows if not is_wanted(row.partition(",")[0]))
            if len(kept) < len(sampled.rows):
                count += len(sampled.rows) - len(kept)
                self.note(batch_id, Sampled(sampled.id_kind, sampled.parameters, kept))
        return count

    def remove(self) -> None:
        """Remove all files, as far as the disk lets it."""
        if self.directory.is_dir() and not self.directory.is_symlink():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _files(self) -> Iterator[Path]:
        if self.directory.is_dir() and not self.directory.is_symlink():
            files: Sequence[Path] = sorted(self.directory.iterdir())
            yield from (file for file in files if not file.is_symlink())
