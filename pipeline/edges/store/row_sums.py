"""Sums of the rows in the ledger: what is read from it is what was written, or it is damaged.

SQLite checks how its pages hang together, and not the values in them. So each row has a sum of its values in a column
`row_sum`. Rows that are changed later get it by triggers of the writing connection, so that no statement can forget it;
the others are written with it, since a second write of them would cost too much.
"""

import sqlite3
from collections.abc import Iterator
from zlib import crc32

#: Table -> the columns that are summed, and the expression that names a row of it in an error.
_SUMMED: dict[str, tuple[tuple[str, ...], str]] = {
    "meta": (("key", "value"), "'its ' || key"),
    "jobs": (
        (
            *("seq", "job_id", "export", "size_bytes", "mtime_ns", "settings", "started_at", "retry_of", "checkpoint"),
            *("is_abandoned", "state", "exit_code", "sha256", "report", "claim", "route", "last_run", "inode"),
            "parts",
        ),
        "'job ' || job_id",
    ),
    "batches": (
        (
            *("batch_id", "job", "number", "rows", "size_bytes", "sha256", "parent", "is_open"),
            *("ids_sha256", "lines_sha256"),
        ),
        "'batch ' || batch_id",
    ),
    "facts": (("seq", "batch_id", "at", "kind", "detail"), "'a fact of batch ' || batch_id"),
    "held": (("job", "seal", "piece", "changes"), "'held rows of a job'"),
    "overtaken": (("batch_id", "hash"), "'an overtaken row of batch ' || batch_id"),
    "overtaken_values": (("batch_id", "hash", "parameters"), "'an overtaken row of batch ' || batch_id"),
    "memory_files": (("number", "batch_id", "rows", "size_bytes", "checksum"), "'file ' || number || ' of the memory'"),
    "memory_partitions": (("partition", "base", "merged_to"), "'partition ' || partition || ' of the memory'"),
}
#: Tables of which the triggers write the sums.
_TRIGGERED = ("meta", "jobs", "batches", "facts", "memory_files", "memory_partitions")
#: Held rows are checked when their job reads them: they may be most of the ledger, and are read then anyway.
_CHECKED_WHEN_READ = ("held",)
_UNFINISHED_BATCHES = "is_open = 1 OR job IN (SELECT seq FROM jobs WHERE state IS NULL)"
#: Table -> the rows of it with which a process goes on at its start.
_UNFINISHED = {
    "meta": "true",
    "jobs": "state IS NULL",
    "batches": _UNFINISHED_BATCHES,
    "facts": f"batch_id IN (SELECT batch_id FROM batches WHERE {_UNFINISHED_BATCHES})",  # noqa: S608 - constants
    "memory_files": "true",
    "memory_partitions": "true",
}


def sum_of(*values: object) -> int:
    """The sum of a row: CRC-32 of its values in the order of `_SUMMED`."""
    *others, last = values
    text = "\x1f".join([*map(str, others), ""]).encode(errors="surrogateescape")
    return crc32(last if isinstance(last, bytes) else str(last).encode(errors="surrogateescape"), crc32(text))


def is_as_written(row: sqlite3.Row, table: str) -> bool:
    """True if a row, which has all columns of its table, has the values that were written."""
    return bool(row["row_sum"] == sum_of(*(row[name] for name in _SUMMED[table][0])))


def add_function(database: sqlite3.Connection) -> None:
    """Make the function known to a connection."""
    database.create_function("sum_of", -1, sum_of, deterministic=True)


def add_triggers(database: sqlite3.Connection) -> None:
    """Keep the sums of what this connection writes; they go with the connection."""
    database.execute("PRAGMA temp_store = MEMORY")
    for table in _TRIGGERED:
        columns = _SUMMED[table][0]
        new = ", ".join(f"NEW.{name}" for name in columns)
        kept = f"UPDATE {table} SET row_sum = sum_of({new}) WHERE {columns[0]} = NEW.{columns[0]}"  # noqa: S608 - constants
        database.execute(f"CREATE TEMP TRIGGER new_{table} AFTER INSERT ON main.{table} BEGIN {kept}; END")
        # Not of `row_sum` itself, which would call it again.
        changed = f"CREATE TEMP TRIGGER changed_{table} AFTER UPDATE OF {', '.join(columns)} ON main.{table}"
        database.execute(f"{changed} BEGIN {kept}; END")


def add_columns(database: sqlite3.Connection) -> None:
    """Add the sums to the tables of a format that had none."""
    for table, (columns, _) in _SUMMED.items():
        if "row_sum" not in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
            database.execute(f"ALTER TABLE {table} ADD COLUMN row_sum INTEGER")
        database.execute(f"UPDATE {table} SET row_sum = sum_of({', '.join(columns)})")  # noqa: S608 - constants


def sum_more(database: sqlite3.Connection, table: str, added: str) -> None:
    """Sum a column that was added to a table; what was not as it was written does not become so."""
    columns = _SUMMED[table][0]
    before = ", ".join(name for name in columns if name != added)
    database.execute(f"UPDATE {table} SET row_sum = sum_of({', '.join(columns)}) WHERE row_sum IS sum_of({before})")  # noqa: S608 - constants


def altered(database: sqlite3.Connection) -> Iterator[str]:
    """The rows that are not as they were written, in words; held rows are left to whoever reads them."""
    for table in _SUMMED:
        if table not in _CHECKED_WHEN_READ and _is_there(database, table):
            yield from _altered(database, table, "NOT INDEXED WHERE true")


def altered_of_unfinished(database: sqlite3.Connection) -> Iterator[str]:
    """Those of unfinished jobs and open batches, however many have ended; indexes are believed."""
    for table, which in _UNFINISHED.items():
        if _is_there(database, table):
            yield from _altered(database, table, f"WHERE ({which})")


def _is_there(database: sqlite3.Connection, table: str) -> bool:
    """False for a table that an earlier format lacks."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return database.execute(query, (table,)).fetchone() is not None


def _altered(database: sqlite3.Connection, table: str, which: str) -> Iterator[str]:
    every, named = _SUMMED[table]
    # A format that had sums already may lack a column.
    there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in every if name in there]
    query = f"SELECT {named} FROM {table} {which} AND row_sum IS NOT sum_of({', '.join(columns)})"  # noqa: S608 - constants
    yield from (f"{row[0]} is not as it was written" for row in database.execute(query))


def schema_sum(database: sqlite3.Connection) -> str:
    """The sum of the definitions of all tables and indexes, however they are spaced."""
    rows = database.execute("SELECT name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    return str(sum_of(*("".join(str(value).split()) for row in rows for value in row)))
