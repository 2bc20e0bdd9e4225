"""Spans as they come to an exporter: which lies below which, how they end, and what is told of those that get lost."""

import asyncio
import time
from collections.abc import Sequence
from threading import Event

import orjson
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline import __version__
from pipeline.edges.traces.otlp import CLOSE_S, OtlpTraces, Told
from tests.tools.faults.canaries import logged


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    """The ids of a span and of the one above it, if any."""
    ids = orjson.loads(span.to_json())
    return ids["context"]["span_id"], ids["parent_id"] or ""


async def test_a_task_goes_on_below_the_span_in_which_it_was_started() -> None:
    exporter = InMemorySpanExporter()
    traces = OtlpTraces(exporter)

    async def inner(name: str) -> None:
        with traces.span(name, {}, is_call=True):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for outer in ("a", "b"):
            with traces.span(outer, {"number": 1}) as span:
                span.note({"number": 2, "is_it": True})
                tasks.create_task(inner(f"{outer} inner"))
    traces.close()
    spans = by_name(exporter)
    for outer in ("a", "b"):
        assert ids_of(spans[outer])[1] == ""
        assert ids_of(spans[f"{outer} inner"])[1].removeprefix("0x") == ids_of(spans[outer])[0].removeprefix("0x")
        assert dict(spans[outer].attributes or {}) == {"number": 2, "is_it": True}
    traces_of = {orjson.loads(spans[outer].to_json())["context"]["trace_id"] for outer in ("a", "b")}
    assert len(traces_of) == 2
    assert (spans["a"].kind.name, spans["a inner"].kind.name) == ("INTERNAL", "CLIENT")


def test_an_error_is_told_by_its_type_alone() -> None:
    exporter = InMemorySpanExporter()
    traces = OtlpTraces(exporter)
    with pytest.raises(ValueError, match="gold"), traces.span("job", {}):
        raise ValueError("gold")
    traces.close()
    (span,) = exporter.get_finished_spans()
    assert "gold" not in span.to_json()
    assert (span.status.is_ok, span.status.description) == (False, "ValueError")
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert span.events == ()


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "profile-pipeline"),
        ({"OTEL_SERVICE_NAME": "loads"}, "loads"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,team=crm"}, "mine"),
    ],
    ids=str,
)
def test_who_it_is(variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    exporter = InMemorySpanExporter()
    traces = OtlpTraces(exporter)
    with traces.span("job", {}):
        pass
    traces.close()
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == name
    assert span.resource.attributes["service.version"] == __version__
    assert span.resource.attributes.get("team") == ("crm" if "OTEL_RESOURCE_ATTRIBUTES" in variables else None)


class Moody(SpanExporter):
    """Takes spans only while it is well."""

    is_well = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self.is_well else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


def test_spans_that_get_lost_are_told_of_once() -> None:
    exporter, lost = Moody(), [ReadableSpan("a"), ReadableSpan("b")]
    told = Told(exporter)
    with logged() as log:
        told.export(lost)
        told.export(lost)
        exporter.is_well = True
        told.export(lost)
        told.export(lost)
        exporter.is_well, told.is_closing = False, True
        told.export(lost)
    lines = [orjson.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["event"], line.get("spans"), line.get("lost")) for line in lines] == [
        ("spans_lost", 2, None),
        ("spans_taken_again", None, 4),
    ]


def test_the_end_does_not_wait_for_a_collector_that_stands_still() -> None:
    class Still(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            released.wait(60)
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            pass

    released = Event()
    traces = OtlpTraces(Still())
    with traces.span("job", {}):
        pass
    try:
        before = time.monotonic()
        traces.close()
        assert time.monotonic() - before < CLOSE_S + 5
    finally:
        released.set()
