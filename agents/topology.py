"""The topology of an app: its physical plan and mode laid out as topics and tasks. Pure data, no I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from headrace.sql.physical import ExchangeInput, Mode, PhysicalPlan, SourceInput, Stage
from headrace.sql.runtime.records import TopicPartition
from headrace.sql.vocabulary import RelationKind

NOT_DIVERTED: Mapping[str, str | None] = MappingProxyType({})


class TopicKind(StrEnum):
    SOURCE = "source"
    SINK = "sink"
    REPARTITION = "repartition"
    CHANGELOG = "changelog"
    WATERMARKS = "watermarks"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic the app reads, writes or owns."""

    name: str
    kind: TopicKind
    partitions: int | None
    """Partitions to create it with; None where the topic must exist already (a source without `partitions`)."""
    replicas: int | None
    config: Mapping[str, str]
    """Topic configuration that Headrace creates it with, and that it needs where the topic exists."""
    exact: bool = True
    """An existing topic must have just so many partitions, a source at least as many; false for a sink that declares
    none."""

    @property
    def internal(self) -> bool:
        """Owned by the app: created by it, deleted by `headrace reset`."""
        return self.kind in (TopicKind.REPARTITION, TopicKind.CHANGELOG, TopicKind.WATERMARKS)


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """One stage on one partition (in mode single: on all partitions, written as partition 0)."""

    stage: str
    partition: int

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What one task reads, and where it keeps and tells what."""

    id: TaskId
    inputs: frozenset[TopicPartition]
    changelog: TopicPartition | None
    """None for a stateless task."""
    watermarks: TopicPartition | None = None
    """Where the tasks of a stage tell each other how far their source partitions are; None where none needs to know."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Topics and tasks of an app in one mode over a known number of source partitions."""

    app: str
    mode: str
    parallelism: int
    topics: tuple[TopicSpec, ...]
    tasks: tuple[TaskSpec, ...]
    plan_version: str
    diverted: Mapping[str, str | None] = field(default_factory=dict)
    """Sinks that another version of the app writes still: the topic that takes the records instead; None: none does."""

    def topics_of(self, kind: TopicKind) -> tuple[str, ...]:
        """The names of the topics of one kind."""
        return tuple(spec.name for spec in self.topics if spec.kind is kind)

    @property
    def source_partitions(self) -> Mapping[str, int]:
        """Partitions of each source, as far as they are read."""
        counts = dict.fromkeys(self.topics_of(TopicKind.SOURCE), 0)
        for topic, number in (partition for task in self.tasks for partition in task.inputs):
            if topic in counts:
                counts[topic] = max(counts[topic], number + 1)
        return counts

    @property
    def watermarks(self) -> TopicPartition | None:
        """Where tasks tell each other of their source partitions; None where none needs to know."""
        return next((task.watermarks for task in self.tasks if task.watermarks is not None), None)

    @property
    def input_topics(self) -> tuple[str, ...]:
        """Topics that agents consume: sources first, then repartition topics, each once, in plan order."""
        seen: dict[str, None] = {}
        for task in self.tasks:
            for topic, _ in sorted(task.inputs):
                seen[topic] = None
        return tuple(seen)


_UNLIMITED = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}
_LARGE_RECORDS = {"max.message.bytes": str(16 * 1024 * 1024)}
_CHANGELOG = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(7 * 86_400_000),
    "message.timestamp.after.max.ms": str(2**63 - 1),
    **_LARGE_RECORDS,
}

_SOON_COMPACTED = {"segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"}

_WATERMARKS = {
    "cleanup.policy": "compact",
    # Small and soon compacted, markers of transactions too: every worker reads all of it at its start.
    "segment.bytes": str(4 * 1024 * 1024),
    "delete.retention.ms": "60000",
}


def default_parallelism(plan: PhysicalPlan, source_partitions: Mapping[str, int]) -> int:
    """The number of partitions after a re-key, where nobody says: the largest source partition count."""
    return max(source_partitions[topic] for topic in source_topics(plan))


def exchange_partitions(mode: str, parallelism: int) -> int:
    """Partitions of a repartition topic. In mode single, where it brings the rows of a UNION together, it has one."""
    return 1 if mode == Mode.SINGLE else parallelism


def source_topics(plan: PhysicalPlan) -> tuple[str, ...]:
    """Topics that the app reads."""
    return tuple(stage.input.source.topic for stage in plan.stages if isinstance(stage.input, SourceInput))


