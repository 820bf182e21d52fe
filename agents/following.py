"""How a worker follows another version of its app: it reads no further than that one, and is idle where that one is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headrace.sql.runtime.records import TopicPartition


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the version that is followed has come in a source partition."""

    next_offset: int
    is_idle: bool = False


NOWHERE = Reached(0)


class Lead:
    """How far the version that is followed has come. Without one, everything may be read."""

    def __init__(self, reached: Mapping[TopicPartition, Reached] | None = None) -> None:
        """A topic of which one partition is given is followed with all that it has."""
        self._reached = reached or {}
        self._topics = {partition.topic for partition in self._reached}

    def leads(self, partition: TopicPartition) -> bool:
        return partition.topic in self._topics

    def bound(self, partition: TopicPartition) -> int | None:
        """The first offset that is not to be read yet; None: all may be."""
        return self._reached.get(partition, NOWHERE).next_offset if self.leads(partition) else None

    def stops(self, partition: TopicPartition, offset: int) -> bool:
        """Whether a reader that stands at the offset has to wait."""
        bound = self.bound(partition)
        return bound is not None and offset >= bound

    def awake(self, positions: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Those of the readers that are not idle, as the version that is followed is not."""
        return [p for p in positions if self.leads(p) and not self._reached.get(p, NOWHERE).is_idle]

    def idle(self, positions: Mapping[TopicPartition, int]) -> Collection[TopicPartition]:
        """Those of the readers that stand where the version that is followed stands, and is idle."""
        return [
            partition
            for partition, offset in positions.items()
            if self._reached.get(partition, NOWHERE).is_idle and self.stops(partition, offset)
        ]
