"""Spans by OpenTelemetry, sent to a collector by OTLP over HTTP. Needs the extra `otel`, and only this module does.

Spans are kept in memory and sent by a thread of the library's, some seconds later; when there are too many, or the
collector is away, they are lost, and nothing waits for them. Everything else is as the variables of OpenTelemetry say:
headers, certificates, time limits, samplers, sizes of queues, attributes of the resource.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

from pipeline import __version__
from pipeline.edges.traces.spans import Span, Value

log = structlog.get_logger()

#: The most seconds that the end of the process waits for spans that are left. Ours: less than anybody's patience.
CLOSE_S = 2.0
_NAME = "profile-pipeline"
#: What the library logs by itself: many lines for each span that a collector does not take, some with its address.
_LIBRARY = "opentelemetry"


class Told(SpanExporter):
    """Sends spans by another exporter; logs when they begin to get lost, and when they do not any more."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self.is_closing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; of those that cannot be sent nothing is kept."""
        result = self._exporter.export(spans)
        if self.is_closing:
            # The process ends, perhaps at this moment: nobody may hold its stderr.
            return result
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("spans_taken_again", lost=self._lost)
            self._lost = 0
        else:
            if not self._lost:
                log.warning("spans_lost", spans=len(spans))
            self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()


class _Span:
    """A span that is kept until it is sent."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def fail(self, why: str) -> None:
        """Mark it as failed."""
        self._span.set_status(Status(StatusCode.ERROR, why))


class OtlpTraces:
    """Makes spans that an exporter sends; `close` it behind the last one."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._told = Told(exporter)
        # Its own way to end at exit would wait for up to half a minute.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._told))
        self._tracer = self._provider.get_tracer(_NAME, __version__)
        self._library = logging.getLogger(_LIBRARY)
        self._level = self._library.level
        self._library.setLevel(logging.CRITICAL)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], *, is_call: bool = False) -> Iterator[Span]:
        """A span for the body; see `Traces`."""
        kind = SpanKind.CLIENT if is_call else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            kept = _Span(span)
            try:
                yield kept
            except Exception as error:
                # Its text may quote a row.
                kept.note({"error.type": type(error).__qualname__})
                kept.fail(type(error).__qualname__)
                raise

    def close(self) -> None:
        """Send what is left, within `CLOSE_S`; what cannot be sent by then is lost."""
        self._told.is_closing = True
        closing = Thread(target=self._provider.shutdown, name="close-traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        self._library.setLevel(self._level)


def open_otlp(endpoint: str) -> OtlpTraces:
    """Traces that go to a collector. Raises whatever the library does about variables that it cannot use."""
    return OtlpTraces(OTLPSpanExporter(endpoint=endpoint))


def _resource() -> Resource:
    """The program as the collector sees it; the environment may give it another name."""
    is_named = SERVICE_NAME in OTELResourceDetector().detect().attributes
    return Resource.create({SERVICE_VERSION: __version__} | ({} if is_named else {SERVICE_NAME: _NAME}))
