"""One worker process: opens the tasks that the group assigns to it, feeds them record batches, commits them, stops.

The main loop computes; Faust's consumer thread fetches and keeps the group membership; commits, restores and questions
to the cluster run in threads. Whatever goes wrong anywhere ends the process with an exit code before anything more is
committed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from aiokafka.errors import KafkaError as ConsumerError
from confluent_kafka import KafkaException

from headrace.agents import purge
from headrace.agents.assignor import TaskAssignor
from headrace.agents.changelog import RestoreCancelled
from headrace.agents.commit import Committer, OpenTask
from headrace.agents.config import WorkerConfig
from headrace.agents.errors import Fenced, KafkaFailure, StateFailure
from headrace.agents.opening import TaskOpener
from headrace.agents.producer import OutputProducer, UnsendableState
from headrace.agents.records import FetchedBatch
from headrace.agents.tables import held_tasks
from headrace.agents.task import TaskFactory, TaskStopped
from headrace.agents.topics import Cluster, TopicState, dead_letter_topic, ensure_topics
from headrace.agents.topology import TaskId, TaskSpec, TopicKind, Topology
from headrace.agents.transport import BatchApp, BatchConsumerThread
from headrace.sql.runtime.records import Position, TopicPartition

log = structlog.get_logger(__name__)

T = TypeVar("T")

EXIT_DONE = 0
EXIT_STOPPED = 1
EXIT_KAFKA = 3

IN_FLIGHT_MAX = 500_000
"""Records handed to the producer and not acknowledged, above which no batch is taken."""
OPENING_THREADS = 4
CONFIRMED_S = 1.0
"""How long a member may trust the group's last answer: well below any session time-out."""
COMPLETION_S = 0.3
"""How often a worker with nothing left to do asks whether the others are done too."""


def run_worker(config: WorkerConfig, factory: TaskFactory) -> int:
    """Run one worker until it is told to stop, a finite run is complete, or it cannot go on; the exit code.

    To be called in the main thread of a process of its own: takes over SIGTERM and SIGINT, and ends the process itself
    where a stop takes longer than its deadline.
    """
    _spare_garbage_collection()
    deadline = _Deadline(config.stop_deadline_s)
    try:
        return asyncio.run(Worker(config, factory).run(deadline.start))
    finally:
        deadline.cancel()


def _spare_garbage_collection() -> None:
    """Look for reference cycles rarely: a batch is thousands of objects that live for milliseconds and form none.

    With Python's own thresholds the collector takes half of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


@dataclass(slots=True)
class Counters:
    """What a worker has done so far. Written by the main loop only."""

    batches: int = 0
    offsets_read: int = 0
    batches_dropped: int = 0
    """Read too early or twice: of a task that is not open, or not where the task stands."""
    rebalances: int = 0
    tasks_opened: int = 0
    fenced: int = 0


class _Opening:
    """A task on its way to being open."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()


