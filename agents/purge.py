"""When records of a repartition topic may be deleted: their only reader is past them. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Collection

from headrace.sql.runtime.records import Cut, TopicPartition

INTERVAL_S = 30.0


class PurgeSchedule:
    """Each interval, what was committed by the end of the interval before is due.

    So late because a worker that was paused may write an older checkpoint into a changelog before it learns that the
    group went on without it, and the task that is opened from it reads again from there.
    """

    def __init__(self, topics: Collection[str], now: float, interval_s: float = INTERVAL_S) -> None:
        self._topics = frozenset(topics)
        self._interval_s = interval_s
        self._began_at = now
        self._committed: dict[TopicPartition, int] = {}
        self._safe: dict[TopicPartition, int] = {}
        self._purged: dict[TopicPartition, int] = {}

    def committed(self, cut: Cut) -> None:
        """Take note of what was committed; inputs that are not of the topics are left alone."""
        done = {partition: cut.needed.get(partition, at.next_offset) for partition, at in cut.positions.items()}
        self._committed.update({partition: at for partition, at in done.items() if partition.topic in self._topics})

    def due(self, now: float) -> dict[TopicPartition, int]:
        """Offsets before which everything is to be deleted now, of partitions where that is more than last time."""
        if now - self._began_at < self._interval_s:
            return {}
        self._began_at = now
        due = {partition: offset for partition, offset in self._safe.items() if offset > self._purged.get(partition, 0)}
        self._purged.update(due)
        self._safe = dict(self._committed)
        return due
