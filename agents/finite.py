"""A finite run: where its sources end, and when all is done. Without ends given, a run has none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headrace.agents.checkpoint import read_metadata
from headrace.agents.open_task import OpenTask
from headrace.sql.runtime.records import Position, TopicPartition


class Ends:
    """Offsets before which the reading of source partitions stops for good."""

    def __init__(self, ends: Mapping[TopicPartition, int] | None) -> None:
        self.given = ends is not None
        """Whether the run is finite."""
        self._ends = ends or {}

    def of(self, partition: TopicPartition) -> int | None:
        return self._ends.get(partition)

    def reach(self, opened: OpenTask) -> Collection[TopicPartition]:
        """Tell a task of the partitions that it has now read to their end; these partitions."""
        reached = [
            partition
            for partition, expected in opened.expected.items()
            if partition not in opened.ended and (end := self.of(partition)) is not None and expected >= end
        ]
        for partition in reached:
            opened.ended.add(partition)
            opened.task.end_input(partition)
        return reached


def all_ended(partitions: Collection[TopicPartition], committed: Mapping[TopicPartition, Position]) -> bool:
    """Whether the group has committed each partition as read to its end."""
    return all(partition in committed and read_metadata(committed[partition]).ended for partition in partitions)
