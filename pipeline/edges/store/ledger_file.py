"""The file of a ledger: its tables, its owner, earlier formats, and advice for a file that cannot be used.

`ledger` describes its content.
"""

import secrets
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError
from pipeline.core.plain import plain
from pipeline.core.rows.mapping import pack_rows
from pipeline.edges.durable import disk_errors
from pipeline.edges.exports import Identity, PartFile
from pipeline.edges.store.held_log import blobs_of
from pipeline.edges.store.mark import APART, Mark, identity_of, mark_of, read_mark
from pipeline.edges.store.row_sums import (
    add_columns,
    add_function,
    add_triggers,
    altered,
    altered_of_unfinished,
    schema_sum,
    sum_more,
    sum_of,
)

SCHEMA_VERSION = 9
_HELD = """
CREATE TABLE held (
    job INTEGER NOT NULL REFERENCES jobs, seal INTEGER NOT NULL, piece INTEGER NOT NULL, changes BLOB NOT NULL,
    row_sum INTEGER, PRIMARY KEY (job, seal, piece)
) STRICT
"""
#: Columns of `jobs` that are worked out of its others, as expressions, so that indexes can find them.
_WORKED_OUT = {
    "is_waiting": "INTEGER AS (coalesce(json_extract(checkpoint, '$.digest_bytes'), 0) = 0)",
    "turn": "INTEGER AS (json_extract(checkpoint, '$.turn'))",
    "drop_id": "TEXT AS (json_extract(claim, '$.drop'))",
    "is_taken": "INTEGER AS (json_extract(claim, '$.is_taken'))",
    "sequence": "INTEGER AS (json_extract(claim, '$.manifest.sequence'))",
    "as_of": "TEXT AS (json_extract(claim, '$.as_of'))",
    "finished_at": "TEXT AS (json_extract(report, '$.finished_at'))",
}
_DONE_JOBS = "CREATE INDEX done_jobs ON jobs (route, seq) WHERE state = 'done'"
#: What a job costs must not grow with the number of those that wait or have ended: for each question that is asked for
#: every job, there is an index.
_INDEXES = f"""
CREATE INDEX unfinished_jobs ON jobs (is_waiting, turn) WHERE state IS NULL;
CREATE INDEX numbered_jobs ON jobs (sequence) WHERE state IS NULL AND is_waiting AND sequence IS NOT NULL;
CREATE INDEX untaken_jobs ON jobs (drop_id) WHERE state IS NULL AND NOT is_taken;
CREATE INDEX jobs_of_drop ON jobs (drop_id) WHERE drop_id IS NOT NULL;
CREATE INDEX loaded_numbers ON jobs (sequence) WHERE state IN ('done', 'incomplete') AND sequence IS NOT NULL;
CREATE INDEX loaded_dates ON jobs (route, as_of) WHERE state IN ('done', 'incomplete') AND as_of IS NOT NULL;
CREATE INDEX begun_drops ON jobs (route) WHERE drop_id IS NOT NULL AND NOT is_waiting
    AND (state IS NULL OR state NOT IN ('done', 'incomplete'));
CREATE INDEX ended_jobs ON jobs (finished_at) WHERE state IS NOT NULL;
CREATE INDEX loaded_jobs ON jobs (size_bytes) WHERE state = 'done';
{_DONE_JOBS};
CREATE INDEX retries ON jobs (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX post_numbers ON facts (json_extract(detail, '$.post_number')) WHERE kind = 'Begun';
"""
_OVERTAKEN_VALUES = """
CREATE TABLE overtaken_values (
    batch_id INTEGER NOT NULL REFERENCES batches, hash INTEGER NOT NULL, parameters TEXT NOT NULL,
    row_sum INTEGER, PRIMARY KEY (batch_id, hash, parameters)
) STRICT, WITHOUT ROWID
"""
_MEMORY = """
CREATE TABLE memory_files (
    number INTEGER PRIMARY KEY, batch_id INTEGER, rows INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL, row_sum INTEGER
) STRICT;
CREATE TABLE memory_partitions (
    partition INTEGER PRIMARY KEY, base INTEGER REFERENCES memory_files, merged_to INTEGER NOT NULL, row_sum INTEGER
) STRICT
"""
_SCHEMA = f"""
CREATE TABLE meta (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, row_sum INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, export TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, settings TEXT NOT NULL, started_at TEXT NOT NULL, retry_of TEXT,
    checkpoint TEXT NOT NULL, is_abandoned INTEGER NOT NULL DEFAULT 0, state TEXT, exit_code INTEGER, sha256 TEXT,
    report TEXT, claim TEXT, route TEXT NOT NULL DEFAULT 'default', last_run TEXT, inode INTEGER,
    parts TEXT NOT NULL DEFAULT '[]', row_sum INTEGER
) STRICT;
CREATE TABLE batches (
    batch_id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs, number INTEGER NOT NULL, rows INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, parent INTEGER REFERENCES batches,
    is_open INTEGER NOT NULL DEFAULT 1, ids_sha256 TEXT NOT NULL DEFAULT '', lines_sha256 TEXT NOT NULL DEFAULT '',
    row_sum INTEGER
) STRICT;
CREATE INDEX batches_of_job ON batches (job);
CREATE INDEX open_batches ON batches (is_open) WHERE is_open = 1;
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY, batch_id INTEGER NOT NULL REFERENCES batches, at TEXT NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL, row_sum INTEGER
) STRICT;
CREATE INDEX facts_of_batch ON facts (batch_id);
{_HELD};
CREATE TABLE overtaken (
    batch_id INTEGER NOT NULL REFERENCES batches, hash INTEGER NOT NULL, row_sum INTEGER,
    PRIMARY KEY (batch_id, hash)
) STRICT, WITHOUT ROWID;
{_OVERTAKEN_VALUES};
{_MEMORY};
"""

