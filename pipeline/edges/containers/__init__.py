"""Containers: files that hold several parts of an export, or parts that are no text until they are unpacked."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO

from pipeline.core.formats.file_kind import columnar_kind
from pipeline.edges.containers.columnar import open_columnar


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


def members_of(file: FileIO, head: bytes) -> Sequence[Member] | None:
    """The members of a container in the order in which they are read; None for a file that is none. Blocks.

    `head`: its first bytes. The members are read while `file` is open.

    Raises `InputError` (65) for a container that cannot be read as an export.
    """
    kind = columnar_kind(head)
    if kind is None:
        return None
    found = open_columnar(file, kind)
    return [Member("", os.fstat(file.fileno()).st_size, found.blocks, found.columns)]
