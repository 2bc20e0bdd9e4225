"""The file of a ledger: its tables, its owner, earlier formats, and advice for a file that cannot be used.

`ledger` describes its content.
"""

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.batches.tracker import HeldChanges
from pipeline.core.errors import ConfigurationError, ExitCode, FatalError
from pipeline.core.rows.mapping import pack_rows
from pipeline.edges.durable import disk_errors
from pipeline.edges.store.held_log import blobs_of

SCHEMA_VERSION = 5
_HELD = """
CREATE TABLE held (
    job INTEGER NOT NULL REFERENCES jobs, seal INTEGER NOT NULL, piece INTEGER NOT NULL, changes BLOB NOT NULL,
    PRIMARY KEY (job, seal, piece)
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
#: What a job costs must not grow with the number of those that wait or have ended: for each question that is asked for
#: every job, there is an index.
_INDEXES = """
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
CREATE INDEX retries ON jobs (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX post_numbers ON facts (json_extract(detail, '$.post_number')) WHERE kind = 'Begun';
"""
_OVERTAKEN_VALUES = """
CREATE TABLE overtaken_values (
    batch_id INTEGER NOT NULL REFERENCES batches, hash INTEGER NOT NULL, parameters TEXT NOT NULL,
    PRIMARY KEY (batch_id, hash, parameters)
) STRICT, WITHOUT ROWID
"""
_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, export TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, settings TEXT NOT NULL, started_at TEXT NOT NULL, retry_of TEXT,
    checkpoint TEXT NOT NULL, is_abandoned INTEGER NOT NULL DEFAULT 0, state TEXT, exit_code INTEGER, sha256 TEXT,
    report TEXT, claim TEXT, route TEXT NOT NULL DEFAULT 'default', last_run TEXT, inode INTEGER
) STRICT;
CREATE TABLE batches (
    batch_id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs, number INTEGER NOT NULL, rows INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, parent INTEGER REFERENCES batches,
    is_open INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX batches_of_job ON batches (job);
CREATE INDEX open_batches ON batches (is_open) WHERE is_open = 1;
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY, batch_id INTEGER NOT NULL REFERENCES batches, at TEXT NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX facts_of_batch ON facts (batch_id);
{_HELD};
CREATE TABLE overtaken (
    batch_id INTEGER NOT NULL REFERENCES batches, hash INTEGER NOT NULL, PRIMARY KEY (batch_id, hash)
) STRICT, WITHOUT ROWID;
{_OVERTAKEN_VALUES};
"""

#: Held rows of an earlier format that are converted at once.
_TAKEN_OVER_AT_ONCE = 8_192
_ROUTE = "route TEXT NOT NULL DEFAULT 'default'"
_FROM_5 = ("last_run TEXT", "inode INTEGER")
#: Earlier format -> the columns of `jobs` that it lacks. Format 1 is from before exports could be dropped, 2 is from
#: before there were routes, 3 and 4 are from before the end of a run was noted, and an export was known by its inode
#: too. Up to format 3, `held` had a row for each held row. Up to format 4, there were no columns that are worked out,
#: no indexes of jobs, and rows were overtaken as a whole.
_ADDED_SINCE: dict[int, tuple[str, ...]] = {
    1: ("claim TEXT", _ROUTE, *_FROM_5),
    2: (_ROUTE, *_FROM_5),
    3: _FROM_5,
    4: _FROM_5,
}
_FIRST_WITH_HELD_LOG = 4

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


def prepare(database: sqlite3.Connection, path: Path, client_code: str) -> None:
    """Make the tables of a new ledger, or convert one of an earlier format. Raises `FatalError` (74, 78)."""
    checked = database.execute("PRAGMA quick_check").fetchone()[0]
    if checked != "ok":
        raise damaged(path, checked)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        meta = [("client_code", client_code), ("salt", str(secrets.randbits(64))), ("is_paused", "0")]
        with database:
            database.execute("BEGIN EXCLUSIVE")
            _execute_all(database, _SCHEMA)
            _add_worked_out(database)
            database.executemany("INSERT INTO meta VALUES (?, ?)", meta)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version in _ADDED_SINCE:
        with database:
            database.execute("BEGIN EXCLUSIVE")
            for column in _ADDED_SINCE[version]:
                database.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
            if version < _FIRST_WITH_HELD_LOG:
                _take_over_held(database)
            database.execute(_OVERTAKEN_VALUES)
            _add_worked_out(database)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION:
        raise damaged(path, f"it has format {version}, this program knows format {SCHEMA_VERSION}")
    kept = database.execute("SELECT value FROM meta WHERE key = 'client_code'").fetchone()[0]
    if kept != client_code:
        raise ConfigurationError(
            f"the state directory {path.parent} belongs to client code {kept!r}, not {client_code!r}: "
            "give each client code its own [state] directory."
        )


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


def write_held(database: sqlite3.Connection, job: int, changes: HeldChanges) -> None:
    """Add a change of held rows to the ledger, as a part of the caller's transaction."""
    if changes.is_all:
        database.execute("DELETE FROM held WHERE job = ?", (job,))
    (seal,) = database.execute("SELECT coalesce(max(seal), 0) + 1 FROM held WHERE job = ?", (job,)).fetchone()
    pieces = ((job, seal, piece, blob) for piece, blob in enumerate(blobs_of(changes)))
    database.executemany("INSERT INTO held VALUES (?, ?, ?, ?)", pieces)


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a ledger. `unfinished`: the number of its unfinished jobs."""

    client_code: str
    unfinished: int


def is_there(path: Path) -> bool:
    """True if there is a file. Raises `FatalError` (74) where this user may not look."""
    with disk_errors(f"cannot look at {path}"):
        return path.exists()


def owner_of(path: Path) -> Owner | None:
    """The owner of the ledger at this path, whatever its format; None if there is none yet. Writes nothing."""
    if not is_there(path):
        return None
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA query_only = ON")
            if database.execute("PRAGMA user_version").fetchone() == (0,):
                return None
            (client_code,) = database.execute("SELECT value FROM meta WHERE key = 'client_code'").fetchone()
            (unfinished,) = database.execute("SELECT count(*) FROM jobs WHERE state IS NULL").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise damaged(path, error if isinstance(error, sqlite3.Error) else "it does not say whose it is") from error
    return Owner(client_code, unfinished)


def damaged(path: Path, error: sqlite3.Error | str) -> FatalError:
    """The error for a ledger that cannot be used, with advice; it counts as damaged if SQLite names no other reason."""
    told = " ".join(str(error).split())
    # The low byte is the primary result code. The rest is detail, which the message has.
    code = getattr(error, "sqlite_errorcode", None)
    advice = _DAMAGED if code is None else _ADVICE.get(code & 0xFF, _DAMAGED)
    return FatalError(f"the ledger {path} cannot be used ({told}). {advice}", exit_code=ExitCode.DISK_OR_LEDGER)
