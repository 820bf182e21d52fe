"""One job's runner: what it tells, and that it never lets go of workers that have not ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import orjson
import pytest

from headrace.app.answers import Answer
from headrace.app.errors import OutsideError
from headrace.app.order import WorkerOrder
from headrace.app.server import runner as runners
from headrace.app.server.jobs import Job, Jobs, read_record
from headrace.app.server.runner import Runner, State
from headrace.app.settings_sources import load_settings
from headrace.app.supervisor import Failure, WorkerProcess


class Workers:
    """A supervisor whose workers are ready at once, and end when the test says so."""

    made: list[Workers]

    def __init__(self, worker: Callable[[int], WorkerProcess], *_: object, hear: Callable[[int, Answer], None]) -> None:
        self.made.append(self)
        self.start, self._hear = worker, hear
        self.is_stopping = False
        self.last_failure: Failure | None = None
        self.restarts = 0
        self.slots = (0,)
        self.ended = asyncio.Event()
        self.was_cancelled = False
        self.mistake: Exception | None = None

    async def supervise(self) -> int:
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.mistake is not None:
            raise self.mistake
        return 0

    def stop(self) -> None:
        self.is_stopping = True

    def tell(self, command: bytes) -> None:
        if command == b"status":
            self.say(status={"ready": True})

    def say(self, **answer: object) -> None:
        self._hear(0, msgspec.convert(answer, Answer))


class Story:
    """What a runner told."""

    def __init__(self) -> None:
        self.states: list[tuple[State, str | None]] = []
        self.mistake: Exception | None = None

    def __call__(self, _job: Job, state: State, reason: str | None) -> None:
        if self.mistake is not None:
            raise self.mistake
        self.states.append((state, reason))


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Workers]:
    monkeypatch.setattr(Workers, "made", [], raising=False)
    monkeypatch.setattr(runners, "Supervisor", Workers)
    monkeypatch.setattr(runners, "_ordered", lambda job, server: WorkerOrder("", "", job.app, server, {}, None, slot=0))
    monkeypatch.setattr(runners, "worker_of", lambda _order: lambda _slot: WorkerProcess((), b"order"))
    return Workers.made


def job(**fields: object) -> Job:
    made = Jobs().next("a", read_record(orjson.dumps({"sql": "x", **fields})))
    assert made is not None
    return made


def playing(play: Callable[[Runner, Story], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        story = Story()
        runner = Runner(load_settings({}, environ={}), story)
        runner.become(job())
        await until(lambda: runner.state is State.RUNNING)
        await play(runner, story)

    asyncio.run(asyncio.wait_for(all_of_it(), 10.0))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the runner has no event for it)
        await asyncio.sleep(0.001)


async def let_break(runner: Runner, worker: Workers) -> None:
    """Have a mistake of ours end what looks after the job."""

    def breaks(command: bytes) -> None:
        raise ZeroDivisionError(command)

    worker.tell = breaks  # type: ignore[method-assign]
    runner.become(job(wanted="paused"))
    await until(lambda: runner.state is State.FAILED)


def test_closing_while_workers_drain_waits_for_their_end(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        runner.become(job(wanted="stopped"))
        await until(lambda: workers[0].is_stopping)
        closing = asyncio.create_task(runner.close())
        for _ in range(10):
            await asyncio.sleep(0)
        assert (closing.done(), workers[0].was_cancelled) == (False, False)
        workers[0].ended.set()
        await closing

    playing(play)


def test_workers_of_a_job_that_is_not_looked_after_any_more_end_when_it_is_closed(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        await let_break(runner, workers[0])
        assert runner.reason == "internal error: b'pause'"
        closing = asyncio.create_task(runner.close())
        await until(lambda: workers[0].is_stopping)
        workers[0].ended.set()
        await closing

    playing(play)


def test_a_job_that_is_to_be_stopped_is_so_when_its_workers_have_ended(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        runner.become(job(wanted="stopped"))
        stopping = asyncio.create_task(runner.stopped())
        await until(lambda: workers[0].is_stopping)
        assert not stopping.done()
        workers[0].ended.set()
        await stopping
        assert runner.state is State.STOPPED
        await runner.close()

    playing(play)


def test_a_job_that_is_not_looked_after_any_more_can_be_waited_for_to_stop(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        await let_break(runner, workers[0])
        runner.become(job(wanted="stopped"))
        stopping = asyncio.create_task(runner.stopped())
        await until(lambda: workers[0].is_stopping)
        workers[0].ended.set()
        await stopping

    playing(play)


def test_what_a_worker_said_before_it_ran_again_is_no_reason_later(workers: list[Workers]) -> None:
    async def play(runner: Runner, story: Story) -> None:
        supervisor = workers[0]
        supervisor.say(failure="the disk is full")
        supervisor.last_failure = Failure(0, "3", "")
        runner.become(runner._job)  # type: ignore[arg-type] # looks once more
        await until(lambda: runner._failure is None)
        supervisor.last_failure = Failure(0, "SIGKILL", "its last words")
        supervisor.ended.set()
        await until(lambda: runner.state is State.FAILED)
        assert story.states[-1] == (State.FAILED, "worker 0 ended with SIGKILL: its last words")
        await runner.close()

    playing(play)


def test_a_worker_is_told_what_it_missed_while_it_was_started(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        process = workers[0].start(0)
        assert process.commands() == []
        runner.become(job(wanted="paused"))  # before the process is there to be told
        assert process.commands() == [b"pause"]
        workers[0].ended.set()
        await runner.close()

    playing(play)


def test_job_whose_supervisor_failed_has_failed_and_can_be_restarted(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        workers[0].mistake = ZeroDivisionError("ours")
        workers[0].ended.set()
        await until(lambda: runner.state is State.FAILED)
        assert runner.reason == "internal error: ours"
        runner.become(job(restarts=1))
        await until(lambda: runner.state is State.RUNNING)
        assert len(workers) == 2
        workers[1].ended.set()
        await runner.close()

    playing(play)


def test_runner_is_gone_when_it_is_closed_though_its_supervisor_failed(workers: list[Workers]) -> None:
    async def play(runner: Runner, _story: Story) -> None:
        workers[0].mistake = ZeroDivisionError("ours")
        closing = asyncio.create_task(runner.close())
        await until(lambda: workers[0].is_stopping)
        workers[0].ended.set()
        await closing
        await runner.stopped()

    playing(play)


def test_runner_that_cannot_tell_that_it_closes_is_gone_when_its_workers_are(workers: list[Workers]) -> None:
    async def play(runner: Runner, story: Story) -> None:
        story.mistake = ZeroDivisionError("ours")
        closing = asyncio.create_task(runner.close())
        await until(lambda: workers[0].is_stopping)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not closing.done()
        workers[0].ended.set()
        with pytest.raises(ZeroDivisionError):
            await closing
        await runner.stopped()

    playing(play)


def test_jobs_that_wait_for_kafka_leave_the_threads_of_others_free(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka_answers = threading.Event()
    asked = threading.Event()

    def ordered(_job: Job, _server: object) -> WorkerOrder:
        asked.set()
        kafka_answers.wait()
        raise OutsideError("Kafka cannot be reached")

    monkeypatch.setattr(runners, "_ordered", ordered)

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        starting = [Runner(load_settings({}, environ={}), Story()) for _ in range(10)]
        for runner in starting:
            runner.become(job())
        await until(asked.is_set)
        try:
            async with asyncio.timeout(10.0):
                assert await asyncio.to_thread(lambda: "not kept waiting") == "not kept waiting"
        finally:
            kafka_answers.set()
        await until(lambda: all(runner.state is State.WAITING for runner in starting))
        await asyncio.gather(*(runner.close() for runner in starting))

    asyncio.run(run())
