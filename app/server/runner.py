"""One job on one server: its worker processes, kept as the job wants them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import Any, Protocol

import structlog

from headrace.agents.errors import KafkaFailure
from headrace.agents.following import Reached
from headrace.app.answers import Answer
from headrace.app.control import follow_command
from headrace.app.errors import HeadraceError
from headrace.app.order import WorkerOrder, open_app
from headrace.app.restarts import RestartPolicy
from headrace.app.running import order_workers, worker_of
from headrace.app.server.jobs import Job, Wanted
from headrace.app.server.transfer import diverted
from headrace.app.settings import Settings
from headrace.app.supervisor import Ending, Supervisor, WorkerProcess
from headrace.sql.errors import SqlError
from headrace.sql.runtime.records import TopicPartition

log = structlog.get_logger(__name__)

ANSWER_S = 2.0
READY_STEP_S = 0.5
RETRY_S = 10.0
"""Between two attempts to start a job whose topics or cluster are not as it needs them."""
RESTARTS = RestartPolicy(crash_window_seconds=300.0)
"""Where many jobs start at once, a worker that cannot run may take a minute to find that out."""


@cache
def _starting() -> ThreadPoolExecutor:
    """For all jobs, and nothing else: with Kafka away each job that is to start keeps a thread for seconds."""
    return ThreadPoolExecutor(4, thread_name_prefix="starting")


class State(StrEnum):
    """What a job is on a server."""

    STARTING = "starting"
    """Its workers restore state, or wait for their partitions."""
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    """It cannot be started yet, and is tried again: a source topic is missing, Kafka does not answer."""
    STOPPING = "stopping"
    """Its workers drain and commit."""
    STOPPED = "stopped"
    SWITCHING = "switching"
    """It stands still, for its rebuilt version to take over."""
    FAILED = "failed"
    """Its workers kept failing, or cannot run it at all; nothing is tried until it is restarted or deployed anew."""


class Told(Protocol):
    """Whoever keeps the record of what becomes of a job."""

    def __call__(self, job: Job, state: State, reason: str | None) -> None: ...


class Runner:
    """Use from one event loop. `become` says what the job is to be; the runner gets there by itself."""

    def __init__(self, server: Settings, tell: Told) -> None:
        self._server = server
        self._tell = tell
        self._job: Job | None = None
        self._wake = asyncio.Event()
        self._supervisor: Supervisor | None = None
        self._supervising: asyncio.Task[int] | None = None
        self._started: Job | None = None
        """The version that the workers run."""
        self._following: Mapping[TopicPartition, Reached] = {}
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.state = State.STOPPED
        self._entered: tuple[int, State, str | None] | None = None
        self.reason: str | None = None
        """Why it waits, failed, or starts again."""
        self._failure: str | None = None
        """What the last worker said that failed."""
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._keeping = asyncio.create_task(self._keep())
        self._keeping.add_done_callback(self._broke)

    def become(self, job: Job) -> None:
        """What the job is from now on."""
        self._job = job
        self._wake.set()

    def follow(self, reached: Mapping[TopicPartition, Reached]) -> None:
        """Have the workers read sources as far as another version has read them, and no further until told anew."""
        self._following = reached
        self._tell_workers(follow_command(reached))

    async def close(self) -> None:
        """Have its workers drain and end, for good."""
        self._keeping.cancel()
        await asyncio.wait((self._keeping,))
        try:
            await self._halt()
        finally:  # whatever fails on the way: it lets go of no worker
            if self._supervising is not None:
                await asyncio.wait((self._supervising,))

    async def stopped(self) -> None:
        """Wait until the workers of a job that is to be stopped have ended."""
        waiting = asyncio.create_task(self._stopped.wait())
        await asyncio.wait((waiting, self._keeping), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._keeping.done():  # nobody else does it
            await self._halt()

    @property
    def restarts(self) -> int:
        """Workers started again since the job was last started."""
        return 0 if self._supervisor is None else self._supervisor.restarts

    # Getting there

    async def _keep(self) -> None:
        timeout: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout)
            self._wake.clear()
            assert self._job is not None
            timeout = await self._step(self._job)

    def _broke(self, keeping: asyncio.Task[None]) -> None:
        """Our own mistake is no reason to harm other jobs."""
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            log.error("a job is not looked after any more", exc_info=error)
            self.state, self.reason = State.FAILED, f"internal error: {error}"

    async def _step(self, job: Job) -> float | None:
        """Bring the workers to what the job is now; seconds after which to look again, None: when something happens."""
        if job.record.wanted is Wanted.STOPPED or self._is_other(job):
            await self._halt()
        if job.record.wanted is Wanted.STOPPED:
            self._enter(job, State.STOPPED)
            return None
        if self._supervising is None:
            return await self._start(job)
        if self._supervising.done():
            self._enter(job, State.FAILED, self._last_failure())
            return None
        assert self._started is not None
        if self._started.record.wanted is not job.record.wanted:
            self._tell_workers(b"pause" if job.record.wanted is Wanted.PAUSED else b"resume")
        self._started = job
        return await self._look(job)

    def _is_other(self, job: Job) -> bool:
        """Whether the workers run something that the job is not any more, or failed with an earlier version."""
        started = self._started
        if started is None:
            return False
        if self._supervising is not None and self._supervising.done() and started.version != job.version:
            return True
        return _runs(started) != _runs(job)

    async def _start(self, job: Job) -> float | None:
        if self.state is not State.WAITING or self._entered is None or self._entered[0] != job.version:
            self._enter(job, State.STARTING)  # each further attempt is no news
        try:
            loop = asyncio.get_running_loop()
            order = await loop.run_in_executor(_starting(), _ordered, job, self._server)
        except (HeadraceError, KafkaFailure) as error:
            self._enter(job, State.WAITING, str(error))
            return RETRY_S
        except SqlError as error:  # what was right when it was deployed, by another version of Headrace
            self._enter(job, State.FAILED, str(error))
            return None
        self._started = job
        self._supervisor = Supervisor(
            self._worker(order), job.record.workers, Ending.WHEN_STOPPED, RESTARTS, hear=self._heard
        )
        self._supervising = asyncio.create_task(self._supervisor.supervise())
        self._supervising.add_done_callback(self._ended)
        return READY_STEP_S

    def _ended(self, supervising: asyncio.Task[int]) -> None:
        if not supervising.cancelled() and (error := supervising.exception()) is not None:
            log.error("the workers of a job are not looked after any more", exc_info=error)
        self._wake.set()

    def _worker(self, order: WorkerOrder) -> Callable[[int], WorkerProcess]:
        worker = worker_of(replace(order, continue_changed=True))

        def started(slot: int) -> WorkerProcess:
            self._wake.set()
            return replace(worker(slot), commands=self._first_commands)

        return started

    def _first_commands(self) -> list[bytes]:
        """What a worker that starts now has missed."""
        commands = [b"pause"] if self._job is not None and self._job.record.wanted is Wanted.PAUSED else []
        return [*commands, follow_command(self._following)] if self._following else commands

    async def _look(self, job: Job) -> float | None:
        """Whether all workers are ready."""
        statuses = await self.status()
        if len(statuses) == job.record.workers and all(status["ready"] for status in statuses.values()):
            self._failure = None
            self._enter(job, State.PAUSED if job.record.wanted is Wanted.PAUSED else State.RUNNING)
            return None
        self._enter(job, State.STARTING, self._last_failure())
        return READY_STEP_S

    def _last_failure(self) -> str | None:
        """Why a worker ended that was not to end; None where none did."""
        if self._supervising is not None and self._supervising.done() and (error := self._supervising.exception()):
            return f"internal error: {error}"
        if self._supervisor is None or self._supervisor.last_failure is None:
            return None
        failure = self._supervisor.last_failure
        return self._failure or f"worker {failure.slot} ended with {failure.exit}: {failure.last_output}"

    async def _halt(self) -> None:
        """Have the workers drain and end. Where that is cut short, the next call goes on with it."""
        supervising = self._supervising
        if supervising is None or self._supervisor is None:
            return
        if not supervising.done():
            self._supervisor.stop()
            if self._job is not None:
                self._enter(self._job, State.STOPPING)
            await asyncio.wait((supervising,))  # which is not cancelled with us
        self._supervising = self._started = self._failure = None

    def _enter(self, job: Job, state: State, reason: str | None = None) -> None:
        """A state that the job is in already is not told again."""
        if (job.version, state, reason) != self._entered:
            self._entered = job.version, state, reason
            self.state, self.reason = state, reason
            if state is State.STOPPED:
                self._stopped.set()
            else:
                self._stopped.clear()
            self._tell(job, state, reason)

    # Workers

    def _tell_workers(self, command: bytes) -> None:
        if self._supervisor is not None:
            self._supervisor.tell(command)

    def _heard(self, slot: int, answer: Answer) -> None:
        if answer.failure is not None:
            self._failure = answer.failure
        if answer.status is not None and (waiting := self._answers.pop(slot, None)) and not waiting.done():
            waiting.set_result(answer.status)

    async def status(self) -> dict[int, dict[str, Any]]:
        """What each worker says of itself, by slot; those that do not answer in time are left out."""
        if self._supervisor is None:
            return {}
        loop = asyncio.get_running_loop()
        fresh = {slot: loop.create_future() for slot in self._supervisor.slots if slot not in self._answers}
        self._answers.update(fresh)
        waiting = dict(self._answers)
        if fresh:
            self._tell_workers(b"status")
        if waiting:
            await asyncio.wait(waiting.values(), timeout=ANSWER_S)
        for slot, future in waiting.items():
            if not future.done() and self._answers.get(slot) is future:
                del self._answers[slot]
        return {slot: future.result() for slot, future in waiting.items() if future.done()}


def _runs(job: Job) -> tuple[object, ...]:
    """What its workers run: other workers are needed where it differs."""
    return job.spec, job.app, job.record.restarts, job.record.replaces


def _ordered(job: Job, server: Settings) -> WorkerOrder:
    settings = job.settings(server)
    elsewhere: Mapping[str, str | None] = {}
    if (replaced := job.replaced) is not None:
        old, new = (
            open_app(each.record.sql, f"{job.name}.sql", each.app, each.settings(server)) for each in (replaced, job)
        )
        elsewhere = diverted(job.app, new, old)
        # What would keep it from taking over is to show now, and not when both versions stand still.
        order_workers(job.record.sql, f"{job.name}.sql", job.app, settings, Ending.WHEN_STOPPED)
    return order_workers(job.record.sql, f"{job.name}.sql", job.app, settings, Ending.WHEN_STOPPED, elsewhere)
