"""Rows that wait for the watermark, to be taken in the order of their event times.

A row that comes and goes between two commits is never stored. One that waits longer is written by the next commit and
deleted by the one after it was taken. Keys of the store: the number of the state (1 byte), then the row's place in the
order: event time (8 bytes, ordered), and where it comes from: source partition and offset, or the key of a result.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from heapq import merge
from itertools import groupby, islice
from operator import eq, itemgetter
from typing import Any

import msgspec

from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.state import MEASURED, memory_of, ordered_bytes
from headrace.sql.runtime.watermarks import END, START

Waiting = tuple[int, int | bytes, int, Any]
"""Event time, origin (source partition, or key of a result), position there (offset), the row."""

_ENTRY_BYTES = 120
"""What the tuple and its numbers take in memory, beside the row itself."""
_time_of = itemgetter(0)
_place_of = itemgetter(0, 1, 2)


class WaitingRows:
    """Rows of one operator that wait. Generated code appends to `fresh` and leaves out rows before `taken_until`."""

    def __init__(self, row_type: Any, store: Store | None, number: int, live: int) -> None:
        """`live` is how many rows the store holds."""
        self.fresh: list[Waiting] = []
        """Rows since the last cut, in the order in which they came."""
        self._sorted = 0  # so many of the fresh rows are in order
        self.taken_until = START
        """Rows before this event time are gone: what comes for them comes too late."""
        self._kept: list[Waiting] = []  # rows that a cut has written, in order; without those that lie on disk alone
        self._gone: list[Waiting] = []  # rows taken since the last cut that an earlier one has written
        self._on_disk = live  # rows of the store that are not in memory
        self._disk_from = START if live else END  # before this event time, every row is in memory
        self._bytes = 0.0  # mean memory of a row
        self._prefix = bytes([number])
        self._store = store
        self._encode = msgspec.msgpack.Encoder().encode
        decoder: Any = msgspec.msgpack.Decoder(tuple[int, int | bytes, int, row_type])
        self._decode: Callable[[bytes], Waiting] = decoder.decode

    def take(self, until: int) -> Iterator[Waiting]:
        """The rows before an event time, in order; they are gone when they were given out."""
        if until <= self.taken_until:
            return iter(())
        self.taken_until = until
        self._sort_fresh()
        ready = _each_once(_cut_off(self.fresh, until))
        self._sorted = len(self.fresh)
        stored = _cut_off(self._kept, until)
        self._gone.extend(stored)
        if stored:
            ready = _each_once(sorted(ready + stored))  # two runs, which Python's sort merges
        if until <= self._disk_from:
            return iter(ready)
        together = merge(ready, self._from_disk(until, stored), key=_place_of)
        return (next(same) for _, same in groupby(together, _place_of))

    def _sort_fresh(self) -> None:
        """Bring what has come since the last time among the fresh rows: mostly it belongs behind all that wait."""
        came = sorted(self.fresh[self._sorted :])
        if came:
            place = bisect_left(self.fresh, came[0], hi=self._sorted)
            overlapped = self.fresh[place : self._sorted]
            self.fresh[place:] = sorted(overlapped + came) if overlapped else came

    def take_times(self, until: int) -> Iterator[Iterator[Waiting]]:
        """As `take`, the rows of one event time together."""
        return (rows for _, rows in groupby(self.take(until), _time_of))

    def _from_disk(self, until: int, kept: list[Waiting]) -> Iterator[Waiting]:
        """Rows of the store before an event time, with those of them that were kept in memory as well."""
        assert self._store is not None
        low, high = (self._prefix + ordered_bytes(time) for time in (self._disk_from, until))
        self._disk_from = until
        for _, data in self._store.scan(low, high):
            row = self._decode(data)
            if not _holds(kept, row):
                self._on_disk -= 1
                self._gone.append(row)
            yield row
        if not self._on_disk:
            self._disk_from = END

    @property
    def live(self) -> int:
        """Rows that the store holds after the last cut."""
        return len(self._kept) + len(self._gone) + self._on_disk

    @property
    def pending(self) -> int:
        """Changes for the next cut."""
        return len(self.fresh) + len(self._gone)

    @property
    def caches(self) -> Collection[WaitingRows]:
        return (self,)

    def cut(self) -> Iterator[Change]:
        """Changes of the store since the last cut."""
        for row in self._gone:
            yield self._key(row), None
        self._gone.clear()
        self._sort_fresh()
        fresh = _each_once(self.fresh)
        self.fresh, self._sorted = [], 0
        for row in fresh:
            key = self._key(row)
            if row[0] >= self._disk_from and self._is_on_disk(key, row):
                self._on_disk -= 1
            yield key, self._encode(row)
        self._measure(fresh)
        self._keep(fresh)

    def _is_on_disk(self, key: bytes, row: Waiting) -> bool:
        assert self._store is not None
        return self._store.get(key) is not None and not _holds(self._kept, row)

    def _keep(self, fresh: list[Waiting]) -> None:
        """Put rows among those kept. Mostly they come behind them: only what they overlap is sorted anew."""
        if not fresh:
            return
        place = bisect_left(self._kept, _place_of(fresh[0]), key=_place_of)
        overlapped = self._kept[place:]
        if not overlapped:
            self._kept.extend(fresh)
            return
        together = merge(overlapped, fresh, key=_place_of)
        self._kept[place:] = [next(same) for _, same in groupby(together, _place_of)]

    def _measure(self, rows: list[Waiting]) -> None:
        for row in islice(rows, 0, None, MEASURED):
            size = _ENTRY_BYTES + memory_of(row[3])
            self._bytes += (size - self._bytes) / 16 if self._bytes else size

    @property
    def clean_bytes(self) -> int:
        """Memory of the rows that a cut has written, by estimate."""
        return int(len(self._kept) * self._bytes)

    def evict(self, size: int) -> None:
        """Forget written rows that take so many bytes, those of the latest event times.

        Only between the end of a commit and the next cut, when the store has everything that was cut.
        """
        kept = self._kept
        if not kept:
            return
        count = min(len(kept), int(size / self._bytes) + 1)
        time = kept[-count][0]
        place = bisect_left(kept, time, key=_time_of)
        self._on_disk += len(kept) - place
        self._disk_from = min(self._disk_from, time)
        del kept[place:]

    def _key(self, row: Waiting) -> bytes:
        """The key of a row in the store; they sort as the rows do."""
        time, origin, position, _ = row
        if isinstance(origin, int):
            return self._prefix + ordered_bytes(time) + ordered_bytes(origin) + ordered_bytes(position)
        assert position == 0, "a result has one row"
        return self._prefix + ordered_bytes(time) + origin


def _cut_off(rows: list[Waiting], until: int) -> list[Waiting]:
    """Take the rows before an event time out of a list in order."""
    place = bisect_left(rows, until, key=_time_of)
    ready = rows[:place]
    del rows[:place]
    return ready


def _each_once(rows: list[Waiting]) -> list[Waiting]:
    """Rows in order, without those that came again after a crash."""
    if not any(map(eq, rows, islice(rows, 1, None))):
        return rows
    return [next(same) for _, same in groupby(rows, _place_of)]


def _holds(rows: list[Waiting], row: Waiting) -> bool:
    """Whether a list in order has the row of this place."""
    place = bisect_left(rows, _place_of(row), key=_place_of)
    return place < len(rows) and _place_of(rows[place]) == _place_of(row)
