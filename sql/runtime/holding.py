"""EMIT EVERY: groups that have changed, and whose newest row waits for its time. They are remembered in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from headrace.sql.runtime.records import Store
from headrace.sql.runtime.state import following
from headrace.sql.runtime.timers import Timers

Key = Any


class Clock:
    """Wall time as a task sees it: set before each batch, and between batches."""

    __slots__ = ("now_ms",)

    def __init__(self) -> None:
        self.now_ms = 0


class Holder(Protocol):
    """A state that remembers when its row is to go out; None where nothing has changed since it did."""

    held: int | None


class HeldRows:
    """The groups of an aggregation whose newest row is held back, by the time at which it is due."""

    def __init__(
        self,
        encode_key: Callable[[Key], bytes],
        decode_key: Callable[[bytes], Key],
        store: Store,
        prefix: bytes,
        every_ms: int,
        clock: Clock,
    ) -> None:
        self._timers = Timers(encode_key, decode_key, store, prefix)
        self._timers.live = sum(1 for _ in store.scan(prefix, following(prefix)))
        self._every_ms = every_ms
        self._clock = clock
        self.cut = self._timers.cut

    def hold(self, key: Key, holder: Holder) -> None:
        """The group has changed: its row is due at the next multiple of the interval."""
        now = self._clock.now_ms
        holder.held = now - now % self._every_ms + self._every_ms
        self._timers.add(holder.held, key)

    def drop(self, key: Key, holder: Holder) -> None:
        """The row of a group goes out before it is due, or never."""
        assert holder.held is not None
        self._timers.remove(holder.held, key)
        holder.held = None

    def due(self, until: int) -> list[Key]:
        """The groups whose rows are due at `until` (wall time), which are forgotten here."""
        return self._timers.due(until)

    @property
    def live(self) -> int:
        return self._timers.live