#: Bytes of a ledger that each start checks whole. Ours: half a second of a processor, for some ten thousand jobs.
CHECKED_WHOLE_BYTES = 33_554_432
#: The batches that one transaction makes known at most: the two of a split.
_AT_ONCE = 2
#: Held rows of an earlier format that are converted at once.
_TAKEN_OVER_AT_ONCE = 8_192
_ROUTE = "route TEXT NOT NULL DEFAULT 'default'"
_PARTS = "parts TEXT NOT NULL DEFAULT '[]'"
_FROM_5 = ("last_run TEXT", "inode INTEGER", _PARTS)
#: Earlier format -> the columns of `jobs` that it lacks. Format 1 is from before exports could be dropped, 2 is from
#: before there were routes, 3 and 4 are from before the end of a run was noted, and an export was known by its inode
#: too. Up to format 3, `held` had a row for each held row. Up to format 4, there were no columns that are worked out,
#: no indexes of jobs, and rows were overtaken as a whole. Up to format 5, rows had no sums, `.ids` and `.lines` of the
#: spool no digests, and there was no mark. Up to format 6, each file of a drop had a job of its own. Up to format 7,
#: there was no memory. Up to format 8, nobody asked for the done jobs of a route.
_ADDED_SINCE: dict[int, tuple[str, ...]] = {
    1: ("claim TEXT", _ROUTE, *_FROM_5),
    2: (_ROUTE, *_FROM_5),
    3: _FROM_5,
    4: _FROM_5,
    5: (_PARTS,),
    6: (_PARTS,),
    7: (),
    8: (),
}
_FIRST_WITH_HELD_LOG = 4
_FIRST_WORKED_OUT = 5
_FIRST_WITH_SUMS = 6
_FIRST_WITH_PARTS = 7
_FIRST_WITH_MEMORY = 8
#: The keys in `meta` for the number of the latest transaction, and for the sum of the definitions of the tables.
TRANSACTIONS, _SCHEMA_SUM = "transactions", "schema_sum"

_DAMAGED = (
    "Restore the whole state directory from a backup. Without one, move it away to start afresh: rows in flight may "
    "then be sent twice, and in the wrong order for up to a day."
)
_LOCKED = "Another program has it open and locked: close that program and run again."
_FORBIDDEN = "Check the owner and the permissions of the state directory and the files in it, then run again."
_BROKEN_DISK = (
    "The disk failed: check that it has room, that it works and that its file system is whole, then run again."
)
#: SQLite's primary result code (https://sqlite.org/rescode.html) -> advice, for errors that are no damage.
_ADVICE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_AUTH: _FORBIDDEN,
    sqlite3.SQLITE_IOERR: _BROKEN_DISK,
    sqlite3.SQLITE_FULL: "The disk is full: make room and run again.",
}


