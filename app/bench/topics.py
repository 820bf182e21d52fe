"""Topics: made, filled, read back and deleted."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.app.bench.results import Results
from headrace.app.bench.workloads import records
from headrace.app.errors import OutsideError

QUIET: dict[str, str | int | float | bool] = {"log_level": 3}
"""Errors only: librdkafka writes to stderr itself."""
TOPIC_CONFIG = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}


def create_topic(bootstrap: str, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    admin.create_topics([NewTopic(name, partitions, 1, config=TOPIC_CONFIG)])[name].result()


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete what a run has left, so that the broker does not compact it during the next."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for done in admin.delete_topics(names).values() if names else ():
        done.result()


def await_topic(bootstrap: str, name: str, timeout_s: float = 60.0) -> None:
    """Wait until a worker has made a topic; OutsideError where it does not."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    deadline = time.monotonic() + timeout_s
    while name not in admin.list_topics(timeout=10).topics:
        if time.monotonic() > deadline:
            raise OutsideError(f"there is no topic {name} after {timeout_s:.0f} s")
        time.sleep(0.1)


def consumer(bootstrap: str, **options: object) -> Consumer:
    """A consumer without a group, to be assigned partitions."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "benchmarks",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **QUIET,
            **options,
        }
    )


def all_partitions(reader: Consumer, topic: str) -> list[TopicPartition]:
    """The partitions of a topic, at their beginning."""
    return [
        TopicPartition(topic, number, 0) for number in reader.list_topics(topic, timeout=10).topics[topic].partitions
    ]


def producer(bootstrap: str, linger_ms: float) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 2_000_000,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            **QUIET,
        }
    )


def load(bootstrap: str, kind: str, count: int, partitions: int) -> str:
    """The name of a source topic with these records. One that exists with so many records is used again."""
    topic = f"bench-{kind}-{count}-{partitions}"
    reader = consumer(bootstrap)
    if topic in reader.list_topics(timeout=10).topics:
        if sum(reader.get_watermark_offsets(part, 10)[1] for part in all_partitions(reader, topic)) == count:
            return topic
        raise OutsideError(f"topic {topic} exists with another number of records", "delete it")
    create_topic(bootstrap, topic, partitions)
    to = producer(bootstrap, linger_ms=50)
    for number, (key, value) in enumerate(records(kind, count)):
        to.produce(topic, value, key)
        if number % 50_000 == 0:
            to.poll(0)
    to.flush()
    return topic


def read_results(bootstrap: str, topic: str, results: Results) -> None:
    """Add all committed records of a sink, each partition in order."""
    reader = consumer(bootstrap, **{"enable.partition.eof": True, "fetch.min.bytes": 1})
    partitions = all_partitions(reader, topic)
    reader.assign(partitions)
    left = {partition.partition for partition in partitions}
    while left:
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        for message in reader.consume(10_000, 1.0):
            if message.error():
                left.discard(message.partition())
            else:
                keys.append(message.key())
                values.append(message.value())
        results.add(keys, values)
    reader.close()
