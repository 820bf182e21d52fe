"""When a worker commits: by its interval, at once where somebody asks for it, and rarely while nothing comes."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

IDLE_S = 1.0
"""How often a worker looks after its tasks while nothing comes. What comes then is committed at once."""


class CommitClock:
    """Belongs to the main loop."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_at = time.monotonic()
        self._wanted = asyncio.Event()
        self._idle = False

    async def next(self) -> None:
        """Wait until a commit is due."""
        # By the clock, however long a commit takes, or its duration would come on top of the interval.
        interval_s = max(IDLE_S, self._interval_s) if self._idle else self._interval_s
        due_at = max(self._due_at + interval_s, time.monotonic())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), max(due_at - time.monotonic(), 0.001))
        self._wanted.clear()
        self._due_at = min(due_at, time.monotonic())  # where it was wanted before, the next one counts from there

    def want(self) -> None:
        """Make a commit due now."""
        self._wanted.set()

    def rest(self, *, idle: bool) -> None:
        """Say whether anything came since the last commit, or waits for the next one."""
        self._idle = idle

    def wake(self) -> None:
        """Something came: it need not wait as long as nothing would."""
        if self._idle:
            self._idle = False
            self._wanted.set()
