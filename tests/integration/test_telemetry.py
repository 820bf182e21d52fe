"""What a running app shows of itself: health, status, metrics over HTTP, and metrics sent by OTLP."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.edge_cluster import records_of, wait_until
from tests.integration.sql_app import NewSqlApp, SqlApp, row

from headrace.app import broker as brokers

SQL = """
CREATE STREAM hits (page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS hits FROM hits GROUP BY page EMIT CHANGES;
"""
COUNT = 400


@pytest.fixture
def port() -> int:
    return brokers.free_port()


def hits(app: SqlApp) -> None:
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(COUNT)])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def status(port: int) -> dict[str, Any]:
    code, text = get(port, "/status")
    return json.loads(text) if code == 200 else {"tasks": [], "ready": False}


def test_worker_tells_what_it_is_doing(new_sql_app: NewSqlApp, port: int) -> None:
    app = new_sql_app(SQL)
    app.environment = {"HEADRACE_HTTP_PORT": str(port)}
    hits(app)
    run = app.run()
    wait_until(lambda: run.ended or get(port, "/health/ready")[0] == 200, "the worker is ready")
    app.await_caught_up()
    assert get(port, "/health/live")[0] == 200

    def source_inputs() -> list[dict[str, Any]]:
        return [i for task in status(port)["tasks"] for i in task["inputs"] if i["topic"] == app.source]

    wait_until(lambda: sum(i["consumed"] for i in source_inputs()) == COUNT, "every record is counted")
    assert [(i["position"], i["lag"]) for i in source_inputs()] == [(COUNT // 4, 0)] * 4
    found = status(port)
    assert (found["app"], found["ready"], found["guarantee"]) == (app.name, True, "exactly_once")
    assert found["mode"] == "partitioned"
    os.kill(found["pid"], 0)  # there is such a process
    assert 0 < found["started_at"] < found["time_s"]
    assert found["commits"]["count"] > 0
    assert found["commits"]["last_duration_s"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert sum(task["state_keys"] for task in found["tasks"]) == 7

    def metrics() -> dict[str, float]:
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(get(port, "/metrics")[1]):
            for sample in family.samples:
                if sample.labels.get("topic", app.source) == app.source:
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    found_metrics = metrics()
    assert found_metrics["headrace_records_consumed_total"] == COUNT
    assert found_metrics["headrace_worker_ready"] == 1
    assert found_metrics["headrace_commit_duration_seconds_count"] > 0
    assert found_metrics["headrace_end_to_end_latency_seconds_count"] > 0
    assert found_metrics["headrace_state_bytes"] > 0
    assert run.stop() == 0


def test_taken_port_that_was_asked_for_is_waited_for(new_sql_app: NewSqlApp, port: int) -> None:
    app = new_sql_app(SQL)
    with ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler):
        run = app.run("--set", f"http_port={port}")
        wait_until(lambda: f"127.0.0.1:{port} for HTTP is taken" in run.log(), "the worker says what is wrong")
    run.await_events("serving HTTP")
    assert run.events("worker ended, restarting")[0]["exit"] == "3"
    assert run.stop() == 0


class Collector(BaseHTTPRequestHandler):
    """Takes metrics and spans by OTLP over HTTP, as an OpenTelemetry collector does."""

    metrics: list[ExportMetricsServiceRequest]
    traces: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/metrics":
            self.metrics.append(ExportMetricsServiceRequest.FromString(data))
        else:
            assert self.path == "/v1/traces"
            self.traces.append(ExportTraceServiceRequest.FromString(data))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collector() -> Iterator[tuple[str, type[Collector]]]:
    handler = type("Handler", (Collector,), {"metrics": [], "traces": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join()


def test_metrics_and_spans_reach_a_collector(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL + "CREATE STREAM seen WITH (topic = '{name}-seen') AS SELECT page FROM hits;")
    hits(app)
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    parent = ("traceparent", f"00-{trace_id}-{span_id}-01".encode())
    traced = row(0, page="traced", at=1_700_000_000_000)
    with collector() as (endpoint, received):
        app.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        }
        run = app.run()
        app.await_caught_up()
        # A batch of its own, so that its first record is this one.
        app.produce([replace(traced, headers=(parent,))])
        app.await_caught_up()
        assert run.stop() == 0
    resource = {a.key: a.value.string_value for a in received.metrics[-1].resource_metrics[0].resource.attributes}
    assert resource["service.name"] == app.name
    assert resource["deployment.environment"] == "test"
    metrics = {
        metric.name: metric
        for request in received.metrics
        for scope in request.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    assert sum(point.sum for point in metrics["headrace.batch.records"].histogram.data_points) > COUNT
    assert metrics["headrace.commit.duration"].unit == "s"
    assert "headrace.worker.ready" in metrics
    spans = [s for r in received.traces for scope in r.resource_spans[0].scope_spans for s in scope.spans]
    (joined,) = [span for span in spans if span.trace_id.hex() == trace_id and span.name != "commit"]
    assert (joined.name, joined.parent_span_id.hex()) == (f"process {app.source}", span_id)
    linked = {link.span_id for span in spans if span.name == "commit" for link in span.links}
    assert joined.span_id in linked
    results = {json.loads(m.value())["page"]: m.headers() for m in records_of(app.cluster, f"{app.name}-seen")}
    assert results["traced"] == [parent]
