"""Topics and group offsets on a real broker: created, verified, measured, deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.agents.cluster import Cluster
from headrace.agents.config import WorkerConfig
from headrace.agents.errors import KafkaFailure
from headrace.agents.topics import ensure_topics, reset
from headrace.agents.topology import TaskId, TaskSpec, TopicKind, TopicSpec, Topology
from headrace.sql.runtime.records import TopicPartition

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


@pytest.fixture
def app() -> str:
    return f"topics-{time.time_ns():x}"


@pytest.fixture
def cluster(broker: str, app: str) -> Iterator[Cluster]:
    cluster = Cluster(WorkerConfig(broker, app, Path("unused")))
    yield cluster
    cluster.delete([f"{app}-in", f"{app}-log"])


def topology(app: str, source_partitions: int | None, log_partitions: int = 2) -> Topology:
    source, changelog = f"{app}-in", f"{app}-log"
    topics = (
        TopicSpec(source, TopicKind.SOURCE, source_partitions, None, {}),
        TopicSpec(changelog, TopicKind.CHANGELOG, log_partitions, None, {"cleanup.policy": "compact"}),
    )
    task = TaskSpec(TaskId("s", 0), frozenset({TopicPartition(source, 0)}), TopicPartition(changelog, 0))
    return Topology(app, "partitioned", 2, topics, (task,), "p1")


def test_missing_topics_are_created_with_their_config_and_creating_again_changes_nothing(
    cluster: Cluster, app: str
) -> None:
    created = ensure_topics(cluster, topology(app, 3))
    assert created[f"{app}-in"].partitions == 3
    assert created[f"{app}-log"].config["cleanup.policy"] == "compact"
    assert ensure_topics(cluster, topology(app, 3)) == created


def test_source_that_must_exist_and_does_not_is_named(cluster: Cluster, app: str) -> None:
    with pytest.raises(KafkaFailure, match=f"source topic '{app}-in' does not exist"):
        ensure_topics(cluster, topology(app, None))
    assert cluster.source_partitions([f"{app}-in", f"{app}-log"]) == {}, "nothing is created where something is wrong"


def test_wrong_partition_count_is_named(cluster: Cluster, app: str) -> None:
    ensure_topics(cluster, topology(app, 3))
    with pytest.raises(KafkaFailure, match=f"topic '{app}-log' has 2 partitions, the app needs 5"):
        ensure_topics(cluster, topology(app, 3, log_partitions=5))


def test_source_partitions_and_end_offsets(cluster: Cluster, app: str, broker: str) -> None:
    ensure_topics(cluster, topology(app, 3))
    producer = Producer({"bootstrap.servers": broker})
    for number in range(5):
        producer.produce(f"{app}-in", b"v", partition=1, timestamp=1_700_000_000_000 + number)
    producer.flush()
    partitions = [TopicPartition(f"{app}-in", partition) for partition in range(3)]
    assert cluster.source_partitions([f"{app}-in", "no-such-topic"]) == {f"{app}-in": 3}
    assert list(cluster.end_offsets(partitions).values()) == [0, 5, 0]
    assert list(cluster.offsets_at(partitions, 1_700_000_000_003).values()) == [0, 3, 0]
    assert cluster.committed(partitions) == {}


class Committer:
    """Commits offsets of one partition of the source in transactions, as a worker does."""

    def __init__(self, broker: str, app: str, partition: int) -> None:
        self._place = f"{app}-in", partition
        self._producer = Producer({"bootstrap.servers": broker, "transactional.id": f"{app}-{partition}"})
        self._producer.init_transactions()
        self._group = Consumer({"bootstrap.servers": broker, "group.id": app}).consumer_group_metadata()

    def begin(self, offset: int) -> None:
        self._producer.begin_transaction()
        self._producer.send_offsets_to_transaction([KafkaPartition(*self._place, offset)], self._group)

    def end(self) -> None:
        self._producer.commit_transaction()


def test_positions_so_far_do_not_wait_for_what_is_under_way(cluster: Cluster, app: str, broker: str) -> None:
    ensure_topics(cluster, topology(app, 2))
    here, there = (TopicPartition(f"{app}-in", number) for number in range(2))
    committer = Committer(broker, app, here.partition)
    committer.begin(5)
    assert cluster.committed_so_far([here, there]) == {}
    committer.end()
    committer.begin(7)
    assert {p: at.next_offset for p, at in cluster.committed_so_far([here, there]).items()} == {here: 5}
    committer.end()
    assert {p: at.next_offset for p, at in cluster.committed([here, there]).items()} == {here: 7}


@contextmanager
def relayed(committers: list[Committer]) -> Iterator[None]:
    """At each moment inside a transaction of one of them is under way, and never one of the same for long."""
    first, second = committers
    enough = threading.Event()
    first.begin(1)

    def relay() -> None:
        ending, beginning, offset = first, second, 1
        while not enough.wait(0.05):
            offset += 1
            beginning.begin(offset)
            ending.end()
            ending, beginning = beginning, ending
        ending.end()

    thread = threading.Thread(target=relay)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_positions_are_found_though_something_is_always_under_way(cluster: Cluster, app: str, broker: str) -> None:
    # partition 0  |====|  |=====|  |=====|       transactions
    # partition 1     |=====|  |=====|  |==
    ensure_topics(cluster, topology(app, 2))
    partitions = [TopicPartition(f"{app}-in", number) for number in range(2)]
    with relayed([Committer(broker, app, number) for number in range(2)]):
        began = time.monotonic()
        assert cluster.committed(partitions).keys() == set(partitions)
        assert time.monotonic() - began < 30.0


def test_reset_deletes_internal_topics_only(cluster: Cluster, app: str) -> None:
    ensure_topics(cluster, topology(app, 3))
    reset(cluster, [topology(app, 3)])
    assert cluster.source_partitions([f"{app}-in", f"{app}-log"]) == {f"{app}-in": 3}
    reset(cluster, [topology(app, 3)])
