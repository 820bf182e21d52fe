"""When a worker that died is started again, and when it is given up: pure, time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Delays double from the first to the longest; `crash_limit` crashes within the window are a crash loop."""

    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 30.0
    crash_limit: int = 5
    crash_window_seconds: float = 60.0


@dataclass(slots=True)
class CrashHistory:
    """The crashes of one worker."""

    policy: RestartPolicy
    _crashes: deque[float] = field(default_factory=deque)
    _delay_seconds: float = 0.0

    def crashed(self, started: float, now: float) -> float | None:
        """Note a crash of a run; returns the seconds to wait before the next start, None for a crash loop.

        A run longer than the window counts as healthy: delays begin at the first one again.
        """
        policy = self.policy
        if now - started >= policy.crash_window_seconds:
            self._delay_seconds = 0.0
        self._crashes.append(now)
        while now - self._crashes[0] >= policy.crash_window_seconds:
            self._crashes.popleft()
        if len(self._crashes) >= policy.crash_limit:
            return None
        doubled = max(policy.first_delay_seconds, 2 * self._delay_seconds)
        self._delay_seconds = min(doubled, policy.longest_delay_seconds)
        return self._delay_seconds