def build_topology(
    app: str,
    plan: PhysicalPlan,
    plan_versions: Mapping[str, str],
    source_partitions: Mapping[str, int],
    parallelism: int | None,
    diverted: Mapping[str, str | None] = NOT_DIVERTED,
) -> Topology:
    """Topics and tasks of a physical plan over known source partitions.

    `plan_versions` has the version of each stage; a source topic that is missing from `source_partitions` must declare
    `partitions` (KeyError otherwise).
    """
    partitions = dict(source_partitions)
    for stage in plan.stages:
        if isinstance(stage.input, SourceInput) and stage.input.source.topic not in partitions:
            declared = stage.input.source.partitions
            if declared is None:
                raise KeyError(stage.input.source.topic)
            partitions[stage.input.source.topic] = declared
    parallelism = parallelism or default_parallelism(plan, partitions)
    tasks: list[TaskSpec] = []
    topics: dict[str, TopicSpec] = {}
    for stage in plan.stages:
        topic = input_topic(app, stage)
        match stage.input:
            case SourceInput(source=source):
                count = partitions[topic]
                declared = source.partitions if source.partitions is not None else None
                topics[topic] = TopicSpec(topic, TopicKind.SOURCE, declared, source.replicas, {})
            case ExchangeInput():
                count = exchange_partitions(plan.mode, parallelism)
                config = {**_UNLIMITED, **_LARGE_RECORDS}
                topics[topic] = TopicSpec(topic, TopicKind.REPARTITION, count, None, config)
        inputs = [TopicPartition(topic, partition) for partition in range(count)]
        parts = [frozenset(inputs)] if plan.mode is Mode.SINGLE else [frozenset((each,)) for each in inputs]
        changelog = f"{app}-{safe_topic(stage.name)}-changelog"
        if stage.stateful:
            topics[changelog] = TopicSpec(changelog, TopicKind.CHANGELOG, len(parts), None, _CHANGELOG)
        watermarks = None
        if len(parts) > 1 and _must_hear_of_others(stage):
            watermarks = TopicPartition(watermarks_topic(app), 0)
            topics[watermarks.topic] = TopicSpec(watermarks.topic, TopicKind.WATERMARKS, 1, None, _WATERMARKS)
        for number, part in enumerate(parts):
            own = TopicPartition(changelog, number) if stage.stateful else None
            tasks.append(TaskSpec(TaskId(stage.name, number), part, own, watermarks))
    for query in plan.queries:
        sink = query.sink
        written = diverted.get(sink.topic, sink.topic)
        if written is None:
            continue
        config = dict(_UNLIMITED)
        if sink.retention_ms is not None:
            config["retention.ms"] = str(sink.retention_ms)
        if written != sink.topic and sink.kind is RelationKind.TABLE and sink.key_columns:
            config = {**_CHANGELOG, **_SOON_COMPACTED}  # only the newest row of a key will be moved
        topics.setdefault(
            written,
            TopicSpec(
                written,
                TopicKind.SINK,
                sink.partitions or parallelism,
                sink.replicas,
                config,
                exact=sink.partitions is not None,
            ),
        )
    dead_letter = dead_letter_topic(app)
    topics[dead_letter] = TopicSpec(dead_letter, TopicKind.DEAD_LETTER, 1, None, _UNLIMITED, exact=False)
    version = _version(plan, plan_versions, parallelism)
    return Topology(app, plan.mode, parallelism, tuple(topics.values()), tuple(tasks), version, diverted)


def _must_hear_of_others(stage: Stage) -> bool:
    """Whether a task that reads one partition of a source must know how far the others are, while its own is idle.

    Behind a repartition topic every task hears of all of them, with the rows. Processing time is never idle.
    """
    return stage.timed and isinstance(stage.input, SourceInput) and not stage.input.source.event_time.processing


class GrowthRefused(Exception):  # noqa: N818
    """State lies in the partitions of a source that has more of them now. The text is for the operator."""


def grown(topology: Topology, source_partitions: Mapping[str, int]) -> Topology:
    """The topology with the partitions that its sources have by now, of which no fewer count than before.

    New partitions have tasks of their own; where one task reads all partitions, it reads these too. Parallelism and
    state stay as they are. Raises GrowthRefused where that cannot be.
    """
    tasks: list[TaskSpec] = []
    known = topology.source_partitions
    for task in topology.tasks:
        tasks.append(task)
        topic, number = max(task.inputs)
        count = source_partitions.get(topic, 0)
        if number + 1 != known.get(topic) or count <= known[topic]:
            continue
        new = [TopicPartition(topic, partition) for partition in range(known[topic], count)]
        if topology.mode == Mode.SINGLE:
            tasks[-1] = replace(task, inputs=task.inputs.union(new))
        elif task.changelog is None:
            tasks += [TaskSpec(TaskId(task.id.stage, each.partition), frozenset((each,)), None) for each in new]
        else:
            raise GrowthRefused(
                f"source topic {topic!r} has {count} partitions, and the state of stage {task.id.stage} was made with "
                f"{known[topic]}: its keys may be in other partitions now. Take KEY off the source, so that rows are "
                "re-keyed, or use mode single, and start over with `headrace reset`"
            )
    return replace(topology, tasks=tuple(tasks))


def _version(plan: PhysicalPlan, plan_versions: Mapping[str, str], parallelism: int) -> str:
    """Of what state and offsets are for; the parallelism is nothing to them where no rows are re-keyed by it."""
    re_keyed = plan.mode is Mode.PARTITIONED and any(isinstance(stage.input, ExchangeInput) for stage in plan.stages)
    parts = [plan.mode, *([str(parallelism)] if re_keyed else ())]
    parts += [f"{stage.name} {plan_versions[stage.name]}" for stage in plan.stages]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def input_topic(app: str, stage: Stage) -> str:
    """The topic that a stage reads."""
    match stage.input:
        case SourceInput(source=source):
            return source.topic
        case ExchangeInput():
            return repartition_topic(app, stage.name)


def repartition_topics(app: str, plan: PhysicalPlan) -> tuple[str, ...]:
    """Topics that rows of the app are re-keyed through."""
    return tuple(repartition_topic(app, stage.name) for stage in plan.stages if isinstance(stage.input, ExchangeInput))


def repartition_topic(app: str, stage: str) -> str:
    return f"{app}-{safe_topic(stage)}-repartition"


def watermarks_topic(app: str) -> str:
    return f"{app}-watermarks"


def rebuild_topic(app: str, sink: str) -> str:
    """Where records for a sink wait until the version of the app that makes them takes over."""
    return f"{app}-{sink}-rebuild"


def dead_letter_topic(app: str) -> str:
    return f"{app}-dead-letter"


def safe_topic(name: str) -> str:
    """A name as it may stand in the name of a topic."""
    return re.sub(r"[^a-zA-Z0-9._-]", "_", name)
