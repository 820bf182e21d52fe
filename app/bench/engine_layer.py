"""Runs of the engine layer: worker processes over files of fetched bytes, each run's results read back."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from typing import Any

from headrace.app.bench import engine_worker
from headrace.app.bench.case import Case, UsedBy, measured
from headrace.app.bench.cpu import plain_loop_us
from headrace.app.bench.engine import results_log
from headrace.app.bench.engine_worker import EngineOrder
from headrace.app.bench.inputs import SOURCE, Inputs
from headrace.app.bench.measurements import Throughput
from headrace.app.bench.results import Results
from headrace.app.errors import OutsideError

SINK = "bench-sink"


def runs(case: Case, inputs: Inputs, commit_interval_s: float, repeat: int) -> Iterator[tuple[Throughput, Results]]:
    """So many runs of a case, with their results. All are made by the same processes, which have warmed up before."""
    sql = case.workload.sql.replace("{source}", SOURCE).replace("{sink}", SINK)
    path = inputs.path(case.workload.source, case.records, case.partitions)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        for what in ("warm-up", *map(str, range(repeat))):
            (directory / what).mkdir()
        orders = [
            EngineOrder(
                sql,
                case.mode,
                case.partitions,
                worker,
                case.workers,
                commit_interval_s,
                str(path),
                str(directory),
                repeat,
            )
            for worker in range(case.workers)
        ]
        workers = [stack.enter_context(_started(order)) for order in orders]
        plain_us = plain_loop_us()
        for number in range(repeat):
            for worker in workers:
                _hear(worker)
            for worker in workers:
                worker.send("go")
            used = [_hear(worker) for worker in workers]
            before_us, plain_us = plain_us, plain_loop_us()
            cost = UsedBy(used, None, mean((before_us, plain_us)))
            results = case.workload.new_results
            for worker_number in range(case.workers):
                for rows in results_log(directory / str(number), worker_number).news():
                    results.add(rows.keys, rows.values)
            yield measured(case, None, commit_interval_s, number, cost, results), results


@contextmanager
def _started(order: EngineOrder) -> Iterator[Connection]:
    """A worker in a process of its own, forked from one that has imported what it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", engine_worker.__name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=engine_worker.work, args=(order, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join()


def _hear(worker: Connection) -> Any:
    """What a worker says next. OutsideError where it has ended instead; it has told stderr why."""
    try:
        return worker.recv()
    except EOFError:
        raise OutsideError("a worker of the engine layer failed: see above") from None
