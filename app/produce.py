"""JSON lines from a file into a topic: each line checked, keyed by one of its fields, its bytes kept as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.app.clients import create_topic, existing_topic, explain, producer, unreachable
from headrace.app.errors import InputError, OutsideError, UsageError
from headrace.app.settings import Settings

PROPERTIES: dict[str, object] = {
    "acks": "all",
    "compression.type": "lz4",
    "enable.idempotence": True,
    "linger.ms": 20,
    "message.timeout.ms": 60_000,
    "sticky.partitioning.linger.ms": 0,  # records without a key are spread evenly
    "partitioner": "murmur2_random",  # Kafka's default: any client finds a key where it expects it
}
QUEUE_WAIT_SECONDS = 0.5
PROGRESS_RECORDS = 1000


@dataclass(slots=True)
class Deliveries:
    """What became of the records handed to the producer."""

    acknowledged: int = 0
    failure: KafkaError | None = None

    def note(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged += 1
        elif self.failure is None:
            self.failure = error


def require_topic(settings: Settings, topic: str, partitions: int | None) -> None:
    """The topic must exist, or be created with the given number of partitions."""
    found = existing_topic(settings, topic)
    if found is None and partitions is None:
        raise OutsideError(f"topic {topic} does not exist", hint="--partitions N creates it")
    if found is None and partitions is not None:
        create_topic(settings, topic, partitions)
    if found is not None and partitions not in (None, len(found.partitions)):
        raise UsageError(f"topic {topic} exists with {len(found.partitions)} partitions, not {partitions}")


def produce_lines(
    settings: Settings,
    topic: str,
    lines: Iterator[bytes],
    *,
    source: str,
    key_field: str | None,
    rate: float | None,
    on_progress: Callable[[int], None],
) -> int:
    """Send every line and wait for all acknowledgements; returns how many there were.

    A bad line ends it with InputError naming `source` and the line; what stands before it has been sent.
    """
    client = producer(settings, PROPERTIES)
    deliveries = Deliveries()
    started = time.monotonic()
    sent = 0
    try:
        for number, line in enumerate(lines, start=1):
            value = line.strip()
            if not value:
                continue
            key = _checked(value, key_field, f"{source}:{number}")
            if rate is not None:
                _pause(client, started + sent / rate)
            _send(client, topic, key, value, deliveries, f"{source}:{number}")
            sent += 1
            if deliveries.failure:
                break
            if sent % PROGRESS_RECORDS == 0:
                on_progress(sent)
    finally:
        client.flush()
    on_progress(sent)
    if deliveries.failure:
        _raise_failed(settings, topic, deliveries)
    return deliveries.acknowledged


def _checked(value: bytes, key_field: str | None, place: str) -> bytes | None:
    """The key of a line, which must be one JSON object."""
    try:
        row = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"{place}: not a JSON object")
    if key_field is None:
        return None
    if key_field not in row:
        raise InputError(f"{place}: no field `{key_field}`", hint=f"fields: {', '.join(row)}")
    return key_bytes(row[key_field])


def key_bytes(key: object) -> bytes | None:
    """The plain text of a key, as other Kafka tools write it."""
    if key is None:
        return None
    return key.encode() if isinstance(key, str) else orjson.dumps(key)


def _send(client: Producer, topic: str, key: bytes | None, value: bytes, deliveries: Deliveries, place: str) -> None:
    while True:
        try:
            client.produce(topic, value, key, on_delivery=deliveries.note)
            client.poll(0)
            return
        except BufferError:
            client.poll(QUEUE_WAIT_SECONDS)
        except KafkaException as error:
            raise InputError(f"{place}: {explain(error)}") from error


def _pause(client: Producer, until: float) -> None:
    """Wait for the moment a record is due, serving deliveries meanwhile."""
    while (left := until - time.monotonic()) > 0:
        client.poll(left)


def _raise_failed(settings: Settings, topic: str, deliveries: Deliveries) -> None:
    failure = deliveries.failure
    assert failure is not None
    if failure.code() in (KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT):
        raise unreachable(settings, failure.str())
    raise OutsideError(
        f"topic {topic} refused a record: {failure.str()} ({failure.name()}); "
        f"{deliveries.acknowledged} records were acknowledged"
    )
