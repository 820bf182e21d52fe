"""The engine layer: the tasks of one worker over fetched bytes and state in memory, with no broker between.

Tasks, stages, cuts and caches are those of a worker on Kafka. What is left out: fetching and its thread, producing,
transactions, and RocksDB. A cut comes whenever the process has used its commit interval of CPU time, as on a core of
its own. Rows that are re-keyed go to the task that owns their partition, as encoded blocks; those for another worker
through a file to which one appends and which the other reads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import msgspec

from headrace.agents.caches import trim_caches
from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.agents.tables import MemoryStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId, TopicKind
from headrace.app.application import App
from headrace.app.bench.inputs import SOURCE, Partition, in_turn
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import Cut, MemoryBatch, Output, RecordBatch, TopicPartition

STATE_CACHE_BYTES = 64 * 2**20
PENDING_MAX = 200_000
"""As `WorkerConfig` has them."""
LENGTH_BYTES = 8
PAUSE_S = 0.001
"""How long a worker with nothing to do waits for what another one sends."""


class Rows(msgspec.Struct, array_like=True):
    """Records on their way: re-keyed rows to a partition, or results."""

    topic: str
    partition: int | None
    keys: list[bytes | None]
    values: list[bytes | None]


class Log:
    """A file of rows that one process appends to, and one other reads from, at its own pace."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._decode = msgspec.msgpack.Decoder(list[Rows]).decode

    def append(self, rows: Sequence[Rows]) -> None:
        data = msgspec.msgpack.encode(rows)
        with self._path.open("ab", buffering=0) as file:
            file.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)

    def news(self) -> Iterator[Rows]:
        """What was appended since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            while len(head := file.read(LENGTH_BYTES)) == LENGTH_BYTES:
                length = int.from_bytes(head, "big")
                data = file.read(length)
                if len(data) < length:
                    return
                self._read += LENGTH_BYTES + length
                yield from self._decode(data)


class PartitionUse(msgspec.Struct):
    """What a partition brought, and the CPU time of the tasks that read it."""

    partition: int
    records: int = 0
    busy_s: float = 0.0


class Usage(msgspec.Struct):
    """What one run of one worker has used."""

    cpu_s: float
    started_at: float
    """Seconds of the monotonic clock, which all processes share."""
    ended_at: float
    """Less the time that it took to put results aside."""
    state_keys: int
    """Largest number of entries of all stores after a cut."""
    state_bytes: int
    """Keys and values of as many."""
    by_partition: list[PartitionUse]


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the tasks of an app one worker runs: those of every so many-th partition."""

    worker: int = 0
    workers: int = 1

    def owner(self, partition: int) -> int:
        return partition % self.workers


