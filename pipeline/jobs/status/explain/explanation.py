"""The story of one id in all jobs of a client code; nothing is locked, and nothing is changed."""

from contextlib import closing
from datetime import UTC, datetime

import numpy as np

from pipeline.core.errors import FatalError
from pipeline.core.explain.story import Explanation, JobStory, Remembered
from pipeline.core.memory.keyed_rows import Digested, KeyedRows
from pipeline.core.memory.times import time_of
from pipeline.core.rows.mapping import pack_rows
from pipeline.edges.store.job_folder import JobFolder
from pipeline.edges.store.ledger_reader import LedgerReader, read_ledger
from pipeline.jobs.status.explain.conclusion import conclude
from pipeline.jobs.status.explain.forms import Form, form_in
from pipeline.jobs.status.explain.reading import story_of
from pipeline.jobs.survey.remembered import AskedMemory
from pipeline.settings.tenants import Tenant


def explain(tenant: Tenant, given: str, *, is_as_sent: bool = False) -> Explanation:
    """The story of an id. `given`: as exports have it; with `is_as_sent` as Target knows it. Blocks.

    Raises `FatalError` (74) for a ledger that is damaged.
    """
    ledger = read_ledger(tenant.directory / "ledger.db")
    if ledger is None:
        return Explanation(tenant.client_code, conclude([]), ())
    with closing(ledger):
        stories, forms = _stories(tenant, ledger, given, is_as_sent=is_as_sent)
    remembered = tuple(filter(None, (_remembered(tenant, form) for form in forms)))
    return Explanation(tenant.client_code, conclude(stories), tuple(stories), remembered)


def _stories(
    tenant: Tenant, ledger: LedgerReader, given: str, *, is_as_sent: bool
) -> tuple[list[JobStory], list[Form]]:
    """The stories of all jobs, and the forms of the id in them, each once."""
    stories, forms = list[JobStory](), dict[tuple[bytes, str], Form]()
    for record in ledger.jobs():
        form = form_in(ledger, record, given, is_as_sent=is_as_sent)
        folder = JobFolder(tenant.settings.outcome_directory / record.job_id)
        stories.append(story_of(ledger, record, folder, form))
        forms[form.encoded, form.id_kind] = form
    return stories, [*forms.values()]


def _remembered(tenant: Tenant, form: Form) -> Remembered | None:
    """The entry of the memory for an id; None if there is none, or it cannot be read."""
    found = last_sent(tenant, form)
    return None if found is None else Remembered(form.id_kind, found[0])


def last_sent(tenant: Tenant, form: Form) -> tuple[str | None, dict[str, str] | None] | None:
    """The time at which an id was last sent for certain (UTC in ISO 8601), and its remembered cells, encoded, by name.

    None if nothing is remembered of it. No cells where only digests are.
    """
    try:
        asked = AskedMemory.of(tenant.settings)
        if asked is None:
            return None
        rows = KeyedRows.of_rows(
            pack_rows([form.encoded + b"\n"], [len(form.encoded)], [1], asked.salt), Digested((), asked.salt)
        )
        found = asked.memory.find(np.array([form.hash], dtype=np.uint64), rows, id_kind=form.id_kind)
    except FatalError:
        # A memory that is being merged, or is damaged: `status` tells which.
        return None
    if not bool(found.is_known[0]):
        return None
    minutes = int(found.sent_at[0])
    at = time_of(minutes) if minutes else None
    cells = None
    if found.entries.values is not None:
        index = int(found.indexes[0])
        names = asked.memory.shapes[int(found.entries.values.shapes[index])]
        texts = found.entries.values.row(index)[:-1].decode().split(",")[1:]
        cells = dict(zip(names, texts, strict=False))
    return (None if at is None else _told(at)), cells


def _told(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="minutes")
