"""What a worker is doing at one moment, as immutable values: for health checks, metrics and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from headrace.agents.changelog import RestoreProgress
from headrace.agents.liveness import SeenEnd
from headrace.agents.open_task import OpenTask
from headrace.agents.topology import TaskId
from headrace.sql.runtime.records import TopicPartition
from headrace.sql.runtime.watermarks import END, START

PartitionEnds = Callable[[TopicPartition], SeenEnd]
"""Where partitions end, as far as their reader knows."""


@dataclass(frozen=True, slots=True)
class InputStatus:
    """One partition that a task reads."""

    topic: str
    partition: int
    position: int
    """Offset of the next record to read."""
    end: int | None
    """Where the partition ends, by the last fetch; None before it, and while nothing is fetched."""
    lag: int | None
    """Records to go, at most."""
    watermark_ms: int | None
    """How far event time has come in a source partition; None where nothing is known, and of repartition topics."""
    idle: bool
    """Silent for so long that it holds no window open."""
    consumed: int
    """Records read since the task was opened."""
    lost: int
    """Records that were deleted before they were read, since then."""


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """What became of the records of one query in a task, since it was opened."""

    query: str
    emitted: int
    late: int
    late_after_idle: int
    """Came for windows that had closed while its source partition was idle."""
    dead_lettered: int
    skipped: int


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """One open task: a stage on a partition."""

    stage: str
    partition: int
    watermark_ms: int | None
    state_keys: int
    """Entries of its state at the last commit."""
    state_bytes: int
    """What its store takes on the disk and in tables that are not written yet, by estimate."""
    inputs: tuple[InputStatus, ...]
    queries: tuple[QueryStatus, ...]


@dataclass(frozen=True, slots=True)
class RestoreStatus:
    """A task whose state comes back from its changelog."""

    stage: str
    partition: int
    restored: int
    """Records so far."""
    left: int
    """Offsets to go: at least as many as records."""


@dataclass(frozen=True, slots=True)
class CommitStatus:
    count: int
    failed: int
    fenced: int
    """Refused because the group had gone on."""
    last_age_s: float | None
    """Since the last commit; None before the first."""
    last_duration_s: float | None
    """What the last commit took; None before the first."""


@dataclass(frozen=True, slots=True)
class LatencyStatus:
    """How old the oldest source record of a commit was when Kafka had it, over the last commits."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    time_s: float
    """When all this was so, in seconds since the epoch."""
    app: str
    plan: str
    """Version of the plan: workers with another one are refused."""
    mode: str
    guarantee: str
    slot: int
    pid: int
    started_at: float
    """In seconds since the epoch."""
    ready: bool
    """The group has given it its partitions (which may be none), and all of their tasks are open."""
    paused: bool
    """It reads nothing, because it was told so."""
    stalled: Mapping[str, str]
    """Partitions whose position does not move, and why."""
    commits: CommitStatus
    latency_ms: LatencyStatus | None
    """None where no commit had records of a source."""
    in_flight: int
    """Records handed to Kafka's client that are not acknowledged yet."""
    rebalances: int
    restored: int
    """Records read from changelogs, by restores that are done and those that run."""
    restoring: tuple[RestoreStatus, ...]
    tasks: tuple[TaskStatus, ...]


def latency_status(ages_ms: Iterable[float]) -> LatencyStatus | None:
    """Quantiles by nearest rank; None of nothing."""
    ranked = sorted(ages_ms)
    if not ranked:
        return None
    p50, p99 = (ranked[ceil(share * len(ranked)) - 1] for share in (0.5, 0.99))
    return LatencyStatus(p50, p99)


def restore_status(restoring: Mapping[TaskId, RestoreProgress]) -> tuple[RestoreStatus, ...]:
    """How far the restores are that run."""
    return tuple(
        RestoreStatus(id_.stage, id_.partition, progress.records, progress.left) for id_, progress in restoring.items()
    )


def task_status(opened: OpenTask, ends: PartitionEnds) -> TaskStatus:
    """What an open task is doing. On the main loop."""
    task = opened.task
    emitted = task.emitted
    return TaskStatus(
        task.spec.id.stage,
        task.spec.id.partition,
        _known(task.watermark),
        task.state_keys,
        0 if opened.store is None else opened.store.size,
        tuple(_input_status(opened, partition, ends) for partition in sorted(opened.expected)),
        tuple(
            QueryStatus(
                name,
                emitted.get(name, 0),
                counter.late,
                counter.late_after_idle,
                counter.dead_lettered,
                counter.skipped,
            )
            for name, counter in task.counters.items()
        ),
    )


def _input_status(opened: OpenTask, partition: TopicPartition, ends: PartitionEnds) -> InputStatus:
    position = opened.expected[partition]
    seen = ends(partition)
    end = seen.high if seen.stable is None else seen.stable
    progress = opened.task.progress(partition)
    return InputStatus(
        *partition,
        position,
        end,
        None if end is None else max(end - position, 0),
        None if progress is None else _known(progress.watermark),
        progress is not None and progress.idle,
        opened.consumed[partition],
        opened.task.lost[partition],
    )


def _known(watermark: int) -> int | None:
    """A watermark in ms; None for −∞ and +∞."""
    return None if watermark in (START, END) else watermark
