"""The variables of OpenTelemetry say if traces are made, and where they go."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from pipeline.edges.traces.asked import Refusal, endpoint_asked, open_traces
from pipeline.edges.traces.spans import NoTraces
from tests.tools.faults.canaries import logged

ENDPOINT, FOR_TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
COLLECTOR = "http://collector:4318"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "  "},
        {ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "TRUE"},
        {ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "loads", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": COLLECTOR},
    ],
    ids=str,
)
def test_nobody_asks(env: Mapping[str, str]) -> None:
    assert endpoint_asked(env) is None
    with open_traces(env) as traces:
        assert isinstance(traces, NoTraces)


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({ENDPOINT: COLLECTOR}, f"{COLLECTOR}/v1/traces"),
        ({ENDPOINT: f"{COLLECTOR}/"}, f"{COLLECTOR}/v1/traces"),
        ({ENDPOINT: f"{COLLECTOR}/otlp"}, f"{COLLECTOR}/otlp/v1/traces"),
        ({FOR_TRACES: f"{COLLECTOR}/mine"}, f"{COLLECTOR}/mine"),
        ({FOR_TRACES: f"{COLLECTOR}/mine", ENDPOINT: "http://other:4318"}, f"{COLLECTOR}/mine"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "otlp"}, f"{COLLECTOR}/v1/traces"),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "false"}, f"{COLLECTOR}/v1/traces"),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, f"{COLLECTOR}/v1/traces"),
        (
            {
                ENDPOINT: COLLECTOR,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            f"{COLLECTOR}/v1/traces",
        ),
    ],
    ids=str,
)
def test_where_they_go(env: Mapping[str, str], endpoint: str) -> None:
    assert endpoint_asked(env) == endpoint


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is not"),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "otlp,zipkin"}, "an exporter that is not there"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "an exporter that is not there"),
        ({ENDPOINT: "collector:4317"}, "is no URL"),
        ({ENDPOINT: "http://"}, "is no URL"),
        ({ENDPOINT: "http://collector:http"}, "is no URL"),
        ({ENDPOINT: "http://[collector"}, "is no URL"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_told_and_costs_nothing_else(env: Mapping[str, str], why: str) -> None:
    refusal = endpoint_asked(env)
    assert isinstance(refusal, Refusal)
    assert why in refusal.why
    with logged() as log, open_traces(env) as traces:
        assert isinstance(traces, NoTraces)
    assert '"event":"traces_off"' in log.getvalue()


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, {"OTEL_BSP_SCHEDULE_DELAY": "-5"}],
    ids=str,
)
def test_variables_that_the_library_does_not_take(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with logged() as log, open_traces({ENDPOINT: COLLECTOR, **variables}) as traces:
        assert isinstance(traces, NoTraces)
    assert "does not take its variables (ValueError)" in log.getvalue()


@pytest.mark.parametrize(("value", "is_imported"), [("", False), (COLLECTOR, True)])
def test_nothing_is_imported_that_nobody_wants(value: str, is_imported: bool) -> None:
    script = (
        "import sys; from pipeline.cli.invocation import traced_host\n"
        "with traced_host(): print(any(name.startswith(('opentelemetry', 'requests')) for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={ENDPOINT: value}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(is_imported)
