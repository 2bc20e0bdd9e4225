"""The drop directories that this process holds, and the exports that were taken from them."""

import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from pipeline.edges.drop.processing import NAME
from pipeline.edges.drop.taking import Taking, hold_drop
from pipeline.edges.durable import real_place
from pipeline.edges.exports import Export, Parts, open_export


class HeldDrops:
    """The drop directories that this process holds, by their paths."""

    def __init__(self) -> None:
        self._held: dict[Path, Taking] = {}

    @contextmanager
    def hold(self, drop: Path) -> Iterator[Taking]:
        """Hold a drop directory while the body runs. Raises the errors of `hold_drop`."""
        with hold_drop(drop) as taking:
            self._held[real_place(drop)] = taking
            try:
                yield taking
            finally:
                self._held = {path: each for path, each in self._held.items() if each is not taking}

    def open_export(
        self, path: Path, encoding: str | None = None, parts: Parts = (), /
    ) -> AbstractAsyncContextManager[Export]:
        """Open an export that was taken, see `exports.open_export`; it is reached as `open` says."""
        return open_export(path, encoding, parts, self.open)

    def open(self, path: Path) -> int:
        """A descriptor of an export that was taken, for reading. Blocks.

        It is reached from the directory that is held, or, where none is, from the drop directory: no link behind that
        is followed. Raises the errors of `Taking.open`.
        """
        folder, name = path.parent, path.name
        if folder.parent.name != NAME:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        drop = folder.parent.parent
        if (taking := self._held.get(drop) or self._held.get(real_place(drop))) is not None:
            return taking.open(folder.name, name)
        taking = Taking(drop)
        try:
            return taking.open(folder.name, name)
        finally:
            taking.close()
