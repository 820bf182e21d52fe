"""What Prometheus itself says of the dashboards and alerts: `make dashboards-test`.

The series come from a running worker when HEADRACE_METRICS names its host:port. Without it they come from instruments
of OpenTelemetry made after helm/dashboards/instruments.py: that shows that the expressions fit the names, types and
labels listed there, and says nothing about what a worker writes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest
from helm.dashboards.expressions import ALERTS, Alert, alerts, dashboard_expressions
from helm.dashboards.instruments import INSTRUMENTS, Kind
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, start_http_server

HERE = Path(__file__).parent
MISSING = [tool for tool in ("prometheus", "promtool") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"missing: {MISSING} (Debian and Ubuntu: package prometheus)")

VARIABLES = {"$__rate_interval": "10s", "$job": ".*", "$query": ".*", "$partition": ".*"}
COMPARISON = re.compile(r"\s*(?:==|!=|<=|>=|<|>)\s*[\d.]+")
EXCEPTION = re.compile(r"\s+unless\s.*", re.DOTALL)


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_valid() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", str(ALERTS))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


@pytest.fixture(scope="module")
def metrics() -> Iterator[str]:
    """host:port of the /metrics that Prometheus scrapes."""
    worker = os.environ.get("HEADRACE_METRICS")
    if worker:
        yield worker
        return
    reader = PrometheusMetricReader(prefix="")
    registry = CollectorRegistry()
    registry.register(reader._collector)
    provider = MeterProvider(metric_readers=[reader])
    record(provider)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    assert isinstance(server, WSGIServer)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    provider.shutdown()


def record(provider: MeterProvider) -> None:
    """One value for every instrument, with every attribute that it has."""
    meter = provider.get_meter("headrace")
    for instrument in INSTRUMENTS:
        attributes = {"job": "flights", **dict.fromkeys(instrument.attributes, "0")}
        match instrument.kind:
            case Kind.COUNTER:
                meter.create_counter(instrument.name, unit=instrument.unit).add(1, attributes)
            case Kind.GAUGE:
                meter.create_gauge(instrument.name, unit=instrument.unit).set(1, attributes)
            case Kind.HISTOGRAM:
                meter.create_histogram(instrument.name, unit=instrument.unit).record(1, attributes)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def prometheus(metrics: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus that has scraped the metrics several times."""
    folder = tmp_path_factory.mktemp("prometheus")
    scrape = {"job_name": "headrace", "honor_labels": True, "static_configs": [{"targets": [metrics]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    url = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address={url}", "--storage.tsdb.path=data"],
            cwd=folder,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while not scrapes_enough(f"http://{url}"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.5)
        yield f"http://{url}"
    finally:
        server.terminate()
        server.wait(30)


def scrapes_enough(url: str) -> bool:
    try:
        return any(float(sample["value"][1]) >= 4 for sample in ask(url, "sum_over_time(up[1m])"))
    except OSError:
        return False


def ask(url: str, expression: str) -> list[dict[str, tuple[float, str]]]:
    """The series of an instant query."""
    text = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{text}", timeout=10) as answer:
        result: list[dict[str, tuple[float, str]]] = json.load(answer)["data"]["result"]
        return result


@pytest.mark.parametrize(("place", "expression"), dashboard_expressions())
def test_panel_has_series(prometheus: str, place: str, expression: str) -> None:
    # A rate of nothing is a series too; `> 0` leaves out a topic or query that rests, and is taken away here.
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    assert ask(prometheus, COMPARISON.sub("", expression)), f"{place}: no series for {expression}"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_alert_has_series_without_its_condition(prometheus: str, alert: Alert) -> None:
    # Comparisons and what comes after `unless` are taken away: no alert holds for a worker that is well.
    assert ask(prometheus, COMPARISON.sub("", EXCEPTION.sub("", alert.expression)))
