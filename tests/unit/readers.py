"""A worker's reader as tests see it: where each partition is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.sql.runtime.records import TopicPartition


class Reader:
    """Remembers where each partition is read; None where it is withheld."""

    def __init__(self) -> None:
        self.at: dict[TopicPartition, int | None] = {}
        self.placed = 0

    async def place(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.at.update(offsets)
        self.placed += 1

    async def withhold(self, partitions: Iterable[TopicPartition]) -> None:
        self.at.update(dict.fromkeys(partitions))
