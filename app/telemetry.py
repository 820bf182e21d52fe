"""Metrics and traces of a worker by the OpenTelemetry SDK: to a collector by OTLP, metrics also as text for Prometheus.

Nothing here is on the way of a record. Counters and gauges are read by whoever exports from the status that the loop of
the worker publishes once a second, as one immutable value; histograms are told of each batch and commit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import SpanExporter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from headrace.agents.records import ParsedBatch
from headrace.agents.status import WorkerStatus
from headrace.app import instruments
from headrace.app.instruments import INSTRUMENTS, Instrument, Kind, Read
from headrace.app.traces import Traces


def resource(app: str, slot: int, instance_id: str | None) -> Resource:
    """Who speaks; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before it."""
    own = {
        "service.name": app,
        "service.namespace": "headrace",
        "service.version": version("headrace"),
        "service.instance.id": f"{instance_id or os.uname().nodename}-{slot}",
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())


def otlp() -> MetricReader:
    """Sends metrics to where OpenTelemetry's own environment variables say, as often as they say."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter())


def otlp_spans() -> SpanExporter:
    """As `otlp`, for spans."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


Statuses = Callable[[], Iterable[tuple[WorkerStatus, Mapping[str, str]]]]
"""What workers do at the moment, each with the attributes that tell it from others."""


def observe_statuses(meter: Meter, statuses: Statuses) -> None:
    """Make the counters and gauges that are read from the status of workers."""
    for each in INSTRUMENTS:
        if each.kind is Kind.COUNTER:
            meter.create_observable_counter(each.name, [_reading(each, statuses)], each.unit, each.what)
        elif each.kind is Kind.GAUGE:
            meter.create_observable_gauge(each.name, [_reading(each, statuses)], each.unit, each.what)


def _reading(instrument: Instrument, statuses: Statuses) -> Callable[[CallbackOptions], Iterable[Observation]]:
    read: Read | None = instrument.read
    assert read is not None, instrument.name

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        for status, of_worker in statuses():
            for value, attributes in read(status):
                yield Observation(value, {**of_worker, **attributes})

    return observe


class Telemetry:
    """An `Observer` of a worker, and the metrics that come of it."""

    def __init__(
        self, app: str, who: Resource, readers: Iterable[MetricReader], exporter: SpanExporter | None = None
    ) -> None:
        """Metrics go to the readers, and as text to `exposition`; spans to the exporter."""
        self._traces = None if exporter is None else Traces(app, who, exporter)
        self._job = {"job": app}
        self._status: WorkerStatus | None = None
        self._registry = CollectorRegistry()
        self._provider = MeterProvider([PrometheusMetricReader(registry=self._registry), *readers], who)
        self._histograms: dict[str, Histogram] = {}
        meter = self._provider.get_meter("headrace", version("headrace"))
        for each in INSTRUMENTS:
            if each.kind is Kind.HISTOGRAM:
                self._histograms[each.name] = meter.create_histogram(
                    each.name, each.unit, each.what, explicit_bucket_boundaries_advisory=list(each.buckets)
                )
        observe_statuses(meter, self._published)

    def _published(self) -> Iterable[tuple[WorkerStatus, Mapping[str, str]]]:
        status = self._status
        return () if status is None else ((status, self._job),)

    def publish(self, status: WorkerStatus) -> None:
        """What is exported from now on. One assignment: read by other threads without a lock."""
        self._status = status

    def exposition(self) -> tuple[bytes, str]:
        """Everything as Prometheus reads it, and the media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()
        if self._traces is not None:
            self._traces.close()

    # What the worker tells

    @contextmanager
    def processing(self, stage: str, batch: ParsedBatch) -> Iterator[None]:
        before_s = time.thread_time()
        with nullcontext() if self._traces is None else self._traces.processing(stage, batch):
            yield
        attributes = {**self._job, "stage": stage}
        self._histograms[instruments.BATCH_RECORDS.name].record(len(batch), attributes)
        self._histograms[instruments.BATCH_DURATION.name].record(time.thread_time() - before_s, attributes)

    def committing(self) -> AbstractContextManager[None]:
        return nullcontext() if self._traces is None else self._traces.committing()

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        self._histograms[instruments.COMMIT_DURATION.name].record(seconds, self._job)
        for topic, age_ms in oldest_ms.items():
            self._histograms[instruments.LATENCY.name].record(age_ms / 1000, {**self._job, "topic": topic})

    def failed(self) -> None:
        if self._traces is not None:
            self._traces.failed()
