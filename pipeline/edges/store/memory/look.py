"""A look at the memory beside the process that writes it: nothing is changed, and no lock is needed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.core.errors import ExitCode, FatalError
from pipeline.edges.store.memory.catalog import MemoryCatalog, MemoryFile, Partition
from pipeline.edges.store.memory.files import path_of
from pipeline.edges.store.memory.memory import MemoryFacts
from pipeline.edges.store.memory.sorted_file import FileFacts, SortedFile


def facts_beside(directory: Path, ask: Callable[[], MemoryCatalog]) -> MemoryFacts:
    """The facts of the memory in this directory. `ask`: asks the ledger for the catalog. Blocks; no row is read.

    Raises `FatalError` (74) if a file is not there, or not that of the catalog.
    """
    catalog = ask()
    while True:
        try:
            return _facts(directory, catalog)
        except (OSError, ValueError) as error:
            before, catalog = catalog, ask()
            # A file may have gone because it was merged meanwhile.
            if catalog == before:
                why = f"{error.filename} cannot be read: {error.strerror}" if isinstance(error, OSError) else error
                raise FatalError(
                    f"the memory {directory} is damaged ({why}), and nothing of it is believed. Restore the whole "
                    "state directory from a backup, or run `profile-pipeline memory rebuild`: it empties the memory, "
                    "and everything is sent once more.",
                    exit_code=ExitCode.DISK_OR_LEDGER,
                ) from error


def _facts(directory: Path, catalog: MemoryCatalog) -> MemoryFacts:
    rows: Counter[int] = Counter()
    times = []
    bases = {partition.base: number for number, partition in catalog.partitions.items()}
    for file in catalog.files:
        opened = SortedFile.open(path_of(directory, file.number), FileFacts(file.rows, file.size_bytes, file.checksum))
        for number, count in opened.partitions.items():
            if file.number in bases or _counts(file, catalog.partitions.get(number, Partition())):
                rows[number] += count
                times.append(opened.least_in(number, "noted_at"))
    size_bytes = sum(file.size_bytes for file in catalog.files)
    return MemoryFacts(rows.total(), size_bytes, min(times, default=None), len(catalog.files))


def _counts(run: MemoryFile, partition: Partition) -> bool:
    return run.number > partition.merged_to
