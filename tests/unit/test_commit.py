"""What a commit takes from the tasks of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from headrace.agents.commit import Committer, OpenTask
from headrace.agents.delivery import Delivery, TaskCut
from headrace.agents.membership import Membership
from headrace.agents.task import Task
from headrace.sql.runtime.records import Cut


class Changed:
    """A task that has done something since its last cut, whenever it is asked."""

    caches = ()

    def cut(self) -> Cut:
        return Cut((), (), {})


class Delivered:
    """Takes note of how many tasks a commit brings."""

    def __init__(self) -> None:
        self.tasks: list[int] = []

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:  # noqa: ARG002 (a protocol)
        self.tasks.append(len(cuts))


def test_task_that_is_closed_before_its_commit_begins_is_left_out() -> None:
    """It may be closed because it broke on a batch: what it holds then must not reach Kafka."""

    async def committed() -> list[int]:
        delivery = Delivered()
        committer = Committer(cast(Delivery, delivery), lambda _: None, 0)
        kept, broken = (OpenTask(cast(Task, Changed()), None, 0, {}, {}) for _ in range(2))
        commit = asyncio.ensure_future(committer.commit([kept, broken], Membership(1, "m", frozenset())))
        await asyncio.sleep(0)  # it has been asked for, and has not begun
        broken.close()
        assert await commit
        return delivery.tasks

    assert asyncio.run(committed()) == [1]
