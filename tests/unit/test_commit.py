"""What a commit takes from the tasks of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from headrace.agents.commit import Committer, OpenTask
from headrace.agents.delivery import Delivery, TaskCut
from headrace.agents.errors import CommitFailed
from headrace.agents.membership import Membership
from headrace.agents.observer import Unobserved
from headrace.agents.task import Task
from headrace.sql.runtime.records import Cut


class Changed:
    """A task that has done something since its last cut, whenever it is asked."""

    caches = ()

    def cut(self) -> Cut:
        return Cut((), (), {})


class Delivered:
    """Takes note of how many tasks a commit brings; may fail."""

    def __init__(self, *, fails: bool = False) -> None:
        self.tasks: list[int] = []
        self.fails = fails

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:  # noqa: ARG002 (a protocol)
        if self.fails:
            raise CommitFailed("the broker is away")
        self.tasks.append(len(cuts))


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
            await committer.commit([task], Membership(1, "m", frozenset()))
        delivery.fails = False
        return task.broken, await committer.commit([task], Membership(1, "m", frozenset()))

    assert asyncio.run(committed()) == (True, False)
