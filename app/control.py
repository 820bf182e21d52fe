"""What a worker is told by whoever started it: lines on its stdin. What it answers is in app/answers.py.

The first line of stdin is the order. Commands come after it: `pause`, `resume`, and `status`, which is answered;
`follow` with a JSON object, {topic: {partition: [offset, idle]}}, says how far another version of the app has come,
which this one is not to pass. Before it ends, a worker that fails says why, and one whose finite run is over says so.
Where stdin ends, the supervisor is gone, whatever ended it, and the worker stops.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
import structlog

from headrace.agents.following import Reached
from headrace.agents.observer import Observer
from headrace.agents.worker import Service, Worker
from headrace.app.answers import Answer, Answers
from headrace.sql.runtime.records import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

READ_BYTES = 65536
FOLLOW = b"follow "


def follow_command(reached: Mapping[TopicPartition, Reached]) -> bytes:
    """What tells a worker how far the version that it follows has come."""
    document: dict[str, dict[str, tuple[int, bool]]] = {}
    for (topic, partition), at in reached.items():
        document.setdefault(topic, {})[str(partition)] = at.next_offset, at.is_idle
    return FOLLOW + orjson.dumps(document)


def read_follow(command: bytes) -> dict[TopicPartition, Reached]:
    """What `follow_command` has written."""
    document = orjson.loads(command.removeprefix(FOLLOW))
    return {
        TopicPartition(topic, int(partition)): Reached(*at)
        for topic, partitions in document.items()
        for partition, at in partitions.items()
    }


class Lines:
    """The lines of a pipe. Not by a buffered reader: a daemon thread must not hold its lock when Python ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def next(self) -> bytes | None:
        """Blocks; None at the end."""
        while b"\n" not in self._rest:
            read = os.read(self._descriptor, READ_BYTES)
            if not read:
                return None
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line


class Control:
    """A `Service` of a worker: obeys commands, beside another service."""

    def __init__(self, lines: Lines, answers: Answers, beside: Service) -> None:
        self._answers = answers
        self._beside = beside
        self._early: deque[bytes] = deque()
        """Commands from before the worker was there."""
        self._worker: Worker | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    @property
    def observer(self) -> Observer:
        return self._beside.observer

    def _listen(self, lines: Lines) -> None:
        while (line := lines.next()) is not None:
            with self._lock:
                if self._worker is None:
                    self._early.append(line)
                else:
                    self._loop.call_soon_threadsafe(self._obey, line)
        os.kill(os.getpid(), signal.SIGTERM)

    async def start(self, worker: Worker) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._worker = worker
        while self._early:
            self._obey(self._early.popleft())
        await self._beside.start(worker)

    def _obey(self, command: bytes) -> None:
        assert self._worker is not None
        match command:
            case _ if command.startswith(FOLLOW):
                self._worker.follow(read_follow(command))
            case b"pause":
                self._worker.pause()
            case b"resume":
                self._worker.resume()
            case b"status":
                # In a thread: the worker does not wait for who asks to read.
                status = Answer(status=asdict(self._worker.status()))
                self._loop.run_in_executor(None, self._answers.say, status)
            case _:
                log.error("no such command", command=command.decode(errors="replace"))

    def last_look(self) -> None:
        self._beside.last_look()

    async def stop(self) -> None:
        if self._worker is not None and self._worker.failure is not None:
            self._answers.say(Answer(failure=self._worker.failure))
        if self._worker is not None and self._worker.complete:
            self._answers.say(Answer(complete=True))
        await self._beside.stop()
