"""What becomes of records that Kafka, or its client, does not take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.agents import producer as producers
from headrace.agents.cluster import TopicState
from headrace.agents.config import WorkerConfig
from headrace.agents.errors import CommitFailed, KafkaFailure, TaskStopped
from headrace.agents.producer import OutputProducer
from headrace.sql.runtime.records import Output, TopicPartition

TOO_LARGE = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
BYTES_MAX = 5_000


class Client:
    """A client of Kafka that takes records of up to BYTES_MAX, and so many before it has to be polled."""

    made: Client

    def __init__(self, options: dict[str, object]) -> None:
        type(self).made = self
        self.options = options
        self.sent: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
        self.room = 1_000
        self.error: KafkaException | None = None

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        _partition: int,
        _callback: None = None,
        _also: None = None,
        _timestamp: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        if self.room == 0:
            raise BufferError
        if self.error is not None:
            raise self.error
        if sum(len(part or b"") for part in (value, key, *(content for _, content in headers))) > BYTES_MAX:
            raise TOO_LARGE
        self.room -= 1
        self.sent.append((topic, value, key, list(headers)))

    def poll(self, _seconds: float) -> None:
        self.room = 1_000


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "Producer", Client)


def new_producer(*, dead_letters: str | None = "dead", **properties: str) -> OutputProducer:
    config = WorkerConfig("localhost:9092", "app", Path("state"), kafka=properties)
    limits = {"max.message.bytes": str(BYTES_MAX)}
    topics = {name: TopicState(name, "id", 1, limits) for name in ("out", "dead", "log")}
    return OutputProducer(config, topics, dead_letters, "app-0")


def output(*records: tuple[bytes | None, bytes | None], topic: str = "out") -> Output:
    keys, values = (list(column) for column in zip(*records, strict=True))
    return Output(topic, None, keys, values, [1_000] * len(records))


def letter() -> tuple[bytes | None, bytes | None, str]:
    """Value, key and message of the only dead letter."""
    ((_, value, key, headers),) = [record for record in Client.made.sent if record[0] == "dead"]
    return value, key, dict(headers)["headrace.error.message"].decode()


def test_record_that_is_too_large_is_a_dead_letter_with_as_much_of_it_as_fits() -> None:
    producer = new_producer()
    producer.send(output((b"a", b"1"), (b"b", b"x" * 9_000), (b"c", b"3")))
    value, key, message = letter()
    assert (key, set(value or b"")) == (b"b", set(b"x"))
    assert f"{len(value or b'')} of 9000 bytes of its value are kept" in message
    assert [sent[2] for sent in Client.made.sent if sent[0] == "out"] == [b"a", b"c"]
    assert producer.dead_lettered == 1


def test_key_that_is_too_large_does_not_end_the_worker() -> None:
    new_producer().send(output((b"k" * 9_000, b"1")))
    value, key, message = letter()
    assert (value, set(key or b"")) == (b"", set(b"k"))
    assert f"{len(key or b'')} of 9000 bytes of its key are kept" in message


def test_dead_letter_waits_for_room_in_the_client() -> None:
    producer = new_producer()
    Client.made.room = 0
    producer.send(output((b"b", b"x" * 9_000)))
    assert letter()[1] == b"b"


def test_dead_letter_that_cannot_be_produced_fails_the_commit() -> None:
    producer = new_producer()
    Client.made.error = KafkaException(KafkaError(KafkaError._FATAL))
    with pytest.raises(CommitFailed, match="a record for topic"):
        producer.send(output((b"b", b"x" * 9_000)))


def test_record_that_is_too_large_without_dead_letters_ends_the_worker() -> None:
    with pytest.raises(KafkaFailure, match="topic 'out' does not take a record"):
        new_producer(dead_letters=None).send(output((b"b", b"x" * 9_000)))


def test_state_that_its_changelog_does_not_take_stops_the_task() -> None:
    with pytest.raises(TaskStopped, match="an entry of 9001 bytes does not fit changelog log"):
        new_producer().send_changes(TopicPartition("log", 0), [(b"k", b"x" * 9_000)])


def test_commit_is_given_as_long_as_a_transaction_lives() -> None:
    waited: list[float] = []
    producer = new_producer(**{"transaction.timeout.ms": "20000"})
    Client.made.send_offsets_to_transaction = lambda _offsets, _group, seconds: waited.append(seconds)  # type: ignore[attr-defined]
    Client.made.commit_transaction = waited.append  # type: ignore[attr-defined]
    producer.commit_transaction({}, b"")
    assert (Client.made.options["transaction.timeout.ms"], waited) == ("20000", [20.0, 20.0])
