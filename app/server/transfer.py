"""What a rebuilt version of a job makes waits in topics of its own; here it goes into the sinks, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from threading import Event
from typing import Any

from confluent_kafka import KafkaException

from headrace.agents.topology import rebuild_topic
from headrace.app import clients
from headrace.app.application import App
from headrace.app.consume import records_to_end
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings
from headrace.sql.vocabulary import RelationKind

TRANSACTION_S = 900
"""What a broker allows at most, by its default: all of a transfer has to fit in."""
FLUSH_S = 120.0
COMMIT_S = 60.0
PRODUCER = {
    "transaction.timeout.ms": TRANSACTION_S * 1000,
    "compression.type": "lz4",
    "linger.ms": 5,
    "partitioner": "murmur2_random",
    "message.max.bytes": 16 * 1024 * 1024,
}


@dataclass(frozen=True, slots=True)
class Move:
    """A sink, and the topic in which its records wait."""

    waiting: str
    sink: str
    is_table: bool


def diverted(name: str, new: App, old: App) -> dict[str, str | None]:
    """By sink of the new version the topic that takes its records until the old one stops; None: they are dropped.

    A stream that both write has its results from the old version up to the switch, and from the new one after it.
    """
    known = {query.sink.topic for query in old.logical.queries}
    return {
        query.sink.topic: None
        if query.sink.topic in known and query.sink.kind is RelationKind.STREAM
        else rebuild_topic(name, query.sink.topic)
        for query in new.logical.queries
    }


def moves(name: str, new: App, old: App) -> list[Move]:
    """What is to be moved at the switch."""
    tables = {query.sink.topic for query in new.logical.queries if query.sink.kind is RelationKind.TABLE}
    return [
        Move(waiting, sink, sink in tables) for sink, waiting in diverted(name, new, old).items() if waiting is not None
    ]


class Transfer:
    """One transaction. Its methods block, and raise OutsideError where Kafka does not take it."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        """Whoever began a transfer of the same id before can not end it any more; what it wrote is undone."""
        self._settings = settings
        self._stopped = Event()
        self._producer = clients.producer(settings, {**PRODUCER, "transactional.id": transactional_id})
        with _told():
            self._producer.init_transactions(clients.METADATA_TIMEOUT_SECONDS * 5)

    def move(self, planned: Sequence[Move]) -> None:
        """A table then holds what has waited and nothing else; to a stream is added what has waited."""
        with _told():
            self._producer.begin_transaction()
            try:
                for move in planned:
                    (_replace if move.is_table else _append)(self._settings, self._produce, move)
                # All of it, before the record that is written last makes readers of its topic wait.
                if self._producer.flush(FLUSH_S):
                    raise OutsideError(f"Kafka did not take all results within {FLUSH_S:.0f} s")
            except BaseException:
                self.abort()
                raise

    def abort(self) -> None:
        """Undo a `move` that has ended."""
        with _told():
            self._producer.abort_transaction(clients.METADATA_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Have a `move` in another thread end, and undo what it did. From any thread."""
        self._stopped.set()

    def commit(self, topic: str, key: str, value: bytes) -> None:
        """Make it visible, and with it a record that announces it.

        That is written last: until the transaction ends, nobody reads what comes behind it in its topic.
        """
        with _told():
            try:
                self._produce(topic, key.encode(), value, int(time.time() * 1000), None)
            except BaseException:
                self.abort()
                raise
            self._producer.commit_transaction(COMMIT_S)

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Any) -> None:
        while not self._stopped.is_set():
            try:
                self._producer.produce(topic, value, key, timestamp=timestamp_ms, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return
        raise OutsideError("the move was stopped")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise OutsideError(f"results were not moved into the sinks: {clients.explain(error)}") from error


Produce = Callable[[str, bytes | None, bytes | None, int, Any], None]
"""Takes a topic, a key, a value, a timestamp in milliseconds, and headers."""


def _append(settings: Settings, produce: Produce, move: Move) -> None:
    for message in records_to_end(settings, move.waiting):
        key, value, timestamp_ms = clients.raw(message)
        produce(move.sink, key, value, timestamp_ms, message.headers())


def _replace(settings: Settings, produce: Produce, move: Move) -> None:
    """Only what differs is written. In memory are the keys, and a digest of each value."""
    present = _digests(settings, move.sink)
    newest: dict[bytes | None, tuple[int | None, int | None]] = {}
    for message in records_to_end(settings, move.waiting):
        newest[clients.raw(message)[0]] = message.partition(), message.offset()
    for message in records_to_end(settings, move.waiting):
        key, value, timestamp_ms = clients.raw(message)
        if newest[key] != (message.partition(), message.offset()):
            continue
        if value is None:
            del newest[key]
        elif present.get(key) != _digest(value):
            produce(move.sink, key, value, timestamp_ms, message.headers())
    now_ms = int(time.time() * 1000)
    for key in present.keys() - newest.keys():
        produce(move.sink, key, None, now_ms, None)


def _digests(settings: Settings, topic: str) -> Mapping[bytes | None, bytes]:
    """Of the newest value of every key of a topic."""
    digests: dict[bytes | None, bytes] = {}
    for message in records_to_end(settings, topic):
        key, value, _ = clients.raw(message)
        if value is None:
            digests.pop(key, None)
        else:
            digests[key] = _digest(value)
    return digests


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
