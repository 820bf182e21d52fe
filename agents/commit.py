"""The one place where a worker's commit happens: outputs, state changes and positions of all its tasks together.

First Kafka has everything (see `delivery`), then the local stores are written. So a store never holds what Kafka does
not, and a crash between the two is made good from the changelog.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from headrace.agents.caches import trim_caches
from headrace.agents.delivery import Delivery
from headrace.agents.membership import Membership
from headrace.agents.observer import Observer
from headrace.agents.open_task import OpenTask
from headrace.sql.runtime.records import Cut

LATENCIES = 200
"""Commits whose latency is kept."""


class Committer:
    """Commits tasks, one commit at a time. `Task.cut` is called only when everything cut before is in the store."""

    def __init__(
        self, delivery: Delivery, committed: Callable[[Cut], None], cache_bytes_max: int, observer: Observer
    ) -> None:
        """`committed` is told of each cut that is done; `cache_bytes_max` bounds what all tasks have cached."""
        self._delivery = delivery
        self._cache_bytes_max = cache_bytes_max
        self._committed = committed
        self._observer = observer
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self.commits = 0
        self.committed_at: float | None = None
        """When the last one ended, by the monotonic clock."""
        self.commit_s = 0.0
        self.last_s: float | None = None
        """What the last one took."""
        self.ages_ms: deque[float] = deque(maxlen=LATENCIES)
        """How old the oldest source record of each of the last ones was at its end, by its timestamp."""

    async def commit(self, tasks: Collection[OpenTask], membership: Membership) -> bool:
        """Make durable what the tasks, opened under this membership, did since their last cut; whether it was anything.

        Goes on to its end even where the caller is cancelled. Raises CommitFailed (Fenced where the group went on
        without this worker), KafkaFailure, TaskStopped, StateFailure; after any of them the tasks must be dropped.
        """
        return await asyncio.shield(asyncio.ensure_future(self._commit(tasks, membership)))

    async def _commit(self, tasks: Collection[OpenTask], membership: Membership) -> bool:
        async with self._lock:
            # One that was closed since the commit was asked for belongs to somebody else.
            sound = (task for task in tasks if not (task.closed or task.broken))
            cuts = [(task, cut) for task in sound if (cut := task.cut()) is not None]
            if not cuts:
                return False
            started_at = time.monotonic()
            oldest_ms = _oldest(task for task, _ in cuts)
            try:
                with self._observer.committing():
                    await self._delivery.deliver([(task.task, cut) for task, cut in cuts], membership)
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, cuts)
            except BaseException:
                for task, _ in cuts:
                    task.broken = True
                raise
            for task, cut in cuts:
                task.group_offsets.update({partition: at.next_offset for partition, at in cut.positions.items()})
                self._committed(cut)
            # Here and nowhere else: everything that was cut is in the stores.
            trim_caches([opened.task for opened in tasks if not opened.closed], self._cache_bytes_max)
            self.commits += 1
            self.committed_at = time.monotonic()
            self.last_s = self.committed_at - started_at
            self.commit_s += self.last_s
            now_ms = time.time() * 1000
            # A clock that is ahead of ours makes none younger than nothing.
            ages_ms = {topic: max(now_ms - first_ms, 0.0) for topic, first_ms in oldest_ms.items()}
            if ages_ms:
                self.ages_ms.append(max(ages_ms.values()))
            self._observer.committed(self.last_s, ages_ms)
            return True

    def _apply(self, cuts: Sequence[tuple[OpenTask, Cut]]) -> None:
        for task, cut in cuts:
            if not cut.changelog:
                continue
            assert task.store is not None
            # What was just committed lies at or behind the old end, whoever else has written there meanwhile, so the
            # sum is never past a record that the store lacks; a restore from it repeats at most what the store has.
            task.changelog_end += len(cut.changelog) + self._delivery.markers
            task.store.apply(cut.changelog, task.changelog_end)

    async def idle(self) -> None:
        """Wait for the end of a commit that is under way."""
        async with self._lock:
            pass

    def close(self) -> None:
        self._delivery.close()
        self._thread.shutdown(wait=False)


def _oldest(tasks: Iterable[OpenTask]) -> dict[str, int]:
    """The least timestamp that the tasks noted since they were asked last, by topic."""
    oldest: dict[str, int] = {}
    for task in tasks:
        for topic, first_ms in task.oldest_ms.items():
            oldest[topic] = min(first_ms, oldest.get(topic, first_ms))
        task.oldest_ms = {}
    return oldest
