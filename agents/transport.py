"""Faust's Kafka transport made batch-native: one Faust event is what one fetch returned for one partition.

Everything is done by subclassing. A task's own position says what is committed and where reading goes on, so Faust's
bookkeeping of single offsets (acknowledgements, gaps, read offsets) is switched off rather than imitated.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, cast

import aiokafka
import faust
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
    OffsetOutOfRangeError,
)
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage

from headrace.agents.config import FETCH_BYTES_MAX, WorkerConfig, consumer_options
from headrace.agents.errors import Fenced
from headrace.agents.membership import Membership
from headrace.agents.records import FetchedBatch
from headrace.sql.runtime.records import Position, TopicPartition

IDLE_FETCH = (1, 500)
"""Bytes to wait for and milliseconds to wait at most: wakes at the first record, costs two requests a second."""
BUSY_FETCH = (64 * 1024, 5)
METADATA_MS = 30_000
"""How soon partitions that a source has got are read: before most producers know of them."""
REASSIGNMENT_S = 0.02
"""How long a fetch that comes in the middle of a rebalance takes to bring nothing."""
BUSY_S = 0.05
"""A reader that got nothing for this long is idle."""


class Owner(Protocol):
    """Who opens tasks for assigned partitions and commits them: the worker, on the main loop."""

    async def commit_revoked(self) -> None:
        """The group begins to assign anew, or the consumer stops: commit what the tasks did."""

    def assigned(self) -> None:
        """The group has assigned anew. Nothing is fetched until `BatchApp.resume`."""

    def out_of_range(self, partition: TopicPartition) -> None:
        """The topic has no record where this partition is to be read, which is paused. Called in another thread."""

    def crashed(self, error: BaseException) -> None:
        """Faust cannot go on. May be called from any thread."""


def take_records(result: Any) -> FetchedBatch | None:
    """What one fetch result holds for its partition, as one batch; None where the reader has moved elsewhere since.

    The twin of aiokafka's `PartitionRecords._unpack_records` that leaves records undecoded.
    """
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return None
    fetched = result._partition_records
    partition = fetched._tp
    fetch_offset = fetched.next_fetch_offset
    stored = copy.copy(fetched._records)
    skipped = _pass_over(fetched)
    result._update_position()
    if fetched.next_fetch_offset == fetch_offset:
        return None
    return FetchedBatch(
        partition.topic, partition.partition, fetch_offset, fetched.next_fetch_offset, stored, frozenset(skipped)
    )


def _pass_over(fetched: Any) -> list[int]:
    """Move a fetch's position to its end; base offsets of batches nobody may see (aborted, control)."""
    skipped = []
    stored = fetched._records
    committed_only = fetched._isolation_level == READ_COMMITTED
    while stored.has_next():
        batch = stored.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC in {fetched._tp} at {batch.base_offset}")
        if batch.is_control_batch or (committed_only and _aborted(fetched, batch)):
            skipped.append(batch.base_offset)
        if committed_only and batch.is_control_batch:
            _note_control(fetched, batch)
        fetched.next_fetch_offset = max(fetched.next_fetch_offset, batch.next_offset)
    return skipped


def _aborted(fetched: Any, batch: Any) -> bool:
    if batch.producer_id is None:
        return False
    fetched._consume_aborted_up_to(batch.base_offset)
    return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)


def _note_control(fetched: Any, batch: Any) -> None:
    fetched._consume_aborted_up_to(batch.base_offset)
    if fetched._contains_abort_marker(batch):
        fetched._aborted_producers.discard(batch.producer_id)


