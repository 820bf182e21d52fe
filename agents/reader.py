"""The worker's member of the consumer group, and what it reads: Faust's consumer thread, made batch-native."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import aiokafka
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, OffsetOutOfRangeError
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from mode import Service

from headrace.agents.config import FETCH_BYTES_MAX, WorkerConfig, consumer_options
from headrace.agents.errors import Fenced
from headrace.agents.fetching import drain
from headrace.agents.liveness import UNSEEN, SeenEnd
from headrace.agents.membership import Membership
from headrace.agents.records import FetchedBatch
from headrace.agents.static_member import StaticMember
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
QUIET_S = 10.0
"""A reader that got nothing for this long is quiet: it saves wakings, each of which costs about half a millisecond."""
QUIET_FETCH = (1, 1_000)
"""Wakes at the first record too. The first fetch after a rebalance may have to wait for it, however: a broker answers
the requests of a connection in turn.
"""
QUIET_WAIT_S = 10.0
"""How long a quiet reader waits before it reports that there is nothing. A new assignment ends the wait."""
LEADERLESS_S = 0.5
"""How often a cluster is asked for the leaders of partitions that have none."""
LOOK_MS = 5_000
"""How often aiokafka looks by itself for partitions to fetch from; whatever changes them has it look at once."""


def ask_less_while_leaders_miss(client: Any) -> None:
    """Give the cluster time where a partition has no leader, or a topic is gone.

    aiokafka asks again as soon as it has an answer: thousands of times a second, and logs each topic that is missing.
    """
    ask = client._metadata_update

    async def ask_then_wait(cluster: Any, topics: Any) -> bool:
        updated: bool = await ask(cluster, topics)
        if not all(_has_leaders(cluster, topic) for topic in topics or ()):
            await asyncio.sleep(LEADERLESS_S)
        return updated

    client._metadata_update = ask_then_wait


def _has_leaders(cluster: Any, topic: str) -> bool:
    partitions = cluster.partitions_for_topic(topic) or ()
    leaders = [cluster.leader_for_partition(KafkaPartition(topic, partition)) for partition in partitions]
    return bool(leaders) and not {None, -1} & set(leaders)


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Tells the app of revoked and assigned partitions."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        assigned = list(assigned)
        thread = cast(GroupReader, self._thread)
        coordinator = thread._ensure_consumer()._coordinator
        thread.membership = Membership(
            coordinator.generation, coordinator.member_id, frozenset(TopicPartition(*p) for p in assigned)
        )
        await super().on_partitions_assigned(assigned)


class GroupReader(driver.AIOKafkaConsumerThread):
    """The thread of aiokafka's consumer: fetches, heartbeats, seeks and commits."""

    membership: Membership | None = None
    """What the group said last: written by this thread as one value, read by the main thread."""
    _busy_until = 0.0
    """Monotonic; idle since then."""

    def __init__(
        self, consumer: Any, config: WorkerConfig, on_out_of_range: Callable[[TopicPartition], None], **options: Any
    ) -> None:
        """`on_out_of_range` is told, in this thread, of a partition without a record at its position; it is paused."""
        super().__init__(consumer, **options)
        self._config = config
        self._on_out_of_range = on_out_of_range

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
                    self._on_out_of_range(TopicPartition(*partition))
                return {}
        return {partition: [batch] for partition, batch in batches.items()}

    async def _adaptive_drain(self, fetcher: Any, partitions: Any, timeout_s: float) -> dict[Any, FetchedBatch]:
        wait_s = min(timeout_s, max(self._busy_until - time.monotonic(), 0.0))
        batches = await drain(fetcher, partitions, wait_s)
        if not batches:
            quiet = time.monotonic() >= self._busy_until + QUIET_S
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = QUIET_FETCH if quiet else IDLE_FETCH
            batches = await drain(fetcher, partitions, QUIET_WAIT_S if quiet else timeout_s - wait_s)
        if batches:
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = BUSY_FETCH
            self._busy_until = time.monotonic() + BUSY_S
        return batches

    @Service.task  # type: ignore[untyped-decorator]
    async def _thread_keepalive(self) -> None:
        """Faust wakes this thread once a second, lest a call wait for it. Calls wake it themselves."""

    async def _keepalive2(self) -> None:
        """Faust wakes the main loop once a second, and logs whether that took long."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002
        self._assignor = self.app.assignor
        config = self._config
        options = {
            "client_id": config.client_id,
            "session_timeout_ms": int(config.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(config.session_timeout_s * 1000 / 5),
            "max_partition_fetch_bytes": FETCH_BYTES_MAX,
            "metadata_max_age_ms": METADATA_MS,
            "isolation_level": config.isolation_level,
            **consumer_options(config),
        }
        member = aiokafka.AIOKafkaConsumer if config.group_instance_id is None else StaticMember
        consumer = member(
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
            consumer_timeout_ms=LOOK_MS,
            **options,
        )
        ask_less_while_leaders_miss(consumer._client)
        return consumer

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
        # Partitions may come one by one, and each waits for the end of a fetch from those before.
        consumer._fetcher._fetch_min_bytes, consumer._fetcher._fetch_max_wait_ms = IDLE_FETCH
        self._busy_until = time.monotonic()
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

    def ends(self, partition: TopicPartition) -> SeenEnd:
        """Where a partition ends by the last fetch; nothing is known of one that is not fetched.

        Safe from the main thread: an assignment is replaced as a whole, and read here once.
        """
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        state = None if assignment is None else assignment.state_value(KafkaPartition(*partition))
        if state is None or state.paused or state.timestamp is None:
            return UNSEEN
        stable = None if state.lso is None or state.lso < 0 else state.lso  # -1 where all is read
        return SeenEnd(state.highwater, stable, time.time() - state.timestamp / 1000)