class Engine:
    """One run of a worker's share of an app. Use once."""

    def __init__(
        self, app: App, mode: Mode, partitions: int, share: Share, directory: Path, commit_interval_s: float
    ) -> None:
        """`directory` is empty before; the workers of a run have the same one."""
        self._share = share
        self._directory = directory
        self._commit_interval_s = commit_interval_s
        self._inbox: deque[MemoryBatch] = deque()
        self._aside_s = 0.0
        self._aside_cpu_s = 0.0
        self._started_cpu_s = 0.0
        self._committed_at = 0.0
        topology = app.topology(mode, {SOURCE: partitions})
        self._exchanges = {spec.name for spec in topology.topics if spec.kind is TopicKind.REPARTITION}
        self._sinks = {spec.name for spec in topology.topics if spec.kind is TopicKind.SINK}
        factory = TaskFactory(
            app.stages(mode),
            topology,
            TaskSettings(inf, continue_when_lost=False, exactly_once=True),
        )
        self._stores: dict[TaskId, MemoryStore] = {}
        self._tasks: dict[TaskId, Task] = {}
        self._readers: dict[TopicPartition, Task] = {}
        for spec in topology.tasks:
            if self._share.owner(spec.id.partition) == self._share.worker:
                store = self._stores[spec.id] = MemoryStore()
                task = self._tasks[spec.id] = factory.open(spec, store, {})
                self._readers |= dict.fromkeys(spec.inputs, task)
        self._sent = [self._log(self._share.worker, other) for other in range(self._share.workers)]
        self._received = [
            self._log(other, self._share.worker) for other in range(self._share.workers) if other != self._share.worker
        ]
        self._results = results_log(self._directory, self._share.worker)
        self._ends: dict[TopicPartition, int] = {}
        self._usage = Usage(0.0, 0.0, 0.0, 0, 0, [])
        self._used = {number: PartitionUse(number) for number in range(partitions)}

    def _log(self, sender: int, receiver: int) -> Log:
        return Log(self._directory / f"from-{sender}-to-{receiver}")

    def run(self, inputs: Sequence[Partition], records_max: int | None = None) -> Usage:
        """Read the inputs to their end (or so many records of each), until nothing is left to do."""
        self._started_cpu_s, self._usage.started_at = time.process_time(), time.monotonic()
        self._committed_at = self._cpu_s()
        for fetched in in_turn(inputs, records_max):
            self._process(fetched.partition, fetched.parts())
            if self._cpu_s() - self._committed_at >= self._commit_interval_s or self._pending() > PENDING_MAX:
                self._commit()
        for number in (each.number for each in inputs):
            source = TopicPartition(SOURCE, number)
            self._readers[source].end_input(source)
        self._commit()
        while not all(task.ended for task in self._tasks.values()):
            time.sleep(PAUSE_S)  # another worker has not sent all yet
            self._commit()
        self._commit()
        self._usage.cpu_s = self._cpu_s()
        self._usage.ended_at = time.monotonic() - self._aside_s
        self._usage.by_partition = [use for use in self._used.values() if use.records]
        return self._usage

    def _cpu_s(self) -> float:
        return time.process_time() - self._started_cpu_s - self._aside_cpu_s

    def _pending(self) -> int:
        return sum(task.pending for task in self._tasks.values())

    def _process(self, partition: int, batches: Iterable[RecordBatch]) -> None:
        """Let its task take batches of a partition; where these are parsed meanwhile, that counts too."""
        started = time.process_time()
        use = self._used[partition]
        for batch in batches:
            self._readers[TopicPartition(batch.topic, batch.partition)].process(batch)
            if batch.topic == SOURCE:
                use.records += batch.next_offset - batch.fetch_offset
        use.busy_s += time.process_time() - started

    def _commit(self) -> None:
        """Cut all tasks, apply the cuts, hand their rows on, and take what has come in."""
        cuts = [(id_, cut) for id_, task in self._tasks.items() if (cut := self._cut(id_, task)) is not None]
        for id_, cut in cuts:
            if cut.changelog:
                store = self._stores[id_]
                store.apply(cut.changelog, (store.position or 0) + len(cut.changelog))
        trim_caches(self._tasks.values(), STATE_CACHE_BYTES)
        outputs = [output for _, cut in cuts for output in cut.outputs]
        self._send([output for output in outputs if output.topic in self._exchanges])
        with self._aside():
            self._keep([output for output in outputs if output.topic not in self._exchanges])
            self._note_state()
        self._committed_at = self._cpu_s()
        for log in self._received:
            for rows in log.news():
                self._deliver(rows)
        while self._inbox:
            batch = self._inbox.popleft()
            self._process(batch.partition, [batch])

    def _cut(self, id_: TaskId, task: Task) -> Cut | None:
        started = time.process_time()
        cut = task.cut()
        self._used[id_.partition].busy_s += time.process_time() - started
        return cut

    def _send(self, outputs: Sequence[Output]) -> None:
        waiting: list[list[Rows]] = [[] for _ in range(self._share.workers)]
        for output in outputs:
            assert output.partition is not None
            rows = Rows(output.topic, output.partition, output.keys, output.values)
            waiting[self._share.owner(output.partition)].append(rows)
        for worker, blocks in enumerate(waiting):
            if worker == self._share.worker:
                for rows in blocks:
                    self._deliver(rows)
            elif blocks:
                self._sent[worker].append(blocks)

    def _deliver(self, rows: Rows) -> None:
        assert rows.partition is not None
        place = TopicPartition(rows.topic, rows.partition)
        first, count = self._ends.get(place, 0), len(rows.values)
        end = self._ends[place] = first + count
        offsets = list(range(first, end))
        self._inbox.append(MemoryBatch(*place, first, end, rows.values, rows.keys, [0] * count, offsets, [()] * count))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What is done inside belongs to the measurement, and its time is not counted."""
        wall, cpu = time.monotonic(), time.process_time()
        yield
        self._aside_s += time.monotonic() - wall
        self._aside_cpu_s += time.process_time() - cpu

    def _keep(self, outputs: Sequence[Output]) -> None:
        strange = {output.topic for output in outputs} - self._sinks
        assert not strange, f"dead letters in {strange}"
        if outputs:
            self._results.append([Rows(each.topic, each.partition, each.keys, each.values) for each in outputs])

    def _note_state(self) -> None:
        keys = sum(_keys(store) for store in self._stores.values())
        if keys > self._usage.state_keys:
            self._usage.state_keys = keys
            self._usage.state_bytes = sum(_bytes(store) for store in self._stores.values())


def _keys(store: MemoryStore) -> int:
    """Entries but for the checkpoint."""
    return max(store.entries(), default=0) - (store.get(CHECKPOINT_KEY) is not None)


def _bytes(store: MemoryStore) -> int:
    return sum(len(key) + len(value) for key, value in store.scan(b"", CHECKPOINT_KEY))


def results_log(directory: Path, worker: int) -> Log:
    """Where a worker puts its results."""
    return Log(directory / f"results-{worker}")
