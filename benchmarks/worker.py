"""One measured worker: runs an order and prints its CPU time as JSON. Started by process.started."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.order import Order
from headrace.agents.config import Guarantee, WorkerConfig
from headrace.agents.task import Task, TaskFactory, TaskSettings
from headrace.agents.topics import Cluster
from headrace.agents.topology import TaskSpec
from headrace.agents.worker import run_worker
from headrace.app.application import App
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import Position, RecordBatch, Store, TopicPartition


class Clock:
    """CPU and wall time since the first record batch: start-up is not part of the cost per record."""

    started: tuple[float, float] | None = None

    @classmethod
    def start(cls) -> None:
        if cls.started is None:
            cls.started = (time.process_time(), time.monotonic())


class MeasuredTask(Task):
    def process(self, batch: RecordBatch) -> None:
        Clock.start()
        super().process(batch)


class MeasuredFactory(TaskFactory):
    def open(self, spec: TaskSpec, store: Store, positions: dict[TopicPartition, Position]) -> Task:  # type: ignore[override]
        task = super().open(spec, store, positions)
        task.__class__ = MeasuredTask
        return task


def main() -> int:
    order = Order(**json.loads(sys.argv[1]))
    app = App(order.text, order.app)
    mode = Mode(order.mode)
    config = WorkerConfig(
        order.bootstrap,
        order.app,
        Path(sys.argv[2]),
        guarantee=Guarantee(order.guarantee),
        commit_interval_s=order.commit_interval_s,
    )
    cluster = Cluster(config)
    sources = cluster.source_partitions(app.source_topics())
    if order.to_end:
        inputs = [TopicPartition(topic, number) for topic, count in sources.items() for number in range(count)]
        config = replace(config, ends=cluster.end_offsets(inputs))
    factory = MeasuredFactory(
        app.stages(mode), app.topology(mode, sources, None), TaskSettings(30.0, continue_when_lost=False)
    )
    code = run_worker(config, factory)
    assert Clock.started is not None
    cpu_s, wall_s = time.process_time() - Clock.started[0], time.monotonic() - Clock.started[1]
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "memory_mb": peak_memory_mb()}))
    return code


def peak_memory_mb() -> int:
    """Peak resident memory of this process (getrusage would count its parent's before the exec)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    sys.exit(main())
