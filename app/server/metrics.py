"""Metrics of all jobs of a server, as Prometheus reads them: the counters and gauges of their workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from headrace.agents.status import WorkerStatus
from headrace.app.telemetry import observe_statuses


class JobMetrics:
    """Histograms are not among them: they are told of each batch and commit, which only the worker sees."""

    def __init__(self, server: str) -> None:
        self._statuses: list[tuple[WorkerStatus, Mapping[str, str]]] = []
        self._registry = CollectorRegistry()
        who = Resource.create({"service.name": "headrace-server", "service.instance.id": server})
        self._provider = MeterProvider([PrometheusMetricReader(registry=self._registry)], who)
        observe_statuses(self._provider.get_meter("headrace", version("headrace")), lambda: self._statuses)

    def exposition(self, answers: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[bytes, str]:
        """Of the status that each worker has answered, with its job's name; the text and its media type. Blocks."""
        self._statuses = [
            (msgspec.convert(status, WorkerStatus), {"job": job, "worker": str(status["slot"])})
            for job, status in answers
        ]
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def close(self) -> None:
        self._provider.shutdown()
