"""`headrace run` on a real broker, as a user runs it: a process with workers of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.integration.edge_cluster import IN_ORDER, wait_until

from headrace.app.consume import read_to_end
from headrace.app.settings_sources import load_settings

DEADLINE_SECONDS = 60.0
SQL = """
CREATE STREAM s (k VARCHAR, n BIGINT) WITH (topic = '{name}-in', format = 'json'{partitions});
CREATE TABLE t WITH (topic = '{name}-out', partitions = 2) AS
SELECT k, COUNT(*) AS c, SUM(n) AS total FROM s GROUP BY k EMIT CHANGES;
"""


class App:
    """An SQL file with a name of its own, its topics, and the processes that run it."""

    def __init__(self, broker: str, directory: Path) -> None:
        self.name = f"run-{uuid.uuid4().hex[:8]}"
        self.broker = broker
        self.directory = directory
        self.processes: list[subprocess.Popen[str]] = []
        self.write_sql("")

    def write_sql(self, partitions: str) -> None:
        self.sql = self.directory / f"{self.name}.sql"
        self.sql.write_text(SQL.format(name=self.name, partitions=partitions))

    def create_source(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.broker})
        admin.create_topics([NewTopic(f"{self.name}-in", 4)])[f"{self.name}-in"].result(timeout=20)

    def produce(self, first: int, end: int) -> None:
        producer = Producer({"bootstrap.servers": self.broker, "sticky.partitioning.linger.ms": 0, **IN_ORDER})
        for n in range(first, end):
            producer.produce(f"{self.name}-in", json.dumps({"k": f"k{n % 7}", "n": n}))
        assert producer.flush(DEADLINE_SECONDS) == 0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from headrace.app.cli import main; main()", "run", str(self.sql), *arguments]
        environment = os.environ | {
            "HEADRACE_BOOTSTRAP_SERVERS": self.broker,
            "HEADRACE_STATE_DIR": str(self.directory / "state"),
            "HEADRACE_HTTP_PORT": "0",
        }
        self.log = self.directory / f"log-{len(self.processes)}"
        with self.log.open("w") as stderr:
            self.processes.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
            )
        return self.processes[-1]

    def totals(self) -> dict[str, tuple[int, int]]:
        settings = load_settings({"bootstrap_servers": self.broker}, environ={})
        records = [json.loads(line) for line in read_to_end(settings, f"{self.name}-out")]
        return {r["key"]: (r["value"]["c"], r["value"]["total"]) for r in records}

    def worker_pids(self) -> list[int]:
        started = [line for line in self.log.read_text().splitlines() if "worker started" in line]
        return [
            int(match[1]) for line in started if (match := re.search(r"pid=(\d+)", re.sub(r"\x1b\[\d*m", "", line)))
        ]


def expected(end: int) -> dict[str, tuple[int, int]]:
    return {f"k{k}": (len(range(k, end, 7)), sum(range(k, end, 7))) for k in range(7)}


@pytest.fixture
def app(broker: str, tmp_path: Path) -> Iterator[App]:
    running = App(broker, tmp_path)
    yield running
    for process in running.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("mode", ["single", "partitioned"])
def test_finite_run_ends_with_0_and_right_results(app: App, mode: str) -> None:
    app.create_source()
    app.produce(0, 5000)
    process = app.start("--mode", mode, "--workers", "2", "--until-end")
    assert process.wait(DEADLINE_SECONDS) == 0, app.log.read_text()
    assert app.totals() == expected(5000)


def test_endless_run_survives_the_kill_of_a_worker_and_stops_with_0(app: App) -> None:
    app.create_source()
    app.produce(0, 2000)
    process = app.start("--workers", "2")
    wait_until(lambda: len(app.worker_pids()) == 2, "two workers run")
    wait_until(
        lambda: _exists(app) and sum(count for count, _ in app.totals().values()) == 2000, "the first half is counted"
    )

    os.kill(app.worker_pids()[0], signal.SIGKILL)
    wait_until(lambda: len(app.worker_pids()) == 3, "a third worker has run")
    app.produce(2000, 4000)
    wait_until(lambda: app.totals() == expected(4000), "all is counted")

    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0, app.log.read_text()


def _exists(app: App) -> bool:
    return f"{app.name}-out" in AdminClient({"bootstrap.servers": app.broker}).list_topics(timeout=10).topics


def test_missing_source_topic_ends_with_3_and_its_name(app: App) -> None:
    assert app.start().wait(DEADLINE_SECONDS) == 3
    assert f"{app.name}-in" in app.log.read_text()
    assert "Traceback" not in app.log.read_text()


def test_declared_source_topic_is_created(app: App) -> None:
    app.write_sql(", partitions = 3")
    assert app.start("--until-end").wait(DEADLINE_SECONDS) == 0, app.log.read_text()
    topics = AdminClient({"bootstrap.servers": app.broker}).list_topics(timeout=10).topics
    assert len(topics[f"{app.name}-in"].partitions) == 3
