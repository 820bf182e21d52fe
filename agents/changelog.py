"""Restoring a task's state: its store is brought up to the end of its changelog partition, and checked.

A store has the checkpoint record only while it is complete. The first write of a restore takes it away, the last one
puts the newest one in, after the entries were counted. So a restore that was cut off goes on where it stopped, and is
known to have been cut off.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from typing import cast

import aiokafka
import msgspec
import structlog
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.agents.config import WorkerConfig, consumer_options
from headrace.agents.errors import KafkaFailure, TaskStopped
from headrace.agents.fetching import drain
from headrace.agents.records import FetchedBatch
from headrace.agents.tables import RestorableStore, UnusableState
from headrace.sql.runtime.records import Change, TopicPartition

log = structlog.get_logger(__name__)

FETCH_BYTES = 1024 * 1024
TAIL_RECORDS = 1_000
"""Records at the end of a changelog in which the last checkpoint is looked for first."""
LOAD_RECORDS = 20_000
"""A restore of more records than these is worth opening the store for loading, which takes some 50 ms."""
SLICE = 2_000
"""Changes per write: RocksDB writes them in a few milliseconds, in which no other thread of the process runs."""
POLL_S = 0.2
PAUSE_S = 5.0
PROGRESS_S = 5.0


class RestoreCancelled(Exception):  # noqa: N818
    """The task went to another worker before its state was there."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a changelog partition holds: from the first offset it still has to its high watermark."""

    begin: int
    end: int


class RestoreProgress:
    """How far the restore of a task is. Written by the thread that restores it, to be read by any."""

    def __init__(self, changelog: TopicPartition) -> None:
        self.records = 0
        """Records restored."""
        self.left = 0
        """Offsets to go: at least as many as records."""
        self.log = log.bind(changelog=f"{changelog.topic}-{changelog.partition}")
        self._told_at = self._started_at = time.monotonic()
        self._offsets = 0

    def begin(self, offsets: int) -> None:
        self.left = self._offsets = offsets
        self._told_at = self._started_at = time.monotonic()

    def add(self, records: int, left: int) -> None:
        """Tells the log now and then how far it is, with a forecast."""
        self.records += records
        self.left = left
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            done = self._offsets - left
            self.log.info(
                "restoring state",
                percent=100 * done // self._offsets,
                records=self.records,
                left=left,
                per_s=self._per_s(now),
                left_s=round(left * (now - self._started_at) / done),
            )

    def finish(self, entries: int | None) -> None:
        now = time.monotonic()
        self.log.info(
            "state restored",
            records=self.records,
            per_s=self._per_s(now),
            s=round(now - self._started_at, 3),
            entries=entries,
        )

    def cancel(self) -> None:
        self.log.info("restore cancelled", records=self.records, left=self.left)

    def _per_s(self, now: float) -> int:
        return int(self.records / max(now - self._started_at, 1e-6))


class Restorer:
    """Restores stores of one worker. Safe to use from several threads."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._turn = threading.Lock()
        """Whoever has it works; the others fetch. The running tasks compete with one restore, not with all."""

    def restore(
        self,
        store: RestorableStore,
        changelog: TopicPartition,
        span: Span,
        progress: RestoreProgress,
        cancelled: Callable[[], bool],
    ) -> Sequence[Change]:
        """Bring the store from its position to the last checkpoint of the span.

        Changes behind it are of a commit that never ended: they are not applied, or the work that made them would be
        done again on top of them. Returned is what undoes them in the changelog, to be written with the next commit.

        Blocks, with a client and an event loop of its own: to be called in a thread. Reads committed records only, but
        waits for the high watermark, so that what an unfinished transaction wrote is decided when this returns.

        Raises UnusableState where the store does not fit the changelog, TaskStopped where the changelog does not fit
        its own checkpoint, KafkaFailure where it cannot be read for `restore_timeout_s`, and RestoreCancelled.
        """
        was_new = store.position is None
        start = span.begin if store.position is None else store.position
        try:
            if start > span.end or start < span.begin:
                raise _Misfit(f"the changelog has offsets {span.begin} to {span.end}, the store stands at {start}")
            checkpoint = store.get(CHECKPOINT_KEY)
            if span.begin == span.end or (start == span.end and checkpoint is not None):
                if was_new:
                    store.apply((), span.end)
                return ()
            replay = _Replay(store, changelog, self._config, progress, cancelled, self._turn)
            return asyncio.run(replay.run(start, span, checkpoint))
        except _Misfit as misfit:
            if was_new:
                raise TaskStopped(
                    f"changelog {changelog.topic} partition {changelog.partition} is damaged: {misfit}. Records of it "
                    "were deleted, or somebody else wrote to it; `headrace reset` starts over"
                ) from None
            store.condemn(str(misfit))
            raise UnusableState(f"local state of {changelog.topic} partition {changelog.partition}: {misfit}") from None
        except RestoreCancelled:
            progress.cancel()
            raise


class _Misfit(Exception):  # noqa: N818
    """The store and the changelog contradict each other."""


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a changelog."""

    end: int
    """Where the changes end that count: before those of a commit that never ended."""
    checkpoint: bytes | None
    """The last one."""
    unfinished: Sequence[bytes]
    """Keys of the changes that do not count."""


