"""Who watches a worker: told what happened, once for each batch and commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from headrace.sql.runtime.records import Headers, TopicPartition


@dataclass(frozen=True, slots=True)
class Processed:
    """A batch of records that a task has taken."""

    stage: str
    partition: TopicPartition
    records: int
    began_ns: int
    """Nanoseconds since the epoch."""
    cpu_s: float
    headers: Headers
    """Of the first record."""


class Observer(Protocol):
    """Is told on the main loop what happened, once for each batch and commit: it must not take long."""

    def processed(self, batch: Processed) -> None:
        """A task has taken a batch."""

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        """A commit took this long; by source topic, how old the first record of its oldest batch was at the end."""

    def failed(self) -> None:
        """What was processed since the last commit will be processed again."""


class Unobserved:
    """Nobody watches."""

    def processed(self, batch: Processed) -> None:
        pass

    def committed(self, seconds: float, oldest_ms: Mapping[str, float]) -> None:
        pass

    def failed(self) -> None:
        pass
