"""What it costs that many windows close at once: one task, its rows and its store on the disk, without a broker.

Rows open the windows and are committed; then one row comes that is later than all of them. Measured is the CPU time
from that row until the rows of the windows are ready to be sent and their state to be deleted: for so long the worker's
loop does nothing else. What the store takes for the deletions is apart, as a commit does it in a thread of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import orjson

from headrace.agents.tables import RocksStore
from headrace.agents.task import Task, TaskSettings
from headrace.agents.task_factory import TaskFactory
from headrace.app.application import App
from headrace.app.bench.cpu import plain_loop_us
from headrace.app.bench.measurements import Closing as Measured
from headrace.sql.physical import Mode
from headrace.sql.runtime.records import MemoryBatch

TOPIC = "rows"
SQL = f"""
CREATE STREAM rows (k BIGINT, v BIGINT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1000' DAY)
WITH (topic = '{TOPIC}', partitions = 1);
CREATE STREAM closed AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM rows WINDOW {{window}} GROUP BY k EMIT FINAL;
"""
AFTER_ALL_MS = 2_000 * 86_400_000
BATCH_ROWS = 1_000
COMMIT_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows, by their number, that each open one window more."""

    name: str
    window: str
    keys: bool
    """Whether each row has a key of its own."""
    step_ms: int
    """Event time from one row to the next."""


KINDS = (
    Kind("one window of many groups", "TUMBLING (1 DAY)", keys=True, step_ms=0),
    Kind("many windows of one group", "TUMBLING (1 SECOND)", keys=False, step_ms=1_000),
    Kind("many hopping windows of one group", "HOPPING (6 SECONDS, 1 SECOND)", keys=False, step_ms=1_000),
    Kind("sessions", "SESSION (1 SECOND)", keys=True, step_ms=10),
)


def measure(windows: int, repeat: int) -> Iterator[Measured]:
    """Each kind so many times."""
    for kind in KINDS:
        for number in range(repeat):
            with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
                yield close(kind, windows, number, Path(directory))


def close(kind: Kind, windows: int, repeat: int, directory: Path) -> Measured:
    store = RocksStore(directory / "store")
    try:
        task = _task(kind, store)
        before = plain_loop_us()
        for first in range(0, windows, BATCH_ROWS):
            _take(task, first, [_row(kind, number) for number in range(first, min(windows, first + BATCH_ROWS))])
            if (first + BATCH_ROWS) % COMMIT_ROWS == 0:
                _commit(task, store)
        _commit(task, store)
        began = time.thread_time()
        _take(task, windows, [orjson.dumps({"k": 0, "v": 0, "at": AFTER_ALL_MS})])
        outputs = task.take_outputs()
        cut = task.cut()
        closed_s = time.thread_time() - began
        assert cut is not None
        rows = sum(map(len, [*outputs, *cut.outputs]))
        began = time.process_time()
        store.apply(cut.changelog, (store.position or 0) + len(cut.changelog))
        deleted_s = time.process_time() - began
        plain_us = (before + plain_loop_us()) / 2
    finally:
        store.close()
    assert rows >= windows, f"{rows} of {windows} windows have closed"
    return Measured(
        windows=kind.name,
        rows=rows,
        repeat=repeat,
        cpu_s=round(closed_s, 4),
        store_s=round(deleted_s, 4),
        plain_us=round(plain_us, 4),
    )


def _task(kind: Kind, store: RocksStore) -> Task:
    app = App(SQL.format(window=kind.window), "closing")
    topology = app.topology(Mode.SINGLE, {TOPIC: 1})
    factory = TaskFactory(app.stages(Mode.SINGLE), topology, TaskSettings(inf, continue_when_lost=False))
    (spec,) = topology.tasks
    return factory.open(spec, store, {})


def _row(kind: Kind, number: int) -> bytes:
    return orjson.dumps({"k": number if kind.keys else 0, "v": number, "at": number * kind.step_ms})


def _take(task: Task, offset: int, values: Sequence[bytes]) -> None:
    count = len(values)
    offsets = list(range(offset, offset + count))
    task.process(
        MemoryBatch(TOPIC, 0, offset, offset + count, list(values), [None] * count, [0] * count, offsets, [()] * count)
    )


def _commit(task: Task, store: RocksStore) -> None:
    cut = task.cut()
    if cut is not None:
        store.apply(cut.changelog, (store.position or 0) + len(cut.changelog))