class _Replay:
    """One restore, with the client that reads the changelog."""

    def __init__(
        self,
        store: RestorableStore,
        changelog: TopicPartition,
        config: WorkerConfig,
        progress: RestoreProgress,
        cancelled: Callable[[], bool],
        turn: threading.Lock,
    ) -> None:
        self._store = store
        self._changelog = changelog
        self._config = config
        self._progress = progress
        self._cancelled = cancelled
        self._turn = turn
        self._entries: int | None = None
        """Entries that the store holds, where they are counted as they come."""

    async def run(self, start: int, span: Span, checkpoint: bytes | None) -> Sequence[Change]:
        """`checkpoint` is the store's own; None where it is new, or a restore of it was cut off."""
        self._consumer = await self._connected()
        try:
            tail = await self._tail(span.begin if checkpoint is None else start, span.end)
            if tail.end < start:
                raise _Misfit(f"the last commit of the changelog ends at {tail.end}, the store stands at {start}")
            self._entries = None if checkpoint is None else entries_of(checkpoint)
            self._progress.begin(tail.end - start)
            is_long = checkpoint is None and tail.end - start > LOAD_RECORDS
            with self._store.loading() if is_long else nullcontext():
                async for batch in self._read(start, tail.end):
                    records = self._apply(batch)
                    self._progress.add(records, tail.end - batch.next_offset)
        finally:
            # Stopped early, aiokafka lets the cancellation of a task of its own escape.
            with suppress(asyncio.CancelledError):
                await self._consumer.stop()
        self._complete(tail.end, checkpoint if tail.checkpoint is None else tail.checkpoint)
        if tail.unfinished:
            self._progress.log.info("a commit that never ended is undone", entries=len(tail.unfinished))
        return [(key, self._store.get(key)) for key in tail.unfinished]

    # Reading

    async def _connected(self) -> aiokafka.AIOKafkaConsumer:
        patience = _Patience(self._config.restore_timeout_s)
        while True:
            consumer = _consumer(self._config)
            try:
                await consumer.start()
            except KafkaConnectionError as error:
                await consumer.stop()
                self._stay()
                if patience.is_lost():
                    raise self._stuck(str(error)) from error
                await asyncio.sleep(POLL_S)
            else:
                consumer.assign([KafkaPartition(*self._changelog)])
                return consumer

    async def _tail(self, begin: int, end: int) -> _Tail:
        """The last checkpoint is looked for from the end on, in ever more records."""
        length = TAIL_RECORDS
        while True:
            first = max(begin, end - length)
            behind, checkpoint, keys = end, None, dict[bytes, None]()
            async for batch in self._read(first, end):
                for offset, key, value in batch.entries():
                    if key == CHECKPOINT_KEY:
                        checkpoint = value
                        keys.clear()
                    elif key is not None:
                        if not keys:
                            behind = offset
                        keys[key] = None
            if checkpoint is not None or first == begin:
                # Behind the last record, control records may stand.
                return _Tail(behind if keys else end, checkpoint, list(keys))
            length *= 10

    async def _read(self, start: int, end: int) -> AsyncIterator[FetchedBatch]:
        """Everything in between, batch by batch."""
        partition = KafkaPartition(*self._changelog)
        self._consumer.seek(partition, start)
        position = start
        patience = _Patience(self._config.restore_timeout_s)
        while position < end:
            self._stay()
            try:
                batch = (await drain(self._consumer._fetcher, None, POLL_S)).get(partition)
            except OffsetOutOfRangeError:
                raise _Misfit(f"the changelog does not have offset {position} any more") from None
            if batch is not None and batch.fetch_offset == position:
                position = batch.next_offset
                patience = _Patience(self._config.restore_timeout_s)
                yield batch.ending_at(end)
            elif patience.is_lost():
                raise self._stuck(f"it stands at offset {position} of {end}")

    def _stay(self) -> None:
        if self._cancelled():
            raise RestoreCancelled

    def _stuck(self, where: str) -> KafkaFailure:
        topic, partition = self._changelog
        return KafkaFailure(
            f"the restore of changelog {topic} partition {partition} has made no progress for "
            f"{self._config.restore_timeout_s:.0f} s: {where}",
            "has the partition a leader? `kafka-transactions.sh find-hanging` finds a transaction that never ends",
        )

    # Writing

    def _apply(self, batch: FetchedBatch) -> int:
        """Write what a batch has; how many records that were."""
        with self._turn:
            latest: dict[bytes | None, bytes | None] = {}
            entries = batch.entries()
            if entries:
                # In front, because with the first change the store is not complete any more.
                latest[CHECKPOINT_KEY] = None
                latest.update((key, value) for _, key, value in entries)
                latest[CHECKPOINT_KEY] = None
            latest.pop(None, None)
            *slices, last = _slices(cast("list[Change]", list(latest.items())))
            for changes in slices:
                self._write(changes, batch.fetch_offset)
            # Only now the store has everything before the next offset.
            self._write(last, batch.next_offset)
            return len(entries)

    def _write(self, changes: Sequence[Change], position: int) -> None:
        if self._entries is not None:
            get = self._store.get
            for key, value in changes:
                if key != CHECKPOINT_KEY:
                    self._entries += (value is not None) - (get(key) is not None)
        self._store.apply(changes, position)

    def _complete(self, end: int, checkpoint: bytes | None) -> None:
        """Check the store, and give it the checkpoint that says that it is complete."""
        if checkpoint is None:
            return  # nothing was ever committed
        expected = entries_of(checkpoint)
        if expected is not None:
            found = self._count() if self._entries is None else self._entries
            if found != expected:
                raise _Misfit(f"the last commit of the changelog counts {expected} entries, the store has {found}")
        self._store.apply([(CHECKPOINT_KEY, checkpoint)], end)
        self._progress.finish(expected)

    def _count(self) -> int:
        count = 0
        with closing(self._store.entries()) as counts:
            while True:
                with self._turn:
                    so_far = next(counts, None)
                if so_far is None:
                    return count
                count = so_far
                self._stay()


