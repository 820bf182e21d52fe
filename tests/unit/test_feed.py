"""Which batches reach which tasks, and where reading goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.batches import stored
from tests.unit.readers import Reader

from headrace.agents.background import Background
from headrace.agents.cluster import Cluster
from headrace.agents.commit_clock import CommitClock
from headrace.agents.config import WorkerConfig
from headrace.agents.delivery import Delivery
from headrace.agents.errors import BatchFailed, KafkaFailure, TaskStopped
from headrace.agents.feed import PENDING_BYTES_MAX, Feed
from headrace.agents.finite import Ends
from headrace.agents.following import Reached
from headrace.agents.gate import Gate
from headrace.agents.liveness import UNSEEN, SeenEnd
from headrace.agents.observer import Unobserved
from headrace.agents.open_task import OpenTask
from headrace.agents.records import FetchedBatch
from headrace.agents.task import Task
from headrace.agents.topology import TaskId, TaskSpec
from headrace.sql.runtime.records import RecordBatch, TopicPartition

SOURCE = TopicPartition("source", 0)
QUIET = TopicPartition("source", 1)
INPUTS = frozenset({SOURCE, QUIET})


class Recording:
    """A task that remembers what it is told."""

    def __init__(self) -> None:
        self.spec = TaskSpec(TaskId("totals-1", 0), INPUTS, None)
        self.pending = self.pending_bytes = 0
        self.offsets: list[int] = []
        self.ended: list[TopicPartition] = []
        self.asleep: list[TopicPartition] = []
        self.skipped: list[tuple[TopicPartition, int]] = []
        self.at_end: list[Collection[TopicPartition]] = []
        self.error: Exception | None = None

    def process(self, batch: RecordBatch) -> None:
        if self.error is not None:
            raise self.error
        self.offsets += batch.offsets

    def skip(self, partition: TopicPartition, offset: int) -> None:
        if self.error is not None:
            raise self.error
        self.skipped.append((partition, offset))

    def end_input(self, partition: TopicPartition) -> None:
        self.ended.append(partition)

    def tick(self, now: float, at_end: Collection[TopicPartition]) -> None:  # noqa: ARG002 (a task's signature)
        self.at_end.append(at_end)

    def sleep(self, partition: TopicPartition) -> None:
        self.asleep.append(partition)

    def wake(self, partitions: Iterable[TopicPartition]) -> None:
        self.asleep = [each for each in self.asleep if each not in partitions]


class Taking:
    """A delivery that counts how often it was told of outputs."""

    full = False

    def __init__(self) -> None:
        self.taken = 0

    def collect(self, task: Task) -> None:  # noqa: ARG002 (a protocol)
        self.taken += 1


class Log:
    """A cluster that has these offsets of a partition left."""

    def __init__(self, begin: int, end: int) -> None:
        self._begin, self._end = begin, end

    def begin_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, self._begin)

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, self._end)


class Scene:
    """A feed with one open task, which stands at offset 10 of one input and at 0 of the other."""

    def __init__(self, log: Log, ends: Mapping[TopicPartition, int] | None) -> None:
        self.task = Recording()
        self.opened = OpenTask(cast(Task, self.task), None, 0, {SOURCE: 10, QUIET: 0}, {})
        self.tasks = {self.task.spec.id: self.opened}
        self.reader = Reader()
        self.gate = Gate(lambda: self.reader)
        self.delivery = Taking()
        self.failures: list[BaseException] = []
        self._background = Background(self.failures.append)
        config = WorkerConfig("localhost:9092", "app", Path("state"), pending_max=100, stalled_s=60.0)
        self.feed = Feed(
            config,
            ["source"],
            self,
            self.gate,
            Ends(ends),
            cast(Delivery, self.delivery),
            CommitClock(0.1),
            cast(Cluster, log),
            self._background,
            Unobserved(),
        )

    def reader_of(self, topic: str, partition: int) -> OpenTask | None:
        return self.opened if (topic, partition) in self.opened.expected else None

    async def settle(self) -> None:
        """Let what was begun beside it end."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._background.shut_down()
        assert self.failures == []