def examine(path: Path, mark: Mark | None, spooled: Collection[int], *, is_new: bool) -> None:
    """Raise `FatalError` (74) for a ledger that is damaged, or is not the one that its spool was written beside.

    Nothing is changed, so that what is refused can be looked into: the log of a crash stays too. Of a large ledger only
    what is unfinished is checked, or a start would take longer each month: see `examine_whole`.

    `spooled`: the ids of the batches in the spool.
    `is_new`: the state directory holds nothing yet.
    """
    with closing(connect_to_read(path)) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        _check_content(database, path, version, is_whole=not is_large(path))
        if version == 0 and not is_new:
            raise damaged(path, "it has no tables, while the state directory holds jobs or batches")
        if version == SCHEMA_VERSION or version in _ADDED_SINCE:
            check_mark(database, path, mark)
            if mark is None:
                _check_unknown(database, path, spooled)


def is_large(path: Path) -> bool:
    """True if a start checks only what is unfinished in the ledger."""
    return path.stat().st_size > CHECKED_WHOLE_BYTES


def examine_whole(database: sqlite3.Connection, path: Path) -> None:
    """Raise `FatalError` (74) for a large ledger that is damaged anywhere; whoever writes it may go on meanwhile.

    `database`: as `connect_to_read` opens it.
    """
    try:
        _check_content(database, path, SCHEMA_VERSION, is_whole=True)
    except sqlite3.Error as error:
        raise damaged(path, error) from error


def _check_content(database: sqlite3.Connection, path: Path, version: int, *, is_whole: bool) -> None:
    if version in range(_FIRST_WITH_SUMS, SCHEMA_VERSION + 1):
        # Before the structure: the columns that are worked out fail at a row that is damaged, and do not name it.
        if found := next(altered(database) if is_whole else altered_of_unfinished(database), None):
            raise damaged(path, found)
        if _meta(database, _SCHEMA_SUM) != schema_sum(database):
            raise damaged(path, "the definitions of its tables are not as they were written")
    # The quick one does not compare indexes with their tables.
    checked = database.execute(f"PRAGMA {'integrity' if is_whole else 'quick'}_check(1)").fetchone()[0]
    if checked != "ok":
        raise damaged(path, checked)


def _check_unknown(database: sqlite3.Connection, path: Path, spooled: Collection[int]) -> None:
    """Raise `FatalError` (74) for batches in the spool that a ledger without a mark may have forgotten.

    With a mark it is certain that the ledger knows all that were sealed. Without one, as an earlier version leaves it,
    a crash leaves no more unknown than one transaction makes known, with the ids that come next.
    """
    known = {row[0] for row in database.execute("SELECT batch_id FROM batches")}
    unknown = sorted(set(spooled) - known)
    if unknown != [max(known, default=0) + place for place in range(1, 1 + _AT_ONCE)][: len(unknown)]:
        named = f"{', '.join(map(str, unknown[:5]))}{', ...' * (len(unknown) > 5)}"
        why = f"it is older than the spool beside it, which holds batches that it does not know ({named})"
        raise FatalError(f"the ledger {path} cannot be used: {why}. {APART}", exit_code=ExitCode.DISK_OR_LEDGER)


def check_mark(database: sqlite3.Connection, path: Path, mark: Mark | None) -> None:
    """Raise `FatalError` (74) for a ledger that is not the one of this mark, or is older.

    `mark`: None if there is none. It must have been read before, since a process may be writing.
    """
    number = transactions_of(database)
    if mark is None:
        why = "its mark, spool/mark, is missing: the spool was removed, or is not the one that belongs to it"
        is_right = number == 0
    elif mark.ledger != identity_of(_meta(database, "salt")):
        why, is_right = "it is another ledger than the one that belongs to the spool beside it", False
    else:
        behind = f"its latest transaction is number {number:,}, and by spool/mark there were {mark.number:,}"
        why = f"it is older than the spool beside it, or has lost the end of its write-ahead log: {behind}"
        is_right = number >= mark.number
    if not is_right:
        raise FatalError(f"the ledger {path} cannot be used: {why}. {APART}", exit_code=ExitCode.DISK_OR_LEDGER)


def transactions_of(database: sqlite3.Connection) -> int:
    """The number of the latest transaction of a ledger; 0 if it has none yet, or is of a format that had no numbers."""
    row = database.execute("SELECT value FROM meta WHERE key = ?", (TRANSACTIONS,)).fetchone()
    try:
        return 0 if row is None else int(row[0])
    except (TypeError, ValueError) as error:
        raise sqlite3.DataError("the number of its latest transaction is none") from error


