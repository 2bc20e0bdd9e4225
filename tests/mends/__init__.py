"""What protects the product from faults and attacks, taken out of it one by one: each time a test must fail.

`tests/simulation/mutants.py` does the same for what keeps the promise of order, and runs schedules. What is here lies
at the edges, and is found by a test of its own, which runs on a copy of `pipeline/` with one file edited:

    python -m tests.mends              all, as `make torture` does
    python -m tests.mends NAME...      those whose names begin so

Rows are in one module for each subject. A row costs the start of pytest and one test: a few seconds.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mend:
    """An edit of a file, in which `old` stands once and becomes `new`, and the test that fails then.

    `kinds`: the kinds of failure against which it protects, as `KINDS` has them.
    `test`: as pytest takes it, `tests/FILE.py::NAME`; one variation of it is enough.
    """

    name: str
    kinds: tuple[str, ...]
    file: str
    old: str
    new: str
    test: str


#: The kinds of failure that were once found by an attack, and are held off by what this table takes out.
KINDS = {
    "command": "the exports of a command that was cut off are loaded again, older behind newer",
    "old-state": "a ledger that is older than its spool, emptied, or without its write-ahead log is believed",
    "altered-state": "what is read back from the spool or the ledger is not what was written",
    "status-url": "an address that a server names is met by a library's error, at each start again",
    "set-aside": "an unexpected error of one job or batch ends the whole service, at each start again",
    "header": "work on a header grows with the square of its columns, and blocks the event loop",
    "foreign-text": "rows or the token stand in the log, the report or on the page",
    "processing": "what a dropper puts in place of a directory is followed",
    "replaced": "what was put in place of a file or folder of the product is followed or waited for",
    "output": "a log or an output that cannot be written ends the service, or is called our bug",
    "away": "a directory that is away for seconds fails a job for good",
    "terminal": "control characters of others reach the terminal",
    "cut-off": "an export that was cut off, or lost rows on its way, is done",
    "operator": "a mistake of the operator is called our bug",
    "netrc": "a password of another program is sent to Target",
    "clock": "a clock that is far off deletes what is kept",
    "cost": "a server's message costs more than its length",
    "count": "ids that are named twice count twice",
    "lock": "a directory that was replaced is not locked any more",
    "queue": "each look reads all jobs that wait",
    "fifo": "a token file that is a pipe is waited for",
    "signal": "a signal in the first moments of a process does not do what it does later",
    "failing-write": "a write, a commit or a rename that fails loses or doubles something",
    "rejects": "a rejected row that was mended goes over a newer value, or runs in a spreadsheet",
    "parts": "a file that is no part of a drop is loaded, or one that is a part is left out",
    "archive": "an archive that is cut off, damaged or made to burst is taken for an export",
    "columnar": "a value of a columnar file is sent as another, or a file that is cut off is taken for whole",
    "memory": "a row is taken for sent that was not, or an older value of its id comes back",
    "power": "a loss of power undoes what was taken for durable",
    "network": "a connection that is cut, slow or not who it says costs more than an unconfirmed batch",
}
