"""What a worker reads into its tasks: each batch goes to the open task that stands where it begins, or to nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import structlog

from headrace.agents.background import Background
from headrace.agents.cluster import Cluster
from headrace.agents.commit_clock import CommitClock
from headrace.agents.config import WorkerConfig
from headrace.agents.delivery import Delivery
from headrace.agents.errors import KafkaFailure, TaskStopped
from headrace.agents.finite import Ends
from headrace.agents.gate import Gate
from headrace.agents.liveness import Liveness, SeenEnd, Stall, Stand
from headrace.agents.observer import Observer
from headrace.agents.open_task import OpenTask
from headrace.agents.records import FetchedBatch
from headrace.agents.status import PartitionEnds
from headrace.agents.suspects import Suspects
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import RecordBatch, TopicPartition

log = structlog.get_logger(__name__)


PENDING_BYTES_MAX = 64 * 1024 * 1024
"""Outputs that may wait for a commit: far more than a second brings, and a bound while Kafka stands still."""


class OpenTasks(Protocol):
    """The tasks that the worker has open."""

    @property
    def tasks(self) -> Mapping[TaskId, OpenTask]: ...

    def reader_of(self, topic: str, partition: int) -> OpenTask | None:
        """The open task that reads a partition."""


class Feed:
    """Between the reader, whose positions are set through the gate, and the open tasks; on the main loop."""

    def __init__(
        self,
        config: WorkerConfig,
        sources: Collection[str],
        open_tasks: OpenTasks,
        gate: Gate,
        ends: Ends,
        delivery: Delivery,
        clock: CommitClock,
        cluster: Cluster,
        background: Background,
        observer: Observer,
    ) -> None:
        """`sources` are the topics whose records come from outside the app."""
        self.batches = 0
        self.offsets_read = 0
        self.batches_dropped = 0
        """Read too early or twice: of a task that is not open, or not where the task stands."""
        self._open = open_tasks
        self._gate = gate
        self._ends = ends
        self._delivery = delivery
        self._clock = clock
        self._cluster = cluster
        self._background = background
        self._observer = observer
        self._sources = sources
        self._pending_max = config.pending_max
        self._suspects = Suspects()
        self._liveness = Liveness(config.stalled_s)

    @property
    def stalls(self) -> Mapping[TopicPartition, Stall]:
        """The partitions that do not move."""
        return self._liveness.stalls

    @property
    def full(self) -> bool:
        """Whether so much waits for a commit that no batch may be taken."""
        tasks = [opened.task for opened in self._open.tasks.values()]
        if sum(task.pending for task in tasks) > self._pending_max or self._delivery.full:
            return True
        return sum(task.pending_bytes for task in tasks) > PENDING_BYTES_MAX

    async def take(self, batch: FetchedBatch) -> None:
        """Raises CommitFailed where its records broke the task, or what it made cannot be delivered; TaskStopped."""
        partition = TopicPartition(batch.topic, batch.partition)
        opened = self._open.reader_of(*partition)
        if opened is None or opened.broken or not self._fits(opened, batch):
            self.batches_dropped += 1
            return
        if partition in opened.ended:
            return
        if self._gate.lead.stops(partition, batch.fetch_offset):
            await self._gate.hold({partition: batch.fetch_offset})
            return
        if (end := self._end_of(partition)) is not None:
            batch = batch.ending_at(end)
        for part in batch.parts():
            with self._observer.processing(opened.task.spec.id.stage, part):
                for each in self._suspects.parts(part):
                    self._process(opened, partition, each)
            opened.took(partition, len(part), part.first_timestamp if partition.topic in self._sources else None)
        self._delivery.collect(opened.task)
        self._end_inputs(opened)
        await self._gate.hold({partition: batch.next_offset})
        self._clock.wake()

    def _end_of(self, partition: TopicPartition) -> int | None:
        """The offset before which reading stops, for good in a finite run, for now where another version leads."""
        return self._ends.of(partition) if self._ends.given else self._gate.lead.bound(partition)

    def _process(self, opened: OpenTask, partition: TopicPartition, batch: RecordBatch) -> None:
        try:
            opened.task.process(batch)
        except TaskStopped:
            raise
        except Exception as error:
            opened.broken = True
            raise self._suspects.blame(batch, error) from error
        opened.expected[partition] = batch.next_offset
        self.batches += 1
        self.offsets_read += batch.next_offset - batch.fetch_offset

    def _fits(self, opened: OpenTask, batch: FetchedBatch) -> bool:
        """Whether the batch starts where the task stands. If it lies ahead, the reader is sent back."""
        partition = TopicPartition(batch.topic, batch.partition)
        expected = opened.expected[partition]
        if batch.fetch_offset != expected and batch.next_offset > expected:
            log.info("reader sent back", partition=str(partition), at=batch.fetch_offset, to=expected)
            self._background.spawn(self._gate.place({partition: expected}))
        return batch.fetch_offset == expected

    def _end_inputs(self, opened: OpenTask) -> None:
        """In a finite run: tell the task of source partitions that are read to their end."""
        if reached := self._ends.reach(opened):
            self._background.spawn(self._gate.close(reached))
            self._delivery.collect(opened.task)

    async def begin(self, opened: OpenTask) -> None:
        """Read for a task that is open now."""
        self._end_inputs(opened)
        await self.place([opened])

    async def place(self, tasks: Iterable[OpenTask]) -> None:
        """Read on where these tasks stand."""
        live = {p: at for opened in tasks for p, at in opened.expected.items() if p not in opened.ended}
        await self._gate.place(live)

    async def place_all(self) -> None:
        """Read on where the open tasks stand."""
        await self.place(self._open.tasks.values())

    async def skip_deleted(self, partition: TopicPartition) -> None:
        """The next records were deleted: read on from the first one left. The task decides whether it may.

        Raises TaskStopped where it may not, KafkaFailure where the topic ends before the place at which it stands.
        """
        begins = await self._background.in_thread(self._cluster.begin_offsets, [partition])
        ends = await self._background.in_thread(self._cluster.end_offsets, [partition])
        opened = self._open.reader_of(*partition)
        if opened is None:
            return
        expected, begin = opened.expected[partition], begins[partition]
        if begin <= expected <= ends[partition]:
            await self._gate.place({partition: expected})  # a leader that was not up to date
            return
        if expected > begin:
            raise KafkaFailure(
                f"{partition.topic} partition {partition.partition} has nothing at offset {expected} any more",
                "was the topic deleted and created again? `headrace reset` starts over",
            )
        log.error("records were deleted before they were read", partition=str(partition), at=expected, first_left=begin)
        opened.task.skip(partition, begin)
        opened.expected[partition] = begin
        await self._gate.place({partition: begin})
        self._end_inputs(opened)

    async def go_on_following(self) -> None:
        """The version that is followed has come further: read so far, and be idle where it is."""
        lead = self._gate.lead
        for opened in self._open.tasks.values():
            for partition in lead.idle(opened.expected):
                opened.task.sleep(partition)
                self._clock.wake()
            opened.task.wake(lead.awake(opened.expected))
        await self._gate.adjust({p: at for opened in self._open.tasks.values() for p, at in opened.expected.items()})

    def tick(self, now: float, ends: PartitionEnds) -> None:
        """Time passes, by the monotonic clock: tasks learn which of their inputs bring nothing, and stalls are told."""
        stands = []
        for opened in self._open.tasks.values():
            mine = [_stand(p, at, ends(p)) for p, at in opened.expected.items() if p not in opened.ended]
            if self._gate.paused:
                mine = []  # nobody looks where they end, nor expects them to move
            at_end = [each.partition for each in mine if each.end == each.position]
            opened.task.tick(now, [partition for partition in at_end if not self._gate.lead.leads(partition)])
            stands += [each for each in mine if not self._gate.is_held(each.partition)]
        begun, over = self._liveness.observe(now, stands, waiting_for_commit=self.full)
        for stall in begun:
            stand = stall.stand
            log.error(
                "partition does not move",
                partition=str(stand.partition),
                position=stand.position,
                lag=None if stand.end is None else stand.end - stand.position,
                since_s=round(now - stall.since),
                reason=stall.reason,
            )
        for stall in over:
            log.info("partition moves again", partition=str(stall.stand.partition))


def _stand(partition: TopicPartition, position: int, seen: SeenEnd) -> Stand:
    """Without an end where its broker has not answered lately: there may be more by now."""
    return (
        Stand(partition, position, seen.high, seen.stable) if seen.is_fresh else Stand(partition, position, None, None)
    )
