"""Sends spans to an OpenTelemetry collector if the extra ``otel`` is installed and OTEL_EXPORTER_OTLP_ENDPOINT is set.

The SDK's own environment variables configure everything else: OTEL_TRACES_SAMPLER and so on.
"""

import logging
import os
from typing import Any, Final

from falcon.telemetry import tracing

log = logging.getLogger("falcon.telemetry")

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_NANOS: Final = 1_000_000_000  # in a second


def configure(process: str) -> None:
    """Does nothing if no collector is named."""
    if not os.environ.get(ENDPOINT):
        return
    try:
        tracing.export_to(_Exporter(process))
    except ImportError as error:
        log.error("%s is set, but there is no exporter (%s): install falcon-chat[otel]", ENDPOINT, error)


class _Exporter:
    def __init__(self, process: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "falcon"), "process": process})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("falcon")
        self._propagator = TraceContextTextMapPropagator()
        self._server = trace.SpanKind.SERVER

    def begin(self, name: str, parent: str | None) -> "tracing.Span":
        span = self._tracer.start_span(name, context=self._context(parent), kind=self._server)
        return _RequestSpan(span)

    def record(self, name: str, parent: str, began: float, ended: float) -> None:
        span = self._tracer.start_span(name, context=self._context(parent), start_time=round(began * _NANOS))
        span.end(round(ended * _NANOS))

    def _context(self, parent: str | None) -> Any:
        return None if parent is None else self._propagator.extract({"traceparent": parent})


class _RequestSpan:
    def __init__(self, span: Any) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, status: int) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
