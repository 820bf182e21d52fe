"""Tables as they are in Kafka at this moment: each is read when it is asked for, and then on from where it was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from types import MappingProxyType
from typing import TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from headrace.agents.admin import answered
from headrace.app import clients
from headrace.app.consume import PROPERTIES
from headrace.app.errors import OutsideError
from headrace.app.settings import Settings

T = TypeVar("T")

READ_S = 60.0
"""How long a table may take to be read."""
ASK_S = 5.0
FORGET_S = 600.0
"""After how long unasked a view is given up."""
VIEW_BYTES_MAX = 512 * 1024 * 1024
VIEWS_BYTES_MAX = 1024 * 1024 * 1024
"""Of all views together; beyond it those that were asked longest ago are given up."""
BATCH = 10_000
POLL_S = 0.2
VIEWS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Row:
    value: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A table as of its newest committed record when it was asked for."""

    rows: Mapping[bytes | None, Row]
    read_ms: int
    """When it was so, in milliseconds since the epoch."""
    newest_ms: int | None
    """Timestamp of the newest record in it; None of an empty topic."""


class View:
    """The newest value of every key of a topic. Its methods block; one at a time."""

    def __init__(self, settings: Settings, admin: AdminClient, topic: str, stopping: Event) -> None:
        self._settings = settings
        self._topic = topic
        self._stopping = stopping
        self._rows: dict[bytes | None, Row] = {}
        self._reached: dict[int, int] = {}
        self._bytes = 0
        self._newest_ms: int | None = None
        self._client: Consumer | None = None
        self._admin = admin
        self._of: tuple[str, int] | None = None
        """The topic that was read, by Kafka's id of it, and the number of its partitions."""

    def read(self) -> Contents:
        """All that is committed by now. OutsideError where there is no such topic, or it is too much, or takes long."""
        asked_ms = int(time.time() * 1000)
        deadline = time.monotonic() + READ_S
        client = self._assigned()
        ends = clients.end_offsets(self._admin, self._topic)
        if self._is_behind(ends):
            client.resume(client.assignment())
            while self._is_behind(ends):
                for message in clients.arrived(client, BATCH, POLL_S):
                    self._take(message)
                if self._bytes > VIEW_BYTES_MAX:
                    self.close()
                    raise OutsideError(
                        f"topic {self._topic} holds more than can be asked at once", "consume it instead"
                    )
                if time.monotonic() > deadline:
                    raise OutsideError(f"topic {self._topic} was not read to its end in {READ_S:.0f} s", "ask again")
                if self._stopping.is_set():
                    raise OutsideError("the server is stopping")
            client.pause(client.assignment())  # until it is asked again, nothing is fetched
        return Contents(MappingProxyType(self._rows), asked_ms, self._newest_ms)

    def _is_behind(self, ends: Mapping[int, int]) -> bool:
        return any(self._reached.get(partition, 0) < end for partition, end in ends.items())

    def _assigned(self) -> Consumer:
        """A client that is where it was left; one at the beginning where the topic is not the one that was read."""
        found = self._described()
        if self._client is None or found != self._of:
            self.close()
            self._of = found
            self._client = clients.consumer(self._settings, PROPERTIES)
            self._client.assign([TopicPartition(self._topic, each, OFFSET_BEGINNING) for each in range(found[1])])
        return self._client

    def _described(self) -> tuple[str, int]:
        future = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=ASK_S)[self._topic]
        try:
            found = answered(future, ASK_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self.close()
                raise OutsideError(f"topic {self._topic} does not exist yet") from None
            raise OutsideError(f"topic {self._topic}: {clients.explain(error)}") from error
        return str(found.topic_id), len(found.partitions)

    def _take(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if clients.is_passing(error):
                return
            self.close()
            raise OutsideError(f"topic {self._topic}: {error.str()}")
        if partition is None or offset is None:
            return
        if error is not None:
            # The end of a partition: behind the markers of transactions too, which are offsets without a record.
            self._reached[partition] = max(self._reached.get(partition, 0), offset)
            return
        self._reached[partition] = offset + 1
        key, value, timestamp_ms = clients.raw(message)
        self._newest_ms = max(timestamp_ms, self._newest_ms or 0)
        old = self._rows.pop(key, None)
        if old is not None:
            self._bytes -= len(old.value)
        if value is not None:
            self._rows[key] = Row(value, timestamp_ms)
            self._bytes += len(value)

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return self._bytes

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._rows, self._reached, self._bytes, self._newest_ms = {}, {}, 0, None


@dataclass(slots=True)
class _Asked:
    """A view, whose turn it is to ask it, and when it was asked last."""

    view: View
    turn: asyncio.Lock
    at: float


class Views:
    """The views that were asked for lately. Use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked: dict[str, _Asked] = {}
        self._admin = clients.admin(settings)
        self._threads = ThreadPoolExecutor(VIEWS_AT_ONCE, thread_name_prefix="views")
        self._stopping = Event()

    async def ask(self, topic: str, question: Callable[[Contents], T]) -> T:
        """Answer a question about a table, in a thread. Questions about other tables do not wait for it."""
        loop = asyncio.get_running_loop()
        for stale in self._forgotten():
            loop.run_in_executor(self._threads, stale.close)
        if topic not in self._asked:
            self._asked[topic] = _Asked(View(self._settings, self._admin, topic, self._stopping), asyncio.Lock(), 0.0)
        asked = self._asked[topic]
        asked.at = time.monotonic()
        async with asked.turn:
            return await loop.run_in_executor(self._threads, lambda: question(asked.view.read()))

    def _forgotten(self) -> Iterator[View]:
        now, left = time.monotonic(), sum(asked.view.size for asked in self._asked.values())
        for topic, asked in sorted(self._asked.items(), key=lambda each: each[1].at):
            if (now - asked.at > FORGET_S or left > VIEWS_BYTES_MAX) and not asked.turn.locked():
                left -= asked.view.size
                del self._asked[topic]
                yield asked.view

    def close(self) -> None:
        """Ends what is being read."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
