"""The endpoints of a worker, and the metrics that they show, over a status made by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.batches import batch_of

from headrace.agents.errors import KafkaFailure
from headrace.agents.status import (
    CommitStatus,
    InputStatus,
    LatencyStatus,
    QueryStatus,
    RestoreStatus,
    TaskStatus,
    WorkerStatus,
)
from headrace.app import otel
from headrace.app.errors import UsageError
from headrace.app.http import IfTaken, Source, WorkerService, application
from headrace.app.instruments import INSTRUMENTS
from headrace.app.problems import PROBLEM
from headrace.app.telemetry import Telemetry, resource

TASK = TaskStatus(
    "totals-0",
    3,
    1_000,
    7,
    4_096,
    (InputStatus("trades", 3, 90, 100, 10, 1_500, False, 90, 2),),
    (QueryStatus("totals", 40, 2, 3, 1, 0),),
)
STATUS = WorkerStatus(
    100.0,
    "shop",
    "plan",
    "partitioned",
    "exactly_once",
    0,
    4711,
    90.0,
    True,
    False,
    {"trades-3": "slow"},
    CommitStatus(5, 1, 2, 0.25, 0.03),
    LatencyStatus(120.0, 480.0),
    17,
    4,
    11,
    (),
    (TASK,),
)


class Fixed:
    """A worker that stands still."""

    def __init__(self, status: WorkerStatus) -> None:
        self._status = status
        self.failures: list[str] = []

    def status(self) -> WorkerStatus:
        return self._status

    def fail(self, error: BaseException) -> None:
        self.failures.append(repr(error))


class Failing(Fixed):
    """A worker that cannot say how it is."""

    def status(self) -> WorkerStatus:
        raise ArithmeticError("no status")


def telemetry() -> tuple[Telemetry, InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    return Telemetry("shop", Resource({}), [reader]), reader


def asked(status: WorkerStatus, ask: Callable[[TestClient[Any, Any]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with TestClient(TestServer(application(Fixed(status), telemetry()[0]))) as client:
            await ask(client)

    asyncio.run(run())


def test_worker_that_is_ready_says_so() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        for path in ("/health/live", "/health/ready"):
            response = await client.get(path)
            assert (response.status, await response.json()) == (200, {"status": "ok"})

    asked(STATUS, ask)


def test_worker_that_restores_lives_and_is_not_ready() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        assert (await client.get("/health/live")).status == 200
        response = await client.get("/health/ready")
        assert (response.status, response.content_type) == (503, PROBLEM)
        problem = await response.json(content_type=PROBLEM)
        assert problem["detail"] == "the state of totals-0-3 is being restored"
        assert problem["title"] == "Service Unavailable"

    asked(dataclasses.replace(STATUS, ready=False, restoring=(RestoreStatus("totals-0", 3, 5, 6),)), ask)


def test_status_tells_all_that_is_known() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        response = await client.get("/status")
        found = await response.json()
        assert found["app"] == "shop"
        assert (found["mode"], found["guarantee"]) == ("partitioned", "exactly_once")
        assert (found["pid"], found["started_at"]) == (4711, 90.0)
        assert found["commits"] == {
            "count": 5,
            "failed": 1,
            "fenced": 2,
            "last_age_s": 0.25,
            "last_duration_s": 0.03,
        }
        assert found["latency_ms"] == {"p50": 120.0, "p99": 480.0}
        (task,) = found["tasks"]
        assert task["inputs"][0]["lag"] == 10
        assert task["queries"] == [
            {"query": "totals", "emitted": 40, "late": 2, "late_after_idle": 3, "dead_lettered": 1, "skipped": 0}
        ]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"

    asked(STATUS, ask)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/status", 405), ("DELETE", "/metrics", 405)]
)
def test_error_is_a_problem_document(method: str, path: str, status: int) -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        response = await client.request(method, path)
        assert (response.status, response.content_type) == (status, PROBLEM)
        assert json.loads(await response.text())["status"] == status
        assert status != 405 or response.headers["Allow"] == "GET,HEAD"

    asked(STATUS, ask)


def test_metrics_are_what_prometheus_reads() -> None:
    async def ask(client: TestClient[Any, Any]) -> None:
        response = await client.get("/metrics")
        samples = {
            sample.name: sample
            for family in text_string_to_metric_families(await response.text())
            for sample in family.samples
        }
        consumed = samples["headrace_records_consumed_total"]
        assert consumed.value == 90
        assert (
            consumed.labels.items() >= {"job": "shop", "stage": "totals-0", "topic": "trades", "partition": "3"}.items()
        )
        assert samples["headrace_records_late_total"].labels["query"] == "totals"
        assert samples["headrace_consumer_lag"].value == 10
        assert samples["headrace_worker_ready"].value == 1
        assert samples["headrace_producer_in_flight"].value == 17
        assert samples["headrace_transactions_aborted_total"].value == 3
        assert samples["headrace_state_bytes"].value == 4_096

    asked(STATUS, ask)


def test_every_instrument_gives_something_and_names_its_attributes() -> None:
    watching, reader = telemetry()
    watching.publish(STATUS)
    with watching.processing("totals-0", batch_of([()] * 7)):
        pass
    watching.committed(0.1, {"trades": 250.0})
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert metrics.keys() == {each.name for each in INSTRUMENTS}
    for each in INSTRUMENTS:
        (point,) = metrics[each.name].data.data_points
        assert set(point.attributes or ()) == {"job", *each.attributes}
        assert (metrics[each.name].unit, metrics[each.name].description) == (each.unit, each.what)
    assert metrics["headrace.batch.records"].data.data_points[0].sum == 7
    latency = metrics["headrace.end_to_end.latency"].data.data_points[0]
    assert (latency.sum, latency.explicit_bounds[0]) == (0.25, 0.001)


def test_nothing_is_counted_before_a_worker_has_said_anything() -> None:
    _, reader = telemetry()
    assert reader.get_metrics_data() is None


@pytest.mark.parametrize(
    "given", [{}, {"OTEL_SERVICE_NAME": "named"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=named"}]
)
def test_service_is_named_by_the_environment_before_the_app(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = resource("shop", 2, "pod-1").attributes
    assert found["service.name"] == ("named" if given else "shop")
    assert found["service.instance.id"] == "pod-1-2"


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_metrics_are_sent_where_the_environment_asks(environment: dict[str, str], sent: bool) -> None:
    assert otel.is_sent("METRICS", environment) is sent
    otel.check(environment)


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    ],
)
def test_what_cannot_be_sent_is_refused(name: str) -> None:
    otel.check({name: "grpc"})  # nothing is sent at all
    with pytest.raises(UsageError, match=f"{name}=delta"):
        otel.check({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", name: "delta"})


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@asynccontextmanager
async def running(service: WorkerService, worker: Source | None = None) -> AsyncIterator[None]:
    await service.start(worker or Fixed(STATUS))
    try:
        yield
    finally:
        await service.stop()


def test_taken_port_that_was_asked_for_ends_the_worker(taken_port: int) -> None:
    async def run() -> None:
        with pytest.raises(KafkaFailure, match=f"127.0.0.1:{taken_port} for HTTP is taken"):
            async with running(WorkerService("127.0.0.1", taken_port, None, IfTaken.END)):
                pass

    asyncio.run(run())


def test_taken_port_that_nobody_asked_for_does_not_matter(taken_port: int) -> None:
    async def run() -> None:
        async with running(WorkerService("127.0.0.1", taken_port, telemetry()[0], IfTaken.GO_ON)):
            pass

    asyncio.run(run())


def test_service_serves_until_it_is_stopped() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def run() -> None:
        service = WorkerService("127.0.0.1", port, telemetry()[0], IfTaken.END)
        async with ClientSession() as session:
            async with running(service), session.get(f"http://127.0.0.1:{port}/health/ready") as response:
                assert response.status == 200
            with pytest.raises(OSError, match="Cannot connect"):
                await session.get(f"http://127.0.0.1:{port}/health/live")

    asyncio.run(run())


def test_worker_ends_where_its_metrics_can_be_published_no_more() -> None:
    async def run() -> None:
        worker = Failing(STATUS)
        async with running(WorkerService("127.0.0.1", None, telemetry()[0], IfTaken.GO_ON), worker):
            await asyncio.sleep(0)
        assert worker.failures == ["ArithmeticError('no status')"]

    asyncio.run(run())


def test_publishing_ends_in_order_when_it_is_stopped() -> None:
    async def run() -> None:
        worker = Fixed(STATUS)
        async with running(WorkerService("127.0.0.1", None, telemetry()[0], IfTaken.GO_ON), worker):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert worker.failures == []

    asyncio.run(run())


def test_what_a_worker_did_in_its_last_second_is_exported_and_nothing_after_it() -> None:
    """Its tasks are closed before its metrics are sent: a status from then on knows nothing of them."""

    async def run() -> None:
        watched, reader = telemetry()
        worker = Fixed(dataclasses.replace(STATUS, tasks=()))
        service = WorkerService("127.0.0.1", None, watched, IfTaken.GO_ON)
        await service.start(worker)
        await asyncio.sleep(0)
        worker._status = STATUS
        service.last_look()
        worker._status = dataclasses.replace(STATUS, tasks=())
        await asyncio.sleep(0)
        exported = reader.get_metrics_data()
        await service.stop()
        assert exported is not None
        names = {
            metric.name
            for resource in exported.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert {"headrace.records.consumed", "headrace.records.emitted"} <= names

    asyncio.run(run())


def test_last_look_at_a_worker_that_never_began_shows_nothing() -> None:
    WorkerService("127.0.0.1", None, telemetry()[0], IfTaken.GO_ON).last_look()
