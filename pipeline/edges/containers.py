"""Containers: files that hold several parts of an export, or parts that are no text until they are unpacked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO


@dataclass(frozen=True, slots=True)
class Member:
    """A part of an export within a container.

    `size_bytes`: of its content.
    `blocks`: gives its content, from its beginning each time it is called; bytes of a file, or, with `columns`, text.
    `columns`: of a columnar member, whose content is CSV made by us: UTF-8, a comma between cells, one record a row and
    no header.
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
    return None
