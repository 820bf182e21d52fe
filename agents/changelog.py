"""Restoring a task's state: its store is brought up to the end of its changelog partition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiokafka
import structlog
from aiokafka import TopicPartition as KafkaPartition

from headrace.agents.config import WorkerConfig, consumer_options
from headrace.agents.records import FetchedBatch
from headrace.agents.task import CHECKPOINT_KEY
from headrace.agents.transport import drain
from headrace.sql.runtime.records import Change, RecordBatch, Store, TopicPartition

log = structlog.get_logger(__name__)

RESTORE_FETCH_BYTES = 4 * 1024 * 1024
TAIL_RECORDS = 1_000
"""Records at the end of a changelog in which the last checkpoint is looked for first."""
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
) -> Sequence[Change]:
    """Bring the store from its position to the last checkpoint of the span.

    Changes behind it are of a commit that never ended: they are not applied, or the work that made them would be done
    again on top of them. Returned is what undoes them in the changelog, to be written with the next commit.

    Blocks, with a client and an event loop of its own: to be called in a thread. Reads committed records only, but
    waits for the high watermark, so that what an unfinished transaction wrote is decided when this returns.
    """
    start = span.begin if store.position is None else store.position
    if start > span.end or (start < span.begin and store.position is not None):
        raise StaleStore(f"{changelog.topic}-{changelog.partition} has {span}, the store stands at {start}")
    if start == span.end:
        store.apply((), span.end)
        return ()
    return asyncio.run(_Replay(store, changelog, config, cancelled).run(start, span.end))


class _Replay:
    """One restore, with the client that reads the changelog."""

    def __init__(
        self, store: Store, changelog: TopicPartition, config: WorkerConfig, cancelled: Callable[[], bool]
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._config = config
        self._cancelled = cancelled

    async def run(self, start: int, end: int) -> Sequence[Change]:
        self._consumer = _consumer(self._config)
        await self._consumer.start()
        try:
            self._consumer.assign([KafkaPartition(*self._changelog)])
            applied_end, unfinished = await self._unfinished(start, end)
            progress = _Progress(self._changelog, start, applied_end)
            async for batch in self._read(start, applied_end):
                progress.add(self._apply(batch), batch.next_offset)
            progress.finish()
        finally:
            # Stopped early, aiokafka lets the cancellation of a task of its own escape.
            with suppress(asyncio.CancelledError):
                await self._consumer.stop()
        if unfinished:
            log.info("a commit that never ended is undone", changelog=str(self._changelog), entries=len(unfinished))
        return [(key, self._store.get(key)) for key in unfinished]

    async def _unfinished(self, start: int, end: int) -> tuple[int, Sequence[bytes]]:
        """The offset behind the last checkpoint (`start` if there is none), and the keys of changes from there on."""
        length = TAIL_RECORDS
        while True:
            first = max(start, end - length)
            behind, keys = first, dict[bytes, None]()
            found = False
            async for batch in self._read(first, end):
                for offset, key in zip(batch.offsets, batch.keys, strict=True):
                    if key == CHECKPOINT_KEY:
                        behind, found = offset + 1, True
                        keys.clear()
                    elif key is not None:
                        keys[key] = None
            if found or first == start:
                # Behind the last record, control records may stand.
                return (behind if keys or not found else end), list(keys)
            length *= 10

    async def _read(self, start: int, end: int) -> AsyncIterator[FetchedBatch]:
        """Everything in between, batch by batch."""
        partition = KafkaPartition(*self._changelog)
        self._consumer.seek(partition, start)
        position = start
        while position < end:
            if self._cancelled():
                raise RestoreCancelled
            batch = (await drain(self._consumer._fetcher, None, 0.2)).get(partition)
            if batch is not None and batch.fetch_offset == position:
                position = batch.next_offset
                yield batch.ending_at(end)

    def _apply(self, batch: RecordBatch) -> int:
        keys = batch.keys
        latest = dict(zip(keys, batch.values, strict=True))
        self._store.apply(((key, value) for key, value in latest.items() if key is not None), batch.next_offset)
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
