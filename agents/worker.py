"""One worker process: feeds record batches to the tasks that the group assigns to it, commits them, stops.

The main loop computes; Faust's consumer thread fetches and keeps the group membership; commits, restores and questions
to the cluster run in threads. A commit that failed has one way back: all tasks are closed and opened again from what
Kafka has. Whatever else goes wrong ends the process with an exit code before anything more is committed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

import structlog

from headrace.agents import purge
from headrace.agents.assignor import Member, TaskAssignor
from headrace.agents.background import Background
from headrace.agents.checkpoint import Progress
from headrace.agents.cluster import Cluster, TopicState
from headrace.agents.commit import Committer
from headrace.agents.commit_clock import CommitClock
from headrace.agents.config import WorkerConfig
from headrace.agents.delivery import Outlets, new_delivery
from headrace.agents.directory import WorkerDirectory, claim
from headrace.agents.ending import EXIT_DONE, verdict
from headrace.agents.errors import BatchFailed, CommitFailed, Fenced, KafkaFailure, StateFailure, TaskStopped
from headrace.agents.feed import Feed
from headrace.agents.finite import Ends, all_ended
from headrace.agents.following import Reached
from headrace.agents.gate import Gate
from headrace.agents.observer import Observer, Unobserved
from headrace.agents.open_task import OpenTask
from headrace.agents.opening import TaskOpener
from headrace.agents.ownership import Ownership
from headrace.agents.producer import INIT_S
from headrace.agents.reader import GroupReader
from headrace.agents.records import FetchedBatch
from headrace.agents.status import CommitStatus, WorkerStatus, latency_status, restore_status, task_status
from headrace.agents.tables import held_tasks
from headrace.agents.task_factory import TaskFactory
from headrace.agents.topics import ensure_topics
from headrace.agents.topology import TaskId, TopicKind, Topology
from headrace.agents.transport import BatchApp
from headrace.agents.watermarks import WatermarksReader
from headrace.sql.runtime.records import Position, TopicPartition

log = structlog.get_logger(__name__)

CONFIRMED_S = 1.0
"""How long a member may trust the group's last answer: well below any session time-out."""
COMPLETION_S = 0.3
"""How often a worker with nothing left to do asks whether the others are done too."""
FAILURES_MAX = 3
"""Commits in a row that may fail; the last one ends the process."""


class Service(Protocol):
    """Something that runs on the worker's loop beside it, and may watch it."""

    @property
    def observer(self) -> Observer: ...

    async def start(self, worker: Worker) -> None:
        """Raises KafkaFailure where it cannot, which ends the worker."""

    def last_look(self) -> None:
        """The last commit is done, and the tasks are open still: what they did is to be seen now or never."""

    async def stop(self) -> None: ...


class NoService:
    """Nothing runs beside the worker."""

    observer = Unobserved()

    async def start(self, worker: Worker) -> None:
        pass

    def last_look(self) -> None:
        pass

    async def stop(self) -> None:
        pass


@dataclass(slots=True)
class Counters:
    """What a worker has done so far. Written by the main loop only."""

    rebalances: int = 0
    fenced: int = 0
    """Commits that were refused because the group had gone on."""
    commits_failed: int = 0


