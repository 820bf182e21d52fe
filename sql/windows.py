"""The shapes of windows: which windows an event time is in. Every window is half-open, `[start, end)`.

But for sessions, a window is known by its end alone: no two windows of one shape end together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Windows of one size, one after the other."""

    size_ms: int
    offset_ms: int
    """Where the windows begin, relative to the epoch; 0 <= offset < size."""
    grace_ms: int
    """How long after its end a window closes."""

    def __str__(self) -> str:
        return f"tumbling {self.size_ms} ms{_offset(self.offset_ms)}"


@dataclass(frozen=True, slots=True)
class Daily:
    """Windows of whole days as the clocks of a time zone count them: some have 23 hours, some 25."""

    days: int
    zone: str
    grace_ms: int

    def __str__(self) -> str:
        return f"tumbling {self.days} {'day' if self.days == 1 else 'days'} in {self.zone}"


@dataclass(frozen=True, slots=True)
class Hopping:
    """Windows of one size that begin every `advance_ms`: a time is in each that covers it."""

    size_ms: int
    advance_ms: int
    offset_ms: int
    grace_ms: int

    def __str__(self) -> str:
        return f"hopping {self.size_ms} ms by {self.advance_ms} ms{_offset(self.offset_ms)}"


@dataclass(frozen=True, slots=True)
class Cumulating:
    """Windows that begin together every `size_ms` and end `step_ms` after each other, until the next begin."""

    step_ms: int
    size_ms: int
    offset_ms: int
    grace_ms: int

    def __str__(self) -> str:
        return f"cumulating {self.size_ms} ms by {self.step_ms} ms{_offset(self.offset_ms)}"


@dataclass(frozen=True, slots=True)
class Session:
    """Windows of each key by itself: rows that follow each other by less than the gap, `[first, last + gap)`."""

    gap_ms: int
    grace_ms: int

    def __str__(self) -> str:
        return f"session, gap {self.gap_ms} ms"


Single = Tumbling | Daily
"""A time is in one window."""
Several = Hopping | Cumulating
"""A time is in several windows, which end `step_of` apart."""
Window = Single | Several | Session


def _offset(offset_ms: int) -> str:
    return f" from {offset_ms} ms" if offset_ms else ""


def step_of(window: Several) -> int:
    """Milliseconds from the end of a window to the end of the next."""
    return window.advance_ms if isinstance(window, Hopping) else window.step_ms


def most_windows(window: Several) -> int:
    """In how many windows a time is, at the most."""
    return -(-window.size_ms // step_of(window))
