"""Reads `<app>-watermarks`, in which tasks tell the other tasks of their stage how far their source partitions are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.agents.checkpoint import Progress, decode_progress
from headrace.agents.cluster import PASSING
from headrace.agents.config import WorkerConfig, librdkafka_options
from headrace.agents.errors import KafkaFailure
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import TopicPartition

POLL_S = 0.2
"""Longest time that a worker that stops waits for its reader."""


class WatermarksReader:
    """Reads the whole topic, from its beginning, as a consumer of no group, in a thread of its own."""

    def __init__(self, config: WorkerConfig, partition: TopicPartition) -> None:
        self._topic = partition.topic
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watermarks")
        self._news: dict[TaskId, Progress] = {}
        self._consumer = Consumer(
            {
                **librdkafka_options(config),
                "group.id": config.app,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([KafkaPartition(*partition, OFFSET_BEGINNING)])

    async def news(self) -> Mapping[TaskId, Progress]:
        """The last word of each task since the last call, as soon as all words so far are known; soon, or none.

        Raises KafkaFailure.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._poll)

    def _poll(self) -> Mapping[TaskId, Progress]:
        deadline = time.monotonic() + POLL_S
        while (left := deadline - time.monotonic()) > 0:
            message = self._consumer.poll(left)
            if message is None:
                break
            error = message.error()
            if error is None:
                id_, progress = decode_progress(message.key() or b"", message.value() or b"")
                self._news[id_] = progress
            elif error.code() == KafkaError._PARTITION_EOF:
                # What was told long ago may be outdated by what comes behind it, so nothing is told on before.
                news, self._news = self._news, {}
                return news
            elif error.code() not in PASSING:
                raise KafkaFailure(f"topic {self._topic!r} cannot be read: {error.str()}")
        return {}

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)
