"""The main program of a worker process, started by the supervisor: reads its order from stdin, then runs its tasks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO

import structlog

from headrace.agents.task import TaskFactory
from headrace.agents.worker import run_worker
from headrace.app.logging import configure_logging
from headrace.app.order import WorkerOrder, open_app, task_settings, worker_config
from headrace.app.otel import is_sent
from headrace.app.running import checked_topology

if TYPE_CHECKING:
    from headrace.app.http import WorkerService


def main() -> int:
    order = WorkerOrder.from_json(sys.stdin.buffer.readline())
    configure_logging(order.settings.log_format, order.settings.log_level)
    structlog.contextvars.bind_contextvars(app=order.app, slot=order.slot)
    threading.Thread(target=_stop_when_orphaned, args=(sys.stdin.buffer,), daemon=True).start()
    app = open_app(order.sql_text, order.file, order.app, order.settings)
    topology = checked_topology(app, order.settings, order.source_partitions)
    stages = app.stages(order.settings.mode)
    factory = TaskFactory(stages, topology, task_settings(app, order))
    return run_worker(worker_config(app, order), factory, service(order))


def service(order: WorkerOrder) -> WorkerService | None:
    """What runs beside the worker; None where nobody asks for anything, and then none of it is even imported."""
    settings = order.settings
    port = settings.http_port + order.slot if settings.http_port else None
    metrics, traces = is_sent("METRICS"), is_sent("TRACES")
    if port is None and not metrics and not traces:
        return None
    from headrace.app import telemetry
    from headrace.app.http import WorkerService

    watching = telemetry.Telemetry(
        order.app,
        telemetry.resource(order.app, order.slot, settings.instance_id),
        [telemetry.otlp()] if metrics else [],
        telemetry.otlp_spans() if traces else None,
    )
    wanted = "http_port" in settings.model_fields_set
    return WorkerService(settings.http_host, port, watching, is_port_wanted=wanted)


def _stop_when_orphaned(stdin: BinaryIO) -> None:
    """The supervisor holds the other end of stdin: when it is gone, whatever ended it, nobody would stop us."""
    # os.read and not stdin.read: a daemon thread must not hold the buffer's lock when the interpreter ends.
    while os.read(stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
