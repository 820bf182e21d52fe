"""Spans of a worker: one for each batch that is processed and each commit, joined to the traces of producers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from headrace.agents.records import ParsedBatch
from headrace.sql.runtime.records import Headers

LINKS_MAX = 32
"""Batches that the span of a commit names, and other traces that the span of a batch names."""
LOOKED_AT = 64
"""Records of a batch that are asked for their trace."""
LOOK_S = 0.1
"""A batch of many traces takes 0.5 ms: at most one in this time is looked at, however many are sampled."""
PARENT = "traceparent"
TRACE_ID = slice(3, 35)
"""Where the header has it."""

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
        self._looks_at = 0.0
        """When the next batch may be looked at for other traces."""

    @contextmanager
    def processing(self, stage: str, batch: ParsedBatch) -> Iterator[None]:
        """A span under that of who produced the first record, with links to who produced others."""
        first = header_of(next(batch.some_headers(1), ()))
        span = self._tracer.start_span(
            f"process {batch.topic}",
            context=_beneath(span_context(first)),
            kind=SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": batch.topic,
                "messaging.destination.partition.id": str(batch.partition),
                "messaging.batch.message_count": len(batch),
                "headrace.job": self._app,
                "headrace.stage": stage,
            },
        )
        if span.is_recording() and time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + LOOK_S
            for other in islice(others(batch, span.get_span_context().trace_id), LINKS_MAX):
                span.add_link(other)
        with trace.use_span(span, end_on_exit=True):
            yield
        if span.get_span_context().trace_flags.sampled:
            self._uncommitted.append(Link(span.get_span_context()))
            del self._uncommitted[:-LINKS_MAX]

    @contextmanager
    def committing(self) -> Iterator[None]:
        """A span in the trace of the newest batch that is in the commit, with links to the last batches."""
        if not self._uncommitted:  # none of them was sampled
            yield
            return
        links, self._uncommitted = self._uncommitted, []
        with self._tracer.start_as_current_span(
            "commit", context=_beneath(links[-1].context), links=links, attributes={"headrace.job": self._app}
        ):
            yield

    def failed(self) -> None:
        """What was processed since the last commit will be processed again."""
        self._uncommitted = []

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def others(batch: ParsedBatch, trace_id: int) -> Iterator[SpanContext]:
    """Who produced records of a batch in other traces than this: one of each trace that is sampled.

    Not every record is looked at: a batch has a thousand of them.
    """
    seen = {f"{trace_id:032x}".encode()}
    for headers in batch.some_headers(LOOKED_AT):
        value = header_of(headers)
        # Most have been seen: to read one takes as long as to look at fifty.
        if value is None or value[TRACE_ID] in seen:
            continue
        seen.add(value[TRACE_ID])
        found = span_context(value)
        if found is not None and found.trace_flags.sampled:
            yield found


def header_of(headers: Headers) -> bytes | None:
    """The W3C header that names the trace of a record."""
    for name, value in headers:
        if name == PARENT:
            return value
    return None


def span_context(header: bytes | None) -> SpanContext | None:
    """What the header names; None where it is a wrong one, or none."""
    if header is None:
        return None
    found = TraceContextTextMapPropagator().extract({PARENT: header.decode("latin-1")}, Context())
    context = trace.get_current_span(found).get_span_context()
    return context if context.is_valid else None


def _beneath(parent: SpanContext | None) -> Context:
    """The context of a span under this one; of a root where there is none."""
    return Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), Context())


def add_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For structlog: the span that is worked on, in each line of the log."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event
