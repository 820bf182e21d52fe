"""The one producer of a worker: outputs and changelog records in, and certainty that Kafka has them out.

A record that failed for good is known through librdkafka's delivery reports, of which only errors reach Python: that
costs nothing per record (1.20 µs of CPU for the process, as without any report; 1.35 to 1.54 with a callback for each).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.agents.cluster import TopicState
from headrace.agents.config import WorkerConfig, librdkafka_options
from headrace.agents.errors import CommitFailed, Fenced, KafkaFailure, TaskStopped
from headrace.sql.runtime.records import Change, Headers, Output, Position, TopicPartition

log = structlog.get_logger(__name__)

ANY_PARTITION = -1
DELIVERY_MS = 20_000
"""Time a record has to be acknowledged. A commit must not last longer than the group waits in a rebalance."""
FLUSH_S = 25.0
"""Longer than any record may take: librdkafka gives each up, with an error, after its time."""
BATCH_BYTES = 1_000_000
BATCH_OVERHEAD_BYTES = 128
"""Header of a Kafka record batch, and some."""
FOREVER_MS = 2**62
TRANSACTION_MS = 10_000
"""Longest life of a transaction: what a worker that died in a commit, unnoticed by all others, may hold up."""
INIT_S = 60.0
"""Time a cluster has to get over a restart before a worker's producer is given up."""

