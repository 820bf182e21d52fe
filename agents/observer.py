"""Who watches a worker: told what happened, once for each batch and commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headrace.sql.runtime.records import TopicPartition


class Observer(Protocol):
    """Is told on the main loop what happened, once for each batch and commit: it must not take long."""

    def processed(self, stage: str, partition: TopicPartition, records: int, seconds: float) -> None:
        """A task has taken a batch of so many records, with so much CPU time."""

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        """A commit took this long; by source topic, how old the oldest record in it was when it was done."""


class Unobserved:
    """Nobody watches."""

    def processed(self, stage: str, partition: TopicPartition, records: int, seconds: float) -> None:
        pass

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        pass
