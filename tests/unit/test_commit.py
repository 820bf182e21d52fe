"""What a commit takes from the tasks of a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import cast

import pytest

from headrace.agents.commit import LATENCIES, Committer
from headrace.agents.delivery import Delivery, TaskCut
from headrace.agents.errors import CommitFailed
from headrace.agents.membership import Membership
from headrace.agents.observer import Unobserved
from headrace.agents.open_task import OpenTask
from headrace.agents.status import LatencyStatus, latency_status
from headrace.agents.tables import RestorableStore
from headrace.agents.task import Task
from headrace.sql.runtime.records import Change, Cut, Position, TopicPartition

SOURCE = TopicPartition("in", 0)
MEMBERSHIP = Membership(1, "m", frozenset())


class Changed:
    """A task that has done something since its last cut, whenever it is asked."""

    caches = ()

    def cut(self) -> Cut:
        return Cut((), (), {})


class Counting:
    """A task that has read one more record, and counted it, since its last cut."""

    caches = ()

    def __init__(self) -> None:
        self.count = 0

    def cut(self) -> Cut:
        self.count += 1
        return Cut((), [(b"count", b"%d" % self.count)], {SOURCE: Position(self.count, "")})


class Written:
    """A store that remembers what was written into it, and up to where in the changelog."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[Change], int]] = []

    def apply(self, changes: Sequence[Change], position: int) -> None:
        self.writes.append((list(changes), position))


class Delivered:
    """Takes note of what a commit brings; may fail."""

    markers = 1

    def __init__(self, *, fails: bool = False) -> None:
        self.tasks: list[int] = []
        self.changes: list[list[Change]] = []
        self.fails = fails

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:  # noqa: ARG002 (a protocol)
        if self.fails:
            raise CommitFailed("the broker is away")
        self.tasks.append(len(cuts))
        self.changes += [list(cut.changelog) for _, cut in cuts]


def test_task_that_is_closed_before_its_commit_begins_is_left_out() -> None:
    """It may be closed because it broke on a batch: what it holds then must not reach Kafka."""

    async def committed() -> list[int]:
        delivery = Delivered()
        committer = Committer(cast(Delivery, delivery), lambda _: None, 0, Unobserved())
        kept, broken = (OpenTask(cast(Task, Changed()), None, 0, {}, {}) for _ in range(2))
        commit = asyncio.ensure_future(committer.commit([kept, broken], Membership(1, "m", frozenset())))
        await asyncio.sleep(0)  # it has been asked for, and has not begun
        broken.close()
        assert await commit
        return delivery.tasks

    assert asyncio.run(committed()) == [1]


def test_task_whose_commit_failed_is_not_cut_again() -> None:
    """Its cut is gone from memory and perhaps not in Kafka: what it did next would be committed without that."""

    async def committed() -> tuple[bool, bool]:
        delivery = Delivered(fails=True)
        committer = Committer(cast(Delivery, delivery), lambda _: None, 0, Unobserved())
        task = OpenTask(cast(Task, Changed()), None, 0, {}, {})
        with pytest.raises(CommitFailed):
            await committer.commit([task], MEMBERSHIP)
        delivery.fails = False
        return task.broken, await committer.commit([task], MEMBERSHIP)

    assert asyncio.run(committed()) == (True, False)


def test_store_gets_what_kafka_has_and_the_changelog_offset_behind_it() -> None:
    """The first commit brings what undoes a commit that never ended, once; a transaction ends with a marker."""
    delivery, store, told = Delivered(), Written(), list[Cut]()
    repair: Change = (b"stray", None)

    async def committed() -> OpenTask:
        committer = Committer(cast(Delivery, delivery), told.append, 0, Unobserved())
        task = OpenTask(
            cast(Task, Counting()), cast(RestorableStore, store), 10, {SOURCE: 0}, {SOURCE: None}, repairs=[repair]
        )
        for _ in range(2):
            assert await committer.commit([task], MEMBERSHIP)
        assert committer.commits == 2
        return task

    task = asyncio.run(committed())
    assert delivery.changes == [[repair, (b"count", b"1")], [(b"count", b"2")]]
    assert store.writes == [([repair, (b"count", b"1")], 13), ([(b"count", b"2")], 15)]
    assert task.changelog_end == 15
    assert task.group_offsets == {SOURCE: 2}
    assert [cut.positions[SOURCE].next_offset for cut in told] == [1, 2]


def test_store_does_not_get_what_kafka_may_not_have() -> None:
    store, told = Written(), list[Cut]()

    async def committed() -> OpenTask:
        committer = Committer(cast(Delivery, Delivered(fails=True)), told.append, 0, Unobserved())
        task = OpenTask(cast(Task, Counting()), cast(RestorableStore, store), 10, {SOURCE: 0}, {SOURCE: None})
        with pytest.raises(CommitFailed):
            await committer.commit([task], MEMBERSHIP)
        return task

    task = asyncio.run(committed())
    assert (store.writes, told, task.changelog_end, task.group_offsets) == ([], [], 10, {SOURCE: None})


def test_commit_counts_the_age_of_a_record_once() -> None:
    async def committed() -> Committer:
        committer = Committer(cast(Delivery, Delivered()), lambda _: None, 0, Unobserved())
        task = OpenTask(cast(Task, Changed()), None, 0, {}, {})
        task.took(SOURCE, 1, int(time.time() * 1000))
        for _ in range(3):
            await committer.commit([task], MEMBERSHIP)
        return committer

    assert len(asyncio.run(committed()).ages_ms) == 1


def test_commit_tells_how_long_it_took_and_how_old_its_oldest_record_was() -> None:
    async def committed() -> Committer:
        committer = Committer(cast(Delivery, Delivered()), lambda _: None, 0, Unobserved())
        task = OpenTask(cast(Task, Changed()), None, 0, {}, {})
        for age_s in (None, *range(LATENCIES + 1)):
            if age_s is not None:
                now_ms = int(time.time() * 1000)
                task.took(TopicPartition("old", 0), 1, now_ms - age_s * 1000)
                task.took(TopicPartition("ahead", 0), 1, now_ms + 60_000)
            await committer.commit([task], MEMBERSHIP)
        return committer

    committer = asyncio.run(committed())
    assert committer.last_s is not None
    assert 0 < committer.last_s < 10
    # Of the first there is none, and only so many are kept.
    assert len(committer.ages_ms) == LATENCIES
    assert [int(age_ms) // 1000 for age_ms in committer.ages_ms] == list(range(1, LATENCIES + 1))


@pytest.mark.parametrize(
    ("ages_ms", "latency"),
    [
        ([], None),
        ([7.0], LatencyStatus(7.0, 7.0)),
        (map(float, range(200, 0, -1)), LatencyStatus(100.0, 198.0)),
    ],
)
def test_latency_is_quantiles_of_the_last_commits(ages_ms: Iterable[float], latency: LatencyStatus | None) -> None:
    assert latency_status(ages_ms) == latency