_LEFT_BEHIND = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""What the group says to a member that it has gone on without."""

Record = tuple[bytes | None, bytes | None, int, Headers]
"""Value, key, timestamp, headers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a topic refuses."""

    bytes_max: int
    ahead_ms_max: int
    behind_ms_max: int
    keys_required: bool

    @classmethod
    def of(cls, topic: TopicState) -> Limits:
        config = topic.config
        forever = str(FOREVER_MS)
        if config.get("message.timestamp.type") == "LogAppendTime":
            ahead = behind = forever
        else:
            ahead = config.get("message.timestamp.after.max.ms", forever)
            behind = config.get("message.timestamp.before.max.ms", forever)
        return cls(
            bytes_max=int(config.get("max.message.bytes", BATCH_BYTES)) - BATCH_OVERHEAD_BYTES,
            ahead_ms_max=int(ahead),
            behind_ms_max=int(behind),
            keys_required="compact" in config.get("cleanup.policy", ""),
        )


def transaction_s(config: WorkerConfig) -> float:
    """The longest life of a transaction, in seconds."""
    return int(config.kafka.get("transaction.timeout.ms", TRANSACTION_MS)) / 1000


class OutputProducer:
    """Idempotent, acks=all; with a transactional id, everything is sent in transactions.

    `send` may be called from any thread, all else from one. Whatever raises CommitFailed ends its usefulness.
    """

    def __init__(
        self,
        config: WorkerConfig,
        topics: Mapping[str, TopicState],
        dead_letter_topic: str | None,
        transactional_id: str | None = None,
    ) -> None:
        self._limits = {name: Limits.of(topic) for name, topic in topics.items()}
        self._dead_letter_topic = dead_letter_topic
        self._failures: list[str] = []
        self._transaction_s = transaction_s(config)
        outputs = [limits.bytes_max for name, limits in self._limits.items() if name != dead_letter_topic]
        self._bytes_max = max(outputs, default=BATCH_BYTES)
        self._producer = Producer(self._options(config, transactional_id))
        self.records_sent = 0
        self.dead_lettered = 0

    def _options(self, config: WorkerConfig, transactional_id: str | None) -> dict[str, object]:
        smallest = min((limits.bytes_max for limits in self._limits.values()), default=BATCH_BYTES)
        if transactional_id is None:
            mode: dict[str, object] = {"delivery.timeout.ms": DELIVERY_MS}
        else:
            mode = {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_MS,
                # A transaction that follows on another is told to try again until the markers of that are written.
                "retry.backoff.ms": 5,
            }
        return {
            "compression.type": "lz4",
            "linger.ms": 5,
            "batch.size": min(BATCH_BYTES, smallest),
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 256 * 1024,
            **mode,
            "partitioner": "murmur2_random",
            **librdkafka_options(config),
            "message.max.bytes": max(self._bytes_max, 1_000),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.report.only.error": True,
            "on_delivery": self._note_failure,
        }

    @property
    def in_flight(self) -> int:
        """Records that Kafka has not acknowledged yet."""
        return len(self._producer)

    def send(self, output: Output) -> None:
        """Hand the records over; those that Kafka would refuse become dead letters.

        Raises CommitFailed, and KafkaFailure where a record is refused that cannot become one.
        """
        if len(output) == 0:
            return
        partition = ANY_PARTITION if output.partition is None else output.partition
        if self._acceptable(output):
            if output.headers is None:
                self._send_plain(output.topic, partition, output)
            else:
                self._send_each(output.topic, partition, _records(output))
            self.records_sent += len(output)
        else:
            self._send_screened(output, partition)

    def send_changes(self, changelog: TopicPartition, changes: Sequence[Change]) -> None:
        """Hand one task's state changes over, in order. Raises CommitFailed; TaskStopped for one that is too large."""
        produce, (topic, partition) = self._producer.produce, changelog
        bytes_max = self._limits[topic].bytes_max
        pending: Iterator[Change] = iter(changes)
        while True:
            try:
                for key, value in pending:
                    if value is not None and len(value) + len(key) > bytes_max:
                        raise TaskStopped(
                            f"an entry of {len(value) + len(key)} bytes does not fit changelog {topic} "
                            f"(max.message.bytes less overhead is {bytes_max})"
                        )
                    produce(topic, value, key, partition)
                self.records_sent += len(changes)
                return
            except BufferError:
                self._make_room()
                pending = chain([(key, value)], pending)
            except KafkaException as error:
                raise self._failed(topic, error) from error

    def flush(self) -> None:
        """Wait until Kafka has acknowledged every record handed over before. Raises CommitFailed where one failed."""
        left = self._producer.flush(FLUSH_S)
        self.check()
        if left:
            raise CommitFailed(f"{left} records were not acknowledged within {FLUSH_S:.0f} s")

    def check(self) -> None:
        """Raise CommitFailed where a record has failed for good since the producer was made."""
        self._producer.poll(0)
        if self._failures:
            more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
            raise CommitFailed(f"a record could not be produced: {self._failures[0]}{more}")

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{error.str()} (topic {message.topic()}, partition {message.partition()})")

    # Transactions

    def init_transactions(self) -> None:
        """Take the transactional id over: an unfinished transaction of whoever had it is decided when this returns."""
        self._calling(self._producer.init_transactions, INIT_S)

    def begin_transaction(self) -> None:
        self._calling(self._producer.begin_transaction)

    def commit_transaction(self, positions: Mapping[TopicPartition, Position], group_metadata: bytes) -> None:
        """Commit what was sent since `begin_transaction`, and the group offsets with it.

        Raises Fenced where the group has gone on without the member of the metadata.
        """
        offsets = [
            KafkaPartition(topic, partition, at.next_offset, at.metadata)
            for (topic, partition), at in positions.items()
        ]
        patience_s = self._transaction_s
        self._calling(self._producer.send_offsets_to_transaction, offsets, group_metadata, patience_s)
        self._calling(self._producer.commit_transaction, patience_s)

    def _calling(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except KafkaException as error:
            failed: KafkaError = error.args[0]
            if failed.code() in _LEFT_BEHIND:
                raise Fenced(failed.str()) from error
            raise CommitFailed("; ".join([failed.str(), *self._failures[:1]])) from error

    # Sending

    def _send_plain(self, topic: str, partition: int, output: Output) -> None:
        produce = self._producer.produce
        pending: Iterator[tuple[bytes | None, bytes | None, int]] = zip(
            output.values, output.keys, output.timestamps, strict=True
        )
        while True:
            try:
                for value, key, timestamp in pending:
                    produce(topic, value, key, partition, None, None, timestamp)
                return
            except BufferError:
                self._make_room()
                pending = chain([(value, key, timestamp)], pending)
            except KafkaException as error:
                self._recover(topic, error, (value, key, timestamp, ()))

    def _send_each(self, topic: str, partition: int, records: Iterable[Record]) -> None:
        produce = self._producer.produce
        pending: Iterator[Record] = iter(records)
        while True:
            try:
                for value, key, timestamp, headers in pending:
                    produce(topic, value, key, partition, None, None, timestamp, list(headers))
                return
            except BufferError:
                self._make_room()
                pending = chain([(value, key, timestamp, headers)], pending)
            except KafkaException as error:
                self._recover(topic, error, (value, key, timestamp, headers))

    def _make_room(self) -> None:
        self._producer.poll(0.1)
        self.check()

    def _recover(self, topic: str, error: KafkaException, record: Record) -> None:
        """Go on after a record that librdkafka would not take, if it is only too large."""
        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
            raise self._failed(topic, error) from error
        self._bury(topic, record, "RecordTooLarge", self._too_large(record, self._bytes_max))

    def _failed(self, topic: str, error: KafkaException) -> CommitFailed:
        return CommitFailed(f"a record for topic {topic!r} could not be produced: {error.args[0].str()}")

    # What Kafka would refuse

    def _acceptable(self, output: Output) -> bool:
        """Whether no record needs a look: a few passes at C speed over the batch."""
        limits = self._limits[output.topic]
        timestamps, now = output.timestamps, _now_ms()
        if min(timestamps) < max(1, now - limits.behind_ms_max):
            return False
        if limits.ahead_ms_max < FOREVER_MS and max(timestamps) > now + limits.ahead_ms_max:
            return False
        if limits.keys_required and None in output.keys:
            return False
        # librdkafka itself refuses what no topic takes; a topic that takes less than others is looked at here.
        return limits.bytes_max >= self._bytes_max or _longest(output) < limits.bytes_max // 2

    def _send_screened(self, output: Output, partition: int) -> None:
        limits, now = self._limits[output.topic], _now_ms()
        accepted = []
        for record in _records(output):
            refusal = self._refusal(limits, record, now)
            if refusal is None:
                accepted.append(record)
            else:
                self._bury(output.topic, record, *refusal)
        self._send_each(output.topic, partition, accepted)
        self.records_sent += len(accepted)

    def _refusal(self, limits: Limits, record: Record, now_ms: int) -> tuple[str, str] | None:
        _, key, timestamp, _ = record
        if _bytes(record) > limits.bytes_max:
            return "RecordTooLarge", self._too_large(record, limits.bytes_max)
        if timestamp > now_ms + limits.ahead_ms_max:
            return "TimestampRefused", f"timestamp {timestamp} is further ahead than message.timestamp.after.max.ms"
        if timestamp < now_ms - limits.behind_ms_max:
            return "TimestampRefused", f"timestamp {timestamp} is older than message.timestamp.before.max.ms"
        if limits.keys_required and key is None:
            return "KeyRequired", "a compacted topic takes no record without a key"
        return None

    def _too_large(self, record: Record, bytes_max: int) -> str:
        return f"a record of {_bytes(record)} bytes is larger than the {bytes_max} that the topic takes"

    def _bury(self, topic: str, record: Record, error_class: str, message: str) -> None:
        """Write a dead letter in the record's place, with as much of it as fits there."""
        dead_letters = self._dead_letter_topic
        if dead_letters is None or topic == dead_letters:
            raise KafkaFailure(f"topic {topic!r} does not take a record: {message}")
        value, key, timestamp, headers = record
        limits = self._limits[dead_letters]
        room = max(min(limits.bytes_max, self._bytes_max) - 1_000, 0)
        if _bytes((None, None, 0, headers)) > room:
            message, headers = f"{message}; its headers are left out", ()
        room -= _bytes((None, None, 0, headers))
        key, message = _cut(key, room, "key", message)
        value, message = _cut(value, room - len(key or b""), "value", message)
        labels = {"class": error_class, "message": message, "topic": topic, "partition": "", "offset": "", "query": ""}
        marks = [(f"headrace.error.{name}", text.encode()) for name, text in labels.items()]
        self.dead_lettered += 1
        log.warning("output became a dead letter", topic=topic, error=error_class, message=message)
        timestamp = max(min(timestamp, _now_ms() + limits.ahead_ms_max), 1)
        self._send_each(dead_letters, ANY_PARTITION, [(value, key, timestamp, [*headers, *marks])])


def _records(output: Output) -> Iterable[Record]:
    headers = output.headers if output.headers is not None else [()] * len(output)
    # librdkafka takes 0 for "now".
    timestamps = (timestamp if timestamp > 0 else 1 for timestamp in output.timestamps)
    return zip(output.values, output.keys, timestamps, headers, strict=True)


def _cut(part: bytes | None, room: int, name: str, message: str) -> tuple[bytes | None, str]:
    """As much of the key or the value of a record as there is room for; the message tells what is missing."""
    room = max(room, 0)
    if part is None or len(part) <= room:
        return part, message
    return part[:room], f"{message}; {room} of {len(part)} bytes of its {name} are kept"


def _bytes(record: Record) -> int:
    value, key, _, headers = record
    size = len(value or b"") + len(key or b"") + 40
    return size + sum(len(name) + len(content or b"") + 10 for name, content in headers)


def _longest(output: Output) -> int:
    """Bytes of the longest value and the longest key together."""
    return max(map(len, filter(None, output.values)), default=0) + max(map(len, filter(None, output.keys)), default=0)


def _now_ms() -> int:
    return int(time.time() * 1000)
