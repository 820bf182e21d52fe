"""The topics of a job server: the compacted one that holds the jobs, and the one in which it tells of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson
import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from headrace.app import clients
from headrace.app.consume import PROPERTIES
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

log = structlog.get_logger(__name__)

JOBS_CONFIG = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "max.message.bytes": "8388608"}
EVENTS_CONFIG = {"retention.ms": str(7 * 86_400_000)}
PRODUCER = {
    "enable.idempotence": True,
    "linger.ms": 0,
    "message.max.bytes": 8_388_608,
    "message.timeout.ms": 10_000,  # well within WRITE_S: what is told as failed is not carried out later
}
WAIT_S = 0.5
POLL_S = 0.1
WRITE_S = 15.0
CLOSE_S = 5.0
"""How long the last events may take to be written."""
RECORDS_MAX = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the topic of jobs."""

    offset: int
    key: bytes | None
    value: bytes | None


class JobLog:
    """Reads and writes the topics of one server. Belongs to a running event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="jobs-read")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="jobs-write")
        self._producer = clients.producer(settings, PRODUCER)

    def prepare(self) -> None:
        """Create the topics where they are missing. Blocks. OutsideError where Kafka or the topic is not as needed."""
        settings = self._settings
        for topic, config in ((settings.jobs_topic, JOBS_CONFIG), (settings.job_events_topic, EVENTS_CONFIG)):
            found = clients.existing_topic(settings, topic)
            if found is None:
                clients.create_topic(settings, topic, 1, config)
            elif topic == settings.jobs_topic and len(found.partitions) != 1:
                raise OutsideError(
                    f"topic {topic} has {len(found.partitions)} partitions: the order of jobs needs one",
                    "jobs_topic names another topic",
                )
            elif topic == settings.jobs_topic and len(found.partitions[0].replicas) == 1:
                brokers = len(clients.cluster_metadata(settings, topic).brokers)
                if brokers > 1:
                    log.warning("only one broker has the jobs: without it all are lost", topic=topic, brokers=brokers)

    async def entries(self) -> AsyncGenerator[list[Entry]]:
        """All records from the first on, and those that come; an empty list where it has read all there is."""
        loop = asyncio.get_running_loop()
        client = clients.consumer(self._settings, PROPERTIES)
        client.assign([TopicPartition(self._settings.jobs_topic, 0, OFFSET_BEGINNING)])
        try:
            while True:
                messages = await loop.run_in_executor(self._reading, clients.arrived, client, RECORDS_MAX, WAIT_S)
                entries = [_entry(message) for message in messages if _is_record(message)]
                if entries:
                    yield entries
                if any(_is_end(message) for message in messages):
                    yield []
        finally:
            # By the thread that reads, after its last read: a client must not be closed while it is used.
            await loop.run_in_executor(self._reading, client.close)

    async def write(self, name: str, value: bytes | None) -> int:
        """Write a job; the offset of its record. OutsideError where Kafka does not take it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writing, self._write, self._settings.jobs_topic, name, value)

    def tell(self, job: str, event: str, **facts: object) -> None:
        """Send an event, and do not wait for it. What Kafka does not take is only in the log."""
        document = {"time": int(time.time() * 1000), "job": job, "event": event, **facts}
        log.info(f"job {event}", job=job, **facts)

        def sent(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                log.warning("event was not written", job=job, job_event=event, error=error.str())

        try:
            self._producer.produce(self._settings.job_events_topic, orjson.dumps(document), job, callback=sent)
            self._producer.poll(0)  # hands over what has become of earlier ones
        except (KafkaException, BufferError) as error:
            log.warning("event was not written", job=job, job_event=event, error=str(error))

    def _write(self, topic: str, key: str, value: bytes | None) -> int:
        delivered: list[tuple[KafkaError | None, int | None]] = []
        deadline = time.monotonic() + WRITE_S
        try:
            self._producer.produce(topic, value, key, callback=lambda error, m: delivered.append((error, m.offset())))
            while not delivered and time.monotonic() < deadline:  # not a flush: that would wait for events too
                self._producer.poll(POLL_S)
        except (KafkaException, BufferError) as error:
            raise OutsideError(f"topic {topic} cannot be written: {error}") from error
        if not delivered:
            raise OutsideError(f"topic {topic} cannot be written: Kafka did not answer in {WRITE_S:.0f} s")
        failure, offset = delivered[-1]
        if failure is not None or offset is None:
            raise OutsideError(f"topic {topic} cannot be written: {failure}")
        return offset

    async def close(self) -> None:
        """Send what was told, for a moment at most."""
        left = await asyncio.get_running_loop().run_in_executor(self._writing, self._producer.flush, CLOSE_S)
        if left:
            log.warning("events were not written", events=left)
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)


def _entry(message: Message) -> Entry:
    offset = message.offset()
    assert offset is not None
    key, value, _ = clients.raw(message)
    return Entry(offset, key, value)


def _is_record(message: Message) -> bool:
    return message.error() is None


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        log.warning("jobs cannot be read at the moment", error=error.str())
        return False
    return True
