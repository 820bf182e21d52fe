"""How a commit reaches Kafka: the two guarantees, each in one class. Tasks and stores are the committer's business.

Exactly once: what tasks made waits for the commit, which is one transaction of outputs, changelog changes and
positions. It is open only while the commit runs, so a worker that dies or is paused between commits leaves nothing
open, and a reader of committed records never waits for it.

At least once: outputs are produced when a batch has made them. A commit waits until all of them and the changelog
changes are acknowledged, then commits the positions through the group member that read the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Protocol

import structlog

from headrace.agents.cluster import TopicState
from headrace.agents.config import Guarantee, WorkerConfig
from headrace.agents.errors import CommitFailed
from headrace.agents.membership import Membership
from headrace.agents.producer import OutputProducer, transaction_s
from headrace.agents.task import Task
from headrace.sql.runtime.records import Cut, Position, TopicPartition

log = structlog.get_logger(__name__)

TaskCut = tuple[Task, Cut]

IN_FLIGHT_MAX = 500_000
"""Records handed to the producer and not acknowledged, above which no batch is taken."""


class Group(Protocol):
    """The worker's member of the consumer group."""

    async def confirm_membership(self) -> None:
        """Raises Fenced where the group has gone on without this worker."""

    async def commit_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit group offsets with metadata; raises Fenced."""


class Delivery(Protocol):
    """Brings cuts of tasks to Kafka. After a failure, `start` comes before anything else."""

    markers: int
    """Offsets that a commit takes in each partition besides its records."""

    @property
    def producer(self) -> OutputProducer | None:
        """None before the first `start`."""

    def start(self) -> None:
        """Make a new producer; what an earlier one of this worker left unfinished is decided when this returns.

        Blocks; raises CommitFailed.
        """

    async def admit(self) -> None:
        """A batch is about to be processed. Raises Fenced where what it makes could not be taken back."""

    def collect(self, task: Task) -> None:
        """A task may have outputs. Raises CommitFailed."""

    @property
    def full(self) -> bool:
        """Whether so much is under way that no batch may be taken."""

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:
        """When this returns, Kafka has all of the cuts. Raises CommitFailed (Fenced), TaskStopped, KafkaFailure."""

    def fence(self, workers: Collection[str]) -> None:
        """End what workers that are gone left unfinished, so that nobody waits for it. Blocks."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a worker writes: topics as the cluster has them, and the one for what they do not take."""

    topics: Mapping[str, TopicState]
    dead_letter_topic: str | None


def new_delivery(config: WorkerConfig, outlets: Outlets, worker: str, group: Group) -> Delivery:
    """The delivery that the guarantee asks for; `worker` names this worker among all of the app."""
    if config.guarantee is Guarantee.EXACTLY_ONCE:
        return ExactlyOnce(config, outlets, worker)
    return AtLeastOnce(config, outlets, group)


class ExactlyOnce:
    """One transaction per commit."""

    markers = 1

    def __init__(self, config: WorkerConfig, outlets: Outlets, worker: str) -> None:
        self.producer: OutputProducer | None = None
        self._config = config
        self._outlets = outlets
        self._worker = worker
        self._thread = _new_thread()
        self._patience_s = transaction_s(config) + 5.0
        """Longer than Kafka lets a transaction live."""

    def start(self) -> None:
        self.producer = None
        self.producer = self._new_producer(self._worker)

    def _new_producer(self, worker: str) -> OutputProducer:
        transactional_id = f"{self._config.app}-{worker}"
        producer = OutputProducer(self._config, self._outlets.topics, self._outlets.dead_letter_topic, transactional_id)
        producer.init_transactions()
        return producer

    async def admit(self) -> None:
        """The commit is what the group may refuse."""

    def collect(self, task: Task) -> None:
        """Outputs wait in their task."""

    @property
    def full(self) -> bool:
        return False

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:
        assert self.producer is not None
        run = copy_context().run  # whatever is logged there belongs to this commit
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, run, self._transact, self.producer, cuts, membership
        )
        try:
            await asyncio.wait_for(work, self._patience_s)
        except TimeoutError:
            # librdkafka's `send_offsets_to_transaction` can outlast its time-out for ever when a coordinator goes away
            # (confluentinc/librdkafka#5456). The thread is left behind; what it may still do, the next producer fences.
            self._thread.shutdown(wait=False)
            self._thread = _new_thread()
            raise CommitFailed(f"the transaction did not end within {self._patience_s:.0f} s") from None

    def _transact(self, producer: OutputProducer, cuts: Sequence[TaskCut], membership: Membership) -> None:
        positions = {partition: position for _, cut in cuts for partition, position in cut.positions.items()}
        # The positions carry the membership: a transaction without any would be refused to nobody.
        assert positions, "a cut without positions"
        producer.begin_transaction()
        _produce(producer, cuts)
        metadata = membership.metadata(self._config.app, self._config.group_instance_id)
        producer.commit_transaction(positions, metadata)

    def fence(self, workers: Collection[str]) -> None:
        for worker in workers:
            try:
                self._new_producer(worker)
            except CommitFailed as error:
                # Then it takes until the transaction's time is up.
                log.warning("a worker that is gone could not be fenced", worker=worker, error=str(error))
            else:
                log.info("fenced a worker that is gone", worker=worker)

    def close(self) -> None:
        self._thread.shutdown(wait=False)


class AtLeastOnce:
    """Flush, then commit positions."""

    markers = 0

    def __init__(self, config: WorkerConfig, outlets: Outlets, group: Group) -> None:
        self.producer: OutputProducer | None = None
        self._config = config
        self._outlets = outlets
        self._group = group
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._flushing = False
        """Outputs wait in their tasks: a flush waits for every record, so none may be added."""

    def start(self) -> None:
        self.producer = None
        self.producer = OutputProducer(self._config, self._outlets.topics, self._outlets.dead_letter_topic)

    async def admit(self) -> None:
        await self._group.confirm_membership()

    def collect(self, task: Task) -> None:
        if self.producer is None or self._flushing:
            return
        for output in task.take_outputs():
            self.producer.send(output)

    @property
    def full(self) -> bool:
        return self.producer is not None and self.producer.in_flight > IN_FLIGHT_MAX

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:  # noqa: ARG002 (the group knows)
        # What a worker without its tasks writes to a changelog would cover what their new owner has written.
        await self._group.confirm_membership()
        self._flushing = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, self._flush, cuts)
        finally:
            self._flushing = False
        await self._group.commit_positions(
            {partition: position for _, cut in cuts for partition, position in cut.positions.items()}
        )

    def _flush(self, cuts: Sequence[TaskCut]) -> None:
        assert self.producer is not None
        _produce(self.producer, cuts)
        self.producer.flush()

    def fence(self, workers: Collection[str]) -> None:
        """Nothing of theirs holds anybody up."""

    def close(self) -> None:
        self._thread.shutdown(wait=False)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="transaction")


def _produce(producer: OutputProducer, cuts: Sequence[TaskCut]) -> None:
    for task, cut in cuts:
        for output in cut.outputs:
            producer.send(output)
        if cut.changelog:
            changelog = task.spec.changelog
            assert changelog is not None
            producer.send_changes(changelog, cut.changelog)
        if cut.watermark is not None:
            watermarks = task.spec.watermarks
            assert watermarks is not None
            producer.send_changes(watermarks, [cut.watermark])
