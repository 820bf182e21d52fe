"""Faust's Kafka transport made batch-native: one Faust event is what one fetch returned for one partition.

Everything is done by subclassing. A task's own position says what is committed and where reading goes on, so Faust's
bookkeeping of single offsets (acknowledgements, gaps, read offsets) is switched off rather than imitated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import faust
from faust.app.base import BootStrategy
from faust.sensors.monitor import Monitor
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from mode import Service

from headrace.agents.config import WorkerConfig
from headrace.agents.reader import GroupReader, RebalanceListener
from headrace.agents.records import FetchedBatch
from headrace.sql.runtime.records import TopicPartition


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


class _NothingRead(dict[Any, Any]):
    """Faust drops what lies before the offset it read last; a reader sent back must be heard."""

    def __missing__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class BatchConsumer(driver.Consumer):
    """Faust's consumer on the main loop: hands batches to the conductor and rebalances to the owner."""

    RebalanceListener = RebalanceListener
    _thread: GroupReader

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NothingRead()

    @property
    def _owner(self) -> Owner:
        return cast(BatchApp, self.app).owner

    def _new_consumer_thread(self) -> GroupReader:
        app = cast(BatchApp, self.app)
        return GroupReader(self, app.config, app.owner.out_of_range, loop=self.loop, beacon=self.beacon)

    @property
    def reader(self) -> GroupReader:
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


class Unmonitored(Monitor):
    """Faust's own statistics, which nobody reads: not computed."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _sampler(self) -> None:
        pass


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
            Monitor=Unmonitored,
        )

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.owner.crashed(reason)

    def _on_rebalance_when_stopped(self) -> None:
        """The stop closes the consumer, in its own thread.

        Faust would close it here too, from the main loop: it would not leave its group, and sometimes never end.
        """

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
