"""Whether the partitions that a worker reads move on. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from headrace.sql.runtime.records import TopicPartition

STALLED_S = 60.0
FRESH_S = 5.0
"""What a broker said so long ago says nothing of now: a fetch is answered once a second at least."""


class SeenEnd(NamedTuple):
    """Where a partition ends, as its broker said it with the last fetch."""

    high: int | None
    """High watermark; None where nothing is fetched, or was yet."""
    stable: int | None
    """Last stable offset: what lies behind it belongs to transactions that are still open. None where all is read."""
    age_s: float
    """Seconds since then."""

    @property
    def is_fresh(self) -> bool:
        return self.age_s < FRESH_S


UNSEEN = SeenEnd(None, None, inf)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the reading of a partition stands."""

    partition: TopicPartition
    position: int
    end: int | None
    """High watermark; None where the broker has not told it lately."""
    stable: int | None
    """Last stable offset, where it counts."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A partition whose position has not moved for too long, and that is not known to be read to its end."""

    stand: Stand
    since: float
    reason: str


class Liveness:
    """Finds the partitions that do not move."""

    def __init__(self, stalled_s: float = STALLED_S) -> None:
        self._stalled_s = stalled_s
        self._moved: dict[TopicPartition, tuple[int, float]] = {}
        """Position and when it was first seen."""
        self.stalls: dict[TopicPartition, Stall] = {}

    def observe(
        self, now: float, stands: Iterable[Stand], *, waiting_for_commit: bool
    ) -> tuple[list[Stall], list[Stall]]:
        """Take note of all partitions that are read; the stalls that are new, and those that are over."""
        before, self.stalls = self.stalls, {}
        moved, self._moved = self._moved, {}
        for stand in stands:
            position, since = moved.get(stand.partition, (-1, now))
            if stand.position != position or (stand.end is not None and stand.end <= stand.position):
                since = now
            self._moved[stand.partition] = stand.position, since
            if now - since >= self._stalled_s:
                reason = _reason(stand, waiting_for_commit=waiting_for_commit)
                self.stalls[stand.partition] = Stall(stand, since, reason)
        begun = [stall for partition, stall in self.stalls.items() if partition not in before]
        return begun, [stall for partition, stall in before.items() if partition not in self.stalls]


def _reason(stand: Stand, *, waiting_for_commit: bool) -> str:
    if waiting_for_commit:
        return "more waits for a commit than may be pending, and the commit does not end"
    if stand.stable is not None and stand.stable <= stand.position:
        return f"a transaction that another producer has open begins at offset {stand.stable}"
    return "no fetch was answered" if stand.end is None else "the broker sends no records"
