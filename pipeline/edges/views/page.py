"""Makes the pages that people see of jobs: pure functions from what is known to HTML, with no row and no id in it."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.batches.report import Report, ReportedBatch
from pipeline.core.drop.signals import shown
from pipeline.edges.views.batch_track import BatchTrack
from pipeline.edges.views.figures import duration_in_words, share_in_words, size_in_words, time_ago, time_on_page
from pipeline.edges.views.flow import flow, flow_in_words
from pipeline.edges.views.frame import Site, framed
from pipeline.edges.views.job_view import JobView, happened, standing, tasks_of
from pipeline.edges.views.marks import mark_of
from pipeline.edges.views.timeline import timeline
from pipeline.edges.views.wording import (
    IN_SANDBOX,
    MEANINGS,
    PENDING_IN_QUARANTINE,
    REASONS,
    batch_state,
    batches_in_words,
    notes,
    to_do,
)

#: Batches that the table shows; if there are more, those with trouble come first.
MAX_BATCHES = 100
#: Units of SVG: the width of pictures on a wide screen and on a narrow one, and of the labels in them.
_BROAD, _NARROW = (860.0, 190.0), (340.0, 125.0)
#: The meaning of `pending` while a job goes on, by its state.
_PENDING = {
    "running": "on the way: sent, or about to be",
    "waiting": "sent or about to be, as soon as it goes on",
    "quarantined": PENDING_IN_QUARANTINE,
}
#: Files in the folder of a job to which its report points.
_FILES = ("rejects.jsonl", "failed.jsonl")


def render(report: Report, folder: Path, tracks: tuple[BatchTrack, ...] = (), *, is_trial: bool = False) -> str:
    """The HTML page of a report whose files are in `folder`: one file that needs no other. `is_trial`: see `to_do`."""
    there = {name for name in _FILES if name == report.rejects.file or (folder / name).exists()}
    tasks = tuple(line.removeprefix("To do: ") for line in to_do(report, folder, is_trial=is_trial))
    return job_page(JobView(report, report.state, tracks, tasks=tasks, files=frozenset(there)))


def job_page(job: JobView, site: Site | None = None) -> str:
    """The page of a job. `site`: None for its report, which is read without the service and does not change."""
    report, mark = job.report, mark_of(job.state)
    counts, name = asdict(report.rows), shown(report.export.name)
    batches = _batches(job)
    pictures = [timeline(job.tracks, job.moment, width=width) for width, _ in (_BROAD, _NARROW)]
    flows = [flow(counts, width=width, label_width=label) for width, label in (_BROAD, _NARROW)]
    return framed(
        "job.html",
        title=f"{name}: {mark.word}",
        mark=mark,
        at=time_on_page(job.moment),
        site=site,
        job=job,
        report=report,
        name=name,
        shown=mark,
        when=_when(job),
        in_sandbox=IN_SANDBOX if report.is_of_sandbox else "",
        happened=happened(job),
        task_lines=[sentence(line) for line in (*job.tasks, *tasks_of(job))],
        with_code=with_code,
        standing=standing(job),
        classes=_classes(counts, job),
        shares={each: share_in_words(count, report.rows.read) for each, count in counts.items()},
        flows=flows if flows[0] else [],
        flow_words=flow_in_words(counts),
        reasons=_reasons(report),
        notes=notes(report),
        batches=sorted(batches, key=lambda batch: (batch.is_well, batch.number))[:MAX_BATCHES],
        more_batches=max(0, len(batches) - MAX_BATCHES),
        batches_in_words=batches_in_words(report),
        timelines=pictures if pictures[0] else [],
        facts=_facts(job),
        size=size_in_words,
        clock=_clock,
    )


def with_code(line: str) -> list[tuple[str, bool]]:
    """The pieces of a line, each with True if it is a command, which stands in backquotes."""
    return [(piece, number % 2 == 1) for number, piece in enumerate(line.split("`")) if piece]


def sentence(line: str) -> list[tuple[str, bool]]:
    """The same of a line that begins a sentence."""
    return with_code(line[:1].upper() + line[1:])


def _classes(counts: dict[str, int], job: JobView) -> list[tuple[str, int, str, str]]:
    meanings = MEANINGS | {"pending": _PENDING.get(job.state, MEANINGS["pending"])}
    return [
        (name, counts[name], share_in_words(counts[name], counts["read"]), meaning)
        for name, meaning in meanings.items()
        # Only a job that has not ended has rows that are pending.
        if counts[name] or name != "pending"
    ]


def _reasons(report: Report) -> list[tuple[str, str, int, str]]:
    """Meaning, reason, number of rows and place of the first, by reason."""
    lines, parts = report.rejects.first_lines, report.rejects.first_parts or {}
    return [
        (
            REASONS.get(reason, ""),
            reason,
            count,
            (f"line {lines[reason]:,}" + (f" of {shown(parts[reason])}" if reason in parts else ""))
            if reason in lines
            else "",
        )
        for reason, count in report.rejects.by_reason.items()
    ]


def _batches(job: JobView) -> list[BatchTrack]:
    """The batches of the report, with their times where these are known; and those that are not settled."""
    tracks = {track.number: track for track in job.tracks}
    told = {batch.number: _as_told(batch, tracks.get(batch.number)) for batch in job.report.batches}
    return [*{**tracks, **told}.values()]


def _as_told(batch: ReportedBatch, track: BatchTrack | None) -> BatchTrack:
    return BatchTrack(
        number=batch.number,
        rows=batch.rows,
        size_bytes=batch.size_bytes,
        state=batch_state(batch),
        spans=track.spans if track else (),
        attempts=batch.attempts,
        settled_at=track.settled_at if track else None,
        why=batch.why,
    )


def _when(job: JobView) -> str:
    if job.has_ended:
        return f"ended {time_on_page(job.moment)}"
    begun = datetime.fromisoformat(job.report.started_at)
    return f"entered {time_on_page(begun)}, {time_ago(begun, job.moment)}"


def _facts(job: JobView) -> list[tuple[str, str, bool]]:
    """Terms and what is told of them; with True where it is to be copied."""
    report = job.report
    begun = datetime.fromisoformat(report.started_at)
    facts = [("Began", time_on_page(begun), False)]
    if job.has_ended:
        took = duration_in_words((job.moment - begun).total_seconds())
        facts.append(("Ended", f"{time_on_page(job.moment)}, after {took}", False))
    facts += [
        ("Worked on for", duration_in_words(report.seconds), False),
        ("Export", f"{shown(report.export.name)}, {size_in_words(report.export.size_bytes)}", False),
        ("Attributes sent", ", ".join(report.columns_sent) or "none", False),
        ("Sent to", report.target, False),
        ("Job", report.job, True),
        ("Sends again rows of", report.retry_of or "", True),
        ("SHA-256 of the export", report.export.sha256, True),
    ]
    facts += [(f"Came back, mended, by {by}", f"{rows:,} rejected rows", False) for by, rows in job.came_back.items()]
    found = [f"{count:,} {name.replace('_', ' ')}" for name, count in job.read_back.items() if count]
    facts.append(("Ids of a sample, read back from Target", ", ".join(found), False))
    return [fact for fact in facts if fact[1]]


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"
