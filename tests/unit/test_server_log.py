"""What a server writes into its topics while Kafka takes it, and while it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from headrace.app import clients
from headrace.app.errors import OutsideError
from headrace.app.server import job_log
from headrace.app.server.job_log import JobLog
from headrace.app.settings_sources import settings_as_given

JOBS, EVENTS = "headrace-jobs", "headrace-job-events"


class Sent:
    """A message as far as its producer knows it."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


class Kafka:
    """A producer, and what has become of its records. It takes those of the topics that it is told to answer for."""

    def __init__(self, *answered: str) -> None:
        self.properties: Mapping[str, Any] = {}
        self.sent: list[str] = []
        self.flushed: list[float] = []
        self._answered = answered
        self._waiting: list[Callable[[], None]] = []

    def produce(self, topic: str, _value: object, _key: object, callback: Callable[..., None]) -> None:
        self.sent.append(topic)
        if topic in self._answered:
            self._waiting.append(lambda: callback(None, Sent(7)))

    def time_out(self, callback: Callable[..., None]) -> None:
        self._waiting.append(lambda: callback(KafkaError(KafkaError._MSG_TIMED_OUT), Sent(None)))

    def poll(self, _timeout: float) -> int:
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()
        return len(waiting)

    def flush(self, timeout: float) -> int:
        self.flushed.append(timeout)
        self.poll(timeout)
        return 0


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kafka], JobLog]:
    def connect(kafka: Kafka) -> JobLog:
        def producer(_settings: object, properties: Mapping[str, Any]) -> Kafka:
            kafka.properties = properties
            return kafka

        monkeypatch.setattr(clients, "producer", producer)
        return JobLog(settings_as_given({}))

    return connect


Connected = Callable[[Kafka], JobLog]


def test_a_write_that_kafka_does_not_answer_is_given_up_by_the_client_before_it_is_told_as_failed(
    connected: Connected,
) -> None:
    kafka = Kafka()
    connected(kafka)
    assert kafka.properties["message.timeout.ms"] < job_log.WRITE_S * 1000


def test_events_while_kafka_is_away_are_waited_for_once_and_at_the_end(connected: Connected) -> None:
    kafka = Kafka(JOBS)

    async def run() -> None:
        written = connected(kafka)
        for number in range(50):
            written.tell(f"job-{number}", "stopping")
        assert await written.write("a", b"{}") == 7  # does not wait for events
        assert kafka.flushed == []
        await written.close()

    asyncio.run(run())
    assert kafka.sent == [EVENTS] * 50 + [JOBS]
    assert kafka.flushed == [job_log.CLOSE_S]


def test_a_job_that_kafka_does_not_take_is_told_as_failed(connected: Connected) -> None:
    class Away(Kafka):
        def produce(self, topic: str, _value: object, _key: object, callback: Callable[..., None]) -> None:
            self.sent.append(topic)
            self.time_out(callback)

    async def run() -> None:
        written = connected(Away())
        with pytest.raises(OutsideError, match="headrace-jobs cannot be written"):
            await written.write("a", b"{}")
        written.tell("a", "running")  # is only in the log
        await written.close()

    asyncio.run(run())


@pytest.mark.parametrize(("replicas", "brokers", "is_told"), [(1, 3, True), (1, 1, False), (2, 3, False)])
def test_jobs_that_only_one_of_several_brokers_has_are_told_at_the_start(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, replicas: int, brokers: int, is_told: bool
) -> None:
    found = SimpleNamespace(partitions={0: SimpleNamespace(replicas=list(range(replicas)))}, error=None)
    cluster = SimpleNamespace(topics={JOBS: found, EVENTS: found}, brokers=dict.fromkeys(range(brokers)))
    monkeypatch.setattr(clients, "cluster_metadata", lambda _settings, _topic=None: cluster)
    with capture_logs() as logs:
        connected(Kafka()).prepare()
    assert [each["topic"] for each in logs if each["log_level"] == "warning"] == ([JOBS] if is_told else [])
