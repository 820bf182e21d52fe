"""A worker as a process: its exit code, its deadline to stop, and what the interpreter is told."""

from __future__ import annotations

import asyncio
import gc

from headrace.agents.config import WorkerConfig
from headrace.agents.ending import Deadline
from headrace.agents.task_factory import TaskFactory
from headrace.agents.worker import NoService, Service, Worker


def run_worker(config: WorkerConfig, factory: TaskFactory, service: Service | None = None) -> int:
    """Run one worker until it is told to stop, a finite run is complete, or it cannot go on; the exit code.

    To be called in the main thread of a process of its own: takes over SIGTERM and SIGINT, and ends the process itself
    where a stop takes longer than its deadline.
    """
    spare_garbage_collection()
    deadline = Deadline(config.stop_deadline_s)
    code = asyncio.run(Worker(config, factory, service or NoService()).run(deadline.start))
    # The interpreter waits for threads that may be waiting for Kafka: the deadline holds until the process is gone.
    deadline.code = code
    return code


def spare_garbage_collection() -> None:
    """Look for reference cycles rarely: a batch is thousands of objects that live for milliseconds and form none.

    With Python's own thresholds the collector takes half of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