class Worker:
    """Feeds and commits the open tasks, on the main loop. Use once."""

    def __init__(self, config: WorkerConfig, factory: TaskFactory, service: Service) -> None:
        self._service = service
        self._observer = service.observer
        self.config = config
        self.factory = factory
        self.topology: Topology = factory.topology
        self.counters = Counters()
        self._began_at = time.time()
        self._settled = False
        """Between rebalances: batches come, commits go by the clock."""
        self._stopping = False
        self._started = False
        self._broken = True
        """The producer is not to be used any more, or there is none yet."""
        self._failures = 0
        """Commits that failed since the last one that did not."""
        self._clock = CommitClock(config.commit_interval_s)
        self._committed = asyncio.Event()
        self._completion_asked_at = 0.0
        self._confirmed_at = 0.0
        """When the group last counted on this member for sure."""
        self._rebalance = 0
        """Counts what the group does: it begins to assign anew, and it has assigned."""
        self._changing_hands = asyncio.Lock()
        """Whoever closes and opens tasks, one at a time."""
        self._progress: dict[TaskId, Progress] = {}
        """What tasks have told each other of their source partitions."""
        self._asked_for: Mapping[str, int] = {}
        """Partitions of the sources for which this worker joined the group again."""
        self._telling: Awaitable[None] | None = None
        self._gate = Gate(lambda: self._reader)
        self._ends = Ends(config.ends)
        self.failure: str | None = None
        """Why the worker ends, where it fails."""
        self.complete = False
        """Whether it ends because a finite run is over."""

    # Life

    async def run(self, on_stop: Callable[[int], None] = lambda _: None) -> int:
        """Start, work, stop; the exit code, which `on_stop` is told before the stop begins."""
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[int] = self._loop.create_future()
        self._background = Background(self.fail)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop, number)
        self._background.spawn(self._start())
        self._background.spawn(self._service.start(self))
        code = await self._outcome
        on_stop(code)
        return await self._close(code)

    async def _start(self) -> None:
        topics = await self._background.in_thread(self._prepare)
        if self._stopping:
            return
        written = [spec.name for spec in self.topology.topics if spec.kind is not TopicKind.SOURCE]
        dead_letters = next(iter(self.topology.topics_of(TopicKind.DEAD_LETTER)), None)
        outlets = Outlets({name: topics[name] for name in written}, dead_letters)
        self._delivery = new_delivery(self.config, outlets, self._name, self)
        # Before the group may count on this worker: what its predecessor left unfinished holds everybody up.
        await self._renew()
        if self._outcome.done():
            return  # and joins no group, whose others would wait for it
        exchanges = self.topology.topics_of(TopicKind.REPARTITION)
        self._purge = purge.PurgeSchedule(exchanges, time.monotonic(), purge.INTERVAL_S)
        cache_bytes_max = self.config.state_cache_bytes
        self._committer = Committer(self._delivery, self._purge.committed, cache_bytes_max, self._observer)
        opener = TaskOpener(self.config, self.factory, self._cluster, topics, self._directory.path)
        self._owned = Ownership(opener, self._cluster, self, self._background, self._begin_reading)
        self._feed = Feed(
            self.config,
            self.topology.topics_of(TopicKind.SOURCE),
            self._owned,
            self._gate,
            self._ends,
            self._delivery,
            self._clock,
            self._cluster,
            self._background,
            self._observer,
        )
        self._app = self._build_app()
        self._started = True
        self._background.spawn(self._app.start())
        self._background.spawn(self._commit_regularly())
        if self.topology.watermarks is not None:
            self._telling = self._background.spawn(self._tell_progress(self.topology.watermarks))

    def _prepare(self) -> dict[str, TopicState]:
        self._cluster = Cluster(self.config)
        self._cluster.reach()
        self._directory: WorkerDirectory = claim(self.config.state_dir, self.config.app, self.config.slot)
        return ensure_topics(self._cluster, self.topology)

    @property
    def _name(self) -> str:
        """Names this worker among all of the app's, and its successor after a crash."""
        return self.config.group_instance_id or self._directory.name

    def _build_app(self) -> BatchApp:
        app = BatchApp(self.config, self)
        app.assignor = TaskAssignor(
            app,
            self.topology,
            me=self._member,
            hold=lambda: self._reader.hold_assigned(),
            refuse=lambda reason: self.crashed(TaskStopped(reason)),
            endless=not self._ends.given,
        )
        for topic in self.topology.input_topics:
            app.agent(app.batch_topic(topic), name=f"read-{topic}")(self._read)
        return app

    def _member(self) -> Member:
        """This worker as the group's leader is to see it."""
        return Member(
            "",
            f"{self.topology.plan_version} {self.config.guarantee}",
            owned=frozenset(self._owned.tasks),
            held=frozenset(held_tasks(self._directory.path) & {spec.id for spec in self.topology.tasks}),
            worker=self._name,
            source_partitions=self._seen_partitions(),
        )

    @property
    def _inputs(self) -> frozenset[TopicPartition]:
        return frozenset(partition for spec in self.topology.tasks for partition in spec.inputs)

    @property
    def _reader(self) -> GroupReader:
        return cast(GroupReader, self._app.consumer.reader)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Take no more batches, commit, close, and end with exit code 0."""
        log.info("stopping", signal=signal.Signals(number).name)
        self._end(EXIT_DONE)

    def fail(self, error: BaseException) -> None:
        """End the process: this worker cannot go on. Nothing more is committed. The first reason counts."""
        if self._outcome.done():
            return
        code, message = verdict(error)
        foreseen = isinstance(error, KafkaFailure | CommitFailed | TaskStopped | StateFailure)
        self.failure = message
        log.error("worker failed", error=message, exit_code=code, exc_info=None if foreseen else error)
        self._end(code)

    def pause(self) -> None:
        """Read no more records until `resume`. The worker stays in its group, and its state stays open."""
        self._gate.paused = True
        if self._started:
            self._background.spawn(self._gate.close(self._inputs))
        log.info("paused")

    def resume(self) -> None:
        """Go on reading where `pause` stopped it."""
        self._gate.paused = False
        if self._settled:
            self._background.spawn(self._feed.place_all())
        log.info("resumed")

    def follow(self, reached: Mapping[TopicPartition, Reached]) -> None:
        """Read sources as far as another version of the app has read them, and no further until told anew."""
        self._gate.follow(reached)
        if self._settled:
            self._background.spawn(self._feed.go_on_following())

    def crashed(self, error: BaseException) -> None:
        """Faust gave up, or the group refused us. May be called from any thread."""
        self._loop.call_soon_threadsafe(self.fail, error)

    def _end(self, code: int) -> None:
        self._stopping = True
        if not self._outcome.done():
            self._outcome.set_result(code)

    async def _close(self, code: int) -> int:
        self._background.close()
        if self._started and code == EXIT_DONE:
            code = await self._commit_finally()
        self._service.last_look()
        numbers = self.numbers()
        if self._started:
            self._settled = False
            await self._app.stop()
            await self._committer.idle()
            self._committer.close()
            self._owned.close_all()
            if self._telling is not None:
                await self._telling
        await self._service.stop()
        self._background.shut_down()
        log.info("stopped", exit_code=code, **numbers)
        return code

    async def _commit_finally(self) -> int:
        self._wake_tasks()
        try:
            await self._commit_open_tasks()
        except CommitFailed as error:
            log.warning("the last commit failed: its work will be done again", reason=str(error))
        except (KafkaFailure, TaskStopped, StateFailure) as error:
            log.error("the last commit failed: its work will be done again", error=str(error))
            return verdict(error)[0]
        return EXIT_DONE

    def status(self) -> WorkerStatus:
        """What this worker is doing at this moment. On the main loop."""
        counters, started = self.counters, self._started
        at = self._committer.committed_at if started else None
        owned = self._owned if started else None
        producer = self._delivery.producer if started else None
        stalls = self._feed.stalls if started else {}
        return WorkerStatus(
            time.time(),
            self.config.app,
            self.topology.plan_version,
            self.topology.mode,
            self.config.guarantee,
            self.config.slot,
            os.getpid(),
            self._began_at,
            owned is not None and self._settled and not owned.opening,
            self._gate.paused,
            {f"{topic}-{number}": stall.reason for (topic, number), stall in stalls.items()},
            CommitStatus(
                self._committer.commits if started else 0,
                counters.commits_failed,
                counters.fenced,
                None if at is None else time.monotonic() - at,
                self._committer.last_s if started else None,
            ),
            latency_status(self._committer.ages_ms) if started else None,
            0 if producer is None else producer.in_flight,
            counters.rebalances,
            0 if owned is None else owned.restored,
            () if owned is None else restore_status(owned.restoring),
            () if owned is None else tuple(task_status(each, self._reader.ends) for each in owned.in_order),
        )

    def numbers(self) -> dict[str, Any]:
        """Numbers and states of the moment, for the log."""
        numbers: dict[str, Any] = asdict(self.counters)
        if self._started:
            tasks = self._owned.tasks.values()
            numbers |= {
                "batches": self._feed.batches,
                "offsets_read": self._feed.offsets_read,
                "batches_dropped": self._feed.batches_dropped,
                "tasks": len(tasks),
                "tasks_opened": self._owned.opened,
                "restoring": {str(id_): progress.left for id_, progress in self._owned.restoring.items()},
                "commits": self._committer.commits,
                "commit_s": round(self._committer.commit_s, 3),
                "stalled": {f"{topic}-{number}": s.reason for (topic, number), s in self._feed.stalls.items()},
            }
            if (producer := self._delivery.producer) is not None:
                numbers |= {"records_sent": producer.records_sent, "dead_lettered": producer.dead_lettered}
            counters = [counter for opened in tasks for counter in opened.task.counters.values()]
            for name in ("late", "late_after_idle", "dead_lettered", "skipped"):
                numbers[f"records_{name}"] = sum(getattr(counter, name) for counter in counters)
        return numbers

    # Records

    async def _read(self, batches: AsyncIterable[FetchedBatch]) -> None:
        """The agent of one topic. Nothing may leave it: Faust would take a batch that failed for done."""
        async for batch in batches:
            await self._background.guard(self._take(batch))
            if self._stopping:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

    async def _take(self, batch: FetchedBatch) -> None:
        await self._room()
        try:
            await self._delivery.admit()
            if not self._stopping:
                await self._feed.take(batch)
        except CommitFailed as error:
            await self._begin_anew(error)

    async def _room(self) -> None:
        """Wait for a commit while too much waits for one."""
        while not self._stopping and self._feed.full:
            self._clock.want()
            await self._committed.wait()

    def out_of_range(self, partition: TopicPartition) -> None:
        self._loop.call_soon_threadsafe(self._skip_deleted, partition)

    def _skip_deleted(self, partition: TopicPartition) -> None:
        self._background.spawn(self._feed.skip_deleted(partition))

    async def _tell_progress(self, watermarks: TopicPartition) -> None:
        """Tell the open tasks what all tasks tell of their source partitions."""
        reader = WatermarksReader(self.config, watermarks)
        try:
            while not self._stopping:
                news = await reader.news()
                self._progress.update(news)
                for opened in self._owned.tasks.values():
                    opened.task.hear(news)
                if news:
                    self._clock.wake()
        finally:
            await reader.close()

    # Commits

    async def _commit_regularly(self) -> None:
        while not self._stopping:
            await self._clock.next()
            if self._settled:
                batches = self._feed.batches
                self._feed.tick(time.monotonic(), self._reader.ends)
                committed = await self._commit()
                something_came = committed or batches != self._feed.batches
                self._clock.rest(idle=not something_came and not self._awaits_anything())
                self._purge_repartition_topics()
                await self._look_for_partitions()
                await self._check_complete()

    def _awaits_anything(self) -> bool:
        """Whether time alone brings something to commit."""
        return self._ends.given or any(opened.task.pending for opened in self._owned.tasks.values())

    async def _commit(self) -> bool:
        """Whether there was anything to commit."""
        if self._stopping:
            return False
        try:
            committed = await self._commit_open_tasks()
            for opened in self._owned.tasks.values():
                self._delivery.collect(opened.task)
        except CommitFailed as error:
            await self._begin_anew(error)
            return True
        finally:
            self._committed.set()
            self._committed = asyncio.Event()
        return committed

    async def _commit_open_tasks(self) -> bool:
        membership = self._owned.membership
        if membership is None or not await self._committer.commit(list(self._owned.tasks.values()), membership):
            return False
        self._failures = 0
        return True

    def _wake_tasks(self) -> None:
        """Tasks that stay find out at once that their partitions are idle still."""
        for opened in self._owned.tasks.values():
            opened.task.wake()

    async def commit_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        asked_at = time.monotonic()
        await self._reader.commit_positions(positions)
        self._confirmed_at = asked_at

    async def confirm_membership(self) -> None:
        """Ask the group where it may have gone on without us since it last answered: if this process was paused."""
        asked_at = time.monotonic()
        if asked_at - self._confirmed_at > CONFIRMED_S:
            await self._reader.confirm_membership()
            self._confirmed_at = asked_at

    def _purge_repartition_topics(self) -> None:
        if due := self._purge.due(time.monotonic()):
            self._background.spawn(self._background.in_thread(_delete_records, self._cluster, due))

    async def _begin_anew(self, error: CommitFailed) -> None:
        """The one way back: what the tasks hold is ahead of Kafka, so they are opened again from what Kafka has."""
        if self._broken:
            return
        self._observer.failed()
        match error:
            case Fenced():
                self.counters.fenced += 1
                log.warning("the group went on without this worker: its tasks are opened anew", reason=str(error))
            case BatchFailed():
                log.warning("all tasks are opened anew", reason=str(error))
            case _:
                self.counters.commits_failed += 1
                self._failures += 1
                if self._failures == FAILURES_MAX:
                    raise KafkaFailure(f"{FAILURES_MAX} commits failed in a row, the last one with: {error}")
                log.warning("a commit failed: all tasks are opened anew", reason=str(error))
        self._broken = True
        async with self._changing_hands:
            await self._committer.idle()
            self._owned.close_all()
            await self._gate.close(self._inputs)
        if isinstance(error, Fenced) and self._reader.membership is self._owned.membership:
            await self._reader.join_again()
        elif self._settled:
            await self._take_over(self._rebalance)
        # Or else an assignment is on its way.

    async def _check_complete(self) -> None:
        """In a finite run: end when every input of every task of the app is committed as ended."""
        if not self._ends.given or self._owned.opening:
            return
        if not all(opened.task.ended for opened in self._owned.tasks.values()):
            return
        if time.monotonic() - self._completion_asked_at < COMPLETION_S:
            return
        self._completion_asked_at = time.monotonic()
        committed = await self._background.in_thread(self._cluster.committed, self._inputs)
        if all_ended(self._inputs, committed):
            log.info("the app is complete")
            self.complete = True
            self._end(EXIT_DONE)

    # Rebalances

    async def commit_revoked(self) -> None:
        """Faust has stopped the flow because of a rebalance: commit before others take over."""
        self._settled = False
        self._rebalance += 1
        self.counters.rebalances += 1
        self._wake_tasks()
        await self._background.guard(self._commit())

    def assigned(self) -> None:
        """The group has assigned anew: let go of tasks that went, open those that came, and go on reading."""
        self._settled = False
        self._rebalance += 1
        if fence := self._app.assignor.verdict.fence:
            self._background.spawn(self._background.in_thread(self._delivery.fence, fence))
        self._background.spawn(self._take_over(self._rebalance))

    async def _take_over(self, rebalance: int) -> None:
        """Have the tasks of the assignment open or on their way, and read; unless the group has gone on since."""
        async with self._changing_hands:
            await self._committer.idle()
            if self._broken:
                await self._renew()
            if rebalance != self._rebalance:
                return
            membership = self._reader.membership
            assert membership is not None, "assigned without a membership"
            self._grow(self._app.assignor.topology)
            await self._owned.take_over(self.topology.tasks, membership)
            await self._feed.place_all()
            if rebalance == self._rebalance and not self._settled:
                self._settled = True
                await self._app.resume()

    async def _look_for_partitions(self) -> None:
        """Have the group join again where a source has more partitions than it counts with."""
        if self._ends.given:
            return
        seen = self._seen_partitions()
        if seen not in (self.topology.source_partitions, self._asked_for):
            self._asked_for = seen
            await self._reader.join_again()

    def _seen_partitions(self) -> Mapping[str, int]:
        """How many partitions the sources have, as far as this worker knows."""
        known = self.topology.source_partitions
        seen = self._reader.partition_counts(known)
        return {topic: max(count, seen[topic]) for topic, count in known.items()}

    def _grow(self, topology: Topology) -> None:
        """Take over the topology that the present assignment is made for."""
        if topology != self.topology:
            log.info("sources have more partitions", source_partitions=dict(topology.source_partitions))
        self.topology = topology

    async def _renew(self) -> None:
        try:
            # The client's own time-outs cannot be relied upon when a broker goes away.
            await asyncio.wait_for(self._background.in_thread(self._delivery.start), INIT_S + 10)
        except (CommitFailed, TimeoutError) as error:
            raise KafkaFailure(f"no producer could be started: {str(error) or 'no answer'}") from error
        self._broken = False

    async def _begin_reading(self, opened: OpenTask) -> None:
        if self._progress:
            opened.task.hear(self._progress)
        await self._feed.begin(opened)


def _delete_records(cluster: Cluster, before: Mapping[TopicPartition, int]) -> None:
    """Records that stay take room and nothing else, so a failure is no reason to end."""
    try:
        cluster.delete_records(before)
    except KafkaFailure as error:
        log.warning("consumed repartition records were not deleted", error=str(error))
