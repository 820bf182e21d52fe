"""Local runs: the topology of an app over in-memory partitions. Tasks and bytes as on Kafka; only the log differs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from headrace.agents.errors import TaskStopped
from headrace.agents.partitioner import DefaultPartitioner
from headrace.agents.tables import MemoryStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId, TaskSpec, TopicKind, Topology
from headrace.app.application import DEFAULT_PARTITIONS
from headrace.app.errors import InputError
from headrace.app.inputs import SourceRecord, records_of_envelopes, records_of_insert, records_of_rows
from headrace.app.keys import KeyReader
from headrace.app.values import ValueReader
from headrace.sql.physical import Mode, SourceInput
from headrace.sql.runtime.records import Headers, MemoryBatch, Output, Position, TopicPartition

if TYPE_CHECKING:
    from headrace.app.application import App

CHUNK_RECORDS = 1_000
"""Input records between two commits."""


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One record of a sink, in output order."""

    sink: str
    topic: str
    partition: int
    key: Any
    """The key's value; for several key columns a dict of them; None where the record has none."""
    value: Any
    """The value: a dict of the columns; in formats other than JSON the text, or the one column."""
    timestamp: int
    headers: Headers
    raw_key: bytes | None
    """The key as it would stand on Kafka."""
    raw_value: bytes | None
    """The value as it would stand on Kafka."""
    is_json: bool = True


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record (or result row) that a query could not take."""

    query: str
    kind: str
    message: str
    topic: str | None
    partition: int | None
    offset: int | None
    key: bytes | None
    value: bytes | None
    origin: str | None
    """Where the record was read from: file and line, where known."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records of a run."""

    read: int
    emitted: int
    late: int
    dead_lettered: int
    skipped: int
    late_after_idle: int = 0


@dataclass(slots=True)
class LocalResult:
    """Everything a local run gave out."""

    records: list[OutputRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0, 0))

    def final(self, sink: str) -> dict[Any, Any]:
        """The last value of every key of a sink after all changes; deleted keys are absent.

        A key of several columns is the tuple of their values.
        """
        last: dict[Any, Any] = {}
        for record in self.records:
            if record.sink == sink:
                key = tuple(record.key.values()) if isinstance(record.key, dict) else record.key
                last[key] = record.value
        return {key: value for key, value in last.items() if value is not None}


def run_local(
    app: App,
    inputs: Mapping[str, Any],
    records: Iterable[Mapping[str, Any]],
    mode: Mode,
    partitions: int | None,
    parallelism: int | None,
) -> LocalResult:
    """Run an app to the end of its inputs. InputError for inputs that fit no source; TaskStopped as on Kafka."""
    cluster = LocalCluster(app, mode, partitions, parallelism)
    sources = {
        stage.input.source.name.lower(): stage.input.source
        for stage in app.plan(mode).stages
        if isinstance(stage.input, SourceInput)
    }
    feeds: list[Iterator[SourceRecord]] = []
    for name, rows in inputs.items():
        source = sources.get(name.lower())
        if source is None:
            raise InputError(f"`{name}` is no stream that a query of the app reads", f"known: {', '.join(sources)}")
        feeds.append(records_of_rows(source, rows))
    for insert in app.logical.inserts:
        if insert.source.name.lower() in sources:  # else only EXPLAIN or an unused view reads it
            cluster.feed_in_order(records_of_insert(insert, app.line_of))
    for feed in feeds:
        cluster.feed(feed)
    topics = {source.topic for source in sources.values()}
    cluster.feed_in_order(records_of_envelopes(records, sources, topics))
    cluster.finish()
    return cluster.result()