async def drain(fetcher: Any, partitions: Collection[Any] | None, timeout_s: float) -> dict[Any, FetchedBatch]:
    """Everything fetched so far, one batch per partition; waits for the first of it, at most `timeout_s`.

    Partitions outside `partitions` are left alone (None: all are wanted). Raises what the fetch of one failed with.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        batches = _fetched(fetcher, partitions)
        left = deadline - time.monotonic()
        if batches or left <= 0:
            return batches
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=left)
        if not done:
            waiter.cancel()
            return {}
        waiter.result()
        if fetcher._closed:
            return {}


def _fetched(fetcher: Any, partitions: Collection[Any] | None) -> dict[Any, FetchedBatch]:
    batches: dict[Any, FetchedBatch] = {}
    for partition in list(fetcher._records):
        if not fetcher._subscriptions.is_assigned(partition):
            del fetcher._records[partition]
            continue
        if partitions is not None and partition not in partitions:
            continue
        result = fetcher._records[partition]
        if type(result) is not FetchResult and batches:
            break  # the error waits for the next call: first what there is
        del fetcher._records[partition]
        fetcher._notify(fetcher._wait_consume_future)
        if type(result) is not FetchResult:
            _raise_current(fetcher, partition, result)
        elif (batch := take_records(result)) is not None:
            batches[partition] = batch
    return batches


def _raise_current(fetcher: Any, partition: Any, failed: Any) -> None:
    """Raise a fetch error, unless it speaks of a position that the reader has left since."""
    try:
        failed.check_raise()
    except OffsetOutOfRangeError as error:
        state = fetcher._subscriptions.subscription.assignment.state_value(partition)
        if not state.has_valid_position or state.position != error.args[0].get(partition):
            return
        raise


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Tells the app of revoked and assigned partitions."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        assigned = list(assigned)
        thread = cast(BatchConsumerThread, self._thread)
        coordinator = thread._ensure_consumer()._coordinator
        thread.membership = Membership(
            coordinator.generation, coordinator.member_id, frozenset(TopicPartition(*p) for p in assigned)
        )
        await super().on_partitions_assigned(assigned)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of aiokafka's consumer: fetches, heartbeats, seeks and commits."""

    membership: Membership | None = None
    """What the group said last: written by this thread as one value, read by the main thread."""
    _busy_until = 0.0

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature, as are the arguments without a use below)
        max_records: int | None = None,  # noqa: ARG002
    ) -> Mapping[Any, list[FetchedBatch]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            if fetcher._subscriptions.reassignment_in_progress:
                # Not to be waited for here: this thread has two workers for calls, and the main loop needs one.
                await asyncio.sleep(REASSIGNMENT_S)
                return {}
            try:
                batches = await self._adaptive_drain(fetcher, active_partitions, timeout or 0.0)
            except OffsetOutOfRangeError as error:
                for partition in error.args[0]:
                    consumer.pause(partition)
                    cast(BatchApp, self.app).owner.out_of_range(TopicPartition(*partition))
                return {}
        return {partition: [batch] for partition, batch in batches.items()}

    async def _adaptive_drain(self, fetcher: Any, partitions: Any, timeout_s: float) -> dict[Any, FetchedBatch]:
        wait_s = min(timeout_s, max(self._busy_until - time.monotonic(), 0.0))
        batches = await drain(fetcher, partitions, wait_s)
        if not batches:
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = IDLE_FETCH
            batches = await drain(fetcher, partitions, timeout_s - wait_s)
        if batches:
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = BUSY_FETCH
            self._busy_until = time.monotonic() + BUSY_S
        return batches

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002
        self._assignor = self.app.assignor
        config = cast(BatchApp, self.app).config
        options = {
            "client_id": config.client_id,
            "session_timeout_ms": int(config.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(config.session_timeout_s * 1000 / 5),
            "max_partition_fetch_bytes": FETCH_BYTES_MAX,
            "metadata_max_age_ms": METADATA_MS,
            "isolation_level": config.isolation_level,
            **consumer_options(config),
        }
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=config.bootstrap_servers,
            group_id=config.app,
            group_instance_id=config.group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Every partition is sought to its task's position; one that is gone is an error, not a reset.
            auto_offset_reset="none",
            # A stand-by fetches nothing, and aiokafka lets a member that is idle for this long rejoin no more.
            max_poll_interval_ms=2**31 - 1,
            rebalance_timeout_ms=int(config.rebalance_timeout_s * 1000),
            fetch_min_bytes=IDLE_FETCH[0],
            fetch_max_wait_ms=IDLE_FETCH[1],
            **options,
        )

    def hold_assigned(self) -> None:
        """Fetch nothing of newly assigned partitions until they are placed; called by the assignor in this thread.

        Each is given a position, whatever it is. aiokafka looks for one of a partition that has none, fetches nothing
        from that partition's broker meanwhile, and where the coordinator goes away it waits for ever.
        """
        consumer = self._ensure_consumer()
        for partition in consumer.assignment():
            consumer.pause(partition)
            consumer.seek(partition, 0)

    async def place(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on reading each partition at its offset. Partitions that are not ours any more are left out."""
        await self.call_thread(self._place, offsets)

    async def _place(self, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for partition, offset in offsets.items():
            if partition in assigned:
                consumer.seek(KafkaPartition(*partition), offset)
                consumer.resume(KafkaPartition(*partition))

    async def withhold(self, partitions: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these partitions until they are placed."""
        await self.call_thread(self._withhold, list(partitions))

    async def _withhold(self, partitions: Iterable[TopicPartition]) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        consumer.pause(*[KafkaPartition(*partition) for partition in partitions if partition in assigned])

    async def commit_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit group offsets with their metadata; `Fenced` where the group has gone on without this member."""
        await self.call_thread(self._commit_positions, positions)

    async def _commit_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        offsets = {
            # librdkafka hands metadata out as a C string: without a NUL at its end, what follows it in memory as well.
            KafkaPartition(*partition): OffsetAndMetadata(position.next_offset, f"{position.metadata}\0")
            for partition, position in positions.items()
        }
        try:
            await self._ensure_consumer().commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            raise Fenced(str(error)) from error

    async def confirm_membership(self) -> None:
        """Ask the group whether it still counts on this member; `Fenced` where it has gone on without it."""
        await self.call_thread(self._confirm_membership)

    async def _confirm_membership(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        confirmed = await coordinator._do_heartbeat()
        # Where no coordinator answers, nobody has taken over either; the commit of offsets will wait for one.
        if not confirmed and coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID:
            raise Fenced("the group has removed this member")

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each topic has, by the last metadata; 0 where nothing is known. From any thread."""
        consumer = self._ensure_consumer()
        return {topic: len(consumer.partitions_for_topic(topic) or ()) for topic in topics}

    async def join_again(self) -> None:
        """Have the group assign anew: what this member has to say has changed."""
        await self.call_thread(self._join_again)

    async def _join_again(self) -> None:
        self._ensure_consumer()._coordinator.request_rejoin()

    def ends(self, partition: TopicPartition) -> tuple[int | None, int | None]:
        """High watermark and last stable offset that the last fetch saw; None before the first.

        Plain reads, safe from the main thread.
        """
        consumer = self._ensure_consumer()
        if partition not in consumer.assignment():
            return None, None
        place = KafkaPartition(*partition)
        return consumer.highwater(place), consumer.last_stable_offset(place)


class _NothingRead(dict[Any, Any]):
    """Faust drops what lies before the offset it read last; a reader sent back must be heard."""

    def __missing__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class BatchConsumer(driver.Consumer):
    """Faust's consumer on the main loop: hands batches to the conductor and rebalances to the owner."""

    RebalanceListener = RebalanceListener
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NothingRead()

    @property
    def _owner(self) -> Owner:
        return cast(BatchApp, self.app).owner

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def reader(self) -> BatchConsumerThread:
        return self._thread

    def _to_message(self, tp: Any, record: FetchedBatch) -> ConsumerMessage:
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.next_offset - 1,
            0.0,
            0,
            (),
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        # Only a commit acknowledges; Faust would keep a list of these per partition.
        self._unacked_messages.discard(message)
        return True

    def on_buffer_full(self, tp: Any) -> None:
        # A full queue holds the fetching loop up by itself. Faust would take the partition out of the fetch, and
        # with no partition left sleep for a second.
        pass

    def on_buffer_drop(self, tp: Any) -> None:
        pass

    async def wait_empty(self) -> None:
        await self._owner.commit_revoked()

    async def force_commit(self, *_: Any, **__: Any) -> bool:
        """Faust's own commits, as after each 10,000 batches: the owner commits by its own clock."""
        return True

    async def on_stop(self) -> None:
        self.transport._topic_waiters.clear()

    async def perform_seek(self) -> None:
        """The owner places readers; Faust would send them back to what is committed, in the middle of a rebalance."""

    async def verify_all_partitions_active(self) -> None:
        """Faust's search for stuck partitions reads bookkeeping that is switched off here."""


class BatchTransport(driver.Transport):
    """Registers the batch-native consumer."""

    Consumer = BatchConsumer


class BatchSchema(faust.Schema):
    """The value of an event is the batch itself: no codec takes part."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        create_event = app.create_event

        async def decode(message: Any, **_: Any) -> Any:
            return create_event(None, message.value, message.headers, message)

        return decode


class NoTables(TableManager):
    """State is not Faust's business, and so its recovery, which resumes the flow after a rebalance, takes no part."""

    async def on_start(self) -> None:
        """Faust waits a second here for tables to be declared, and starts the recovery."""
        await self._update_channels()  # for which the consumer waits

    async def on_rebalance(self, *_: Any, **__: Any) -> None:
        cast(BatchApp, self.app).owner.assigned()


class ConsumerOnly(BootStrategy):
    """Starts no Faust producer, which would connect without our client properties."""

    enable_kafka_producer = False
    enable_web = False


class BatchApp(faust.App):
    """A Faust app on the batch-native transport, with no web server, leader topic, producer or tables."""

    BootStrategy = ConsumerOnly

    def __init__(self, config: WorkerConfig, owner: Owner) -> None:
        self.config = config
        self.owner = owner
        super().__init__(
            config.app,
            broker=[f"kafka://{server.strip()}" for server in config.bootstrap_servers.split(",")],
            store="memory://",
            datadir=str(config.state_dir / config.app / str(config.slot) / "faust"),
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
            stream_buffer_maxsize=8,
            stream_wait_empty=True,
            stream_recovery_delay=0.0,
            broker_commit_interval=86_400.0,  # the worker commits by its own clock
            broker_session_timeout=config.session_timeout_s,
            broker_rebalance_timeout=config.rebalance_timeout_s,
            TableManager=NoTables,
        )

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.owner.crashed(reason)

    async def _producer_flush(self, logger: Any) -> None:
        """Faust's producer is never started."""

    async def resume(self) -> None:
        """Hand batches to the agents again, after an assignment."""
        self.consumer.resume_partitions(self.consumer.assignment())
        self.flow_control.resume()
        self.consumer.resume_flow()
        self.on_rebalance_end()
        await self._fetcher.maybe_start()

    def batch_topic(self, name: str) -> Any:
        """A topic whose events are record batches."""
        return self.topic(name, schema=BatchSchema())
