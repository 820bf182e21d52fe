"""Opening a task: its state restored, its positions found. Blocks, so it runs in a thread beside the running tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from headrace.agents.changelog import RestoreProgress, Restorer, Span
from headrace.agents.checkpoint import read_metadata
from headrace.agents.cluster import Cluster, TopicState
from headrace.agents.config import WorkerConfig
from headrace.agents.open_task import OpenTask
from headrace.agents.tables import Identity, MemoryStore, RestorableStore, UnusableState, open_rocks
from headrace.agents.task import Task
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId, TaskSpec, TopicKind
from headrace.sql.runtime.records import Change, TopicPartition

log = structlog.get_logger(__name__)

RETENTION_MS_DEFAULT = 86_400_000


class TaskOpener:
    """Opens tasks of one worker. Safe to use from several threads."""

    def __init__(
        self, config: WorkerConfig, factory: TaskFactory, cluster: Cluster, topics: Mapping[str, TopicState], dir_: Path
    ) -> None:
        self._config = config
        self._factory = factory
        self._cluster = cluster
        self._topics = topics
        self._dir = dir_
        self._restorer = Restorer(config)
        self._restoring: dict[TaskId, RestoreProgress] = {}
        self._ended: list[int] = []
        """Records that each restore has read that is over."""
        self._sources = factory.topology.topics_of(TopicKind.SOURCE)

    @property
    def restoring(self) -> dict[TaskId, RestoreProgress]:
        """How far the restores are that run at the moment, by task."""
        return self._restoring.copy()

    @property
    def restored(self) -> int:
        """Records read from changelogs so far."""
        return sum(self._ended) + sum(progress.records for progress in self.restoring.values())

    def open(self, spec: TaskSpec, cancelled: Callable[[], bool]) -> OpenTask:
        """The task with its state as its changelog has it.

        Raises TaskStopped, KafkaFailure, StateFailure and RestoreCancelled.
        """
        try:
            return self._open(spec, cancelled)
        except UnusableState:
            # Its directory is put aside, with a word of why, and everything comes from the changelog.
            return self._open(spec, cancelled)

    def _open(self, spec: TaskSpec, cancelled: Callable[[], bool]) -> OpenTask:
        # The positions come first: when they are known, so are the transactions that moved them, and all of what these
        # wrote to the changelog lies before its end.
        positions = self._cluster.committed(spec.inputs)
        store, changelog_end, repairs = self._restored(spec, cancelled)
        try:
            task = self._factory.open(spec, store if store is not None else MemoryStore(), positions)
            expected = self._starts(task)
        except BaseException:
            if store is not None:
                store.close()
            raise
        group_offsets = {p: positions[p].next_offset if p in positions else None for p in spec.inputs}
        return OpenTask(task, store, changelog_end, expected, group_offsets, repairs)

    def _restored(
        self, spec: TaskSpec, cancelled: Callable[[], bool]
    ) -> tuple[RestorableStore | None, int, Sequence[Change]]:
        changelog = spec.changelog
        if changelog is None:
            return None, 0, ()
        begins, ends = self._cluster.begin_offsets([changelog]), self._cluster.end_offsets([changelog])
        span = Span(begins[changelog], ends[changelog])
        progress = self._restoring[spec.id] = RestoreProgress(changelog)
        try:
            store = self._open_store(spec, changelog)
            try:
                repairs = self._restorer.restore(store, changelog, span, progress, cancelled)
            except BaseException:
                store.close()
                raise
        finally:
            self._ended.append(progress.records)
            del self._restoring[spec.id]
        return store, span.end, repairs

    def _open_store(self, spec: TaskSpec, changelog: TopicPartition) -> RestorableStore:
        state = self._topics[changelog.topic]
        topology = self._factory.topology
        identity = Identity(
            topology.app, topology.plan_version, str(spec.id), f"{changelog.topic}-{changelog.partition} {state.id}"
        )
        retention_ms = int(state.config.get("delete.retention.ms", RETENTION_MS_DEFAULT))
        return open_rocks(self._dir, spec.id, identity, age_s_max=retention_ms / 2000)

    def _starts(self, task: Task) -> dict[TopicPartition, int]:
        """Where each input is read from: its task's position, else as the app is told to start."""
        unread = [partition for partition in task.spec.inputs if partition not in task.next_offsets]
        sources = [partition for partition in unread if partition.topic in self._sources]
        # Whoever has read some partitions and not others met these later; a new task is told by those of other tasks.
        later = set(sources) if task.next_offsets else self._came_later(sources)
        starts = self._source_starts([partition for partition in sources if partition not in later])
        starts |= self._cluster.begin_offsets([partition for partition in unread if partition not in starts])
        # Kept with the next commit: asked again later, Kafka might answer otherwise.
        for partition, offset in starts.items():
            task.begin(partition, offset)
        return {partition: task.next_offsets[partition] for partition in task.spec.inputs}

    def _came_later(self, partitions: Collection[TopicPartition]) -> set[TopicPartition]:
        """Those that their source has got since the app began to read it: they are read from their beginning."""
        if self._config.start_from == "earliest":
            return set()
        elder = {TopicPartition(topic, number) for topic, count in partitions for number in range(count)}
        began = {
            (topic, read_metadata(position).source_partitions)
            for (topic, _), position in self._cluster.committed(elder).items()
        }
        return {p for p in partitions if any(p.topic == t and n is not None and n <= p.partition for t, n in began)}

    def _source_starts(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        match self._config.start_from:
            case "earliest":
                return self._cluster.begin_offsets(partitions)
            case "latest":
                return self._cluster.end_offsets(partitions)
            case timestamp_ms:
                return self._cluster.offsets_at(partitions, int(timestamp_ms))
