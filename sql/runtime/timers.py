"""Timers of a task's state: keys in the order of the times at which they are due, kept in the store."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.state import following, ordered_bytes
from headrace.sql.runtime.watermarks import END, START

Key = Any
Timer = tuple[int, bytes]
"""Epoch milliseconds, and an encoded key."""


class Timers:
    """One timer for each key that has any. Only those of the last two cuts are in memory, the others in the store.

    Entries of the store: prefix, time (8 bytes, ordered), encoded key; without a value.
    """

    def __init__(
        self, encode_key: Callable[[Key], bytes], decode_key: Callable[[bytes], Key], store: Store, prefix: bytes
    ) -> None:
        self._encode = encode_key
        self._decode = decode_key
        self._store = store
        self._prefix = prefix
        self._added: set[Timer] = set()  # since the last cut
        self._removed: set[Timer] = set()
        self._added_last: set[Timer] = set()  # of the last cut: the store may not know it yet
        self._removed_last: set[Timer] = set()
        self._heap: list[Timer] = []  # of those added, perhaps removed since
        self._earliest = START  # no timer is due before, so the store is read from there: what is gone costs nothing
        self.live = 0
        """Timers that the store holds after the last cut."""

    def add(self, time: int, key: Key) -> None:
        timer = (time, self._encode(key))
        self._added.add(timer)
        heapq.heappush(self._heap, timer)
        self._earliest = min(self._earliest, time)

    def remove(self, time: int, key: Key) -> None:
        self._remove((time, self._encode(key)))

    def _remove(self, timer: Timer) -> None:
        if timer in self._added:
            self._added.remove(timer)  # where the store has it too, it is among those removed
        else:
            self._removed.add(timer)

    def due(self, until: int) -> list[Key]:
        """The keys whose timers are at or before `until`, by time and key; their timers are gone."""
        if until < self._earliest:
            return []
        found: list[Timer] = []
        while self._heap and self._heap[0][0] <= until:
            timer = heapq.heappop(self._heap)
            if self._is_here(timer):
                found.append(timer)
        earliest = self._heap[0][0] if self._heap else END
        for timer in self._stored():
            if timer[0] > until:
                earliest = min(earliest, timer[0])
                break
            found.append(timer)
        self._earliest = earliest
        unique = sorted(set(found))
        for timer in unique:
            self._remove(timer)
        return [self._decode(key) for _, key in unique]

    def _is_here(self, timer: Timer) -> bool:
        return timer in self._added or (timer in self._added_last and timer not in self._removed)

    def _stored(self) -> Iterator[Timer]:
        """Timers that the store has and that were not removed since."""
        begin = len(self._prefix)
        for data, _ in self._store.scan(self._prefix + ordered_bytes(self._earliest), following(self._prefix)):
            timer = (int.from_bytes(data[begin : begin + 8], "big") - 2**63, data[begin + 8 :])
            is_gone = timer in self._removed or (timer in self._removed_last and timer not in self._added_last)
            if not is_gone:
                yield timer

    @property
    def pending(self) -> int:
        """Changes for the next cut."""
        return len(self._added) + len(self._removed)

    def cut(self) -> Iterator[Change]:
        """Changes of the store since the last cut; a timer that was removed and added again is added last."""
        prefix = self._prefix
        for time, key in self._removed:
            yield prefix + ordered_bytes(time) + key, None
        for time, key in self._added:
            yield prefix + ordered_bytes(time) + key, b""
        self.live += len(self._added) - len(self._removed)
        self._added_last, self._added = self._added, set()
        self._removed_last, self._removed = self._removed, set()
        self._heap = sorted(self._added_last)
