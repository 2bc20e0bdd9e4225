"""A part of an export within a container."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A part of an export within a container.

    `size_bytes`: of its content.
    `blocks`: gives its content, from its beginning each time it is called; bytes of a file, or, with `columns`, text.
    `columns`: of a columnar member, whose content is the text of its cells, as `CellFramer` takes it.
    """

    name: str
    size_bytes: int
    blocks: Callable[[], Iterator[bytes]]
    columns: tuple[str, ...] | None = None
