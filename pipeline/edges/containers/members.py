"""The members of a container, whichever it is."""

import os
from collections.abc import Sequence
from io import FileIO

from pipeline.core.formats.file_kind import columnar_kind, is_zip
from pipeline.edges.containers.columnar import open_columnar
from pipeline.edges.containers.member import Member
from pipeline.edges.containers.zip_archive import zip_members


def members_of(file: FileIO, head: bytes) -> Sequence[Member] | None:
    """The members of a container in the order in which they are read; None for a file that is none. Blocks.

    `head`: its first bytes. The members are read while `file` is open.

    Raises `InputError` (65) for a container that cannot be read as an export.
    """
    if is_zip(head):
        return zip_members(file, head)
    kind = columnar_kind(head)
    if kind is None:
        return None
    found = open_columnar(file, kind)
    return [Member("", os.fstat(file.fileno()).st_size, found.blocks, found.columns)]
