"""Memories, and batches that are released into them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.core.batches.lifecycle import Failed, GivenUp, Life, Phase, SeenComplete
from pipeline.core.memory.keyed_rows import Digested, KeyedRows
from pipeline.core.memory.row_fates import row_fates
from pipeline.core.model import Batch, BatchContent, Rows
from pipeline.core.rows.hashing import hash_ids
from pipeline.edges.store.memory.catalog import MemoryCatalog, MemoryFile, Partition
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.spool import Spool
from tests.core.builders import SALT, rows_of

COMPLETE = Life(phase=Phase.SETTLED, last=SeenComplete(0, 0))
GIVEN_UP = Life(phase=Phase.SETTLED, last=GivenUp("its status was lost"), open_since=(1.0,))
MISREAD = Life(phase=Phase.SETTLED, last=SeenComplete(0, 0, batch_size=7))
FAILED = Life(phase=Phase.SETTLED, last=Failed("too many refusals"))


def losing(*, failed: Sequence[str] = (), unconfirmed: Sequence[str] = (), unnamed: int = 0) -> Life:
    """The life of a complete batch of which Target lost these ids, and as many again that it does not name."""
    last = SeenComplete(len(failed) + unnamed, len(unconfirmed), tuple(failed), tuple(unconfirmed))
    return Life(phase=Phase.SETTLED, last=last)


class TinyCatalog:
    """A catalog that lives as long as the test."""

    salt = SALT

    def __init__(self) -> None:
        self.files: dict[int, MemoryFile] = {}
        self.partitions: dict[int, Partition] = {}

    def memory_catalog(self) -> MemoryCatalog:
        return MemoryCatalog(tuple(self.files.values()), dict(self.partitions))

    def enter(self, memory: Memory) -> None:
        """The transaction that releases all batches whose runs are pending."""
        pending = memory.pending
        self.files |= {file.number: file for file in pending.values()}
        memory.entered(pending)

    def replace_partition(
        self, partition: int, file: MemoryFile | None, merged_to: int, gone: Collection[int] = ()
    ) -> None:
        self.partitions[partition] = Partition(None if file is None else file.number, merged_to)
        self.files |= {} if file is None else {file.number: file}
        for number in gone:
            del self.files[number]

    def replace_memory_files(self, gone: Collection[int], file: MemoryFile | None) -> None:
        self.files |= {} if file is None else {file.number: file}
        for number in gone:
            del self.files[number]

    def clear_memory(self) -> None:
        self.files.clear()
        self.partitions.clear()


class Released:
    """A state directory in which batches are released, one after the other."""

    def __init__(self, directory: Path, *, with_values: bool = False) -> None:
        self.directory, self.with_values = directory, with_values
        self.catalog = TinyCatalog()
        self.spool = Spool(directory / "spool", min_free_bytes=0)
        self._last = 0
        self.memory = self.restart()

    def restart(self) -> Memory:
        """A new process."""
        self.memory = Memory(self.directory / "memory", self.spool, self.catalog, with_values=self.with_values)
        return self.memory

    def seal(self, rows: Mapping[str, str], parameters: str = "a,b", id_kind: str = "thirdPartyId") -> Batch:
        """A batch of these rows, by id the cells."""
        self._last += 1
        texts = [f"{profile_id},{cells}\n".encode() for profile_id, cells in rows.items()]
        return self.spool.write(self._last, self._last, content_of(texts, f"{id_kind},{parameters}"))

    def release(
        self,
        rows: Mapping[str, str],
        life: Life = COMPLETE,
        *,
        at: int = 1_000,
        source: int = 0,
        parameters: str = "a,b",
        id_kind: str = "thirdPartyId",
    ) -> None:
        """Release a batch; it is not durable yet."""
        batch_id = self.seal(rows, parameters, id_kind).batch_id
        self.memory.remember(batch_id, row_fates(life), at_minutes=at, source=source)

    def remember(
        self,
        rows: Mapping[str, str],
        life: Life = COMPLETE,
        *,
        at: int = 1_000,
        source: int = 0,
        parameters: str = "a,b",
        id_kind: str = "thirdPartyId",
    ) -> None:
        """Release a batch durably."""
        self.release(rows, life, at=at, source=source, parameters=parameters, id_kind=id_kind)
        self.catalog.enter(self.memory)

    def catalogued_names(self) -> list[str]:
        return [f"{number:08d}.memory" for number in sorted(self.catalog.files)]

    def names(self) -> list[str]:
        return sorted(file.name for file in (self.directory / "memory").iterdir())


def salted(rows: Rows, salt: int) -> Rows:
    """The rows with their hashes of another salt."""
    return replace(rows, hashes=hash_ids(rows.body, rows.starts, rows.id_lengths, salt))


def content_of(texts: list[bytes], heading: str, salt: int = SALT) -> BatchContent:
    rows = salted(rows_of(texts), salt)
    header = f"batch={heading}\n".encode()
    sizes = np.diff(rows.ends, prepend=0)
    order = np.argsort(rows.hashes, kind="stable")
    return BatchContent(
        pieces=[header, rows.body],
        rows=len(rows),
        size_bytes=len(header) + len(rows.body),
        hashes=rows.hashes[order],
        order=order.astype(np.uint32),
        sizes=sizes.astype(np.uint32),
        lines=rows.lines,
    )


def asked(texts: Sequence[str], salt: int = SALT) -> KeyedRows:
    """Rows in the order of their keys, as they are asked for, with digests of the parameters a and b."""
    rows = salted(rows_of([f"{text}\n".encode() for text in texts]), salt)
    return KeyedRows.of_rows(rows, Digested(("a", "b"), salt))
