"""The metrics of the service in the format that Prometheus reads, made when somebody asks for them.

What is counted is counted where it happens (`Counts`); everything else is looked up. Only this module knows the library
of Prometheus, so that `load` does not import it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from pipeline.core.errors import FatalError
from pipeline.edges.host import Host
from pipeline.edges.log import dropped_lines
from pipeline.edges.store.heartbeat_file import read_beat
from pipeline.service.figures import figures_on_disk, reason_of
from pipeline.service.served import Served
from pipeline.service.web.measured import Histogram, Measured, MeasuredProcess, Metric, Sample
from pipeline.service.web.metric_table import METRICS, OF_PROCESS

#: The media type of the text, in the version that every Prometheus reads.
EXPOSITION = "text/plain; version=0.0.4"
PREFIX = "profile_pipeline_"
#: Seconds for which the same text is told again, however many ask. Ours.
FRESH_S = 1.0

#: By client code and route that expects exports: True if one is overdue.
Overdue = Callable[[], Mapping[str, Mapping[str, bool]]]


class Scrape:
    """The metrics of a process, for whoever asks. `root`: its state directory, where the heartbeat is."""

    def __init__(self, root: Path, served: Sequence[Served], host: Host, overdue: Overdue = dict) -> None:
        self._root = root
        self._served = served
        self._host = host
        self._overdue = overdue
        self._text = b""
        self._made_at_s = -inf
        self._one_makes = anyio.Lock()

    async def text(self) -> bytes:
        """All metrics, of now or of less than a second ago."""
        async with self._one_makes:
            if self._host.clock.monotonic() - self._made_at_s >= FRESH_S:
                overdue = self._overdue()
                clients = [await self._measured(each, overdue.get(each.client_code, {})) for each in self._served]
                age_s = await run_sync(_heartbeat_age_s, self._root, self._host.clock.monotonic())
                self._text = render_metrics(MeasuredProcess(dropped_lines(), age_s), clients)
                self._made_at_s = self._host.clock.monotonic()
        return self._text

    async def _measured(self, served: Served, overdue: Mapping[str, bool]) -> Measured:
        tenant, counts = served.settings, self._host.counts[served.client_code]
        unknown = tenant.routes.keys() - counts.done_at.keys()
        on_disk = await run_sync(figures_on_disk, tenant.directory, served.memory, unknown)
        for route, at in on_disk.done_at.items():
            # One may have been done meanwhile.
            counts.done_at.setdefault(route, at)
        live, error = served.figures, served.error
        paused = live.paused if live else frozenset[str]()
        return Measured(
            client_code=served.client_code,
            routes=(*tenant.routes,),
            counts=counts,
            live=live,
            on_disk=on_disk,
            paused=paused | ({reason_of(error.exit_code)} if error else set()),
            overdue=overdue,
            token_expires=tenant.settings.target.token_expires,
            least_free_bytes=tenant.settings.state.min_free_bytes,
        )


def render_metrics(process: MeasuredProcess, clients: Sequence[Measured]) -> bytes:
    """All metrics as text: ours, and what the library knows of the process."""
    registry = CollectorRegistry()
    registry.register(_Collected(process, clients))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collected(Collector):
    """Our metrics, as the library wants them."""

    def __init__(self, process: MeasuredProcess, clients: Sequence[Measured]) -> None:
        self._process = process
        self._clients = clients

    def collect(self) -> Iterator[Family]:
        """Each metric with all its samples."""
        for of_process in OF_PROCESS:
            yield _family(of_process, of_process.labels, of_process.samples(self._process))
        for metric in METRICS:
            if isinstance(metric, Histogram):
                yield self._histogram(metric)
                continue
            samples = [
                ((each.client_code, *values), value) for each in self._clients for values, value in metric.samples(each)
            ]
            yield _family(metric, ("client_code", *metric.labels), samples)

    def _histogram(self, metric: Histogram) -> Family:
        family = HistogramMetricFamily(f"{PREFIX}{metric.name}", metric.told, labels=["client_code"])
        for each in self._clients:
            durations = metric.durations(each)
            buckets = [("+Inf" if bound == inf else f"{bound}", up_to) for bound, up_to in durations.up_to]
            family.add_metric([each.client_code], buckets, durations.sum_s)
        return family


def _family(
    metric: Metric[Measured] | Metric[MeasuredProcess], labels: Sequence[str], samples: Iterable[Sample]
) -> Family:
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = made(f"{PREFIX}{metric.name}", metric.told, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _heartbeat_age_s(root: Path, now_s: float) -> float | None:
    """The age of the last heartbeat; None if there is none, or it cannot be read. Blocks."""
    try:
        beat = read_beat(root)
    except FatalError:
        return None
    return None if beat is None else max(0.0, now_s - beat.at_s)
