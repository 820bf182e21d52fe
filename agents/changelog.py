"""Restoring a task's state: its store is brought up to the end of its changelog partition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiokafka
import structlog
from aiokafka import TopicPartition as KafkaPartition

from headrace.agents.config import WorkerConfig, consumer_options
from headrace.agents.transport import drain
from headrace.sql.runtime.records import RecordBatch, Store, TopicPartition

log = structlog.get_logger(__name__)

RESTORE_FETCH_BYTES = 4 * 1024 * 1024
PROGRESS_S = 5.0


class RestoreCancelled(Exception):  # noqa: N818
    """The task went to another worker before its state was there."""


class StaleStore(Exception):  # noqa: N818
    """The store stands outside of what the changelog still has: it must be rebuilt from nothing."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a changelog partition holds: from the first offset it still has to its high watermark."""

    begin: int
    end: int


def restore(
    store: Store, changelog: TopicPartition, span: Span, config: WorkerConfig, cancelled: Callable[[], bool]
) -> int:
    """Apply everything from the store's position to the end of the span; the number of records.

    Blocks, with a client and an event loop of its own: to be called in a thread. Reads committed records only, but
    waits for the high watermark, so that what an unfinished transaction wrote is decided when this returns.
    """
    start = span.begin if store.position is None else store.position
    if start > span.end or (start < span.begin and store.position is not None):
        raise StaleStore(f"{changelog.topic}-{changelog.partition} has {span}, the store stands at {start}")
    if start == span.end:
        store.apply((), span.end)
        return 0
    return asyncio.run(_replay(store, changelog, start, span.end, config, cancelled))


async def _replay(
    store: Store, changelog: TopicPartition, start: int, end: int, config: WorkerConfig, cancelled: Callable[[], bool]
) -> int:
    consumer = _consumer(config)
    await consumer.start()
    try:
        partition = KafkaPartition(*changelog)
        consumer.assign([partition])
        consumer.seek(partition, start)
        progress = _Progress(changelog, start, end)
        position = start
        while position < end:
            if cancelled():
                raise RestoreCancelled
            batch = (await drain(consumer._fetcher, None, 0.2)).get(partition)
            if batch is not None:
                position = batch.next_offset
                progress.add(_apply(store, batch), position)
        return progress.finish()
    finally:
        await consumer.stop()


def _apply(store: Store, batch: RecordBatch) -> int:
    keys = batch.keys
    latest = dict(zip(keys, batch.values, strict=True))
    store.apply(((key, value) for key, value in latest.items() if key is not None), batch.next_offset)
    return len(keys)


def _consumer(config: WorkerConfig) -> aiokafka.AIOKafkaConsumer:
    options = {
        "client_id": f"{config.client_id}-restore",
        **consumer_options(config),
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": RESTORE_FETCH_BYTES,
    }
    return aiokafka.AIOKafkaConsumer(
        bootstrap_servers=config.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=50,
        **options,
    )


class _Progress:
    """Says in the log how far a restore is, for one that takes long."""

    def __init__(self, changelog: TopicPartition, start: int, end: int) -> None:
        self._log = log.bind(changelog=f"{changelog.topic}-{changelog.partition}")
        self._start, self._end = start, end
        self._started_at = self._told_at = time.monotonic()
        self._records = 0

    def add(self, records: int, position: int) -> None:
        self._records += records
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            percent = 100 * (position - self._start) // max(self._end - self._start, 1)
            self._log.info("restoring state", percent=percent, records=self._records, per_s=self._rate(now))

    def finish(self) -> int:
        now = time.monotonic()
        self._log.info(
            "state restored", records=self._records, per_s=self._rate(now), s=round(now - self._started_at, 3)
        )
        return self._records

    def _rate(self, now: float) -> int:
        return int(self._records / max(now - self._started_at, 1e-6))
