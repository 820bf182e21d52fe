"""Which of its inputs a worker reads on: none while it is paused, and no further than a version that it follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Protocol

from headrace.agents.following import Lead, Reached
from headrace.sql.runtime.records import TopicPartition


class Reader(Protocol):
    """The worker's member of the group."""

    async def place(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on reading each partition at its offset."""

    def withhold(self, partitions: Iterable[TopicPartition]) -> Awaitable[None]:
        """Fetch nothing of these partitions until they are placed."""


class Gate:
    """Every reader of a partition is placed here, and stopped here where it has to wait."""

    def __init__(self, reader: Callable[[], Reader]) -> None:
        """`reader` is asked for when it is needed: there is none before the worker is in its group."""
        self.paused = False
        self.lead = Lead()
        """What the version that is followed has reached."""
        self._reader = reader
        self._held: set[TopicPartition] = set()
        """Not read because the version that is followed has come no further."""

    def is_held(self, partition: TopicPartition) -> bool:
        """Whether the partition is not read because of the version that is followed."""
        return partition in self._held

    def follow(self, reached: Mapping[TopicPartition, Reached]) -> None:
        """Read source partitions as far as another version of the app has, and no further until told anew."""
        self.lead = Lead(reached)

    async def place(self, positions: Mapping[TopicPartition, int]) -> None:
        """Have the partitions read from these positions on, now or as soon as they may be."""
        free = {partition: at for partition, at in positions.items() if not self.lead.stops(partition, at)}
        self._held.difference_update(free)
        self._held.update(positions.keys() - free.keys())
        if free and not self.paused:
            await self._reader().place(free)

    async def hold(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read no further in those of the partitions that have come as far as they may."""
        if waiting := [partition for partition, at in positions.items() if self.lead.stops(partition, at)]:
            self._held.update(waiting)
            await self._reader().withhold(waiting)

    async def adjust(self, positions: Mapping[TopicPartition, int]) -> None:
        """Release and hold partitions after what the version that is followed has reached by now."""
        held = {partition: at for partition, at in positions.items() if partition in self._held}
        await self.place({partition: at for partition, at in held.items() if not self.lead.stops(partition, at)})
        await self.hold({partition: at for partition, at in positions.items() if partition not in held})

    async def close(self, partitions: Collection[TopicPartition]) -> None:
        """Read nothing more of these partitions."""
        await self._reader().withhold(partitions)
