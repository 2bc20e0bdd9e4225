"""The form in which an id that somebody asks for stands in the batches of a job."""

from dataclasses import dataclass

from pipeline.core.errors import ConfigurationError
from pipeline.core.rows.id_forms import IdForms, hashes_of
from pipeline.core.values.column_steps import ColumnSteps
from pipeline.edges.store.ledger_reader import LedgerReader
from pipeline.edges.store.records import JobRecord
from pipeline.edges.store.salt_file import read_salt, salt_digest
from pipeline.jobs.job import export_settings, mapping_settings


@dataclass(frozen=True, slots=True)
class Form:
    """An encoded id as it is sent, and its hash. `is_hashed`: [mapping] made a hash of it.

    `note`: why it cannot be found as its export has it, in words; empty if it can.
    """

    encoded: bytes
    hash: int
    id_kind: str
    is_hashed: bool = False
    note: str = ""


def root_in(ledger: LedgerReader, record: JobRecord) -> JobRecord:
    """The job whose rows a job sends: of a retry that of the first one, as far as the ledger has it; else itself."""
    while record.retry_of is not None and (before := ledger.job(record.retry_of)) is not None:
        record = before
    return record


def form_in(ledger: LedgerReader, record: JobRecord, given: str, *, is_as_sent: bool) -> Form:
    """The form of an id in a job. `given`: as its export has it; with `is_as_sent` as Target knows it. Blocks."""
    root = root_in(ledger, record)
    export, steps, note = export_settings(root), None, ""
    if not is_as_sent:
        try:
            steps = _steps(root)
        except ConfigurationError as error:
            note = f"ids of its export are hashed with a salt that is not there any more ({error}): give it --hashed"
    encoded = IdForms(ledger.salt, steps, is_trimmed=export.trim != "none").of(
        [given.encode(errors="surrogateescape")]
    )[0]
    hash_ = int(hashes_of([encoded], ledger.salt)[0])
    return Form(encoded, hash_, export.id_kind, is_hashed=steps is not None and bool(steps.hash), note=note)


def _steps(root: JobRecord) -> ColumnSteps | None:
    """The steps of [mapping] for the ids of a job. Raises `FatalError` (78) without the salt that it began with."""
    mapping = mapping_settings(root)
    of_ids = mapping.columns.get(export_settings(root).id_column)
    if of_ids is None:
        return None
    salt = read_salt(mapping.salt_file) if mapping.is_salted and mapping.salt_file is not None else b""
    if salt and root.checkpoint.salt and salt_digest(salt) != root.checkpoint.salt:
        raise ConfigurationError("[mapping] salt_file has another one now")
    return of_ids.steps(salt)
