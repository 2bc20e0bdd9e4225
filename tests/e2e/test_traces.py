"""Traces of the real program, as a collector gets them by OTLP; and what it does where there is no collector."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pipeline.edges.traces.otlp import CLOSE_S
from pipeline.sandbox import Fault, FaultPlan
from tests.tools.dropping import Drop
from tests.tools.faults.canaries import MARK, TOKEN, is_marked
from tests.tools.support import CLOSED, Ended, answering, bench, ended, run_program, started, until

OURS = "profile_pipeline."
ROWS = [f"{MARK}{number},{MARK}gold,{MARK}{number}" for number in range(6)]


@dataclass(slots=True)
class Collector:
    """What came to a collector: bodies as they came, and the spans in them."""

    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for body in self.bodies
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def told(span: Span) -> dict[str, Any]:
    """The attributes of a span, ours without their prefix."""
    values = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        assert kind is not None
        values[each.key.removeprefix(OURS)] = getattr(each.value, kind)
    return values


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, dict[str, str]]]:
    """A collector, and the variables by which the program finds it."""
    collector = Collector()

    async def take(request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        collector.bodies.append(await request.read())
        collector.headers.append(request.headers)
        return web.Response(content_type="application/x-protobuf")

    async with answering(take) as url:
        yield collector, {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


async def test_a_job_its_batches_and_its_posts(tmp_path: Path) -> None:
    faults = FaultPlan(posts={1: Fault.HTTP_500})
    token = tmp_path / "token"
    token.write_text(TOKEN)
    async with collecting() as (collector, variables), bench(tmp_path, faults=faults, token=TOKEN) as table:
        config = table.config(
            target={"token_file": str(token)},
            batch={"max_rows": 3},
            export={"max_rejects": 1},
            upload={"concurrency": 1},
            settle={"ambiguous_hold_s": 0.1},
        )
        export = table.export(*ROWS, f",{MARK},")
        done = await run_program("load", export, "--config", config, "--json", env=variables)
    assert done.code == 0, done.err
    report = done.report

    (job,) = collector.named("job")
    assert job.parent_span_id == b""
    assert job.status.code == Status.STATUS_CODE_UNSET
    about = told(job)
    assert (about["job.id"], about["route"], about["client_code"]) == (report["job"], "default", report["client_code"])
    assert (about["job.state"], about["job.exit_code"], about["job.calls"]) == ("done", 0, report["calls"])
    assert about["export.bytes"] == report["export"]["bytes"]
    assert {name: about[f"rows.{name}"] for name in report["rows"]} == report["rows"]

    batches = collector.named("batch")
    assert {span.parent_span_id for span in batches} == {job.span_id}
    assert sorted(told(span)["batch.number"] for span in batches) == [1, 2]
    assert {told(span)["batch.outcome"] for span in batches} == {"complete"}
    assert sorted((told(span)["batch.rows"], told(span)["batch.bytes"]) for span in batches) == sorted(
        (batch["rows"], batch["bytes"]) for batch in report["batches"]
    )

    attempts = collector.named("attempt")
    of_batches = {span.span_id: told(span)["batch.number"] for span in batches}
    assert all(of_batches[span.parent_span_id] == told(span)["batch.number"] for span in attempts)
    assert {span.kind for span in attempts} == {Span.SPAN_KIND_CLIENT}
    assert sorted(told(span)["attempt.outcome"] for span in attempts) == ["InDoubt", "Taken", "Taken"]
    assert {told(span)["attempt.outcome"]: span.status.code for span in attempts} == {
        "InDoubt": Status.STATUS_CODE_ERROR,
        "Taken": Status.STATUS_CODE_UNSET,
    }
    assert {span.trace_id for span in collector.spans} == {job.trace_id}
    for span in (*batches, *attempts):
        assert told(span)["job.id"] == report["job"]
        assert job.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= job.end_time_unix_nano

    assert not any(is_marked(body) for body in collector.bodies), "no id, cell or token"
    assert not any(span.events or span.links for span in collector.spans)


async def test_a_split_batch_and_a_job_that_lost_rows(tmp_path: Path) -> None:
    faults = FaultPlan(posts={1: Fault.REFUSE, 2: Fault.REFUSE, 3: Fault.REFUSE})
    async with collecting() as (collector, variables), bench(tmp_path, faults=faults) as table:
        export = table.export(*ROWS)
        done = await run_program("load", export, "--config", table.config(), "--json", env=variables)
    (job,) = collector.named("job")
    by_number = {told(span)["batch.number"]: span for span in collector.named("batch")}
    assert told(by_number[1])["batch.outcome"] == "split"
    for number in (2, 3):
        assert by_number[number].parent_span_id == by_number[1].span_id
    assert {span.trace_id for span in collector.spans} == {job.trace_id}
    assert (told(job)["job.exit_code"], told(job)["job.state"]) == (done.code, done.report["state"])
    assert not any(is_marked(body) for body in collector.bodies)


async def test_the_service_sends_them_while_it_runs(tmp_path: Path) -> None:
    async with collecting() as (collector, variables), bench(tmp_path) as table:
        drop = Drop(table)
        config = drop.config()
        async with started("serve", "--config", config, env={**variables, "OTEL_SERVICE_NAME": "loads"}) as process:
            for name in ("a.csv", "b.csv"):
                drop.put(name, *ROWS, signal_as=f"{name}.ready")
            await until(lambda: len(collector.named("job")) == 2)
            process.terminate()
            assert (await ended(process)).code == 0
    assert len({span.trace_id for span in collector.named("job")}) == 2, "each job has a trace of its own"
    assert b"loads" in collector.bodies[0]


async def load_with(tmp_path: Path, variables: Mapping[str, str]) -> tuple[Ended, list[dict[str, Any]], float]:
    """A load with these variables: how it ended, its log, and the seconds it took."""
    async with bench(tmp_path) as table:
        export, config = table.export(*ROWS), table.config()
        began = time.monotonic()
        done = await run_program("load", export, "--config", config, "--json", env=variables)
        took_s = time.monotonic() - began
    return done, [orjson.loads(line) for line in done.err.splitlines()], took_s


@pytest.mark.parametrize("kind", ["away", "still", "refusing"])
async def test_a_collector_of_no_use_costs_a_load_moments(tmp_path: Path, kind: str) -> None:
    let_go = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        if kind == "still":
            await let_go.wait()
        return web.Response(status=503, headers={"Retry-After": "60"})

    async with answering(take) as url:
        secret = f"authorization=Bearer%20{MARK}"
        endpoint = CLOSED if kind == "away" else url
        done, log, took_s = await load_with(
            tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_HEADERS": secret}
        )
        let_go.set()
    assert (done.code, done.report["state"]) == (0, "done")
    assert took_s < CLOSE_S + 10
    assert "library_warning" not in {line["event"] for line in log}
    assert not is_marked(done.said.encode())


async def test_the_service_tells_once_that_spans_get_lost(tmp_path: Path) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=400, text=MARK)

    async with answering(refuse) as url, bench(tmp_path) as table:
        drop = Drop(table)
        config = drop.config()
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with started("serve", "--config", config, env=variables) as process:
            for name in ("a.csv", "b.csv"):
                drop.put(name, *ROWS, signal_as=f"{name}.ready")
            await until(lambda: len(drop.reports()) == 2)
            process.terminate()
            done = await ended(process)
    events = [orjson.loads(line)["event"] for line in done.err.splitlines()]
    assert done.code == 0
    assert (events.count("traces_on"), events.count("spans_lost")) == (1, 1)
    assert "library_warning" not in events


async def test_without_the_extra_it_says_so_and_loads(tmp_path: Path) -> None:
    # A package of this name without its parts, as a machine without the extra has none of them.
    (tmp_path / "without" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "without" / "opentelemetry" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path / "without"), *filter(None, [os.environ.get("PYTHONPATH")])])
    async with bench(tmp_path) as table:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": CLOSED, "PYTHONPATH": path}
        config = table.config()
        done = await run_program("load", table.export(*ROWS), "--config", config, "--json", env=variables, cold=True)
    assert done.code == 0
    off = [line for line in map(orjson.loads, done.err.splitlines()) if line["event"] == "traces_off"]
    assert [(line["level"], line["why"]) for line in off] == [("warning", "the extra otel is not installed")]
    assert "EXTRA=otel" in off[0]["to_do"]


async def test_target_is_told_nothing_of_them(tmp_path: Path) -> None:
    heard: list[Mapping[str, str]] = []

    async def refuse(request: web.Request) -> web.Response:
        heard.append(request.headers)
        await request.read()
        return web.Response(status=401)

    async with collecting() as (_, variables), answering(refuse) as url, bench(tmp_path) as table:
        config = table.config(target={"base_url": url})
        done = await run_program("load", table.export(*ROWS), "--config", config, "--json", env=variables)
    assert done.code == 77
    assert heard
    assert not any(name.lower() in ("traceparent", "tracestate", "baggage") for each in heard for name in each)
