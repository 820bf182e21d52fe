"""Opening a task: its state restored, its positions found. Blocks, so it runs in a thread beside the running tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from headrace.agents.changelog import Span, StaleStore, restore
from headrace.agents.commit import OpenTask
from headrace.agents.config import WorkerConfig
from headrace.agents.tables import Identity, MemoryStore, RocksStore, open_rocks, set_aside
from headrace.agents.task import Task, TaskFactory
from headrace.agents.topics import Cluster, TopicState
from headrace.agents.topology import TaskSpec, TopicKind
from headrace.sql.runtime.records import Change, Store, TopicPartition

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
        self._sources = {s.name for s in factory.topology.topics if s.kind is TopicKind.SOURCE}

    def open(self, spec: TaskSpec, cancelled: Callable[[], bool]) -> OpenTask:
        """The task with its state as its changelog has it. Raises TaskStopped, KafkaFailure and RestoreCancelled."""
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

    def _restored(self, spec: TaskSpec, cancelled: Callable[[], bool]) -> tuple[Store | None, int, Sequence[Change]]:
        changelog = spec.changelog
        if changelog is None:
            return None, 0, ()
        begins, ends = self._cluster.begin_offsets([changelog]), self._cluster.end_offsets([changelog])
        span = Span(begins[changelog], ends[changelog])
        store = self._open_store(spec, changelog)
        try:
            try:
                repairs = restore(store, changelog, span, self._config, cancelled)
            except StaleStore as error:
                store = self._rebuilt(spec, changelog, store, str(error))
                repairs = restore(store, changelog, span, self._config, cancelled)
        except BaseException:
            store.close()
            raise
        return store, span.end, repairs

    def _open_store(self, spec: TaskSpec, changelog: TopicPartition) -> Store:
        if self._config.memory_state:
            return MemoryStore()
        state = self._topics[changelog.topic]
        topology = self._factory.topology
        identity = Identity(
            topology.app, topology.plan_version, str(spec.id), f"{changelog.topic}-{changelog.partition} {state.id}"
        )
        retention_ms = int(state.config.get("delete.retention.ms", RETENTION_MS_DEFAULT))
        return open_rocks(self._dir, spec.id, identity, age_s_max=retention_ms / 2000)

    def _rebuilt(self, spec: TaskSpec, changelog: TopicPartition, store: Store, reason: str) -> Store:
        store.close()
        if isinstance(store, RocksStore):
            set_aside(store.path, reason)
        return self._open_store(spec, changelog)

    def _starts(self, task: Task) -> dict[TopicPartition, int]:
        """Where each input is read from: its task's position, else as the app is told to start."""
        inputs, known = task.spec.inputs, dict(task.next_offsets)
        unread = [partition for partition in inputs if partition not in known]
        sources = self._source_starts([partition for partition in unread if partition.topic in self._sources])
        internal = [partition for partition in unread if partition.topic not in self._sources]
        if self._config.start_from != "earliest":
            # Asked again later, Kafka would answer otherwise, and what comes until then would be passed over.
            for partition, offset in sources.items():
                task.begin(partition, offset)
        starts = {partition: known[partition] for partition in inputs if partition in known}
        return {**starts, **sources, **self._cluster.begin_offsets(internal)}

    def _source_starts(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        match self._config.start_from:
            case "earliest":
                return self._cluster.begin_offsets(partitions)
            case "latest":
                return self._cluster.end_offsets(partitions)
            case timestamp_ms:
                return self._cluster.offsets_at(partitions, int(timestamp_ms))
