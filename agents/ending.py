"""How a worker process ends: its exit codes, what they stand for, and a deadline for the end."""

from __future__ import annotations

import os
import threading

import structlog
from aiokafka.errors import KafkaError as ConsumerError
from confluent_kafka import KafkaException

from headrace.agents.errors import CommitFailed, KafkaFailure, StateFailure, TaskStopped

log = structlog.get_logger(__name__)

EXIT_DONE = 0
EXIT_STOPPED = 1
EXIT_KAFKA = 3


def verdict(error: BaseException) -> tuple[int, str]:
    """Exit code and message for the operator."""
    match error:
        case TaskStopped():
            return EXIT_STOPPED, str(error)
        case KafkaFailure() | CommitFailed() | StateFailure():
            return EXIT_KAFKA, str(error)
        case ConsumerError() | KafkaException():
            return EXIT_KAFKA, f"Kafka failed: {error}"
        case _:
            return EXIT_KAFKA, f"{type(error).__name__}: {error}"


class Deadline:
    """Ends the process the hard way where a stop hangs (the broker is away, a rebalance runs, a client waits)."""

    def __init__(self, seconds: float) -> None:
        self.code = EXIT_KAFKA
        """What the process ends with then."""
        self._seconds = seconds

    def start(self, code: int) -> None:
        self.code = code or EXIT_KAFKA
        timer = threading.Timer(self._seconds, self._expire)
        timer.daemon = True
        timer.start()

    def _expire(self) -> None:
        log.error("stopping took too long, ending the process", deadline_s=self._seconds)
        os._exit(self.code)
