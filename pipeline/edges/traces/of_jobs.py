"""The spans of a job: one for each run of it, below that one for each batch, below that one for each POST.

All that a span says stands here: numbers, names of ours, the id of the job, its route and its client code. Of a row
there is nothing in it, and nothing that Target said.

A span of a batch lasts from the moment it may be sent to its settlement, or until its job ends; that of a child lies
below the batch that was split. A crash loses the spans that were not sent yet; the next run begins a trace of its own.
"""

from contextlib import AbstractContextManager

from pipeline.core.batches.fact_codec import fact_kind
from pipeline.core.batches.lifecycle import Fact, Taken
from pipeline.core.batches.report import Report
from pipeline.core.model import Batch, BatchState, Settled
from pipeline.core.plain import plain
from pipeline.edges.traces.spans import Span, Traces, Value

_JOB = "profile_pipeline.job.id"
_BATCH = "profile_pipeline.batch.number"
#: The states of a job, and of a batch, that are no failure.
_WELL = frozenset(["done", "skipped", BatchState.COMPLETE, BatchState.SPLIT])
#: A batch that the end of its job leaves unsettled.
_LEFT = "left"


def job_span(traces: Traces, job_id: str, route: str, size_bytes: int) -> AbstractContextManager[Span]:
    """A span for one run of a job, whose export has this size."""
    attributes: dict[str, Value] = {
        _JOB: job_id,
        "profile_pipeline.route": route,
        "profile_pipeline.export.bytes": size_bytes,
    }
    return traces.span("job", attributes)


def note_report(span: Span, report: Report | None) -> None:
    """Note the end of a run of a job; None: it met a bug, and was set aside."""
    if report is None:
        span.fail("set aside")
        return
    span.note({f"profile_pipeline.rows.{name}": count for name, count in plain(report.rows).items()})
    span.note(
        {
            "profile_pipeline.client_code": report.client_code,
            "profile_pipeline.job.state": report.state,
            "profile_pipeline.job.exit_code": int(report.exit_code),
            "profile_pipeline.job.batches": len(report.batches),
            "profile_pipeline.job.calls": report.calls,
        }
    )
    if report.state not in _WELL:
        span.fail(report.state)


def batch_span(traces: Traces, job_id: str, batch: Batch) -> AbstractContextManager[Span]:
    """A span for what becomes of a batch in this run of its job."""
    attributes: dict[str, Value] = {
        _JOB: job_id,
        _BATCH: batch.number,
        "profile_pipeline.batch.rows": batch.rows,
        "profile_pipeline.batch.bytes": batch.size_bytes,
    }
    return traces.span("batch", attributes)


def note_outcome(span: Span, settled: Settled | None) -> None:
    """Note the outcome of a batch; None if it is not settled."""
    state = settled.state.value if settled else _LEFT
    span.note({"profile_pipeline.batch.outcome": state})
    if settled:
        span.note({"profile_pipeline.batch.attempts": settled.attempts})
        if state not in _WELL:
            span.fail(state)


def attempt_span(traces: Traces, job_id: str, batch: Batch, attempt: int) -> AbstractContextManager[Span]:
    """A span for one POST."""
    attributes: dict[str, Value] = {
        _JOB: job_id,
        _BATCH: batch.number,
        "profile_pipeline.attempt.number": attempt,
        "http.request.method": "POST",
    }
    return traces.span("attempt", attributes, is_call=True)


def note_answer(span: Span, fact: Fact) -> None:
    """Note the outcome of a POST: the kind of the fact that follows from it."""
    kind = fact_kind(fact)
    span.note({"profile_pipeline.attempt.outcome": kind})
    if not isinstance(fact, Taken):
        span.fail(kind)
