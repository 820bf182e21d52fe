"""A topic as JSON lines: every record from the beginning, in envelope form, committed transactions only."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Generator, Iterator
from typing import cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.app.clients import METADATA_TIMEOUT_SECONDS, consumer, existing_topic, is_passing
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

PROPERTIES: dict[str, object] = {
    "group.id": "headrace-consume",  # demanded by the client; nothing is ever joined or committed
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
}
POLL_SECONDS = 0.5
RETRY_SECONDS = 0.1


def follow(settings: Settings, topic: str) -> Iterator[bytes]:
    """Envelopes of all records, for as long as the caller wants them."""
    with _assigned(settings, topic) as client:
        while True:
            record = _polled(client)
            if record is not None and not _is_end(record):
                yield envelope(record)


def read_to_end(settings: Settings, topic: str) -> Iterator[bytes]:
    """Envelopes of the records that are there now."""
    return map(envelope, records_to_end(settings, topic))


def records_to_end(settings: Settings, topic: str) -> Generator[Message]:
    """The records that are there now: the end of each partition is fixed when this is called."""
    with _assigned(settings, topic) as client:
        yield from _to_end(client, topic)


def _to_end(client: Consumer, topic: str) -> Generator[Message]:
    ends = _end_offsets(client)
    while ends:
        record = _polled(client)
        if record is None:
            continue
        partition, offset = record.partition(), record.offset()
        assert partition is not None
        assert offset is not None
        # A transaction's marker is an offset without a record: only the end of the partition tells of it.
        is_end = _is_end(record)
        if not is_end and partition in ends and offset < ends[partition]:
            yield record
        if partition in ends and (is_end or offset + 1 >= ends[partition]):
            del ends[partition]
            client.pause([TopicPartition(topic, partition)])


def newest(settings: Settings, topic: str, count: int) -> list[Message]:
    """The last records of a topic, the newest first, at most so many; none where there is no such topic."""
    if existing_topic(settings, topic) is None:
        return []
    with _assigned(settings, topic) as client:
        bounds = {partition.partition: _bounds(client, partition) for partition in client.assignment()}
        span = count
        while True:
            starts = {number: max(low, high - span) for number, (low, high) in bounds.items()}
            begins = [TopicPartition(topic, number, start) for number, start in starts.items()]
            client.assign(begins)
            client.resume(begins)  # what was read to its end stands still
            records = list(_to_end(client, topic))
            found = Counter(record.partition() for record in records)
            # Markers of transactions, and what was aborted, take offsets too.
            if all(found[number] >= count or starts[number] == low for number, (low, _) in bounds.items()):
                break
            span *= 4
    return sorted(records, key=lambda record: record.timestamp()[1], reverse=True)[:count]


def envelope(record: Message) -> bytes:
    """One record as a JSON line without its end. A JSON value keeps its bytes; what is no text is {"base64": …}."""
    _, timestamp_ms = record.timestamp()
    line = {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "key": _key(record.key()),
        "value": _value(record.value()),
        "timestamp": timestamp_ms,
        "headers": _headers(record),
    }
    return orjson.dumps(line)


def _key(key: str | bytes | None) -> object:
    """A key is plain text, unless it is the JSON object of several columns."""
    if isinstance(key, bytes) and key.startswith(b"{") and _is_json(key):
        return orjson.Fragment(key)
    return _text(key)


def _value(value: str | bytes | None) -> object:
    return orjson.Fragment(value) if isinstance(value, bytes) and _is_json(value) else _text(value)


def _headers(record: Message) -> dict[str, object]:
    """By name; a name that occurs more than once has a list."""
    headers: dict[str, list[object]] = {}
    for name, value in cast("list[tuple[str, bytes | None]]", record.headers() or []):
        headers.setdefault(name, []).append(_text(value))
    return {name: values[0] if len(values) == 1 else values for name, values in headers.items()}


def _text(data: str | bytes | None) -> object:
    if not isinstance(data, bytes):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _assigned(settings: Settings, topic: str) -> Consumer:
    found = existing_topic(settings, topic)
    if found is None:
        raise OutsideError(f"topic {topic} does not exist")
    client = consumer(settings, PROPERTIES)
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions])
    return client


def _end_offsets(client: Consumer) -> dict[int, int]:
    """End offsets by partition, of those that hold anything."""
    ends = {}
    for partition in client.assignment():
        low, high = _bounds(client, partition)
        if low < high:
            ends[partition.partition] = high
    return ends


def _bounds(client: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """First and end offset; asked again while the partition has no leader, as in the first moments of a topic."""
    deadline = time.monotonic() + METADATA_TIMEOUT_SECONDS
    while True:
        try:
            return client.get_watermark_offsets(partition, timeout=METADATA_TIMEOUT_SECONDS)
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                raise
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


def _polled(client: Consumer) -> Message | None:
    record = client.poll(POLL_SECONDS)
    error = record.error() if record is not None else None
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        if is_passing(error):
            return None
        raise KafkaException(error)
    return record


def _is_end(record: Message) -> bool:
    return record.error() is not None
