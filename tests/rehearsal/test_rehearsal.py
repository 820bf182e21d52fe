"""What operators do to pods, rehearsed with processes on a real broker: a rolling update, and the loss of a node."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition
from tests.integration.edge_cluster import DEADLINE_S, wait_until
from tests.integration.sql_app import RUN_DEADLINE_S, Input, NewSqlApp, Run, SqlApp
from tests.integration.test_lifecycle import IDS, assert_nothing_lost, hit, live_producer
from tests.integration.test_telemetry import get

from headrace.app import broker as brokers

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

# A copy of each record tells its source partition, which an aggregate does not.
SQL = IDS + "CREATE STREAM copies WITH (topic = '{name}-copies') AS SELECT id FROM hits;"
SESSION_S = 10.0
LONGEST_S = SESSION_S + 10.0
PER_S = 400
PARTITIONS = 4
PAGES = 37
"""As many groups as `hit` makes."""


class Pod:
    """A `headrace run` with a name, a folder and a port of its own, as the chart makes one."""

    def __init__(self, app: SqlApp, name: str, folder: str) -> None:
        self.state = app.directory / folder
        self.port = brokers.free_port()
        self._app = app
        self._settings = {
            "instance_id": name,
            "state_dir": str(self.state),
            "http_port": str(self.port),
            "kafka.session.timeout.ms": str(int(SESSION_S * 1_000)),
        }
        self.run = self.start()

    def start(self) -> Run:
        self.run = self._app.run(*(flag for item in self._settings.items() for flag in ("--set", "=".join(item))))
        return self.run

    def readiness(self) -> int:
        """Status code of /health/ready, 0 while nobody answers."""
        return get(self.port, "/health/ready")[0]

    def await_ready(self) -> list[int]:
        """What /health/ready answers, in order and without repetitions, until it is 200."""
        codes = [0]

        def is_ready() -> bool:
            code = self.readiness()
            if code != codes[-1]:
                codes.append(code)
            return self.run.ended or code == 200

        wait_until(is_ready, f"port {self.port} is ready", RUN_DEADLINE_S)
        assert not self.run.ended, self.run.log()
        return codes

    def lose(self) -> None:
        """All of its processes at once, and its disk. (The supervisor would start a worker again after 0.5 s.)"""
        for pid in self.run.workers().values():
            process = os.pidfd_open(pid)
            signal.pidfd_send_signal(process, signal.SIGKILL)
            assert select.select([process], [], [], DEADLINE_S)[0], "it ends"
            os.close(process)
        self.run.kill()
        shutil.rmtree(self.state)


@dataclass
class Arrivals:
    """What a reader of committed records got, and when (monotonic seconds), by source partition and by group."""

    ids: list[int] = field(default_factory=list)
    moments: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def await_all(self) -> None:
        """Until something new came of each source partition and group."""
        since = time.monotonic()
        wait_until(
            lambda: len(self.moments) == PARTITIONS + PAGES and all(m[-1] > since for m in self.moments.values()),
            "results of all partitions and groups come",
        )

    def standstills(self, since: float) -> dict[str, float]:
        """The longest time (s) without a record of each, up to its last one."""
        return {
            name: max(after - before for before, after in pairwise([since, *(m for m in moments if m > since)]))
            for name, moments in sorted(self.moments.items())
        }


@contextmanager
def committed_reader(app: SqlApp) -> Iterator[Arrivals]:
    arrivals = Arrivals()
    copies, pages = f"{app.name}-copies", f"{app.name}-pages"
    consumer = Consumer(
        {"bootstrap.servers": app.bootstrap, "group.id": "rehearsal", "isolation.level": "read_committed"}
    )
    counts = app.cluster.source_partitions([copies, pages])
    consumer.assign([KafkaPartition(topic, number, 0) for topic, count in counts.items() for number in range(count)])
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            for message in consumer.consume(1_000, 0.05):
                assert message.error() is None, message.error()
                if message.topic() == copies:
                    number = json.loads(message.value())["id"]
                    arrivals.ids.append(number)
                    name = f"source {hit(number).partition}"
                else:
                    name = f"group {message.key().decode()}"
                arrivals.moments[name].append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield arrivals
    finally:
        enough.set()
        thread.join()
        consumer.close()


def report(what: str, arrivals: Arrivals, since: float) -> None:
    """The figures, for `pytest -s`, and their bound."""
    found = arrivals.standstills(since)
    sources = ", ".join(f"{name} {s:.1f} s" for name, s in found.items() if name.startswith("source"))
    groups = max(s for name, s in found.items() if name.startswith("group"))
    sys.stdout.write(f"\nstandstill, {what}: {sources}, groups {groups:.1f} s at most\n")
    assert max(found.values()) < LONGEST_S


def finish(app: SqlApp, pods: list[Pod], produced: list[Input], arrivals: Arrivals) -> None:
    """The producer has ended: all is done once, and every pod stops in order."""
    app.await_caught_up()
    wait_until(lambda: len(arrivals.ids) >= len(produced), "the reader has all copies")
    assert [pod.run.stop() for pod in pods] == [0] * len(pods)


def assert_exactly_once(app: SqlApp, produced: list[Input], arrivals: Arrivals) -> None:
    assert Counter(arrivals.ids) == Counter(range(len(produced)))
    app.run_to_end()
    assert_nothing_lost(app, produced)
    pages = [json.loads(value) for value, _ in app.contents(f"{app.name}-pages").values()]
    assert [page["hits"] for page in pages] == [page["ids"] for page in pages]
    assert set(Counter(key for key, _, _ in app.written(f"{app.name}-seconds")).values()) == {1}


def test_rolling_update_loses_and_repeats_nothing(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL, PARTITIONS)
    app.create_own_topics()
    pods = [Pod(app, f"pod-{number}", f"volume-{number}") for number in range(3)]
    with live_producer(app, PER_S) as produced, committed_reader(app) as arrivals:
        for pod in pods:
            pod.await_ready()
        arrivals.await_all()
        since = time.monotonic()
        for pod in reversed(pods):
            assert pod.run.stop() == 0, pod.run.log()
            assert pod.readiness() == 0
            pod.start()
            assert pod.await_ready() == [0, 503, 200], "ready only with its tasks"
        arrivals.await_all()
        report("rolling update of 3 pods", arrivals, since)
    with committed_reader(app) as arrivals:
        finish(app, pods, produced, arrivals)
    assert_exactly_once(app, produced, arrivals)


def test_node_that_is_lost_with_its_disk_is_replaced_from_the_changelogs(new_sql_app: NewSqlApp) -> None:
    app = new_sql_app(SQL, PARTITIONS)
    app.create_own_topics()
    pods = [Pod(app, f"pod-{number}", f"volume-{number}") for number in range(2)]
    with live_producer(app, PER_S) as produced, committed_reader(app) as arrivals:
        for pod in pods:
            pod.await_ready()
        arrivals.await_all()
        since = time.monotonic()
        lost = pods.pop()
        lost.lose()
        # Under a new name, so that the others wait for the lost one until its session ends, however fast this starts.
        pods.append(Pod(app, "pod-2", "volume-2"))
        pods[-1].await_ready()
        arrivals.await_all()
        report("loss of one node of 2", arrivals, since)
    with committed_reader(app) as arrivals:
        finish(app, pods, produced, arrivals)
    assert sum(event["records"] for event in pods[-1].run.events("state restored")) > 0
    assert_exactly_once(app, produced, arrivals)
