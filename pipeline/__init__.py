"""profile-pipeline gets CRM exports into Adobe Target without losing a row silently.

    export -> read -> frame -> map + encode -> track -> chunk -> spool -> upload -> POST a batch
                        |          |             |               |           |   <- accepted + status URL
                        rejects    rejects       held rows       ledger   settle -> GET its status -> complete
    JOB folder <- report <--------------------------------------------------- settled

One asyncio producer reads the export; a chunker rolls rows into batches under both caps; a bounded pool of
uploaders sends them; a tracker holds back every row whose id is in flight. Every arrow is bounded, so a slow
Target slows the reader and memory stays flat. Steps pass on lists of rows (a block of the file), never one row.

Words, used for these things and no others:

export        one input file, or the parts of one drop
part          one file of an export that came as several; read in order, into the same batches
signal        the small file whose arrival says that exports are complete; its content is the manifest
drop          a signal with its exports
route         a drop directory with the settings for what is dropped there; `default` is the file's top level
tenant        one client code: its routes, its ledger, its budget of calls, its jobs in order
claim         the ledger's record of a dropped export: its signal and manifest; if it was taken, verified, or failed
job           one export on its way through; everything about it lies in one folder
record        the fields of an export that belong together, and the line on which they begin, whatever its format
row           one record of an export: its profile id and its encoded cells
profile id    value of the key column: a `thirdPartyId` (mbox3rdPartyId) or a `pcId`
row class     the fate of a row, each ends in exactly one: confirmed, superseded, unchanged, excluded, rejected, empty,
              failed, unconfirmed or unsent
pending       of a row: in none of them yet, since its job is unfinished; the next run follows it to its end
batch         rows of one job for one POST: number, body, count, size, digest, id set
sealed        the batch's body is in the spool and its record in the ledger
spool         the directory of batch bodies
fact          an event in the life of a batch, kept in the ledger; the facts of a batch fold into its life
book          the lives of all batches of one job; whoever asks where a batch stands asks the book
attempt       one POST of a batch
gate          the one place where a batch waits before a POST: ending, pause, doubt, slot, status window, budget
accepted      Target answered `success=true`: queued, not applied
complete      its status says so: applied
ambiguous     a POST was begun and no usable answer came: Target may or may not have it
open attempt  Target may have it and its own `complete` was not seen: ambiguous, stuck, status lost, deadline passed
doubt         Target refuses so much that it may be refusing everything; batches are sent one at a time then
child         one of the two smaller batches into which a refused batch, its parent, is split
settled       the batch's outcome is final: complete, failed, unconfirmed, or split into its children
released      settled, and every open attempt is older than `ambiguous_hold_s`: its ids are free again
in flight     sealed and not released (of a batch, and of each id in it)
held row      a row whose id is in flight; it waits, merging with later rows of its id
carry         give a held row the attributes of the earlier row of its id
superseded    a row merged into a later row of its id; its non-empty cells live on there
memory        what was last sent of each id, kept on the disk over all jobs of a client code
unchanged     a row that says nothing that is not remembered as sent: it is not sent again
excluded      a row that a condition of [mapping] leaves out
rejected      a row that must not be sent, with file, line and reason (`local.` or `target.`)
lost row      a row that failed or is unconfirmed; `retry` sends it again
overtaken     a value of a lost row, where a later row of its id has one for that parameter; `retry` leaves it alone
quarantine    of a job: a limit of [guard] is broken, and nothing of it is sent before it is approved
checkpoint    the progress of a job at its latest seal
time window   hours of the week in which less is sent, or nothing
status window the number of batches that may be sent from the oldest unsettled one on: Target keeps so many statuses
ending        the end of a process, a tenant or a job: one stage that only rises
ledger        the durable facts: SQLite in the state directory, one for each client code
heartbeat     the file by which `serve` shows that it lives
notice        a file in which a process tells `status` and `health` why it waits
trial         a load into a sandbox: `load --sandbox`

Where to start reading: `pipeline/jobs/load.py` (`runner.py` decides which jobs run, and when), then `pipeline/core` in
the order in which data flows: formats/framing, rows/mapping, rows/encoding, batches/tracker, batches/chunker,
batches/placer, target/replies, batches/lifecycle, batches/book, batches/retry_policy, target/pacing.
"""

__version__ = "0.2.0"
