"""What an Over keeps of the rows it has seen, by the calls it makes."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.sql.expressions import Frame, OverCall
from headrace.sql.vocabulary import FrameUnit

HISTORY_MAX = 100
"""So many rows of a partition are kept with its other state; more have a log of their own."""


@dataclass(frozen=True, slots=True)
class OverLayout:
    """The parts of an Over's state."""

    rows: int
    """How many of the last rows of a partition later rows look at."""
    span_ms: int | None
    """And how long after their event time they do."""
    ahead: int
    """How many following rows a row waits for."""
    accumulates: bool
    """Something is kept for each partition beside its last rows."""

    @property
    def has_log(self) -> bool:
        """The last rows are too many to be written together."""
        return self.span_ms is not None or self.rows > HISTORY_MAX

    @property
    def has_groups(self) -> bool:
        return self.accumulates or self.ahead > 0 or 0 < self.rows <= HISTORY_MAX

    @property
    def states(self) -> int:
        """How many states the operator has: the rows that wait, the partitions, the logs."""
        return 1 + self.has_groups + self.has_log


def layout_of(calls: tuple[tuple[str, OverCall], ...]) -> OverLayout:
    frames = [call.frame for _, call in calls if call.frame is not None]
    spans = [f.preceding for f in frames if f.unit is FrameUnit.RANGE and f.preceding is not None]
    held = [f.preceding + 1 for f in frames if f.unit is FrameUnit.ROWS and f.preceding is not None]
    held += [call.rows for _, call in calls if call.name == "LAG"]
    return OverLayout(
        max(held, default=0),
        max(spans, default=None),
        max((call.rows for _, call in calls if call.name == "LEAD"), default=0),
        any(accumulates(call) for _, call in calls),
    )


def is_bounded(frame: Frame | None) -> bool:
    """Whether rows leave a frame again."""
    return frame is not None and frame.preceding is not None


def accumulates(call: OverCall) -> bool:
    """Whether the result is kept up as rows come, and not computed over the rows of the frame.

    Over a frame that rows leave, this needs that they can be taken away again, exactly.
    """
    if call.name in ("LAG", "LEAD"):
        return False
    return not is_bounded(call.frame) or is_exact(call)


def is_exact(call: OverCall) -> bool:
    """Whether a row can be taken away from the result again, to the last digit."""
    return call.aggregate is not None and call.aggregate.aggregation.retractable
