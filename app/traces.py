"""Spans of a worker: one for each batch that is processed and each commit, joined to the traces of producers."""

from __future__ import annotations

import os
import time
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from headrace.agents.observer import Processed
from headrace.sql.runtime.records import Headers

LINKS_MAX = 32
"""Batches that the span of a commit names."""
PARENT = "traceparent"


SAMPLED = 0.05
"""Of batches that belong to no trace of a producer, unless OTEL_TRACES_SAMPLER says otherwise: a span costs 0.1 ms."""


class Traces:
    """Sampled as OTEL_TRACES_SAMPLER says: by default one in 20, and those of producers as they were sampled."""

    def __init__(self, app: str, who: Resource, exporter: SpanExporter) -> None:
        sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBasedTraceIdRatio(SAMPLED)
        self._provider = TracerProvider(resource=who, sampler=sampler)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("headrace", version("headrace"))
        self._app = app
        self._uncommitted: list[Link] = []

    def processed(self, batch: Processed) -> None:
        """A span under that of who produced the first record, where its `traceparent` header says so."""
        span = self._tracer.start_span(
            f"process {batch.partition.topic}",
            context=producer_of(batch.headers),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": batch.partition.topic,
                "messaging.destination.partition.id": str(batch.partition.partition),
                "messaging.batch.message_count": batch.records,
                "headrace.job": self._app,
                "headrace.stage": batch.stage,
            },
            start_time=batch.began_ns,
        )
        span.end()
        if span.get_span_context().trace_flags.sampled:
            self._uncommitted.append(Link(span.get_span_context()))
            del self._uncommitted[:-LINKS_MAX]

    def committed(self, seconds: float) -> None:
        """A span in the trace of the newest batch that was in the commit, with links to the last batches."""
        if not self._uncommitted:
            return  # none of them was sampled
        now_ns = time.time_ns()
        links, self._uncommitted = self._uncommitted, []
        span = self._tracer.start_span(
            "commit",
            context=trace.set_span_in_context(NonRecordingSpan(links[-1].context), Context()),
            links=links,
            attributes={"headrace.job": self._app},
            start_time=now_ns - int(seconds * 1e9),
        )
        span.end(now_ns)

    def failed(self) -> None:
        """What was processed since the last commit will be processed again."""
        self._uncommitted = []

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def producer_of(headers: Headers) -> Context:
    """The trace that a record belongs to, by W3C's header; an empty context where it has none, or a wrong one."""
    for name, value in headers:
        if name == PARENT and value is not None:
            found = TraceContextTextMapPropagator().extract({PARENT: value.decode("latin-1")}, Context())
            return found if trace.get_current_span(found).get_span_context().is_valid else Context()
    return Context()
