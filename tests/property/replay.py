"""Workers in memory that can be stopped anywhere: tasks, their committed bytes, and a log with commits in it.

Two guarantees are played. Exactly once: what a task gives out is seen by others only when its commit is done, and a
restart forgets the rest. At least once: outputs are seen at once, and a restart repeats them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

import msgspec
from tests.property.generators import TOPIC, Layout, Schedule, Step

from headrace.agents.caches import trim_caches
from headrace.agents.checkpoint import CHECKPOINT_KEY, Checkpoint, Progress, decode_progress
from headrace.agents.tables import MemoryStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId, TopicKind
from headrace.app.application import App
from headrace.sql.physical import Mode, SourceInput
from headrace.sql.runtime.records import Headers, MemoryBatch, Output, Position, TopicPartition

Entry = tuple[bytes | None, bytes | None, int]
"""Key, value and timestamp of a record in a log."""


class Guarantee(Enum):
    EXACTLY_ONCE = "exactly once"
    AT_LEAST_ONCE = "at least once"


@dataclass(frozen=True)
class Emitted:
    """A record for users: of a sink or the dead-letter topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


class Replay:
    """An app's tasks over a fixed source."""

    def __init__(
        self,
        app: App,
        mode: Mode,
        layout: Layout,
        parallelism: int,
        guarantee: Guarantee = Guarantee.EXACTLY_ONCE,
        cache_bytes: int | None = None,
        idle_timeout_s: float = inf,
    ) -> None:
        """`cache_bytes` is what each commit leaves in the cache; None: everything."""
        topics = {stage.input.source.topic for stage in app.plan(mode).stages if isinstance(stage.input, SourceInput)}
        assert topics == {TOPIC}
        topology = app.topology(mode, {TOPIC: len(layout)}, parallelism)
        self._guarantee = guarantee
        self._cache_bytes = cache_bytes
        self._specs = {spec.id: spec for spec in topology.tasks}
        self._now_s = 0.0
        settings = TaskSettings(idle_timeout_s, continue_when_lost=False, wall_clock=lambda: self._now_s)
        self._factory = TaskFactory(app.stages(mode), topology, settings)
        self._stores = {id_: MemoryStore() for id_ in self._specs}
        self._positions: dict[TopicPartition, Position] = {}
        self._kinds = {topic.name: topic.kind for topic in topology.topics}
        self._readers = {partition: spec.id for spec in topology.tasks for partition in spec.inputs}
        self._inputs = sorted(self._readers)
        self._logs: dict[TopicPartition, list[Entry]] = defaultdict(list)
        for number, records in enumerate(layout):
            self._logs[TopicPartition(TOPIC, number)] = [(r.key, r.value, r.timestamp) for r in records]
        self._held: dict[TaskId, list[Output]] = {id_: [] for id_ in self._specs}
        self._tasks: dict[TaskId, Task] = {}
        self.watermarks: dict[TaskId, list[int]] = defaultdict(list)
        self._emitted: list[Emitted] = []
        self._told: list[tuple[TaskId, Progress]] = []
        self._heard: dict[TaskId, int] = defaultdict(int)
        self.late_after_idle: Counter[str] = Counter()
        """Committed, by stage."""
        self._late: Counter[str] = Counter()
        self.restart(None)

    @property
    def emitted(self) -> list[Emitted]:
        """Records for users, in the order in which they were given out."""
        return self._emitted

    @property
    def stored(self) -> dict[TaskId, dict[bytes, bytes]]:
        """What the changelog of each task adds up to."""
        return {id_: dict(store.scan(b"", b"\xff" * 2)) for id_, store in self._stores.items()}

    @property
    def late(self) -> int:
        """Committed or not; what a restart repeats counts once."""
        uncommitted = sum(counters.late for task in self._tasks.values() for counters in task.counters.values())
        return self._late.total() + uncommitted

    @property
    def dead_lettered(self) -> int:
        return sum(counters.dead_lettered for task in self._tasks.values() for counters in task.counters.values())

    # Steps

    def run(self, schedule: Schedule) -> None:
        for step in schedule.steps:
            self.step(step)
        self.finish()
        if schedule.again_at_end:
            self.restart(None)
            self.finish()

    def step(self, step: Step) -> None:
        match step.action:
            case "read":
                assert step.which is not None
                self.read(self._inputs[step.which % len(self._inputs)], step.count)
            case "commit":
                self.commit(step.which)
            case "restart":
                self.restart(step.which)
            case "fall idle":
                self.fall_idle(step.which)
            case "hear":
                self.hear(step.which, step.count)
            case "stop":
                self.stop(step.which)
            case "deliver":
                self.deliver()

    def read(self, partition: TopicPartition, most: int | None = None) -> bool:
        """Let the task of an input take its next records; whether there were any."""
        task_id = self._readers[partition]
        task, log = self._tasks[task_id], self._logs[partition]
        start = task.next_offsets.get(partition, 0)
        records = log[start:] if most is None else log[start : start + most]
        if not records:
            return False
        task.process(_batch(partition, start, records))
        self.watermarks[task_id].append(task.watermark)
        self._give_out(task_id, task.take_outputs())
        return True

    def commit(self, which: int | None) -> None:
        """Commit all tasks, or one: workers commit at different times."""
        self._now_s += 0.06
        for task_id in self._chosen(which):
            self._tasks[task_id].tick(self._now_s, ())
            cut = self._tasks[task_id].cut()
            if cut is None:
                continue
            self._give_out(task_id, cut.outputs)
            held, self._held[task_id] = self._held[task_id], []
            self._publish(held)
            self._positions.update(cut.positions)
            if cut.watermark is not None:
                key, value = cut.watermark
                self._told.append(decode_progress(key, value or b""))
            for counters in self._tasks[task_id].counters.values():
                self._late[task_id.stage] += counters.late
                self.late_after_idle[task_id.stage] += counters.late_after_idle
                counters.late = counters.late_after_idle = 0
            if cut.changelog:
                store = self._stores[task_id]
                store.apply(cut.changelog, (store.position or 0) + len(cut.changelog))
                self._check_live(task_id)
            if self._cache_bytes is not None:
                trim_caches([self._tasks[task_id]], self._cache_bytes)

    def _check_live(self, task_id: TaskId) -> None:
        """The checkpoint counts the entries beside it, for a restore to check."""
        stored = dict(self._stores[task_id].scan(b"", b"\xff" * 2))
        checkpoint = msgspec.json.decode(stored.pop(CHECKPOINT_KEY), type=Checkpoint)
        assert Counter(key[0] & 0x7F for key in stored) == +Counter(checkpoint.live)

    def restart(self, which: int | None) -> None:
        """Drop all tasks, or one, and open them again from what was committed."""
        for task_id in self._chosen(which):
            spec = self._specs[task_id]
            self._held[task_id] = []
            positions = {p: self._positions[p] for p in spec.inputs if p in self._positions}
            self._tasks[task_id] = self._factory.open(spec, self._stores[task_id], positions)
            self.watermarks[task_id] = [self._tasks[task_id].watermark]
            self._heard[task_id] = 0

    def deliver(self) -> None:
        """Commit all tasks, and let those behind repartition topics take what has come."""
        self.commit(None)
        for partition in self._inputs:
            if partition.topic != TOPIC:
                self.read(partition)

    def fall_idle(self, which: int | None) -> None:
        """Readers find that nothing has come for long: what they have read is all that the partition has so far."""
        for task_id in self._chosen(which):
            task = self._tasks[task_id]
            task.tick(0.0, self._specs[task_id].inputs)
            self.watermarks[task_id].append(task.watermark)

    def hear(self, which: int | None, most: int) -> None:
        """Tasks hear the next words of what all have told, each from the first on."""
        for task_id in self._chosen(which):
            task, begin = self._tasks[task_id], self._heard[task_id]
            words = self._told[begin : begin + most]
            task.hear(dict(words))
            self._heard[task_id] += len(words)
            self.watermarks[task_id].append(task.watermark)

    def stop(self, which: int | None) -> None:
        """Readers stop in order, and come back."""
        for task_id in self._chosen(which):
            self._tasks[task_id].wake()
        self.commit(which)
        self.restart(which)

    def finish(self) -> None:
        """Read every source to its end and go on until nothing moves."""
        for partition in self._inputs:
            if partition.topic == TOPIC:
                self.read(partition)
                self._tasks[self._readers[partition]].end_input(partition)
        moving = True
        while moving:
            self.commit(None)
            moving = sum(self.read(partition) for partition in self._inputs) > 0
        unfinished = [str(task_id) for task_id, task in self._tasks.items() if not task.ended]
        assert not unfinished, f"tasks did not end: {unfinished}"

    def _chosen(self, which: int | None) -> list[TaskId]:
        ids = list(self._specs)
        return ids if which is None else [ids[which % len(ids)]]

    def _give_out(self, task_id: TaskId, outputs: Sequence[Output]) -> None:
        if self._guarantee is Guarantee.AT_LEAST_ONCE:
            self._publish(outputs)
        else:
            self._held[task_id].extend(outputs)

    def _publish(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            headers = output.headers or [()] * len(output)
            for key, value, timestamp, header in zip(
                output.keys, output.values, output.timestamps, headers, strict=True
            ):
                assert timestamp >= 0, "Kafka refuses negative timestamps"
                if self._kinds[output.topic] is TopicKind.REPARTITION:
                    assert output.partition is not None
                    self._logs[TopicPartition(output.topic, output.partition)].append((key, value, timestamp))
                else:
                    self._emitted.append(Emitted(output.topic, key, value, timestamp, header))


def _batch(partition: TopicPartition, start: int, records: Sequence[Entry]) -> MemoryBatch:
    return MemoryBatch(
        partition.topic,
        partition.partition,
        start,
        start + len(records),
        [value for _, value, _ in records],
        [key for key, _, _ in records],
        [timestamp for _, _, timestamp in records],
        list(range(start, start + len(records))),
        [()] * len(records),
    )
