"""The main program of a worker process, started by the supervisor: reads its order from stdin, then runs its tasks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import structlog

from headrace.agents.ending import verdict
from headrace.agents.errors import KafkaFailure
from headrace.agents.process import run_worker
from headrace.agents.task_factory import TaskFactory
from headrace.agents.worker import NoService
from headrace.app.answers import Answer, Answers
from headrace.app.control import Control, Lines
from headrace.app.errors import ExitCode, HeadraceError
from headrace.app.logging import configure_logging
from headrace.app.order import WorkerOrder, open_app, task_settings, worker_config
from headrace.app.otel import is_sent
from headrace.app.running import checked_topology
from headrace.sql.errors import SqlError

if TYPE_CHECKING:
    from structlog.typing import Processor

    from headrace.app.http import WorkerService

log = structlog.get_logger(__name__)


def main() -> int:
    answers = Answers()
    try:
        return run(answers)
    except Exception as error:  # the edge of the process: Python's own exit code would say that no restart can mend it
        code, message = _verdict(error)
        foreseen = isinstance(error, SqlError | HeadraceError | KafkaFailure)
        log.error("worker failed", error=message, exit_code=code, exc_info=None if foreseen else error)
        answers.say(Answer(failure=message))
        return code


def _verdict(error: Exception) -> tuple[int, str]:
    match error:
        case SqlError():
            return ExitCode.INPUT, str(error)
        case HeadraceError():
            return error.exit_code, f"{error} ({error.hint})" if error.hint else str(error)
        case _:
            return verdict(error)


def run(answers: Answers) -> int:
    """Read the order and do as it says, to the exit code. Raises what keeps the worker from beginning."""
    lines = Lines(sys.stdin.fileno())
    line = lines.next()
    if line is None:
        return ExitCode.DONE  # the supervisor went away before it said a word
    order = WorkerOrder.from_json(line)
    configure_logging(order.settings.log_format, order.settings.log_level, more=log_processors())
    structlog.contextvars.bind_contextvars(app=order.app, slot=order.slot)
    control = Control(lines, answers, service(order) or NoService())
    app = open_app(order.sql_text, order.file, order.app, order.settings)
    topology = checked_topology(app, order.settings, order.source_partitions, order.diverted)
    stages = app.stages(order.settings.mode)
    factory = TaskFactory(stages, topology, task_settings(app, order))
    return run_worker(worker_config(app, order), factory, control)


def log_processors() -> list[Processor]:
    """What adds to each line of the log: the span that is worked on, where spans are sent."""
    if not is_sent("TRACES"):
        return []
    from headrace.app.traces import add_ids

    return [add_ids]


def service(order: WorkerOrder) -> WorkerService | None:
    """What runs beside the worker; None where nobody asks for anything, and then none of it is even imported."""
    settings = order.settings
    port = settings.http_port + order.slot if settings.http_port else None
    metrics, traces = is_sent("METRICS"), is_sent("TRACES")
    if port is None and not metrics and not traces:
        return None
    from headrace.app import telemetry
    from headrace.app.http import IfTaken, WorkerService

    watching = telemetry.Telemetry(
        order.app,
        telemetry.resource(order.app, order.slot, settings.instance_id),
        [telemetry.otlp()] if metrics else [],
        telemetry.otlp_spans() if traces else None,
    )
    if_taken = IfTaken.END if "http_port" in settings.model_fields_set else IfTaken.GO_ON
    return WorkerService(settings.http_host, port, watching, if_taken)


if __name__ == "__main__":
    sys.exit(main())
