"""A task: one stage on one partition. Owns its state and its positions, shares nothing, does no I/O but its store's."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from headrace.agents.caches import Cache
from headrace.agents.checkpoint import (
    CHECKPOINT_KEY,
    FORMAT,
    Checkpoint,
    CommittedPosition,
    Progress,
    encode_progress,
    read_metadata,
)
from headrace.agents.errors import TaskStopped
from headrace.agents.topology import TaskId, TaskSpec
from headrace.sql.engine import CompiledStage, Placement
from headrace.sql.runtime.chance import Chance
from headrace.sql.runtime.execution import QueryCounters, RecordRefusedError
from headrace.sql.runtime.records import Change, Cut, Output, Position, RecordBatch, Store, TopicPartition
from headrace.sql.runtime.watermarks import END, START

WALL_TIME_STEP_MS = 1_000
"""How often windows over processing time are looked at while nothing comes."""
CHANCE = Chance(random.random, lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class TaskSettings:
    idle_timeout_s: float
    """After how long without records a reader at the end of its partition says that it is idle; infinite in a finite
    run, where nothing is."""
    continue_when_lost: bool
    """Go on where records were deleted before they were read."""
    exactly_once: bool = False
    """Positions, outputs and state of a commit are one transaction."""
    continue_changed: bool = False
    """Who only reads a source, and keeps nothing, goes on where another version of it stopped."""
    wall_clock: Callable[[], float] = time.time
    """Seconds since the epoch, for what goes by wall time: EMIT EVERY, processing time, NOW."""
    chance: Chance = CHANCE


class Task:
    """One stage on one partition (in mode single: on all). Created by TaskFactory.open."""

    def __init__(
        self,
        spec: TaskSpec,
        stage: CompiledStage,
        placement: Placement,
        store: Store,
        positions: Mapping[TopicPartition, Position],
        settings: TaskSettings,
        source_partitions: int,
    ) -> None:
        self.spec = spec
        self.lost = Counter[TopicPartition]()
        """By input, records that were deleted before they were read."""
        self._stage = stage
        self._settings = settings
        self._decoder = stage.decoder()
        self._offsets: dict[TopicPartition, int] = {}
        self._again_until: dict[TopicPartition, int] = {}
        """Inputs that are read again from before the last commit, and where that ends."""
        self._newest: dict[int, int] = {}
        self._heard: dict[TopicPartition, float] = {}
        self._told: Progress | None = None
        # Whatever is known of it, what it tells is told anew.
        self._changed = spec.watermarks is not None
        committed = {partition: self._committed(position) for partition, position in positions.items()}
        known = (each.source_partitions for each in committed.values() if each.source_partitions is not None)
        self._source_partitions = min(known, default=source_partitions)
        checkpoint = self._checkpoint(store) if spec.changelog is not None else None
        self._check_positions(positions, checkpoint)
        live = checkpoint.live if checkpoint is not None else {}
        self._execution = stage.open(placement, store if spec.changelog is not None else None, live, settings.chance)
        self._set_clock()
        if checkpoint is not None:
            self._offsets = {TopicPartition(topic, number): offset for topic, number, offset in checkpoint.offsets}
            for topic, number, offset in checkpoint.again:
                partition = TopicPartition(topic, number)
                self._again_until[partition] = self._offsets[partition]
                self._offsets[partition] = offset
            self._newest = dict(checkpoint.newest)
            self._execution.restore(checkpoint.watermarks, checkpoint.watermark)
        elif spec.changelog is None:
            self._resume(positions, committed)
        self._advance()
        self.wake()

    def _checkpoint(self, store: Store) -> Checkpoint | None:
        data = store.get(CHECKPOINT_KEY)
        if data is None:
            return None
        checkpoint = msgspec.json.decode(data, type=Checkpoint)
        if checkpoint.format != FORMAT or checkpoint.plan != self._stage.plan_version:
            raise self._changed_app()
        return checkpoint

    def _committed(self, position: Position) -> CommittedPosition:
        committed = read_metadata(position)
        if committed.plan is None or committed.plan == self._stage.plan_version:
            return committed
        if self._settings.continue_changed and self.spec.changelog is None and self._decoder is not None:
            return committed
        raise self._changed_app()

    def _check_positions(self, positions: Mapping[TopicPartition, Position], checkpoint: Checkpoint | None) -> None:
        """The state and the group must have read equally far; offsets that the group has forgotten do not matter."""
        if self.spec.changelog is None:
            return
        stored = {} if checkpoint is None else {TopicPartition(t, number): at for t, number, at in checkpoint.offsets}
        exact = checkpoint is not None and checkpoint.exact
        for partition, position in positions.items():
            at = stored.get(partition, 0)
            # At least once, a crash may come between the changelog and the group's offsets.
            if position.next_offset > at or (exact and position.next_offset < at):
                raise TaskStopped(
                    f"{partition.topic} partition {partition.partition}: the consumer group stands at offset "
                    f"{position.next_offset}, the state of {self.spec.id} at {at}. Offsets were set from outside, or "
                    f"records of {self.spec.changelog.topic} are lost; `headrace reset` starts over"
                )

    def _changed_app(self) -> TaskStopped:
        return TaskStopped(
            f"what {self.spec.id} has read and stored was for another version, mode or parallelism of this app; "
            "`headrace reset` deletes it, and the app starts over"
        )

    def _resume(
        self, positions: Mapping[TopicPartition, Position], committed: Mapping[TopicPartition, CommittedPosition]
    ) -> None:
        for partition, known in committed.items():
            self._offsets[partition] = positions[partition].next_offset
            if known.newest is not None:
                self._newest[partition.partition] = known.newest
                self._stage.observe(self._execution, partition.partition, known.newest)
            if known.ended:
                self._stage.observe(self._execution, partition.partition, END)
            if known.idle:
                self._sleep(partition)

    @property
    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """Where each input is to be read from; one that was never read is absent."""
        return self._offsets

    @property
    def ended(self) -> bool:
        """Nothing comes any more from any input: the finite run is done here."""
        return self._execution.watermarks.ended

    @property
    def pending(self) -> int:
        """Outputs and changed groups that wait for a commit."""
        execution = self._execution
        waiting = sum(map(len, execution.sinks)) + sum(map(len, execution.exchanges))
        return waiting + sum(state.pending for state in execution.states)

    @property
    def pending_bytes(self) -> int:
        """What the outputs that wait for a commit take, by estimate."""
        return sum(sink.bytes for sink in self._execution.sinks)

    @property
    def caches(self) -> Iterator[Cache]:
        """Its cached state, for `trim_caches`."""
        for state in self._execution.states:
            yield from state.caches

    @property
    def counters(self) -> Mapping[str, QueryCounters]:
        """What happened to records, by query."""
        return self._execution.counters

    @property
    def emitted(self) -> dict[str, int]:
        """Records emitted, by query."""
        emitted: dict[str, int] = {}  # a query may have several branches here
        for query, sink in zip(self._stage.generated.sinks, self._execution.sinks, strict=True):
            emitted[query.name] = emitted.get(query.name, 0) + sink.emitted
        return emitted

    @property
    def watermark(self) -> int:
        return self._execution.watermarks.current()

    @property
    def state_keys(self) -> int:
        """Entries of its state at the last cut."""
        return sum(state.live for state in self._execution.states)

    def progress(self, partition: TopicPartition) -> Progress | None:
        """How far event time has come in one of its source partitions; None of another input."""
        if self._decoder is None:
            return None
        watermarks = self._execution.watermarks
        return Progress(watermarks.of(partition.partition), watermarks.is_idle(partition.partition))

    def begin(self, partition: TopicPartition, offset: int) -> None:
        """Read an input that was never read from an offset on; the next commit keeps it."""
        self._offsets[partition] = offset
        self._changed = True

    def skip(self, partition: TopicPartition, offset: int) -> None:
        """The records of an input before an offset were deleted before they were read.

        TaskStopped where the task must not go on without them.
        """
        self._check_offset(partition, offset)
        self._offsets[partition] = offset
        self._changed = True

    def process(self, batch: RecordBatch) -> None:
        """Take one record batch of one input partition.

        Bad records become dead letters; TaskStopped where the task must not go on.
        """
        partition = TopicPartition(batch.topic, batch.partition)
        self._check_offset(partition, batch.fetch_offset)
        self._set_clock()
        again_until = self._again_until.get(partition, 0)
        try:
            if self._decoder is None:
                self._stage.process_exchange(batch, self._execution, again_until)
            else:
                self._check_not_ended(partition)
                for exchange in self._execution.exchanges:
                    exchange.idle = False
                newest = self._newest.get(batch.partition, START)
                newest = self._stage.process_source(batch, self._decoder, newest, self._execution)
                if newest != START:
                    self._newest[batch.partition] = newest
                    self._stage.observe(self._execution, batch.partition, newest)
        except RecordRefusedError as error:
            raise TaskStopped(str(error)) from None
        self._advance()
        self._offsets[partition] = batch.next_offset
        self._heard.pop(partition, None)
        if batch.next_offset >= again_until:
            self._again_until.pop(partition, None)
        self._changed = self._changed or batch.next_offset > again_until

    def _advance(self) -> None:
        """Act on the watermark as it stands."""
        try:
            self._stage.advance(self._execution)
        except RecordRefusedError as error:
            raise TaskStopped(str(error)) from None

    def _check_offset(self, partition: TopicPartition, fetched: int) -> None:
        expected = self._offsets.get(partition)
        if expected is None or fetched == expected:
            return
        where = f"{partition.topic} partition {partition.partition}"
        if fetched < expected:
            raise TaskStopped(f"{where}: read again from offset {fetched}, the state is at {expected}")
        if not self._settings.continue_when_lost:
            raise TaskStopped(
                f"{where}: records {expected} to {fetched - 1} were deleted before they were read "
                "(on_lost_records = 'continue' goes on without them)"
            )
        self.lost[partition] += fetched - expected

    def _check_not_ended(self, partition: TopicPartition) -> None:
        if self._execution.watermarks.of(partition.partition) == END:
            raise TaskStopped(
                f"{partition.topic} partition {partition.partition} has new records, but this app ran --until-end and "
                "all its windows are closed; `headrace reset` lets it start again"
            )

    def end_input(self, partition: TopicPartition) -> None:
        """A source partition has been read to its fixed end."""
        self._stage.observe(self._execution, partition.partition, END)
        self._advance()
        self._changed = True

    def tick(self, now: float, at_end: Collection[TopicPartition]) -> None:
        """Time passes (`now` in monotonic seconds); `at_end` are the inputs that are read to their present end.

        A source partition without records for `idle_timeout` is idle: it stops holding windows open.
        """
        self._set_clock()
        before = self.pending
        self._stage.elapse(self._execution)
        self._changed = self._changed or self.pending != before
        if self._stage.by_wall_time:
            self._pass_time()
            return
        if self._decoder is None:
            return
        for partition in self.spec.inputs:
            if partition not in at_end:
                self._heard.pop(partition, None)
                continue
            since = self._heard.setdefault(partition, now)
            if now - since >= self._settings.idle_timeout_s:
                self.sleep(partition)

    def _pass_time(self) -> None:
        """Processing time goes on without records, so nothing is idle; in steps, because each step is a commit."""
        now, watermarks = self._execution.clock.now_ms, self._execution.watermarks
        for _, number in self.spec.inputs:
            if watermarks.of(number) != END and now - self._newest.get(number, START) >= WALL_TIME_STEP_MS:
                self._newest[number] = now
                self._stage.observe(self._execution, number, now)
                self._changed = True
        self._advance()

    def sleep(self, partition: TopicPartition) -> None:
        """A source partition is idle, whatever its reader sees of it. By processing time none is."""
        if not self._stage.by_wall_time and not self._execution.watermarks.is_idle(partition.partition):
            self._sleep(partition)
            self._advance()
            self._changed = True

    def _set_clock(self) -> None:
        self._execution.clock.now_ms = int(self._settings.wall_clock() * 1000)

    def _sleep(self, partition: TopicPartition) -> None:
        """A source partition is idle."""
        watermarks = self._execution.watermarks
        watermarks.update(partition.partition, watermarks.of(partition.partition), idle=True)
        # A task that hears of the others goes on with them: stages behind wait for what it makes of that.
        is_idle = self.spec.watermarks is None and all(watermarks.is_idle(number) for _, number in self.spec.inputs)
        for exchange in self._execution.exchanges:
            exchange.idle = is_idle

    def wake(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """No source partition (none of these) is idle until its reader finds that out anew: it is a new one, or stops.

        What comes while nobody reads would else be late for windows that only others have closed. A partition that has
        never brought a record stays as it is.
        """
        watermarks = self._execution.watermarks
        meant = self.spec.inputs if partitions is None else partitions
        for _, number in meant if self._decoder is not None else ():
            if watermarks.is_idle(number) and watermarks.of(number) != START:
                watermarks.update(number, watermarks.of(number), idle=False)
                for exchange in self._execution.exchanges:
                    exchange.idle = False
                self._changed = True

    def hear(self, told: Mapping[TaskId, Progress]) -> None:
        """How far other source partitions have come, by the tasks that read them. It counts while this one is idle."""
        before = self.watermark
        for id_, progress in told.items():
            if id_.stage == self.spec.id.stage and id_ != self.spec.id and self.spec.watermarks is not None:
                self._execution.watermarks.update(id_.partition, progress.watermark, idle=progress.idle)
        if self.watermark > before:
            self._advance()
            self._changed = True

    def take_outputs(self) -> list[Output]:
        """What is ready to be produced now, before the commit."""
        execution = self._execution
        outputs = [output for sink in execution.sinks for output in sink.take()]
        outputs += [output for exchange in execution.exchanges for output in exchange.take_rows()]
        return outputs + execution.take_dead_letters()

    def cut(self) -> Cut | None:
        """Everything since the last cut, to be made durable by one commit; None where nothing has happened."""
        if not self._changed:
            return None
        self._changed = False
        execution = self._execution
        self._stage.flush(execution)
        outputs = [output for sink in execution.sinks for output in sink.take()]
        outputs += [output for exchange in execution.exchanges for output in exchange.take()]
        outputs += execution.take_dead_letters()
        changes: list[Change] = []
        for state in execution.states:
            changes.extend(state.cut())
        if self.spec.changelog is not None:
            changes.append((CHECKPOINT_KEY, msgspec.json.encode(self._make_checkpoint())))
        return Cut(outputs, changes, self._positions(), self._needed(), self._progress())

    def _needed(self) -> dict[TopicPartition, int]:
        """Where the rows of open windows that are not stored begin."""
        reread = self._execution.reread
        if reread is None or reread.needed is None:
            return {}
        (partition,) = self.spec.inputs
        return {partition: reread.needed}

    def _make_checkpoint(self) -> Checkpoint:
        return Checkpoint(
            FORMAT,
            self._stage.plan_version,
            [(topic, number, offset) for (topic, number), offset in self._offsets.items()],
            list(self._newest.items()),
            self._execution.watermarks.snapshot(),
            {number: state.live for number, state in enumerate(self._execution.states)},
            self._settings.exactly_once,
            self._execution.watermarks.current(),
            [(topic, number, offset) for (topic, number), offset in self._needed().items()],
        )

    def _progress(self) -> Change | None:
        """How far the source partition is, where the other tasks do not know yet."""
        if self.spec.watermarks is None:
            return None
        watermarks, number = self._execution.watermarks, self.spec.id.partition
        progress = Progress(watermarks.of(number), watermarks.is_idle(number))
        if progress == self._told:
            return None
        self._told = progress
        return encode_progress(self.spec.id, progress)

    def _positions(self) -> dict[TopicPartition, Position]:
        """Group offsets; an input that ended without a record is committed at 0, so that its end is known."""
        positions: dict[TopicPartition, Position] = {}
        watermarks = self._execution.watermarks
        for partition in self.spec.inputs:
            number = partition.partition
            if self._decoder is None:
                known = CommittedPosition(self._stage.plan_version, ended=self.ended)
            else:
                known = CommittedPosition(
                    self._stage.plan_version,
                    self._newest.get(number),
                    watermarks.of(number) == END,
                    watermarks.is_idle(number),
                    self._source_partitions,
                )
            if partition in self._offsets or known.ended:
                metadata = msgspec.json.encode(known).decode()
                positions[partition] = Position(self._offsets.get(partition, 0), metadata)
        return positions
