"""What spans of jobs, batches and POSTs say of their ends."""

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.core.batches.lifecycle import Fact, InDoubt, NotTaken, RefusedAs, Taken
from pipeline.core.batches.report import JobState, Report
from pipeline.core.model import Batch, BatchState, Settled
from pipeline.edges.traces.of_jobs import (
    attempt_span,
    batch_span,
    job_span,
    note_answer,
    note_outcome,
    note_report,
)
from pipeline.edges.traces.otlp import OtlpTraces
from pipeline.edges.traces.spans import Span

BATCH = Batch(7, number=3, rows=2, size_bytes=40, sha256="")
SAID = "gold is no tier"


def settled(state: BatchState) -> Settled:
    return Settled(BATCH, state, 0, 0, 0, attempts=2, release_at=0.0, may_be_applied=True, why=SAID)


def note(end: Fact | BatchState | JobState | None, traces: OtlpTraces) -> None:
    """Begin a span, and end it so."""
    span: Span
    match end:
        case BatchState():
            with batch_span(traces, "job", BATCH) as span:
                note_outcome(span, settled(end))
        case None:
            with batch_span(traces, "job", BATCH) as span:
                note_outcome(span, None)
        case str():
            with job_span(traces, "job", "default", 100) as span:
                note_report(span, Report(job="job", state=end, error=SAID))
        case _:
            with attempt_span(traces, "job", BATCH, 2) as span:
                note_answer(span, end)


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (BatchState.COMPLETE, None),
        (BatchState.SPLIT, None),
        (BatchState.FAILED, "failed"),
        (BatchState.UNCONFIRMED, "unconfirmed"),
        (None, None),
        ("done", None),
        ("skipped", None),
        ("incomplete", "incomplete"),
        ("unfinished", "unfinished"),
        ("failed", "failed"),
        (Taken("https://demo.tt.omtrdc.net/m2/demo/v2/profile/batchStatus"), None),
        (NotTaken(SAID), "NotTaken"),
        (InDoubt(SAID), "InDoubt"),
        (RefusedAs(SAID), "RefusedAs"),
    ],
    ids=str,
)
def test_which_ends_are_failures(end: Fact | BatchState | JobState | None, failure: str | None) -> None:
    exporter = InMemorySpanExporter()
    traces = OtlpTraces(exporter)
    note(end, traces)
    traces.close()
    (span,) = exporter.get_finished_spans()
    assert span.status.description == failure
    assert SAID not in span.to_json()
    assert "demo.tt.omtrdc.net" not in span.to_json()


def test_a_job_that_was_set_aside() -> None:
    exporter = InMemorySpanExporter()
    traces = OtlpTraces(exporter)
    with job_span(traces, "job", "default", 100) as span:
        note_report(span, None)
    traces.close()
    assert [span.status.description for span in exporter.get_finished_spans()] == ["set aside"]
