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
from headrace.app.running import checked_topology

if TYPE_CHECKING:
    from headrace.app.http import WorkerService

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")


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
    is_sent = metrics_are_sent()
    if port is None and not is_sent:
        return None
    from headrace.app import telemetry
    from headrace.app.http import WorkerService

    who = telemetry.resource(order.app, order.slot, settings.instance_id)
    watching = telemetry.Telemetry(order.app, who, [telemetry.otlp()] if is_sent else [])
    wanted = "http_port" in settings.model_fields_set
    return WorkerService(settings.http_host, port, watching, is_port_wanted=wanted)


def metrics_are_sent() -> bool:
    """Whether OpenTelemetry's own environment variables ask for it."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = os.environ.get("OTEL_METRICS_EXPORTER", "otlp").split(",")
    return "otlp" in exporters and any(os.environ.get(name) for name in ENDPOINTS)


def _stop_when_orphaned(stdin: BinaryIO) -> None:
    """The supervisor holds the other end of stdin: when it is gone, whatever ended it, nobody would stop us."""
    # os.read and not stdin.read: a daemon thread must not hold the buffer's lock when the interpreter ends.
    while os.read(stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
