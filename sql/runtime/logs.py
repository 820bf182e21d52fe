"""The last rows of each partition of an OVER, as far as later rows look at them.

In the store a log lies in chunks, so that a long one is not written anew for each row: keys are the number of the state
(1 byte), the encoded partition key, and the number of the chunk (8 bytes, ordered).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from math import ceil
from typing import Any

import msgspec

from headrace.sql.runtime.codec import encode_key
from headrace.sql.runtime.records import Change, Store
from headrace.sql.runtime.state import MEASURED, SLOT_BYTES, Key, following, memory_of, ordered_bytes

CHUNK = 64
"""Rows of a log that are written together."""
_SLACK = 64
"""So many rows more than are needed, before a log is cut."""


class Log:
    """The last rows of a partition, oldest first: tuples that begin with the event time."""

    __slots__ = ("first", "high", "low", "most", "rows", "written")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.first = 0
        """Number of the first of the rows, counted from the first row that the partition ever had."""
        self.most = _SLACK
        """With more rows, `trim` is worth while."""
        self.written = 0  # rows before this number are in the store
        self.low = self.high = 0  # the store has the chunks low <= number < high


class Logs:
    """The logs of one operator. Generated code reads `cache`, calls `load` on a miss, appends, and fills `dirty`.

    A log keeps its last `rows` rows, and all of the last `span_ms` before its newest.
    """

    def __init__(
        self, row_type: Any, rows: int, span_ms: int | None, store: Store | None, number: int, live: int
    ) -> None:
        """`live` is how many chunks the store holds."""
        self.cache: dict[Key, Log] = {}
        self.dirty: dict[Key, Log] = {}
        self.live = live
        """Chunks that the store holds after the last cut."""
        self._rows = rows
        self._span_ms = span_ms
        self._store = store
        self._stored = live > 0  # whether the store may hold logs that are not in the cache
        self._prefix = bytes([number])
        self._bytes = 0.0  # mean memory of a log
        self._encode = msgspec.msgpack.Encoder().encode
        decoder: Any = msgspec.msgpack.Decoder(tuple[int, list[row_type]])
        self._decode: Callable[[bytes], tuple[int, list[tuple[Any, ...]]]] = decoder.decode

    def load(self, key: Key) -> Log:
        """The log of a partition that is not in the cache: from the store, or new."""
        log = self.cache[key] = Log()
        if self._stored and self._store is not None:
            prefix = self._prefix + encode_key(key)
            for data, value in self._store.scan(prefix, following(prefix)):
                first, rows = self._decode(value)
                if not log.rows:
                    log.first, log.low = first, _chunk_of(data)
                log.rows.extend(rows)
                log.high = _chunk_of(data) + 1
            log.written = log.first + len(log.rows)
        return log

    def trim(self, log: Log) -> None:
        """Forget the rows of a log that no row will look at."""
        rows = log.rows
        count = len(rows) - self._rows
        if self._span_ms is not None and rows:
            count = min(count, bisect_left(rows, (rows[-1][0] - self._span_ms,)))
        if count > 0:
            del rows[:count]
            log.first += count
        log.most = 2 * len(rows) + _SLACK

    @property
    def pending(self) -> int:
        """Changes for the next cut."""
        return len(self.dirty)

    @property
    def caches(self) -> Collection[Logs]:
        return (self,)

    def cut(self) -> Iterator[Change]:
        """Changes of the store since the last cut. Afterwards nothing is dirty."""
        for key, log in self.dirty.items():
            self.trim(log)
            yield from self._cut(self._prefix + encode_key(key), log)
        self._measure()
        self.dirty = {}

    def _cut(self, prefix: bytes, log: Log) -> Iterator[Change]:
        behind = log.first + len(log.rows)
        low, high = log.first // CHUNK, ceil(behind / CHUNK)
        for number in range(log.low, min(low, log.high)):
            yield prefix + ordered_bytes(number), None
        for number in range(max(low, log.written // CHUNK), high):
            start = max(log.first, number * CHUNK)
            rows = log.rows[start - log.first : (number + 1) * CHUNK - log.first]
            yield prefix + ordered_bytes(number), self._encode((start, rows))
        self.live += (high - low) - (log.high - log.low)
        log.low, log.high, log.written = low, high, behind

    def _measure(self) -> None:
        for key, log in islice(self.dirty.items(), 0, None, MEASURED):
            size = memory_of(key) + sum(map(memory_of, log.rows))
            self._bytes += (size - self._bytes) / 16 if self._bytes else size

    @property
    def clean_bytes(self) -> int:
        """Memory of the cached logs that have not changed since the last cut, by estimate."""
        return int((len(self.cache) - len(self.dirty)) * (SLOT_BYTES + self._bytes))

    def evict(self, size: int) -> None:
        """Forget clean logs that take so many bytes, those first that were loaded first.

        Only between the end of a commit and the next cut, when the store has everything that was cut.
        """
        clean = (key for key in self.cache if key not in self.dirty)
        for key in list(islice(clean, ceil(size / (SLOT_BYTES + self._bytes)))):
            del self.cache[key]
        self._stored = True


def _chunk_of(data: bytes) -> int:
    return int.from_bytes(data[-8:], "big") - 2**63
