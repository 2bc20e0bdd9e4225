"""The catalog of the memory's files: what the ledger keeps of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """A file of the memory. `batch_id`: the batch whose rows it has; None if it was merged of others."""

    number: int
    batch_id: int | None
    rows: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Partition:
    """The file into which a partition was merged: `base`, of the files up to number `merged_to`."""

    base: int | None = None
    merged_to: int = 0


@dataclass(frozen=True, slots=True)
class MemoryCatalog:
    """All files, and the partitions that were merged."""

    files: tuple[MemoryFile, ...] = ()
    partitions: Mapping[int, Partition] = field(default_factory=dict)


class Catalog(Protocol):
    """A ledger, as far as the memory needs one; each method that changes it is one transaction."""

    @property
    def salt(self) -> int:
        """The salt of the hashes of ids."""

    def memory_catalog(self) -> MemoryCatalog:
        """The catalog as it is."""

    def replace_partition(
        self, partition: int, file: MemoryFile | None, merged_to: int, gone: Collection[int] = ()
    ) -> None:
        """Enter the file into which a partition was merged, and remove files that no partition needs."""

    def replace_memory_files(self, gone: Collection[int], file: MemoryFile | None) -> None:
        """Enter the file into which runs were merged, and remove these."""

    def clear_memory(self) -> None:
        """Remove all files and partitions."""