class Worker:
    """Owner of the open tasks, on the main loop."""

    def __init__(self, config: WorkerConfig, factory: TaskFactory) -> None:
        self.config = config
        self.factory = factory
        self.topology: Topology = factory.topology
        self.counters = Counters()
        self._dir: Path = config.state_dir / config.app / str(config.slot)
        self._specs: Mapping[TaskId, TaskSpec] = {spec.id: spec for spec in self.topology.tasks}
        self._inputs = frozenset(partition for spec in self.topology.tasks for partition in spec.inputs)
        self._tasks: dict[TaskId, OpenTask] = {}
        self._by_partition: dict[tuple[str, int], OpenTask] = {}
        self._opening: dict[TaskId, _Opening] = {}
        self._pool = ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="open")
        self._background: set[asyncio.Future[Any]] = set()
        self._settled = False
        """Between rebalances: positions are placed, commits go by the clock."""
        self._stopping = False
        self._started = False
        self._commit_wanted = asyncio.Event()
        self._committed = asyncio.Event()
        self._completion_asked_at = 0.0
        self._confirmed_at = 0.0
        """When the group last counted on this member for sure."""

    # Life

    async def run(self, on_stop: Callable[[int], None] = lambda _: None) -> int:
        """Start, work, stop; the exit code, which `on_stop` is told before the stop begins."""
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[int] = self._loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop, number)
        self._spawn(self._start())
        code = await self._outcome
        on_stop(code)
        return await self._close(code)

    async def _start(self) -> None:
        topics = await self._in_pool(self._prepare)
        if self._stopping:
            return
        written = [spec.name for spec in self.topology.topics if spec.kind is not TopicKind.SOURCE]
        limits_of = {name: topics[name] for name in written}
        self._producer = OutputProducer(self.config, limits_of, dead_letter_topic(self.topology))
        self._committer = Committer(self._producer, self._confirm_membership, self._commit_positions)
        exchanges = [spec.name for spec in self.topology.topics if spec.kind is TopicKind.REPARTITION]
        self._purge = purge.PurgeSchedule(exchanges, time.monotonic(), purge.INTERVAL_S)
        self._opener = TaskOpener(self.config, self.factory, self._cluster, topics, self._dir)
        self._app = self._build_app()
        self._started = True
        self._spawn(self._app.start())
        self._spawn(self._commit_regularly())

    def _prepare(self) -> dict[str, TopicState]:
        self._cluster = Cluster(self.config)
        self._cluster.reach()
        self._dir.mkdir(parents=True, exist_ok=True)
        return ensure_topics(self._cluster, self.topology)

    def _build_app(self) -> BatchApp:
        app = BatchApp(self.config, self)
        app.assignor = TaskAssignor(
            app,
            self.topology,
            owned=lambda: list(self._tasks),
            held=lambda: held_tasks(self._dir) & self._specs.keys(),
            refuse=lambda reason: self.crashed(TaskStopped(reason)),
        )
        app.on_rebalance_complete.connect(self._assigned)
        for topic in self.topology.input_topics:
            app.agent(app.batch_topic(topic), name=f"read-{topic}")(self._read)
        return app

    @property
    def _reader(self) -> BatchConsumerThread:
        return cast(BatchConsumerThread, self._app.consumer.reader)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Take no more batches, commit, close, and end with exit code 0."""
        log.info("stopping", signal=signal.Signals(number).name)
        self._end(EXIT_DONE)

    def fail(self, error: BaseException) -> None:
        """End the process: this worker cannot go on. Nothing more is committed. The first reason counts."""
        if self._outcome.done():
            return
        code, message = _verdict(error)
        foreseen = isinstance(error, KafkaFailure | TaskStopped | StateFailure)
        log.error("worker failed", error=message, exit_code=code, exc_info=None if foreseen else error)
        self._end(code)

    def crashed(self, error: BaseException) -> None:
        """Faust gave up, or the group refused us. May be called from any thread."""
        self._loop.call_soon_threadsafe(self.fail, error)

    def _end(self, code: int) -> None:
        self._stopping = True
        if not self._outcome.done():
            self._outcome.set_result(code)

    async def _close(self, code: int) -> int:
        status = self.status()
        if self._started:
            if code == EXIT_DONE:
                code = await self._commit_finally()
            self._settled = False
            self._cancel_openings(list(self._opening))
            await self._app.stop()
            self._committer.close()
            self._close_tasks(list(self._tasks))
        self._pool.shutdown(wait=False, cancel_futures=True)
        log.info("stopped", exit_code=code, **status)
        return code

    async def _commit_finally(self) -> int:
        try:
            await self._committer.commit(list(self._tasks.values()))
        except Fenced as error:
            log.warning("the group went on before the last commit: its work will be repeated", reason=str(error))
        except (KafkaFailure, UnsendableState, StateFailure) as error:
            log.error("the last commit failed: its work will be repeated", error=str(error))
            return _verdict(error)[0]
        return EXIT_DONE

    def status(self) -> dict[str, Any]:
        """Numbers and states of the moment, for logs, metrics and health."""
        numbers: dict[str, Any] = {**asdict(self.counters), "tasks": len(self._tasks), "restoring": len(self._opening)}
        if self._started:
            numbers |= {
                "records_sent": self._producer.records_sent,
                "dead_lettered": self._producer.dead_lettered,
                "commits": self._committer.commits,
                "commit_s": round(self._committer.commit_s, 3),
            }
            counters = [counter for opened in self._tasks.values() for counter in opened.task.counters.values()]
            for name in ("late", "late_after_idle", "dead_lettered", "skipped"):
                numbers[f"records_{name}"] = sum(getattr(counter, name) for counter in counters)
        return numbers

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run beside everything else; its failure is the worker's."""
        future = asyncio.ensure_future(self._guard(work))
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    async def _guard(self, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except asyncio.CancelledError as error:
            if not self._stopping:
                self.fail(error)
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it is ends the worker)
            self.fail(error)
            return None

    async def _in_pool(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(self._pool, work, *arguments)

    # Records

    async def _read(self, batches: AsyncIterable[FetchedBatch]) -> None:
        """The agent of one topic. Nothing may leave it: Faust would take a batch that failed for done."""
        async for batch in batches:
            await self._guard(self._feed(batch))
            if self._stopping:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

    async def _feed(self, batch: FetchedBatch) -> None:
        await self._room(batch)
        try:
            await self._confirm_membership()
        except Fenced as error:
            self._give_up_tasks(error)
        opened = self._by_partition.get((batch.topic, batch.partition))
        if opened is None or self._stopping or not self._fits(opened, batch):
            self.counters.batches_dropped += 1
            return
        partition = TopicPartition(batch.topic, batch.partition)
        if partition in opened.ended:
            return
        if self.config.ends is not None:
            batch = batch.ending_at(self.config.ends.get(partition, batch.next_offset))
        opened.task.process(batch)
        opened.expected[partition] = batch.next_offset
        self.counters.batches += 1
        self.counters.offsets_read += batch.next_offset - batch.fetch_offset
        self._send(opened)
        self._end_inputs(opened)

    def _fits(self, opened: OpenTask, batch: FetchedBatch) -> bool:
        """Whether the batch starts where the task stands. If it lies ahead, the reader is sent back."""
        partition = TopicPartition(batch.topic, batch.partition)
        expected = opened.expected[partition]
        if batch.fetch_offset != expected and batch.next_offset > expected:
            log.info("reader sent back", partition=str(partition), at=batch.fetch_offset, to=expected)
            self._spawn(self._reader.place({partition: expected}))
        return batch.fetch_offset == expected

    def out_of_range(self, partition: TopicPartition) -> None:
        self._loop.call_soon_threadsafe(self._spawn_from, partition)

    def _spawn_from(self, partition: TopicPartition) -> None:
        self._spawn(self._go_on_where_records_are(partition))

    async def _go_on_where_records_are(self, partition: TopicPartition) -> None:
        """The next records were deleted: read on from the first one left. The task decides whether it may."""
        begins = await self._in_pool(self._cluster.begin_offsets, [partition])
        ends = await self._in_pool(self._cluster.end_offsets, [partition])
        opened = self._by_partition.get(partition)
        if opened is None:
            return
        expected, begin = opened.expected[partition], begins[partition]
        if begin <= expected <= ends[partition]:
            await self._reader.place({partition: expected})  # a leader that was not up to date
            return
        if expected > begin:
            raise KafkaFailure(
                f"{partition.topic} partition {partition.partition} has nothing at offset {expected} any more",
                "was the topic deleted and created again? `headrace reset` starts over",
            )
        log.error("records were deleted before they were read", partition=str(partition), at=expected, first_left=begin)
        opened.expected[partition] = begin
        await self._reader.place({partition: begin})
        self._end_inputs(opened)

    async def _room(self, batch: FetchedBatch) -> None:
        """Wait for a commit while too much waits for one."""
        while not self._stopping and self._is_full(self._by_partition.get((batch.topic, batch.partition))):
            self._commit_wanted.set()
            await self._committed.wait()

    def _is_full(self, opened: OpenTask | None) -> bool:
        if self._producer.in_flight > IN_FLIGHT_MAX:
            return True
        return opened is not None and opened.task.pending > self.config.pending_max

    def _send(self, opened: OpenTask) -> None:
        """Produce at once what a batch made; during a flush it waits for the flush to end."""
        if not self._committer.flushing:
            for output in opened.task.take_outputs():
                self._producer.send(output)

    def _end_inputs(self, opened: OpenTask) -> None:
        """In a finite run: tell the task of source partitions that are read to their end."""
        if self.config.ends is None:
            return
        for partition, expected in opened.expected.items():
            end = self.config.ends.get(partition)
            if end is not None and expected >= end and partition not in opened.ended:
                opened.ended.add(partition)
                opened.task.end_input(partition)
                self._spawn(self._reader.withhold([partition]))
        self._send(opened)

    # Commits

    async def _commit_regularly(self) -> None:
        while not self._stopping:
            await self._next_commit()
            if self._settled:
                self._tick()
                await self._commit()
                self._purge_repartition_topics()
                await self._check_complete()

    async def _next_commit(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._commit_wanted.wait(), self.config.commit_interval_s)
        self._commit_wanted.clear()

    def _tick(self) -> None:
        now = time.monotonic()
        for opened in self._tasks.values():
            at_end = [p for p, expected in opened.expected.items() if self._reader.end_offset(p) == expected]
            opened.task.tick(now, at_end)
            self._send(opened)

    async def _commit(self) -> None:
        if self._stopping:
            return
        try:
            self._producer.check()
            await self._committer.commit(list(self._tasks.values()))
        except Fenced as error:
            self._give_up_tasks(error)
        finally:
            self._committed.set()
            self._committed = asyncio.Event()
        for opened in self._tasks.values():
            self._send(opened)

    async def _commit_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        asked_at = time.monotonic()
        await self._reader.commit_positions(positions)
        self._confirmed_at = asked_at
        self._purge.committed(positions)

    async def _confirm_membership(self) -> None:
        """Ask the group where it may have gone on without us since it last answered: if this process was paused."""
        asked_at = time.monotonic()
        if asked_at - self._confirmed_at > CONFIRMED_S:
            await self._reader.confirm_membership()
            self._confirmed_at = asked_at

    def _purge_repartition_topics(self) -> None:
        if due := self._purge.due(time.monotonic()):
            self._spawn(self._in_pool(_delete_records, self._cluster, due))

    def _give_up_tasks(self, error: Fenced) -> None:
        """What the tasks hold is ahead of Kafka, and others may have their partitions: the coming rebalance decides."""
        self.counters.fenced += 1
        log.warning("the group went on without this worker: its tasks are opened anew", reason=str(error))
        self._close_tasks(list(self._tasks))

    async def _check_complete(self) -> None:
        """In a finite run: end when every input of every task of the app is committed as ended."""
        if self.config.ends is None or self._opening or not all(t.task.ended for t in self._tasks.values()):
            return
        if time.monotonic() - self._completion_asked_at < COMPLETION_S:
            return
        self._completion_asked_at = time.monotonic()
        committed = await self._in_pool(self._cluster.committed, self._inputs)
        if all(partition in committed and _is_ended(committed[partition]) for partition in self._inputs):
            log.info("the app is complete")
            self._end(EXIT_DONE)

    # Rebalances

    async def commit_revoked(self) -> None:
        """Faust has stopped the flow because of a rebalance: commit before others take over."""
        self._settled = False
        self.counters.rebalances += 1
        await self._guard(self._commit())

    async def _assigned(self, *_: Any, **__: Any) -> None:
        """Faust signals a finished rebalance: let go of tasks that went, start opening those that came."""
        await self._guard(self._take_over())

    async def _take_over(self) -> None:
        assigned = self._app.consumer.assignment()
        wanted = {id_ for id_, spec in self._specs.items() if spec.inputs <= assigned}
        self._cancel_openings([id_ for id_ in self._opening if id_ not in wanted])
        self._close_tasks([id_ for id_ in self._tasks if id_ not in wanted])
        self._close_tasks(await self._overtaken())
        missing = sorted(wanted - self._tasks.keys() - self._opening.keys())
        log.info("assigned", kept=sorted(map(str, self._tasks)), opening=[str(id_) for id_ in missing])
        for id_ in missing:
            self._opening[id_] = opening = _Opening()
            self._spawn(self._open(id_, opening))

    async def _overtaken(self) -> list[TaskId]:
        """Tasks that another worker committed for while the group did without us."""
        kept = {partition: id_ for id_, opened in self._tasks.items() for partition in opened.expected}
        committed = await self._in_pool(self._cluster.committed, list(kept))
        overtaken = {
            id_
            for partition, id_ in kept.items()
            if id_ in self._tasks
            and self._tasks[id_].group_offsets[partition]
            != (committed[partition].next_offset if partition in committed else None)
        }
        if overtaken:
            log.warning("another worker went on with these tasks: opening them anew", tasks=[str(i) for i in overtaken])
        return list(overtaken)

    async def _open(self, id_: TaskId, opening: _Opening) -> None:
        try:
            opened = await self._in_pool(self._opener.open, self._specs[id_], opening.cancelled)
        except RestoreCancelled:
            return
        if opening.cancelled() or self._stopping:
            opened.close()
            return
        del self._opening[id_]
        self._tasks[id_] = opened
        self._by_partition.update(dict.fromkeys(opened.expected, opened))
        self.counters.tasks_opened += 1
        log.info("task open", task=str(id_), positions={f"{t}-{p}": o for (t, p), o in opened.expected.items()})
        self._end_inputs(opened)
        await self._place([opened])

    async def take_seats(self) -> None:
        """Faust is about to fetch again: every open task is read from where it stands."""
        await self._guard(self._place(self._tasks.values()))
        self._settled = True

    async def _place(self, tasks: Iterable[OpenTask]) -> None:
        live = {p: at for opened in tasks for p, at in opened.expected.items() if p not in opened.ended}
        await self._reader.place(live)

    def _cancel_openings(self, ids: Collection[TaskId]) -> None:
        for id_ in ids:
            self._opening.pop(id_).cancel()

    def _close_tasks(self, ids: Collection[TaskId]) -> None:
        for id_ in ids:
            opened = self._tasks.pop(id_)
            for partition in opened.expected:
                self._by_partition.pop(partition, None)
            opened.close()


class _Deadline:
    """Ends the process the hard way where a stop hangs (the broker is away, a rebalance runs, a client waits)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def start(self, code: int) -> None:
        self._timer = threading.Timer(self._seconds, self._expire, [code])
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self, code: int) -> None:
        log.error("stopping took too long, ending the process", deadline_s=self._seconds)
        os._exit(code or EXIT_KAFKA)


def _delete_records(cluster: Cluster, before: Mapping[TopicPartition, int]) -> None:
    """Records that stay take room and nothing else, so a failure is no reason to end."""
    try:
        cluster.delete_records(before)
    except KafkaFailure as error:
        log.warning("consumed repartition records were not deleted", error=str(error))


def _is_ended(position: Position) -> bool:
    try:
        return bool(json.loads(position.metadata)["ended"])
    except (ValueError, KeyError, TypeError):
        return False


def _verdict(error: BaseException) -> tuple[int, str]:
    """Exit code and message for the operator."""
    match error:
        case TaskStopped() | UnsendableState():
            return EXIT_STOPPED, str(error)
        case KafkaFailure() | StateFailure():
            return EXIT_KAFKA, str(error)
        case ConsumerError() | KafkaException():
            return EXIT_KAFKA, f"Kafka failed: {error}"
        case _:
            return EXIT_KAFKA, f"{type(error).__name__}: {error}"
