"""One measured worker: runs an order and says what it used. Started by `process.started`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path

import msgspec

from headrace.agents.cluster import Cluster
from headrace.agents.config import Guarantee, WorkerConfig
from headrace.agents.process import run_worker
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topology import TaskSpec
from headrace.app.application import App
from headrace.app.bench.cpu import peak_memory_mb
from headrace.app.bench.engine import PartitionUse
from headrace.app.bench.order import Order
from headrace.app.bench.process import await_go, say
from headrace.app.logging import configure_logging
from headrace.app.settings import LogFormat, LogLevel
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import Cut, Position, RecordBatch, Store, TopicPartition

IDLE_S = 30.0


class Meter:
    """What the tasks of this process have used since the first record batch: start-up is no cost of a record."""

    source = ""
    started: tuple[float, float] | None = None
    """CPU time and monotonic clock."""
    ended_at = 0.0
    """When the last cut that held anything was made."""
    used: dict[int, PartitionUse] = {}  # noqa: RUF012 (one per process)

    @classmethod
    def start(cls) -> None:
        if cls.started is None:
            cls.on_start()
            cls.started = (time.process_time(), time.monotonic())

    @staticmethod
    def on_start() -> None:
        """For others to put in its place."""


class MeasuredTask(Task):
    def process(self, batch: RecordBatch) -> None:
        Meter.start()
        before = time.thread_time()
        super().process(batch)
        use = Meter.used.setdefault(batch.partition, PartitionUse(batch.partition))
        use.busy_s += time.thread_time() - before
        if batch.topic == Meter.source:
            use.records += batch.next_offset - batch.fetch_offset

    def cut(self) -> Cut | None:
        before = time.thread_time()
        cut = super().cut()
        if cut is not None:
            Meter.ended_at = time.monotonic()
            use = Meter.used.setdefault(self.spec.id.partition, PartitionUse(self.spec.id.partition))
            use.busy_s += time.thread_time() - before
        return cut


class MeasuredFactory(TaskFactory):
    def open(self, spec: TaskSpec, store: Store, positions: dict[TopicPartition, Position]) -> Task:  # type: ignore[override]
        task = super().open(spec, store, positions)
        task.__class__ = MeasuredTask
        return task


def main() -> int:
    return run(dict)


def run(more: Callable[[], Mapping[str, object]]) -> int:
    """Run the order of this process and say what was used, with what `more` finds at the end."""
    order = Order(**json.loads(sys.argv[1]))
    configure_logging(LogFormat.TEXT, LogLevel.ERROR)
    app = App(order.text, order.app)
    mode = Mode(order.mode)
    config = WorkerConfig(
        order.bootstrap,
        order.app,
        Path(sys.argv[2]),
        slot=order.slot,
        guarantee=Guarantee(order.guarantee),
        commit_interval_s=order.commit_interval_s,
    )
    cluster = Cluster(config)
    sources = cluster.source_partitions(app.source_topics())
    if order.to_end:
        inputs = [TopicPartition(topic, number) for topic, count in sources.items() for number in range(count)]
        config = replace(config, ends=cluster.end_offsets(inputs))
    Meter.source = order.source
    factory = MeasuredFactory(
        app.stages(mode),
        app.topology(mode, sources, None),
        TaskSettings(
            inf if order.to_end else IDLE_S,
            continue_when_lost=False,
            exactly_once=order.guarantee == Guarantee.EXACTLY_ONCE,
        ),
    )
    await_go()
    code = run_worker(config, factory)
    say(_used() | _state(config.state_dir) | dict(more()))
    return code


def _used() -> dict[str, object]:
    cpu_s, started_at = Meter.started or (time.process_time(), time.monotonic())
    return {
        "cpu_s": time.process_time() - cpu_s,
        "started_at": started_at,
        "ended_at": Meter.ended_at,
        "memory_mb": peak_memory_mb(),
        "by_partition": msgspec.to_builtins([use for use in Meter.used.values() if use.records]),
    }


def _state(directory: Path) -> dict[str, int]:
    """What the stores of the tasks take on disk at the end; nothing for an app without state."""
    stores = [found.parent for found in directory.rglob("CURRENT")]
    return {"state_bytes": sum(file.stat().st_size for store in stores for file in store.iterdir())} if stores else {}


if __name__ == "__main__":
    sys.exit(main())