def _meta(database: sqlite3.Connection, key: str) -> str:
    row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection to the ledger that changes nothing: its end leaves the log of a crash as it is, too.

    But for what a kill left half written of a new file, before it had a write-ahead log: SQLite takes that back, by the
    rollback journal beside it, and has to be let.
    """
    mode = "rw" if is_there(path.with_name(f"{path.name}-journal")) else "ro"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    add_function(database)
    return database


def prepare(database: sqlite3.Connection, path: Path, client_code: str) -> None:
    """Make the tables of a new ledger, or convert one of an earlier format. Raises `FatalError` (74, 78)."""
    add_function(database)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        meta = [("client_code", client_code), ("salt", str(secrets.randbits(64))), ("is_paused", "0")]
        with database:
            database.execute("BEGIN EXCLUSIVE")
            _execute_all(database, _SCHEMA)
            _add_worked_out(database)
            database.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta)
            _end_preparing(database)
    elif version in _ADDED_SINCE:
        with database:
            database.execute("BEGIN EXCLUSIVE")
            _take_over(database, version)
            _end_preparing(database)
    elif version != SCHEMA_VERSION:
        raise damaged(path, f"it has format {version}, this program knows format {SCHEMA_VERSION}")
    add_triggers(database)
    kept = _meta(database, "client_code")
    if kept != client_code:
        raise ConfigurationError(
            f"the state directory {path.parent} belongs to client code {kept!r}, not {client_code!r}: "
            "give each client code its own [state] directory."
        )
    if version != SCHEMA_VERSION:
        # What was made is in the file itself from here on, and not in the log alone.
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _take_over(database: sqlite3.Connection, version: int) -> None:
    """Convert the tables of an earlier format, as a part of the caller's transaction."""
    for column in _ADDED_SINCE[version]:
        database.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
    if version < _FIRST_WITH_SUMS:
        for kind in ("ids", "lines"):
            database.execute(f"ALTER TABLE batches ADD COLUMN {kind}_sha256 TEXT NOT NULL DEFAULT ''")
    if version < _FIRST_WITH_HELD_LOG:
        _take_over_held(database)
    if version < _FIRST_WORKED_OUT:
        database.execute(_OVERTAKEN_VALUES)
        _add_worked_out(database)
    if version < _FIRST_WITH_PARTS:
        _take_over_drops(database)
    if version < _FIRST_WITH_MEMORY:
        _execute_all(database, _MEMORY)
    if version >= _FIRST_WORKED_OUT:
        database.execute(_DONE_JOBS)


def _end_preparing(database: sqlite3.Connection) -> None:
    """Enter the format, and the sums of what there is by now, as a part of the caller's transaction."""
    if _meta(database, _SCHEMA_SUM):
        sum_more(database, "jobs", added="parts")
    else:
        database.execute("INSERT INTO meta (key, value) VALUES (?, '0'), (?, '')", (TRANSACTIONS, _SCHEMA_SUM))
        add_columns(database)
    database.execute("UPDATE meta SET value = ? WHERE key = ?", (schema_sum(database), _SCHEMA_SUM))
    database.execute("UPDATE meta SET row_sum = sum_of(key, value)")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _execute_all(database: sqlite3.Connection, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";")):
        database.execute(statement)


def _add_worked_out(database: sqlite3.Connection) -> None:
    """Add the columns that are worked out, and the indexes."""
    for name, expression in _WORKED_OUT.items():
        database.execute(f"ALTER TABLE jobs ADD COLUMN {name} {expression} VIRTUAL")
    _execute_all(database, _INDEXES)


def _take_over_held(database: sqlite3.Connection) -> None:
    """Convert the held rows of an earlier format, which had a row of `held` for each of them."""
    database.execute("ALTER TABLE held RENAME TO held_before")
    database.execute(_HELD)
    for (job,) in database.execute("SELECT DISTINCT job FROM held_before").fetchall():
        query = "SELECT text, length(profile_id), line FROM held_before WHERE job = ? ORDER BY profile_id, place"
        cursor, pieces = database.execute(query, (job,)), []
        while some := cursor.fetchmany(_TAKEN_OVER_AT_ONCE):
            texts, lengths, lines = zip(*some, strict=True)
            pieces.append(pack_rows([*texts], [*lengths], [*lines], salt=0))
        write_held(database, job, HeldChanges(tuple(pieces), is_all=True))
    database.execute("DROP TABLE held_before")


