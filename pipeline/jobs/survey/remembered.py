"""Plans the rows of an export as a load with a memory places them: gathered first, then compared with what was sent.

The memory is only asked, beside the process that may hold it. What is gathered lies in a directory for temporary files,
and takes what the rows take.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, cast

import numpy as np

from pipeline.core.batches.gathered import Gathered, Run
from pipeline.core.memory.keyed_rows import Digested
from pipeline.core.memory.times import minutes_of
from pipeline.core.model import Rows
from pipeline.core.rows.mapping import ColumnPlan
from pipeline.core.survey.tally import Tally
from pipeline.edges.host import Host
from pipeline.edges.store.ledger_reader import read_ledger
from pipeline.edges.store.memory.catalog import Catalog, MemoryCatalog
from pipeline.edges.store.memory.memory import Memory
from pipeline.edges.store.state import check_memory
from pipeline.jobs.gathering import GatheredRows, Sieve
from pipeline.jobs.gathering.gather import BUFFER_BYTES
from pipeline.jobs.gathering.runs import write_run
from pipeline.jobs.gathering.sieve import AHEAD
from pipeline.jobs.row_source import RowSource
from pipeline.settings.settings import Settings


async def place_remembered(source: RowSource, tally: Tally, sieve: Sieve, host: Host) -> None:
    """Read all rows, and place those that a load with this sieve would send."""
    with TemporaryDirectory(prefix="profile-pipeline-plan-") as directory:
        rows = _PlannedRows(tally, Path(directory), sieve.digested)
        while (block := await source.read()) is not None:
            await host.run_blocking(tally.note, block.mapped, block.begins)
            await host.run_blocking(rows.add, block.mapped.rows)
        await host.run_blocking(rows.place, sieve)


class _PlannedRows:
    """The rows of an export that is planned; `directory` is for what is gathered, and empty. All methods block."""

    def __init__(self, tally: Tally, directory: Path, digested: Digested) -> None:
        self._tally = tally
        self._directory = directory
        self._digested = digested
        self._runs: list[Run] = []
        self._buffer: list[Rows] = []
        self._buffered_bytes = 0

    def add(self, rows: Rows) -> None:
        """Gather some rows."""
        if len(rows):
            self._tally.checkpoint.note_repeated(rows)
            self._buffer.append(rows)
            self._buffered_bytes += len(rows.body)
        if self._buffered_bytes >= BUFFER_BYTES:
            self._write()

    def place(self, sieve: Sieve) -> None:
        """Place all rows but those that say nothing new."""
        if self._buffer:
            self._write()
        checkpoint = self._tally.checkpoint
        of = Gathered(tuple(self._runs), sum(run.rows for run in self._runs))
        gathered = GatheredRows(self._directory, of, sieve.max_row_bytes, self._digested)
        while (piece := gathered.read()) is not None:
            sifted = sieve.sift(piece.rows, np.zeros(len(piece.rows), dtype=np.bool_))
            checkpoint.superseded += piece.records_of(0, len(piece.rows)) - len(piece.rows)
            checkpoint.unchanged += int(np.count_nonzero(sifted.is_unchanged))
            self._tally.placement.place(sifted.rows)
            # Its texts must not stand beside those that are read next.
            del piece, sifted

    def _write(self) -> None:
        self._runs.append(write_run(self._directory, len(self._runs), self._buffer, self._digested))
        self._buffered_bytes = 0


@dataclass(frozen=True, slots=True)
class _CatalogBeside:
    """The catalog in a ledger that another process may write; each question opens it anew."""

    ledger: Path
    salt: int

    def memory_catalog(self) -> MemoryCatalog:
        """The catalog as it is now."""
        ledger = read_ledger(self.ledger)
        if ledger is None:
            return MemoryCatalog()
        with closing(ledger):
            return ledger.memory_catalog()


@dataclass(frozen=True, slots=True)
class AskedMemory:
    """The memory that a load would have. `salt`: of its hashes of ids."""

    memory: Memory
    salt: int

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """That of a load with these settings, if there is one it could use. Blocks.

        Raises `FatalError` (74) for a ledger or a memory that is damaged, and (78) for one that the load would refuse.
        """
        directory, remember = settings.state.directory, settings.memory.remember
        ledger = None if remember == "nothing" else read_ledger(directory / "ledger.db")
        if ledger is None:
            return None
        with closing(ledger):
            check_memory(directory / "memory", ledger, remember, settings.target.url)
            if ledger.remembers != remember or ledger.is_memory_behind:
                return None
            # It is only asked, so that the part of a ledger that writes is not missed.
            catalog = cast("Catalog", _CatalogBeside(directory / "ledger.db", ledger.salt))
            memory = Memory(directory / "memory", None, catalog, with_values=remember == "values")
            return cls(memory, ledger.salt)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of which rows may be filled in. Blocks."""
        return self.memory.parameters if self.memory.has_values else ()

    def sieve(self, plan: ColumnPlan, settings: Settings, now: datetime) -> Sieve:
        """The sieve of a load at this time."""
        memory = settings.memory
        return Sieve(
            self.memory,
            self.salt,
            plan.id_kind,
            (*plan.parameters, *plan.carried),
            is_sending_changes=memory.send == "changes",
            fresh_since=minutes_of(now - timedelta(days=memory.refresh_days)),
            fresh_until=minutes_of(now + AHEAD),
            is_filling_in=self.memory.has_values,
            max_row_bytes=settings.batch.max_bytes - len(plan.body_start),
            # A plan overtakes nothing.
            ids_lost=lambda: np.empty(0, dtype=np.uint64),
        )