class LocalCluster:
    """One worker's tasks and a log in memory: topics, group offsets and changelogs as plain lists and dicts."""

    def __init__(self, app: App, mode: Mode, partitions: int | None, parallelism: int | None) -> None:
        self._app = app
        self.topology: Topology = app.topology(mode, _source_partitions(app, mode, partitions), parallelism)
        self._factory = TaskFactory(app.stages(mode), self.topology, TaskSettings(inf, continue_when_lost=False))
        self._stores: dict[TaskId, MemoryStore] = {task.id: MemoryStore() for task in self.topology.tasks}
        self._positions: dict[TopicPartition, Position] = {}
        self._tasks: dict[TaskId, Task] = {}
        self._task_at: dict[TopicPartition, TaskSpec] = {
            partition: task for task in self.topology.tasks for partition in task.inputs
        }
        self._logs: dict[TopicPartition, list[SourceRecord]] = {partition: [] for partition in self._task_at}
        self._waiting: deque[TopicPartition] = deque()
        counts = {topic.name: topic.partitions or 1 for topic in self.topology.topics}
        counts |= dict.fromkeys((topic for topic, _ in self._task_at), 1)
        for topic, number in self._task_at:
            counts[topic] = max(counts[topic], number + 1)
        self._partitioners = {name: DefaultPartitioner(count) for name, count in counts.items()}
        self._kinds = {topic.name: topic.kind for topic in self.topology.topics}
        self.outputs: list[tuple[str, int, bytes | None, bytes | None, int, Headers]] = []
        self._read = 0
        self.open()

    def open(self) -> None:
        """(Re)open every task from what was committed, as after a crash: whatever was not is forgotten."""
        for spec in self.topology.tasks:
            positions = {p: self._positions[p] for p in spec.inputs if p in self._positions}
            self._tasks[spec.id] = self._factory.open(spec, self._stores[spec.id], positions)

    # Feeding

    def feed(self, records: Iterator[SourceRecord]) -> None:
        """Append records chunk by chunk and let the tasks take them; a commit after each chunk."""
        while chunk := [record for _, record in zip(range(CHUNK_RECORDS), records, strict=False)]:
            for partition in dict.fromkeys([self.append(record) for record in chunk]):
                self.process(partition)
            self.commit()

    def feed_in_order(self, records: Iterator[SourceRecord]) -> None:
        """Let the tasks take records in just this order over all topics and partitions."""
        last: TopicPartition | None = None
        for taken, record in enumerate(records, 1):
            partition = self.append(record)
            if last is not None and partition != last:
                self.process(last)
            last = partition
            if taken % CHUNK_RECORDS == 0:
                self.process(last)
                self.commit()
        if last is not None:
            self.process(last)
            self.commit()

    def append(self, record: SourceRecord) -> TopicPartition:
        """Put a record at the end of its partition of the log."""
        number = record.partition
        if number is None:
            number = self._partitioners[record.topic].partition(record.key)
        partition = TopicPartition(record.topic, number)
        if partition not in self._logs:
            raise InputError(f"{record.origin or record.topic}: there is no partition {number} of {record.topic}")
        self._logs[partition].append(record)
        return partition

    def process(self, partition: TopicPartition, most: int | None = None) -> None:
        """Let the task of a partition take what it has not read (at most so many records), and the tasks behind it."""
        task = self._tasks[self._task_at[partition].id]
        log = self._logs[partition]
        start = task.next_offsets.get(partition, 0)
        end = len(log) if most is None else min(len(log), start + most)
        if start < end:
            task.process(_batch(partition, start, log[start:end]))
            self._deliver(task.take_outputs())
        self._settle()

    def commit(self) -> None:
        """Make everything durable: one cut of each task, in the order in which rows flow."""
        for spec in self.topology.tasks:
            task = self._tasks[spec.id]
            cut = task.cut()
            if cut is None:
                continue
            self._deliver(cut.outputs)
            self._positions.update(cut.positions)
            if cut.changelog:
                store = self._stores[spec.id]
                store.apply(cut.changelog, (store.position or 0) + len(cut.changelog))
            self._settle()

    def finish(self) -> None:
        """End every source partition and run until nothing moves."""
        for partition, spec in self._task_at.items():
            if self._kinds[partition.topic] is TopicKind.SOURCE:
                self.process(partition)
                self._tasks[spec.id].end_input(partition)
        self.commit()
        unfinished = [str(task_id) for task_id, task in self._tasks.items() if not task.ended]
        assert not unfinished, f"tasks did not end: {unfinished}"

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            internal = self._kinds[output.topic] is TopicKind.REPARTITION
            headers = output.headers or [()] * len(output)
            for key, value, timestamp, header in zip(
                output.keys, output.values, output.timestamps, headers, strict=True
            ):
                if internal:
                    assert output.partition is not None
                    partition = TopicPartition(output.topic, output.partition)
                    self._logs[partition].append(SourceRecord(output.topic, key, value, timestamp, None, (), None))
                    self._waiting.append(partition)
                else:
                    number = self._partitioners[output.topic].partition(key)
                    self.outputs.append((output.topic, number, key, value, timestamp, header))

    def _settle(self) -> None:
        """Let the tasks behind take what was delivered to them."""
        while self._waiting:
            partition = self._waiting.popleft()
            task = self._tasks[self._task_at[partition].id]
            log = self._logs[partition]
            start = task.next_offsets.get(partition, 0)
            if start < len(log):
                task.process(_batch(partition, start, log[start:]))
                self._deliver(task.take_outputs())

    # Results

    def result(self) -> LocalResult:
        """What came out, decoded."""
        sinks = {query.sink.topic: query.sink.name for query in self._app.logical.queries}
        readers = {query.sink.topic: KeyReader(query) for query in self._app.logical.queries}
        values = {query.sink.topic: ValueReader(query) for query in self._app.logical.queries}
        result = LocalResult()
        for topic, partition, key, value, timestamp, headers in self.outputs:
            if self._kinds[topic] is TopicKind.DEAD_LETTER:
                result.dead_letters.append(
                    self._dead_letter(key, value, {name: text for name, text in headers if text is not None})
                )
                continue
            decoded = values[topic].read(value)
            result.records.append(
                OutputRecord(
                    sinks[topic],
                    topic,
                    partition,
                    readers[topic].read(key),
                    decoded,
                    timestamp,
                    headers,
                    key,
                    value,
                    values[topic].is_json,
                )
            )
        counters = [counter for task in self._tasks.values() for counter in task.counters.values()]
        result.counts = Counts(
            sum(len(log) for (topic, _), log in self._logs.items() if self._kinds[topic] is TopicKind.SOURCE),
            len(result.records),
            sum(counter.late for counter in counters),
            sum(counter.dead_lettered for counter in counters),
            sum(counter.skipped for counter in counters),
            sum(counter.late_after_idle for counter in counters),
        )
        return result

    def _dead_letter(self, key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> DeadLetter:
        def text(name: str) -> str | None:
            raw = headers.get(f"headrace.error.{name}")
            return None if raw is None else raw.decode()

        topic, partition, offset = text("topic"), text("partition"), text("offset")
        origin: str | None = None
        if topic is not None and partition is not None and offset is not None:
            log = self._logs.get(TopicPartition(topic, int(partition)), [])
            origin = log[int(offset)].origin if int(offset) < len(log) else None
        return DeadLetter(
            text("query") or "",
            text("class") or "",
            text("message") or "",
            topic,
            None if partition is None else int(partition),
            None if offset is None else int(offset),
            key,
            value,
            origin,
        )


def _source_partitions(app: App, mode: Mode, partitions: int | None) -> dict[str, int]:
    """The layout of the sources: as asked for, else as declared, else four partitions."""
    return {
        stage.input.source.topic: partitions or stage.input.source.partitions or DEFAULT_PARTITIONS
        for stage in app.plan(mode).stages
        if isinstance(stage.input, SourceInput)
    }


def _batch(partition: TopicPartition, start: int, records: Sequence[SourceRecord]) -> MemoryBatch:
    return MemoryBatch(
        partition.topic,
        partition.partition,
        start,
        start + len(records),
        [record.value for record in records],
        [record.key for record in records],
        [record.timestamp for record in records],
        list(range(start, start + len(records))),
        [record.headers for record in records],
    )


__all__ = ["Counts", "DeadLetter", "LocalCluster", "LocalResult", "OutputRecord", "TaskStopped", "run_local"]