def play(
    story: Callable[[Scene], Coroutine[Any, Any, None]],
    log: Log = Log(0, 100),  # noqa: B008 (a constant)
    ends: Mapping[TopicPartition, int] | None = None,
) -> Scene:
    async def played() -> Scene:
        scene = Scene(log, ends)
        await story(scene)
        await scene.settle()
        return scene

    return asyncio.run(played())


def fetched(begin: int, end: int, partition: TopicPartition = SOURCE) -> FetchedBatch:
    """What a fetch brought of offsets that all have a record; they were created at 1,000 ms and their offset."""
    return FetchedBatch(*partition, begin, end, stored((begin, end - begin)))


def test_batch_reaches_the_task_that_stands_where_it_begins() -> None:
    scene = play(lambda scene: scene.feed.take(fetched(10, 13)))
    assert scene.task.offsets == [10, 11, 12]
    assert scene.opened.expected == {SOURCE: 13, QUIET: 0}
    assert scene.opened.consumed[SOURCE] == 3
    assert scene.opened.oldest_ms == {"source": 1010}
    assert (scene.feed.batches, scene.feed.offsets_read, scene.feed.batches_dropped) == (1, 3, 0)
    assert scene.delivery.taken == 1


@pytest.mark.parametrize(("begin", "sent_to"), [(11, 10), (9, 10), (5, None)])
def test_batch_that_begins_elsewhere_is_dropped(begin: int, sent_to: int | None) -> None:
    """The reader is sent back for what it left out; what it brings twice, it has passed."""
    scene = play(lambda scene: scene.feed.take(fetched(begin, begin + 3)))
    assert scene.task.offsets == []
    assert scene.reader.at.get(SOURCE) == sent_to
    assert scene.feed.batches_dropped == 1


def test_batch_of_a_partition_without_a_task_is_dropped() -> None:
    scene = play(lambda scene: scene.feed.take(fetched(0, 3, TopicPartition("source", 2))))
    assert scene.task.offsets == []
    assert scene.feed.batches_dropped == 1


def test_finite_run_takes_nothing_past_its_end() -> None:
    async def read(scene: Scene) -> None:
        await scene.feed.take(fetched(10, 14))
        await scene.feed.take(fetched(12, 14))

    scene = play(read, ends={SOURCE: 12})
    assert scene.task.offsets == [10, 11]
    assert scene.task.ended == [SOURCE]
    assert scene.reader.at == {SOURCE: None}


def test_input_that_was_read_to_its_end_before_ends_where_its_task_is_opened() -> None:
    scene = play(lambda scene: scene.feed.begin(scene.opened), ends={SOURCE: 10, QUIET: 5})
    assert scene.task.ended == [SOURCE]
    assert scene.reader.at == {SOURCE: None, QUIET: 0}


def test_worker_that_follows_takes_what_the_other_version_has_read() -> None:
    async def read(scene: Scene) -> None:
        scene.gate.follow({SOURCE: Reached(12)})
        await scene.feed.take(fetched(10, 14))

    scene = play(read)
    assert scene.task.offsets == [10, 11]
    assert scene.reader.at[SOURCE] is None
    assert scene.gate.is_held(SOURCE)


def test_batch_behind_what_the_other_version_has_read_waits() -> None:
    async def read(scene: Scene) -> None:
        scene.gate.follow({SOURCE: Reached(10)})
        await scene.feed.take(fetched(10, 14))

    scene = play(read)
    assert scene.task.offsets == []
    assert scene.opened.expected[SOURCE] == 10
    assert scene.reader.at[SOURCE] is None


def test_worker_that_follows_goes_on_and_sleeps_as_the_other_version_does() -> None:
    async def read(scene: Scene) -> None:
        scene.gate.follow({SOURCE: Reached(10), QUIET: Reached(0, is_idle=True)})
        await scene.feed.place_all()
        scene.gate.follow({SOURCE: Reached(12), QUIET: Reached(0, is_idle=True)})
        await scene.feed.go_on_following()

    scene = play(read)
    assert scene.reader.at == {SOURCE: 10}
    assert scene.task.asleep == [QUIET]


def test_task_that_breaks_on_a_batch_gets_nothing_more() -> None:
    async def read(scene: Scene) -> None:
        scene.task.error = ZeroDivisionError("division by zero")
        with pytest.raises(BatchFailed, match="source partition 0 offsets 10 to 12: ZeroDivisionError"):
            await scene.feed.take(fetched(10, 13))
        scene.task.error = None
        await scene.feed.take(fetched(10, 13))

    scene = play(read)
    assert scene.opened.broken
    assert scene.opened.expected[SOURCE] == 10
    assert scene.task.offsets == []


