"""State of grouped queries that ends with time: groups are begun anew after a pause, and deleted some time later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.sql.runtime.records import Store
from headrace.sql.runtime.state import GroupedState, Key, State, StateCodec
from headrace.sql.runtime.watermarks import END, START

SWEPT = 100
"""Entries of the store in one part of a sweep, at the least."""


class ExpiringState(GroupedState):
    """State of an aggregation without windows whose groups end when no row comes for longer than a `ttl`.

    A row that is later than its group's newest row by more than the ttl begins the group anew. Rows older than the
    watermark by more than the ttl are kept out before. So once the watermark is past a group's newest row by more than
    two ttl, every row begins it anew: it can be deleted at any time, and no result changes.
    """

    def __init__(self, codec: StateCodec, store: Store | None, number: int, live: int, ttl_ms: int) -> None:
        super().__init__(codec, store, number, live)
        self._ttl_ms = ttl_ms
        self._sweep_from = START  # the watermark that begins the next sweep
        self._before = START  # a sweep deletes groups whose newest row is older
        self._position: bytes | None = None  # where in the store a sweep stands; None where it is done
        self._loads = 0

    def load(self, key: Key, time: int) -> State:
        """The state that a row of this event time finds, where it is not in the cache or too old there."""
        self._loads += 1
        state = self.groups.cache.get(key)
        if state is None:
            state = self.groups.load(key)
        return self.groups.renew(key) if START < state.time < time - self._ttl_ms else state

    def expire(self, watermark: int) -> Iterator[tuple[Key, State]]:
        """Delete groups that no row finds any more, each as it is given out.

        They are looked for in sweeps, one for each quarter of the ttl: over the cache at once, over the store in parts,
        a part with each call and faster than new groups come. The end of a finite run deletes nothing.
        """
        if watermark in (START, END):
            return
        if watermark >= self._sweep_from:
            period_ms = max(1, self._ttl_ms // 4)
            self._sweep_from = watermark - watermark % period_ms + period_ms
            self._before = watermark - 2 * self._ttl_ms
            self._position = self._position or b""
            yield from self._delete(self.groups.cache.items())
        if self._position is not None:
            stored, self._position = self.groups.stored(self._position, SWEPT + 2 * self._loads)
            yield from self._delete(stored)
        self._loads = 0

    def _delete(self, groups: Iterable[tuple[Key, State]]) -> Iterator[tuple[Key, State]]:
        for key, state in [(key, state) for key, state in groups if state.time < self._before]:
            self.groups.delete(key)
            yield key, state