class _Size(msgspec.Struct):
    """What a checkpoint says of the number of entries; one that is not made by a `Task` need not say anything."""

    live: dict[int, int] | None = None


def entries_of(checkpoint: bytes) -> int | None:
    """How many entries a store has with this checkpoint; None where it does not say."""
    try:
        live = msgspec.json.decode(checkpoint, type=_Size).live
    except msgspec.DecodeError:
        return None  # of another format: the task will refuse it
    return None if live is None else sum(live.values())


def _slices(changes: Sequence[Change]) -> Sequence[Sequence[Change]]:
    """At least one."""
    return [changes[at : at + SLICE] for at in range(0, len(changes), SLICE)] or [()]


class _Patience:
    """Time that may pass without progress. Time in which the process was stopped counts little."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._asked_at = time.monotonic()

    def is_lost(self) -> bool:
        now = time.monotonic()
        self._left_s -= min(now - self._asked_at, PAUSE_S)
        self._asked_at = now
        return self._left_s < 0


def _consumer(config: WorkerConfig) -> aiokafka.AIOKafkaConsumer:
    options = {
        "client_id": f"{config.client_id}-restore",
        **consumer_options(config),
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": FETCH_BYTES,
    }
    return aiokafka.AIOKafkaConsumer(
        bootstrap_servers=config.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=50,
        **options,
    )