def test_task_that_must_not_go_on_is_not_tried_again() -> None:
    async def read(scene: Scene) -> None:
        scene.task.error = TaskStopped("records were deleted")
        with pytest.raises(TaskStopped, match="records were deleted"):
            await scene.feed.take(fetched(10, 13))

    assert not play(read).opened.broken


def test_reading_goes_on_at_the_first_record_that_is_left() -> None:
    scene = play(lambda scene: scene.feed.skip_deleted(SOURCE), Log(40, 100))
    assert scene.opened.expected[SOURCE] == 40
    assert scene.reader.at == {SOURCE: 40}
    assert scene.task.skipped == [(SOURCE, 40)]


def test_finite_run_does_not_end_where_its_last_records_were_deleted() -> None:
    """The task decides whether it goes on without them, as it does where others follow."""

    async def read(scene: Scene) -> None:
        scene.task.error = TaskStopped("records 10 to 39 were deleted before they were read")
        with pytest.raises(TaskStopped):
            await scene.feed.skip_deleted(SOURCE)

    scene = play(read, Log(40, 40), ends={SOURCE: 40})
    assert (scene.task.ended, scene.opened.expected[SOURCE]) == ([], 10)


def test_reading_goes_on_where_the_records_are_there_after_all() -> None:
    scene = play(lambda scene: scene.feed.skip_deleted(SOURCE), Log(10, 10))
    assert scene.reader.at == {SOURCE: 10}


def test_topic_that_ends_before_its_reader_stands_is_another_one() -> None:
    async def read(scene: Scene) -> None:
        with pytest.raises(KafkaFailure, match="source partition 0 has nothing at offset 10 any more"):
            await scene.feed.skip_deleted(SOURCE)

    assert play(read, Log(0, 9)).reader.at == {}


def test_feed_is_full_above_what_may_wait_for_a_commit() -> None:
    async def fill(scene: Scene) -> None:
        scene.task.pending = 100
        assert not scene.feed.full
        scene.task.pending = 101
        assert scene.feed.full
        scene.task.pending, scene.task.pending_bytes = 1, PENDING_BYTES_MAX
        assert not scene.feed.full
        scene.task.pending_bytes += 1
        assert scene.feed.full

    play(fill)


def test_tasks_learn_which_inputs_are_read_to_their_end() -> None:
    async def tick(scene: Scene) -> None:
        known = {SOURCE: SeenEnd(10, 10, 0.5), QUIET: UNSEEN}
        scene.feed.tick(0.0, known.__getitem__)
        scene.gate.follow({SOURCE: Reached(10)})
        scene.feed.tick(1.0, known.__getitem__)
        scene.gate.follow({})
        scene.gate.paused = True
        scene.feed.tick(2.0, known.__getitem__)

    assert play(tick).task.at_end == [[SOURCE], [], []]


def test_partition_that_does_not_move_is_told_until_it_does() -> None:
    async def tick(scene: Scene) -> None:
        known = {SOURCE: SeenEnd(15, 15, 0.5), QUIET: SeenEnd(0, 0, 0.5)}
        scene.feed.tick(0.0, known.__getitem__)
        scene.feed.tick(60.0, known.__getitem__)
        assert {partition: stall.since for partition, stall in scene.feed.stalls.items()} == {SOURCE: 0.0}
        await scene.feed.take(fetched(10, 13))
        scene.feed.tick(61.0, known.__getitem__)
        assert scene.feed.stalls == {}

    play(tick)


def test_partition_whose_broker_does_not_answer_is_not_at_its_end() -> None:
    """There may be more in it by now: it holds windows open, and after a while it is told as a stall."""

    async def tick(scene: Scene) -> None:
        for now in (0.0, 30.0, 60.0):
            scene.feed.tick(now, {SOURCE: SeenEnd(10, 10, 6.0 + now), QUIET: SeenEnd(0, 0, 0.5)}.__getitem__)
        assert scene.feed.stalls[SOURCE].reason == "no fetch was answered"

    assert play(tick).task.at_end == [[QUIET]] * 3
