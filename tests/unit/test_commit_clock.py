"""When commits are due. What would be due too late is a minute away, so that a slow machine is not taken for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.agents import commit_clock
from headrace.agents.commit_clock import CommitClock

LONG_S = 60.0


def wait(clock: CommitClock, woken_after_s: float | None = None) -> None:
    """Until a commit is due, and at most ten seconds; perhaps something wakes the clock meanwhile."""

    async def until_due() -> None:
        if woken_after_s is not None:
            asyncio.get_running_loop().call_later(woken_after_s, clock.wake)
        await asyncio.wait_for(clock.next(), 10)

    asyncio.run(until_due())


def test_commit_is_due_by_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_clock, "IDLE_S", LONG_S)
    began = time.monotonic()
    clock = CommitClock(0.2)
    wait(clock)
    assert time.monotonic() - began >= 0.19


def test_commit_that_somebody_wants_is_due_at_once() -> None:
    began = time.monotonic()
    clock = CommitClock(LONG_S)
    clock.want()
    wait(clock)
    assert time.monotonic() - began < LONG_S


def test_idle_worker_looks_rarely_and_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_clock, "IDLE_S", 0.5)
    began = time.monotonic()
    clock = CommitClock(0.01)
    clock.rest(idle=True)
    wait(clock)
    assert time.monotonic() - began >= 0.49

    monkeypatch.setattr(commit_clock, "IDLE_S", LONG_S)
    began = time.monotonic()
    clock = CommitClock(0.01)
    clock.rest(idle=True)
    wait(clock, woken_after_s=0.05)
    assert 0.04 <= time.monotonic() - began < LONG_S


def test_clock_that_is_not_idle_is_not_woken() -> None:
    began = time.monotonic()
    clock = CommitClock(0.3)
    wait(clock, woken_after_s=0.01)
    assert time.monotonic() - began >= 0.29
