"""The metrics of a worker: one entry each, from which they are recorded, documented and checked in dashboards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from headrace.agents.status import InputStatus, QueryStatus, TaskStatus, WorkerStatus

Attributes = Mapping[str, str | int]
Value = tuple[float, Attributes]
Read = Callable[[WorkerStatus], Iterable[Value]]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RECORDS = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric. Counters and gauges are read from a worker's status; histograms are told by the worker."""

    name: str
    kind: Kind
    unit: str
    what: str
    attributes: tuple[str, ...]
    """Besides `job`, which all have."""
    read: Read | None = None
    buckets: tuple[float, ...] = ()


def _by_input(value: Callable[[InputStatus], float | None]) -> Read:
    def read(status: WorkerStatus) -> Iterable[Value]:
        for task in status.tasks:
            for each in task.inputs:
                found = value(each)
                if found is not None:
                    yield found, {"stage": task.stage, "topic": each.topic, "partition": each.partition}

    return read


def _watermark_lag(status: WorkerStatus) -> Iterable[Value]:
    for task in status.tasks:
        for each in task.inputs:
            if each.watermark_ms is not None and not each.idle:
                lag_s = status.time_s - each.watermark_ms / 1000
                yield lag_s, {"stage": task.stage, "topic": each.topic, "partition": each.partition}


def _by_query(value: Callable[[QueryStatus], float]) -> Read:
    def read(status: WorkerStatus) -> Iterable[Value]:
        for task in status.tasks:
            for query in task.queries:
                yield value(query), {"query": query.query, "stage": task.stage, "partition": task.partition}

    return read


def _by_task(value: Callable[[TaskStatus], float]) -> Read:
    def read(status: WorkerStatus) -> Iterable[Value]:
        for task in status.tasks:
            yield value(task), {"stage": task.stage, "partition": task.partition}

    return read


def _by_worker(value: Callable[[WorkerStatus], float]) -> Read:
    return lambda status: [(value(status), {})]


_QUERY = ("query", "stage", "partition")
_INPUT = ("stage", "topic", "partition")
_TASK = ("stage", "partition")

CONSUMED = Instrument(
    "headrace.records.consumed", Kind.COUNTER, "{record}", "Records read.", _INPUT, _by_input(lambda i: i.consumed)
)
BATCH_RECORDS = Instrument(
    "headrace.batch.records", Kind.HISTOGRAM, "{record}", "Records processed together.", ("stage",), buckets=RECORDS
)
BATCH_DURATION = Instrument(
    "headrace.batch.duration", Kind.HISTOGRAM, "s", "CPU time of a batch.", ("stage",), buckets=SECONDS
)
COMMIT_DURATION = Instrument(
    "headrace.commit.duration", Kind.HISTOGRAM, "s", "Time of a commit, until Kafka has it.", (), buckets=SECONDS
)
LATENCY = Instrument(
    "headrace.end_to_end.latency",
    Kind.HISTOGRAM,
    "s",
    "Age of the first record of the oldest batch of a commit, by its timestamp, when the commit was done.",
    ("topic",),
    buckets=SECONDS,
)
FAILED = Instrument(
    "headrace.transactions.aborted",
    Kind.COUNTER,
    "{commit}",
    "Commits that failed or were refused: what was in them was done again.",
    (),
    _by_worker(lambda status: status.commits.failed + status.commits.fenced),
)

INSTRUMENTS = (
    CONSUMED,
    Instrument(
        "headrace.records.emitted", Kind.COUNTER, "{record}", "Results.", _QUERY, _by_query(lambda q: q.emitted)
    ),
    Instrument(
        "headrace.records.late",
        Kind.COUNTER,
        "{record}",
        "Records that came too late, once for each window that they missed.",
        _QUERY,
        _by_query(lambda q: q.late),
    ),
    Instrument(
        "headrace.records.late_after_idle",
        Kind.COUNTER,
        "{record}",
        "Records for windows that had closed while their source partition was idle; they are no dead letters.",
        _QUERY,
        _by_query(lambda q: q.late_after_idle),
    ),
    Instrument(
        "headrace.records.dead_lettered",
        Kind.COUNTER,
        "{record}",
        "Bad records.",
        _QUERY,
        _by_query(lambda q: q.dead_lettered),
    ),
    Instrument(
        "headrace.records.lost",
        Kind.COUNTER,
        "{record}",
        "Records that were deleted before they were read, with `on_lost_records = 'continue'`.",
        _INPUT,
        _by_input(lambda i: i.lost),
    ),
    BATCH_RECORDS,
    BATCH_DURATION,
    COMMIT_DURATION,
    Instrument(
        "headrace.commit.age",
        Kind.GAUGE,
        "s",
        "Time since the last commit; there is none while nothing comes.",
        (),
        lambda status: [] if status.commits.last_age_s is None else [(status.commits.last_age_s, {})],
    ),
    Instrument(
        "headrace.consumer.lag",
        Kind.GAUGE,
        "{record}",
        "Records to go; nothing of a partition that is not read, as in a pause.",
        _INPUT,
        _by_input(lambda i: i.lag),
    ),
    Instrument(
        "headrace.watermark.lag",
        Kind.GAUGE,
        "s",
        "How far the event time of a source partition is behind the clock; there is none of one that is idle.",
        _INPUT,
        _watermark_lag,
    ),
    LATENCY,
    Instrument(
        "headrace.state.keys",
        Kind.GAUGE,
        "{key}",
        "Entries of the state of a task at its last commit.",
        _TASK,
        _by_task(lambda task: task.state_keys),
    ),
    Instrument(
        "headrace.state.bytes",
        Kind.GAUGE,
        "By",
        "What the store of a task takes, by estimate.",
        _TASK,
        _by_task(lambda task: task.state_bytes),
    ),
    Instrument(
        "headrace.restore.records",
        Kind.COUNTER,
        "{record}",
        "Records read from changelogs.",
        (),
        _by_worker(lambda status: status.restored),
    ),
    Instrument(
        "headrace.tasks.restoring",
        Kind.GAUGE,
        "{task}",
        "Tasks whose state is being restored.",
        (),
        _by_worker(lambda status: len(status.restoring)),
    ),
    Instrument(
        "headrace.partitions.stalled",
        Kind.GAUGE,
        "{partition}",
        "Partitions with records to read whose position does not move.",
        (),
        _by_worker(lambda status: len(status.stalled)),
    ),
    Instrument(
        "headrace.worker.ready",
        Kind.GAUGE,
        "1",
        "1 where the worker has its partitions and all of their tasks are open.",
        (),
        _by_worker(lambda status: int(status.ready)),
    ),
    Instrument(
        "headrace.producer.in_flight",
        Kind.GAUGE,
        "{record}",
        "Records handed to Kafka's client that are not acknowledged yet.",
        (),
        _by_worker(lambda status: status.in_flight),
    ),
    Instrument(
        "headrace.rebalances",
        Kind.COUNTER,
        "{rebalance}",
        "How often the group assigned anew.",
        (),
        _by_worker(lambda status: status.rebalances),
    ),
    FAILED,
)
