"""Traces as the environment asks for them, by the variables of OpenTelemetry: `open_traces`.

Nobody asks unless a collector is named (`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), or
`OTEL_TRACES_EXPORTER` says `otlp`. Then nothing of OpenTelemetry is imported. Rows matter more: where traces are asked
for and cannot be made, the log says why, and everything else goes on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

import structlog

from pipeline.edges.traces.spans import NoTraces, Traces

log = structlog.get_logger()

#: The one protocol that the extra `otel` has an exporter for.
_PROTOCOL = "http/protobuf"
#: A collector on this machine, where `OTEL_TRACES_EXPORTER` asks for one without naming it; by OpenTelemetry.
_DEFAULT_ENDPOINT = "http://localhost:4318"
#: Where traces go below an endpoint for everything; by OpenTelemetry.
_PATH = "v1/traces"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why traces that are asked for are not made, and what to do."""

    why: str
    to_do: str


def endpoint_asked(env: Mapping[str, str]) -> str | Refusal | None:
    """The URL that traces are sent to; None if nobody asks for any."""
    if _of(env, "OTEL_SDK_DISABLED").lower() == "true":
        return None
    exporters = {name.strip() for name in _of(env, "OTEL_TRACES_EXPORTER").split(",")} - {""}
    for_traces, for_all = _of(env, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), _of(env, "OTEL_EXPORTER_OTLP_ENDPOINT")
    if exporters == {"none"} or not (for_traces or for_all or exporters):
        return None
    if exporters - {"otlp"}:
        return Refusal("OTEL_TRACES_EXPORTER names an exporter that is not there", "set it to otlp, or to none")
    protocol = _of(env, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or _of(env, "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", _PROTOCOL):
        return Refusal(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is not {_PROTOCOL}",
            f"set it to {_PROTOCOL}, and name the port of the collector for HTTP, mostly 4318",
        )
    base = for_all or _DEFAULT_ENDPOINT
    endpoint = for_traces or f"{base.removesuffix('/')}/{_PATH}"
    if not _is_url(for_traces or base):
        return Refusal("the endpoint of OpenTelemetry is no URL", "name it as http://HOST:4318")
    return endpoint


@contextmanager
def open_traces(env: Mapping[str, str]) -> Iterator[Traces]:
    """Traces for the body, if the environment asks for them; what is left of them goes out within moments behind it.

    Blocks at its end, up to `otlp.CLOSE_S`.
    """
    endpoint = endpoint_asked(env)
    if endpoint is None:
        yield NoTraces()
        return
    if isinstance(endpoint, str) and not _is_installed():
        endpoint = Refusal(
            "the extra otel is not installed",
            "pip install 'profile-pipeline[otel]', or build the image with --build-arg EXTRA=otel",
        )
    if isinstance(endpoint, str):
        # Only now: it takes some time, and most runs do without.
        from pipeline.edges.traces.otlp import open_otlp

        try:
            traces = open_otlp(endpoint)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with variables that are not ours, rows go on
            endpoint = Refusal(
                f"OpenTelemetry does not take its variables ({type(error).__qualname__})", "check those with OTEL_"
            )
        else:
            log.info("traces_on", collector=urlsplit(endpoint).hostname)
            try:
                yield traces
            finally:
                traces.close()
            return
    log.warning("traces_off", why=endpoint.why, to_do=endpoint.to_do)
    yield NoTraces()


def _of(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
