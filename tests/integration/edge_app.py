"""A hand-written app for tests of the Kafka edge: counts the records of each key, with a worker to run it.

Run as a script, it is one worker process: its only argument is a JSON object, see `main`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from headrace.agents import worker
from headrace.agents.checkpoint import CHECKPOINT_KEY
from headrace.agents.config import Guarantee, WorkerConfig
from headrace.agents.errors import TaskStopped
from headrace.agents.process import run_worker
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskId, TaskSpec, TopicKind, TopicSpec, Topology
from headrace.agents.transport import BatchApp, BatchConsumer, BatchTransport
from headrace.sql.runtime.records import Change, Cut, Output, Position, RecordBatch, Store, TopicPartition


def counting_topology(app: str, partitions: int, mode: str = "partitioned", plan_version: str = "p1") -> Topology:
    """`<app>-in` is counted into `<app>-out`; one task per partition, in mode single one task."""
    source, changelog = f"{app}-in", f"{app}-count-changelog"
    groups = [[p] for p in range(partitions)] if mode == "partitioned" else [list(range(partitions))]
    tasks = tuple(
        TaskSpec(
            TaskId("count", number),
            frozenset(TopicPartition(source, p) for p in group),
            TopicPartition(changelog, number),
        )
        for number, group in enumerate(groups)
    )
    topics = (
        TopicSpec(source, TopicKind.SOURCE, partitions, None, {}),
        TopicSpec(f"{app}-out", TopicKind.SINK, 2, None, {"retention.ms": "-1"}),
        TopicSpec(changelog, TopicKind.CHANGELOG, len(groups), None, {"cleanup.policy": "compact"}),
        TopicSpec(f"{app}-dead-letter", TopicKind.DEAD_LETTER, 1, None, {"max.message.bytes": "2000000"}),
    )
    return Topology(app, mode, partitions, topics, tasks, plan_version)


class CountTask:
    """Counts records per key.

    A value `stop` stops the task, one `size <n>` makes an output of n bytes, one `say` is told on stdout, and one
    `break <n>` breaks the task the first n times that the process meets it.
    """

    caches: ClassVar[tuple[object, ...]] = ()
    broken: ClassVar[Counter[bytes]] = Counter()

    counters: ClassVar[dict[str, object]] = {}

    def __init__(self, spec: TaskSpec, store: Store, app: str) -> None:
        self.spec = spec
        self._store = store
        self._sink = f"{app}-out"
        self._counts: dict[bytes, int] = {}
        self._dirty: set[bytes] = set()
        self._outputs: list[Output] = []
        self._moved = False
        checkpoint = json.loads(store.get(CHECKPOINT_KEY) or b"{}")
        self._next = {TopicPartition(*p): at for *p, at in checkpoint.get("next", [])}
        self._ended = {TopicPartition(*p) for p in checkpoint.get("ended", [])}

    @property
    def next_offsets(self) -> Mapping[TopicPartition, int]:
        return self._next

    @property
    def ended(self) -> bool:
        return self._ended == self.spec.inputs

    @property
    def pending(self) -> int:
        return len(self._dirty) + sum(map(len, self._outputs))

    @property
    def pending_bytes(self) -> int:
        return 0

    def begin(self, partition: TopicPartition, offset: int) -> None:
        self._next[partition] = offset
        self._moved = True

    def skip(self, partition: TopicPartition, offset: int) -> None:
        raise TaskStopped(f"expected {self._next[partition]}, got {offset}")

    def process(self, batch: RecordBatch) -> None:
        partition = TopicPartition(batch.topic, batch.partition)
        if batch.fetch_offset != self._next.get(partition, batch.fetch_offset):
            raise TaskStopped(f"expected {self._next[partition]}, got {batch.fetch_offset}")
        output = Output(self._sink, None)
        for key, value in zip(batch.keys, batch.values, strict=True):
            assert key is not None
            self._obey(value or b"")
            self._counts[key] = self._count(key) + 1
            self._dirty.add(key)
            output.keys.append(key)
            output.values.append(self._result(key, value or b""))
            output.timestamps.append(1_700_000_000_000)
        self._outputs.append(output)
        self._next[partition] = batch.next_offset
        self._moved = True

    def _obey(self, value: bytes) -> None:
        if value == b"stop":
            raise TaskStopped("a record says stop")
        if value == b"say":
            sys.stdout.write("a record says say\n")
            sys.stdout.flush()
        if value.startswith(b"break "):
            self.broken[value] += 1
            if self.broken[value] <= int(value[6:]):
                raise ValueError("a record breaks the task")

    def _count(self, key: bytes) -> int:
        if key not in self._counts:
            self._counts[key] = int(self._store.get(key) or b"0")
        return self._counts[key]

    def _result(self, key: bytes, value: bytes) -> bytes:
        if value.startswith(b"size "):
            return random.Random(0).randbytes(int(value[5:]))
        return b"%d" % self._counts[key]

    def end_input(self, partition: TopicPartition) -> None:
        self._moved = self._moved or partition not in self._ended
        self._ended.add(partition)
        self._next.setdefault(partition, 0)

    def tick(self, now: float, at_end: Collection[TopicPartition]) -> None:
        pass

    def wake(self) -> None:
        pass

    def take_outputs(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def cut(self) -> Cut | None:
        if not self._moved:
            return None
        changes: list[Change] = [(key, b"%d" % self._counts[key]) for key in self._dirty]
        checkpoint = {"next": [[*p, at] for p, at in self._next.items()], "ended": [list(p) for p in self._ended]}
        changes.append((CHECKPOINT_KEY, json.dumps(checkpoint).encode()))
        positions = {p: Position(at, json.dumps({"ended": p in self._ended})) for p, at in self._next.items()}
        self._dirty, self._moved = set(), False
        return Cut(self.take_outputs(), changes, positions)


class CountFactory:
    """Opens `CountTask`s."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def open(self, spec: TaskSpec, store: Store, positions: Mapping[TopicPartition, Position]) -> CountTask:  # noqa: ARG002 (a protocol)
        return CountTask(spec, store, self.topology.app)


class AppThatStopsInARebalance(BatchApp):
    """Its group begins to assign anew when it stops, and it hears of that before it goes on stopping."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.revoked = asyncio.Event()

    async def on_stop(self) -> None:
        self.revoked.clear()
        await self.consumer.reader.join_again()
        await self.revoked.wait()
        await super().on_stop()


class ConsumerOfIt(BatchConsumer):
    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        await super().on_partitions_revoked(revoked)
        cast(AppThatStopsInARebalance, self.app).revoked.set()


def main() -> int:
    """Run one worker as the argument says: `config` (WorkerConfig), `partitions`, `mode`, `plan`, `ends`, and whether
    it is to stop while its group assigns anew.
    """
    arguments = json.loads(sys.argv[1])
    if arguments["stops_in_rebalance"]:
        worker.BatchApp = AppThatStopsInARebalance  # type: ignore[misc]
        BatchTransport.Consumer = ConsumerOfIt
    config = arguments["config"]
    config["state_dir"] = Path(config["state_dir"])
    config["guarantee"] = Guarantee(config.get("guarantee", Guarantee.EXACTLY_ONCE))
    if arguments.get("ends") is not None:
        config["ends"] = {TopicPartition(topic, partition): end for topic, partition, end in arguments["ends"]}
    topology = counting_topology(config["app"], arguments["partitions"], arguments["mode"], arguments["plan"])
    return run_worker(WorkerConfig(**config), cast(TaskFactory, CountFactory(topology)))


if __name__ == "__main__":
    sys.exit(main())
