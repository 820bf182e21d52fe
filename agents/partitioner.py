"""Kafka's default partitioner, for records that no Kafka client partitions for us (local runs)."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


class DefaultPartitioner:
    """The partition of a key by murmur2, as every Kafka client has it; without a key one partition after the other."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._next = 0

    def partition(self, key: bytes | None) -> int:
        if key is not None:
            return int(murmur2(key) & 0x7FFFFFFF) % self._partitions
        chosen = self._next
        self._next = (chosen + 1) % self._partitions
        return chosen
