"""The catalog of the memory in the ledger: its files, what counts with a release, and what makes it behind."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from pipeline.core.batches.checkpoint import Checkpoint
from pipeline.core.batches.lifecycle import (
    Begun,
    Fact,
    Failed,
    GivenUp,
    InDoubt,
    NotTaken,
    RefusedAs,
    Taken,
)
from pipeline.core.batches.tracker import NO_CHANGES
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError
from pipeline.edges.host import Host
from pipeline.edges.store.ledger import Ledger
from pipeline.edges.store.ledger_file import CHECKED_WHOLE_BYTES
from pipeline.edges.store.memory.catalog import MemoryCatalog, MemoryFile, Partition
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.state import State, open_state
from tests.edges.store.test_ledger import (
    FILE,
    REPORT,
    batch_of,
    facts_of,
    job_of,
    open_ids,
    opened,
    read,
    seal,
    whole_file,
)

OTHER = "https://other.tt.omtrdc.net"
#: Where rows are sent to.
TARGET = "https://demo.tt.omtrdc.net"


def file_of(number: int, batch_id: int | None = None) -> MemoryFile:
    return MemoryFile(number, batch_id, 10 * number, 2**33 + number, f"sum{number}")


def sent(ledger: Ledger, job: JobRecord, batch_id: int, *facts: Fact) -> None:
    """Seal a batch, and let these facts happen to it."""
    seal(ledger, job, batch_of(batch_id))
    for fact in facts or (Begun(batch_id),):
        ledger.add_fact(batch_id, fact)


def release(ledger: Ledger, job: JobRecord, batch_id: int, *files: MemoryFile) -> None:
    remembered = {file.batch_id: file for file in files if file.batch_id is not None}
    ledger.seal(job, Checkpoint(), None, held=NO_CHANGES, released=[batch_id], overtaken={}, remembered=remembered)


def finish(ledger: Ledger, job: JobRecord, batch_id: int, *files: MemoryFile) -> None:
    remembered = {file.batch_id: file for file in files if file.batch_id is not None}
    ledger.finish_job(job, REPORT, never_sent=[], released=[batch_id], remembered=remembered)


WAYS = pytest.mark.parametrize("let_go", [release, finish], ids=["by a seal", "by the end of a job"])
LetGo = Callable[..., None]


@WAYS
def test_a_file_counts_with_the_release_of_its_batch(tmp_path: Path, let_go: LetGo) -> None:
    with opened(tmp_path) as ledger, read(tmp_path) as reader:
        ledger.begin_memory("digests", TARGET)
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        assert reader.memory_catalog() == MemoryCatalog()
        let_go(ledger, job, 1, file_of(7, 1), file_of(8, 2))
        assert reader.memory_catalog() == MemoryCatalog((file_of(7, 1),))
        assert not reader.is_memory_behind
    with opened(tmp_path) as ledger:
        assert ledger.memory_catalog() == MemoryCatalog((file_of(7, 1),))


def test_a_batch_that_was_released_before_is_not_remembered_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("digests", TARGET)
        job, other = ledger.begin_job(job_of("j1")), ledger.begin_job(job_of("j2"))
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        ledger.replace_partition(0, file_of(2), 1, gone=[1])
        release(ledger, other, 1, file_of(3, 1))
        release(ledger, other, 1)
        assert ledger.memory_catalog() == MemoryCatalog((file_of(2),), {0: Partition(2, 1)})
        assert not ledger.is_memory_behind


@WAYS
def test_a_memory_that_does_not_hear_of_a_batch_is_behind(tmp_path: Path, let_go: LetGo) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("digests", TARGET)
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        ledger.begin_memory("digests", TARGET)
        sent(ledger, job, 2)
        let_go(ledger, job, 2)
        assert (ledger.remembers, ledger.is_memory_behind) == ("digests", True)
    with opened(tmp_path) as ledger:
        assert ledger.is_memory_behind
        ledger.clear_memory()
        assert (ledger.remembers, ledger.is_memory_behind, ledger.memory_catalog()) == ("", False, MemoryCatalog())


@pytest.mark.parametrize(
    ("facts", "is_behind"),
    [
        ((), False),
        ((Begun(1), NotTaken("throttled")), False),
        ((Begun(1), RefusedAs("bad"), Failed("bad")), False),
        ((Begun(1),), True),
        ((Begun(1), InDoubt("no answer"), Begun(2), NotTaken("throttled")), True),
        ((Begun(1), Taken("url"), GivenUp("too late")), True),
    ],
)
def test_what_cannot_have_arrived_is_nothing_to_remember(
    tmp_path: Path, facts: tuple[Fact, ...], is_behind: bool
) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("values", TARGET)
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        seal(ledger, job, batch_of(2))
        for fact in facts:
            ledger.add_fact(2, fact)
        ledger.finish_job(job, REPORT, never_sent=[], released=[2])
        assert ledger.is_memory_behind is is_behind


@pytest.mark.parametrize(
    ("before", "is_behind"),
    [((Begun(2), RefusedAs("bad")), False), ((Begun(2), InDoubt("no answer"), Begun(3), RefusedAs("bad")), True)],
)
def test_a_batch_that_was_split_has_handed_its_rows_on(
    tmp_path: Path, before: tuple[Fact, ...], is_behind: bool
) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("values", TARGET)
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        sent(ledger, job, 2, *before)
        ledger.split(batch_of(2), (batch_of(3, parent=2), batch_of(4, parent=2)))
        release(ledger, job, 2)
        release(ledger, job, 3, file_of(3, 3))
        assert not ledger.is_memory_behind
        # Nobody knows the end of an attempt for its parent, if that was in doubt.
        ledger.finish_job(job, REPORT, never_sent=[4], released=[4])
        assert ledger.is_memory_behind is is_behind


def test_where_nothing_is_remembered_nothing_can_be_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1)
        ledger.begin_memory("digests", TARGET)
        sent(ledger, job, 2)
        release(ledger, job, 2)
        assert not ledger.is_memory_behind


def test_a_partition_and_its_files_change_in_one_step(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("digests", TARGET)
        job = ledger.begin_job(job_of())
        for number in (1, 2):
            sent(ledger, job, number)
            release(ledger, job, number, file_of(number, number))
        first, last = file_of(3), file_of(5)
        ledger.replace_partition(0, first, 2)
        ledger.replace_partition(255, last, 2, gone=[1, 2])
        ledger.replace_partition(9, None, 2)
        merged = {0: Partition(3, 2), 9: Partition(None, 2), 255: Partition(5, 2)}
        assert ledger.memory_catalog() == MemoryCatalog((first, last), merged)
        with pytest.raises(FatalError):
            ledger.replace_partition(0, file_of(4), 2, gone=[5])
        assert ledger.memory_catalog() == MemoryCatalog((first, last), merged), "a base that is needed stays"
        ledger.replace_partition(0, file_of(4), 2, gone=[3])
        ledger.replace_partition(255, None, 2, gone=[5])
    with opened(tmp_path) as ledger:
        partitions = {0: Partition(4, 2), 9: Partition(None, 2), 255: Partition(None, 2)}
        assert ledger.memory_catalog() == MemoryCatalog((file_of(4),), partitions)
        ledger.clear_memory()
        assert ledger.memory_catalog() == MemoryCatalog()


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE memory_files SET checksum = 'x'", "file 1 of the memory"),
        ("UPDATE memory_partitions SET merged_to = 9", "partition 7 of the memory"),
        ("UPDATE meta SET value = '{}' WHERE key = 'memory'", "its memory"),
    ],
)
def test_a_catalog_that_was_altered_is_told_of_at_the_start(
    tmp_path: Path, change: str, told: str, is_large: bool
) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("digests", TARGET)
        ledger.replace_partition(7, file_of(1), 0)
        if is_large:
            jobs = [ledger.begin_job(job_of(f"j{number}")) for number in range(9)]
            for job in jobs:
                ledger.note_checkpoint(job, Checkpoint(digest="x" * 4_000_000))
            for job in jobs:
                ledger.finish_job(job, REPORT, never_sent=[], released=[])
    assert (whole_file(tmp_path).stat().st_size > CHECKED_WHOLE_BYTES) == is_large
    with closing(sqlite3.connect(whole_file(tmp_path))) as database, database:
        database.execute(change)
    with pytest.raises(FatalError, match=f"{told} is not as it was written"), opened(tmp_path):
        pass


def test_a_catalog_that_is_altered_meanwhile_is_not_read(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.replace_partition(7, file_of(1), 0)
        with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
            database.execute("UPDATE memory_files SET rows = 8")
        with pytest.raises(FatalError, match="the catalog of the memory cannot be read"):
            ledger.memory_catalog()


def test_the_bodies_of_a_batch_go_as_without_a_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.begin_memory("digests", TARGET)
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        assert open_ids(ledger) == []
        assert len(facts_of(ledger, 1)) == 2


@pytest.mark.parametrize(
    ("remember", "target", "told"),
    [
        ("values", TARGET, 'made with .* "digests", and that is "values" now'),
        ("digests", OTHER, f"was sent to {TARGET}"),
        ("digests", TARGET, 'lacks what was sent while .* was "nothing"'),
    ],
)
async def test_a_memory_that_is_not_the_one_asked_for_is_refused(
    tmp_path: Path, remember: str, target: str, told: str
) -> None:
    """One that is empty may be of any kind, and lacks nothing."""

    def opened_with(remember: str, target: str = TARGET) -> AbstractAsyncContextManager[State]:
        return open_state(tmp_path, "demo", Host(), min_free_bytes=0, remember=remember, target=target)

    async with opened_with("values", OTHER) as state:
        assert state.ledger.remembers == "values"
    async with opened_with("digests") as state:
        ledger = state.ledger
        job = ledger.begin_job(job_of())
        sent(ledger, job, 1)
        release(ledger, job, 1, file_of(1, 1))
        sent(ledger, job, 2)
        release(ledger, job, 2)
    with pytest.raises(ConfigurationError, match=f"(?s){told}.*`profile-pipeline memory rebuild`") as caught:
        async with opened_with(remember, target):
            pass
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    async with opened_with("nothing") as state:
        state.ledger.clear_memory()
    async with opened_with(remember, target) as state:
        assert (state.ledger.remembers, state.ledger.is_memory_behind) == (remember, False)
