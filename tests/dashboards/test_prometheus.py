"""What Prometheus itself says of the dashboards and alerts: `make dashboards-test`.

The series are those of a real worker on a real Kafka, which a real Prometheus scrapes.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from helm.dashboards.expressions import ALERTS, Alert, alerts, dashboard_expressions
from tests.integration.sql_app import SqlApp, row

HERE = Path(__file__).parent
START_MS = 1_700_000_000_000
SQL = """
CREATE STREAM hits (page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE minutes WITH (topic = '{name}-minutes') AS
SELECT page, COUNT(*) AS hits FROM hits WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY page EMIT FINAL;
"""
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
def metrics(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the /metrics of a worker that has had good, bad and late records."""
    app = SqlApp("watched", broker, tmp_path_factory.mktemp("watched"), SQL)
    app.create_topic(app.source, 2)
    port = free_port()
    app.environment = {"HEADRACE_HTTP_PORT": str(port)}
    run = app.run("--set", "idle_timeout=10m")  # an idle partition has no watermark lag
    run.await_events("serving HTTP")
    app.produce([row(n % 2, page=f"p{n % 7}", at=START_MS + n * 1_000) for n in range(400)])
    app.produce([row(0, page=7, at=START_MS), row(0, page="late", at=START_MS)])
    app.await_caught_up()
    yield f"127.0.0.1:{port}"
    assert run.stop() == 0


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
