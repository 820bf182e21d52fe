"""A real OpenTelemetry collector takes what a run sends: `make telemetry-test`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import NewSqlApp, row

from headrace.app import broker as brokers
from headrace.app.instruments import INSTRUMENTS

COMPOSE = Path("compose/collector.yaml")
SQL = """
CREATE STREAM hits (page VARCHAR, at TIMESTAMP, WATERMARK FOR at AS at) WITH (topic = '{name}-in');
CREATE TABLE pages WITH (topic = '{name}-pages', changes = 'latest') AS
SELECT page, COUNT(*) AS hits FROM hits GROUP BY page EMIT CHANGES;
"""


@contextmanager
def collecting(otelcol: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    """Its address for OTLP over HTTP, and its log. Configured as in compose.yaml, but for the port and the detail."""
    config = yaml.safe_load(COMPOSE.read_text())
    port = brokers.free_port()
    config["receivers"]["otlp"]["protocols"]["http"]["endpoint"] = f"127.0.0.1:{port}"
    config["exporters"]["debug"] = {"verbosity": "detailed"}
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    (directory / "collector.yaml").write_text(yaml.safe_dump(config))
    log = directory / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([otelcol, "--config", directory / "collector.yaml"], stderr=output) as process,
    ):
        wait_until(
            lambda: "Everything is ready" in log.read_text() or process.poll() is not None, "the collector is up"
        )
        yield f"http://127.0.0.1:{port}", log
        process.terminate()


def test_configuration_of_the_demo_is_valid(otelcol: Path) -> None:
    subprocess.run([otelcol, "validate", f"--config={COMPOSE}"], check=True)


def test_collector_gets_metrics_and_spans_of_a_run(otelcol: Path, new_sql_app: NewSqlApp, tmp_path: Path) -> None:
    app = new_sql_app(SQL)
    app.produce([row(n % 4, page=f"p{n % 7}", at=1_700_000_000_000 + n) for n in range(400)])
    with collecting(otelcol, tmp_path) as (endpoint, log):
        app.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER": "always_on"}
        run = app.run()
        app.await_caught_up()
        assert run.stop() == 0
        wait_until(lambda: "-> Name: headrace.worker.ready" in log.read_text(), "the last metrics are written")
    text = log.read_text()
    missing = [each.name for each in INSTRUMENTS if f"-> Name: {each.name}\n" not in text]
    assert missing == []
    assert f"service.name: Str({app.name})" in text
    assert f"Name           : process {app.source}\n" in text
    assert "Name           : commit\n" in text