def _take_over_drops(database: sqlite3.Connection) -> None:
    """Make each job of a drop that has several, as earlier formats had one for each file, one of a single part.

    So it may be empty, as a part may. Those that have begun are not, and go on as they are. The end of a drop is no
    longer told.
    """
    database.execute("DELETE FROM meta WHERE key = 'ended_drops'")
    several = "SELECT drop_id FROM jobs GROUP BY drop_id HAVING count(*) > 1"
    query = "SELECT seq, export, size_bytes, mtime_ns, inode FROM jobs WHERE state IS NULL AND is_waiting"
    for seq, export, *identity in database.execute(f"{query} AND drop_id IN ({several})").fetchall():
        parts = json_of_parts([PartFile(Path(export).name, Identity(*identity))])
        database.execute("UPDATE jobs SET parts = ? WHERE seq = ?", (parts, seq))


def json_of_parts(parts: Iterable[PartFile]) -> str:
    """The parts of an export as the ledger has them."""
    return orjson.dumps([plain(replace(part, identity=replace(part.identity, device=None))) for part in parts]).decode()


def write_held(database: sqlite3.Connection, job: int, changes: HeldChanges) -> None:
    """Add a change of held rows to the ledger, as a part of the caller's transaction."""
    if changes.is_all:
        database.execute("DELETE FROM held WHERE job = ?", (job,))
    (seal,) = database.execute("SELECT coalesce(max(seal), 0) + 1 FROM held WHERE job = ?", (job,)).fetchone()
    pieces = ((job, seal, piece, blob, sum_of(job, seal, piece, blob)) for piece, blob in enumerate(blobs_of(changes)))
    database.executemany("INSERT INTO held (job, seal, piece, changes, row_sum) VALUES (?, ?, ?, ?, ?)", pieces)


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a ledger. `unfinished`: the number of its unfinished jobs."""

    client_code: str
    unfinished: int


def is_there(path: Path) -> bool:
    """True if there is a file. Raises `FatalError` (74) for anything else, and where this user may not look.

    A pipe would be waited for, and what a link lost is no new ledger.
    """
    with disk_errors(f"cannot look at {path}"):
        try:
            is_file = stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            if path.is_symlink():
                raise damaged(path, "it is a link that leads nowhere") from None
            return False
    if not is_file:
        raise damaged(path, "it is no file")
    return True


def owner_of(path: Path) -> Owner | None:
    """The owner of the ledger at this path, whatever its format; None if there is none yet. Writes nothing."""
    if not is_there(path):
        return None
    # Before the ledger, since a process may be writing.
    mark = read_mark(mark_of(path))
    try:
        with using(path), closing(connect_to_read(path)) as database:
            if database.execute("PRAGMA user_version").fetchone() == (0,):
                if mark is not None:
                    raise damaged(path, "it has no tables, though its spool was written beside one that had")
                return None
            check_mark(database, path, mark)
            (client_code,) = database.execute("SELECT value FROM meta WHERE key = 'client_code'").fetchone()
            (unfinished,) = database.execute("SELECT count(*) FROM jobs WHERE state IS NULL").fetchone()
    except TypeError as error:
        raise damaged(path, "it does not say whose it is") from error
    return Owner(client_code, unfinished)


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Raise `FatalError` (74) where the body cannot use the ledger at this path.

    A text that is no UTF-8 is no error of SQLite: it hands one on, and quotes it in its own messages.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise damaged(path, error) from error
    except UnicodeDecodeError as error:
        raise damaged(path, "a text is no UTF-8") from error


def damaged(path: Path, error: sqlite3.Error | str) -> FatalError:
    """The error for a ledger that cannot be used, with advice; it counts as damaged if SQLite names no other reason."""
    told = " ".join(str(error).split())
    if "malformed JSON" in told:
        # Raised by a column that is worked out, whatever was asked for.
        told = f"the row of a job is not as it was written: {told}"
    # The low byte is the primary result code. The rest is detail, which the message has.
    code = getattr(error, "sqlite_errorcode", None)
    advice = _DAMAGED if code is None else _ADVICE.get(code & 0xFF, _DAMAGED)
    return FatalError(f"the ledger {path} cannot be used ({told}). {advice}", exit_code=ExitCode.DISK_OR_LEDGER)
