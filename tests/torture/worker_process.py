"""Worker processes that start at once: forked from a process that has imported Headrace and has no thread yet.

From there on they are what `python -m headrace.app.worker` is: main thread, stdin with the order, signals, exit code.
A start costs 0.2 s of CPU so, in place of 1.5 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from headrace.agents import purge
from headrace.agents.worker import Worker
from headrace.app import worker

PURGE_S = 2.0
"""Time between two purges of repartition topics: each round sees some."""
ENDED_S = 10.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


class WorkerProcess:
    """One worker process, with its output in a file."""

    def __init__(self, order: bytes, log: Path) -> None:
        self.log = log
        receiving, self._order = _forks.Pipe(duplex=False)
        self._process = _forks.Process(target=_work, args=(receiving, str(log)), daemon=True)
        self._process.start()
        receiving.close()
        os.write(self._order.fileno(), order + b"\n")

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that ended it."""
        return self._process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            assert self._process.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.join(ENDED_S)
        assert self.exit_code is not None, "the process is still there"
        self._order.close()


def _work(order: Connection, log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(order.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    order.close()
    os.close(output)
    sys.stdin = os.fdopen(0, closefd=False)
    signal.signal(signal.SIGUSR1, _tell_where_it_stands)
    purge.INTERVAL_S = PURGE_S
    sys.exit(worker.main())


def _tell_where_it_stands(*_: object) -> None:
    """Write where every partition stands, and what all threads and coroutines wait for, into the log."""
    for found in gc.get_objects():
        if isinstance(found, Worker) and found._started:
            sys.stderr.writelines(f"{line}\n" for line in _stand(found))
    faulthandler.dump_traceback()
    for task in list(asyncio.tasks._all_tasks):  # type: ignore[attr-defined] # of all loops
        if not task.done():
            task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def _stand(worker: Worker) -> Iterator[str]:
    yield f"settled {worker._settled}, broken {worker._broken}, rebalance {worker._rebalance}, {worker.numbers()}"
    consumer, fetching = worker._app.consumer, worker._reader._ensure_consumer()
    yield f"flow {consumer.flow_active}, active {sorted(consumer._active_partitions or ())}"
    yield f"fetched {sorted(fetching._fetcher._records)}, in flight {fetching._fetcher._in_flight}"
    for partition in sorted(fetching.assignment()):
        opened = worker._owned.reader_of(*partition)
        state = fetching._subscription.subscription.assignment.state_value(partition)
        yield (
            f"{partition}: paused {state.paused}, position {state._position}, highwater {state.highwater}, "
            f"task {None if opened is None else (opened.task.spec.id, opened.broken, opened.expected)}"
        )
