"""Which tasks a worker has open: what the group says is opened, kept and closed here, and after a failure all of it.

A task is open under one membership. Tasks that stay with the worker stay open over a rebalance, if nobody has
committed for them meanwhile; all others are opened from what Kafka has. Opening runs beside the open tasks, and is
begun again when the group changes before it is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from headrace.agents.background import Background
from headrace.agents.changelog import RestoreCancelled, RestoreProgress
from headrace.agents.cluster import Cluster
from headrace.agents.delivery import Group
from headrace.agents.errors import Fenced, KafkaFailure, StateFailure, TaskStopped
from headrace.agents.membership import Membership
from headrace.agents.open_task import OpenTask
from headrace.agents.opening import TaskOpener
from headrace.agents.topology import TaskId, TaskSpec

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Opening:
    """A task on its way to being open."""

    _cancelled: threading.Event = field(default_factory=threading.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Its thread is gone, and with it what it held."""

    def cancel(self) -> None:
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()


class Ownership:
    """The open tasks of a worker, on the main loop."""

    def __init__(
        self,
        opener: TaskOpener,
        cluster: Cluster,
        group: Group,
        background: Background,
        on_open: Callable[[OpenTask], Awaitable[None]],
    ) -> None:
        """`on_open` is told of each task that is open now."""
        self.tasks: dict[TaskId, OpenTask] = {}
        self.membership: Membership | None = None
        """Under which the tasks are open."""
        self.opened = 0
        self._opener = opener
        self._cluster = cluster
        self._group = group
        self._background = background
        self._on_open = on_open
        self._by_partition: dict[tuple[str, int], OpenTask] = {}
        self._opening: dict[TaskId, Opening] = {}
        self._ending: dict[TaskId, Opening] = {}

    def reader_of(self, topic: str, partition: int) -> OpenTask | None:
        """The open task that reads a partition."""
        return self._by_partition.get((topic, partition))

    @property
    def opening(self) -> Collection[TaskId]:
        return self._opening.keys()

    @property
    def restoring(self) -> Mapping[TaskId, RestoreProgress]:
        """How far the restores are that run at the moment."""
        return self._opener.restoring

    @property
    def in_order(self) -> list[OpenTask]:
        """The open tasks, by stage and partition."""
        return [opened for _, opened in sorted(self.tasks.items())]

    @property
    def restored(self) -> int:
        """Records read from changelogs so far."""
        return self._opener.restored

    async def take_over(self, specs: Iterable[TaskSpec], membership: Membership) -> None:
        """Have exactly the tasks whose inputs the membership assigns, open or on the way."""
        wanted = {spec.id: spec for spec in specs if spec.inputs <= membership.partitions}
        self._cancel_openings()
        # One that stays and has other inputs than before is opened anew.
        self.close([id_ for id_, opened in self.tasks.items() if wanted.get(id_) != opened.task.spec])
        self.close(await self._overtaken())
        self.membership = membership
        missing = sorted(wanted.keys() - self.tasks.keys())
        log.info("assigned", kept=sorted(map(str, self.tasks)), opening=[str(id_) for id_ in missing])
        for id_ in missing:
            self._opening[id_] = opening = Opening()
            self._background.spawn(self._open(wanted[id_], opening))

    async def _overtaken(self) -> list[TaskId]:
        """Tasks that another worker committed for while the group did without us."""
        kept = {partition: id_ for id_, opened in self.tasks.items() for partition in opened.expected}
        committed = await self._background.in_thread(self._cluster.committed, list(kept))
        overtaken = {
            id_
            for partition, id_ in kept.items()
            if id_ in self.tasks
            and self.tasks[id_].group_offsets[partition]
            != (committed[partition].next_offset if partition in committed else None)
        }
        if overtaken:
            log.warning("another worker went on with these tasks: opening them anew", tasks=[str(i) for i in overtaken])
        return list(overtaken)

    async def _open(self, spec: TaskSpec, opening: Opening) -> None:
        id_ = spec.id
        try:
            if (before := self._ending.get(id_)) is not None:
                await before.done.wait()
            opened = None if opening.cancelled() else await self._opened(spec, opening)
        finally:
            opening.done.set()
            if self._ending.get(id_) is opening:
                del self._ending[id_]
        if opened is None:
            return
        del self._opening[id_]
        self.tasks[id_] = opened
        self._by_partition.update(dict.fromkeys(opened.expected, opened))
        self.opened += 1
        log.info("task open", task=str(id_), positions={f"{t}-{p}": o for (t, p), o in opened.expected.items()})
        await self._on_open(opened)

    async def _opened(self, spec: TaskSpec, opening: Opening) -> OpenTask | None:
        """The open task; None where it is not ours any more."""
        try:
            opened = await self._background.in_thread(self._opener.open, spec, opening.cancelled)
        except RestoreCancelled:
            return None
        except (TaskStopped, KafkaFailure, StateFailure) as error:
            # What does not fit together may be what a new owner has written meanwhile, while this process was paused.
            if opening.cancelled() or (isinstance(error, TaskStopped) and await self._is_fenced()):
                return None
            raise
        if opening.cancelled():
            opened.close()
            return None
        return opened

    async def _is_fenced(self) -> bool:
        try:
            await self._group.confirm_membership()
        except Fenced:
            return True
        return False

    def _cancel_openings(self) -> None:
        for id_, opening in self._opening.items():
            opening.cancel()
            self._ending[id_] = opening
        self._opening.clear()

    def close(self, ids: Collection[TaskId]) -> None:
        for id_ in list(ids):
            opened = self.tasks.pop(id_)
            for partition in opened.expected:
                self._by_partition.pop(partition, None)
            opened.close()

    def close_all(self) -> None:
        """Close every task, and stop opening more."""
        self._cancel_openings()
        self.close(self.tasks.keys())
