"""The HTTP API of a real job server: schemathesis against its OpenAPI document, streams, and tables made anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.edge_cluster import wait_until
from tests.integration.job_server import JobServerProcess
from tests.integration.sql_app import unique_name

from headrace.app import clients
from headrace.app.settings_sources import settings_as_given

TOKEN = "token-of-the-api-test"
SCHEMATHESIS = (
    str(Path(sys.executable).with_name("st")),
    "--config-file",
    str(Path(__file__).with_name("schemathesis.toml")),
)
TOTALS = """
CREATE STREAM trades (symbol VARCHAR, price DOUBLE) WITH (topic = '{topic}', partitions = 1);
CREATE TABLE totals WITH (topic = '{topic}-totals') AS SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol;
"""


@pytest.fixture
def server(broker: str, tmp_path: Path) -> Iterator[JobServerProcess]:
    with JobServerProcess(broker, tmp_path, settings={"http_rate": "100000"}, token=TOKEN) as server:
        yield server


@pytest.fixture
def job(server: JobServerProcess) -> str:
    """A job that runs; its source has its name."""
    name = unique_name("trades")
    server.deploy(name, TOTALS.format(topic=name))
    server.await_state(name, "running")
    return name


def produce(bootstrap: str, topic: str, *symbols: str) -> None:
    producer = clients.producer(settings_as_given({"bootstrap_servers": bootstrap}), {})
    for symbol in symbols:
        producer.produce(topic, json.dumps({"symbol": symbol, "price": 1.5}))
    assert producer.flush(30) == 0


def totals(server: JobServerProcess) -> dict[str, int]:
    reply = server.ask("GET", "/tables/totals")
    return {row["symbol"]: row["n"] for row in reply.document["rows"]} if reply.status == 200 else {}


@pytest.mark.timeout(300)
def test_api_is_what_its_document_says(server: JobServerProcess, job: str, broker: str, tmp_path: Path) -> None:
    produce(broker, job, "A", "B", "A")
    wait_until(lambda: totals(server) == {"A": 2, "B": 1}, "the table has its rows")
    run = subprocess.run(
        [
            *SCHEMATHESIS,
            *("run", f"{server.url}/openapi.json"),
            *("--phases", "coverage,fuzzing,stateful", "--max-examples", "6"),
            *("--generation-deterministic", "--no-shrink", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env=os.environ | {"TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    paths = server.ask("GET", "/openapi.json").document["paths"].values()
    tried = sum(map(len, paths)) - 1  # the document itself is not among them
    assert f"{tried} selected" in run.stdout, run.stdout
    assert "request failed" not in server.log()


def test_stream_is_told_as_it_comes_and_ends_with_the_server(server: JobServerProcess, job: str, broker: str) -> None:
    request = urllib.request.Request(f"{server.url}/streams/totals", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.readline() == b": listening\n"
        produce(broker, job, "A")
        lines = iter(stream)
        (row,) = (next(line for line in lines if line.startswith(b"data:")),)
        assert json.loads(row.removeprefix(b"data:")) == {"symbol": "A", "n": 1}
        assert server.stop() == 0
        assert "Traceback" not in server.log()


def test_table_of_a_topic_made_anew_has_its_new_rows_only(server: JobServerProcess, job: str, broker: str) -> None:
    produce(broker, job, "A", "B", "A")
    wait_until(lambda: totals(server) == {"A": 2, "B": 1}, "the table has its rows")
    assert server.ask("DELETE", f"/jobs/{job}?topics=all").status == 204
    assert server.ask("GET", "/tables/totals").status == 404
    other = unique_name("trades")
    server.deploy(other, TOTALS.format(topic=other).replace(f"{other}-totals", f"{job}-totals"))
    server.await_state(other, "running")
    produce(broker, other, "C")
    wait_until(lambda: totals(server).get("C") == 1, "the table has its new row")
    assert totals(server) == {"C": 1}


def test_job_whose_source_is_missing_can_be_deleted(server: JobServerProcess) -> None:
    server.deploy("waits", "CREATE STREAM s (a VARCHAR) WITH (topic = 'nowhere'); CREATE STREAM t AS SELECT a FROM s;")
    server.await_state("waits", "waiting")
    assert server.ask("DELETE", "/jobs/waits").status == 204
    assert server.ask("GET", "/jobs/waits").status == 404
