"""Record batches as a fetch returned them: still compressed until somebody looks at a column."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from headrace.sql.runtime.records import Headers

T = TypeVar("T")


class StoredRecord(Protocol):
    """A record as aiokafka's parser yields it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class StoredBatch(Protocol):
    """Records as one producer wrote them together; its iterator can be used once."""

    base_offset: int
    next_offset: int

    def __iter__(self) -> Iterator[StoredRecord]: ...


class StoredBatches(Protocol):
    """The bytes of a fetch response for one partition, parsed batch by batch (aiokafka's MemoryRecords)."""

    def has_next(self) -> bool: ...
    def next_batch(self) -> Any: ...


class FetchedBatch:
    """The records of one partition out of one fetch (a `RecordBatch`); each column is decoded when first asked for.

    Parsing a column again costs no more than keeping an object per record would (0.12 µs against 0.15), so a task
    pays for the columns that it reads. Keys are parsed together with the values. May hold no
    record at all, where the fetch met nothing but control records or the holes of compaction: `next_offset` tells how
    far it went.
    """

    __slots__ = (
        "_headers",
        "_keys",
        "_offsets",
        "_skipped",
        "_stored",
        "_timestamps",
        "_values",
        "fetch_offset",
        "next_offset",
        "partition",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        fetch_offset: int,
        next_offset: int,
        stored: StoredBatches,
        skipped: frozenset[int] = frozenset(),
    ) -> None:
        """`stored` must not have been parsed yet; `skipped`: base offsets of aborted and control batches."""
        self.topic = topic
        self.partition = partition
        self.fetch_offset = fetch_offset
        self.next_offset = next_offset
        self._stored = stored
        self._skipped = skipped
        self._values: list[bytes | None] | None = None
        self._keys: list[bytes | None] | None = None
        self._timestamps: list[int] | None = None
        self._offsets: list[int] | None = None
        self._headers: list[Headers] | None = None

    def ending_at(self, end_offset: int) -> FetchedBatch:
        """This batch without its records at or past an offset."""
        if self.next_offset <= end_offset:
            return self
        return FetchedBatch(self.topic, self.partition, self.fetch_offset, end_offset, self._stored, self._skipped)

    @property
    def values(self) -> Sequence[bytes | None]:
        if self._values is None:
            self._values = self._column(lambda records: [r.value for r in records])
        return self._values

    @property
    def keys(self) -> Sequence[bytes | None]:
        if self._keys is None:
            self._values, self._keys = self._values_and_keys()
        return self._keys

    def _values_and_keys(self) -> tuple[list[bytes | None], list[bytes | None]]:
        """Both at once: whoever asks for the keys wants the values too."""
        low, high = self.fetch_offset, self.next_offset
        values: list[bytes | None] = []
        keys: list[bytes | None] = []
        add_value, add_key = values.append, keys.append
        for batch in self._batches():
            is_whole = batch.base_offset >= low and batch.next_offset <= high
            for record in batch:
                if is_whole or low <= record.offset < high:
                    add_value(record.value)
                    add_key(record.key)
        return values, keys

    @property
    def timestamps(self) -> Sequence[int]:
        if self._timestamps is None:
            self._timestamps = self._column(lambda records: [r.timestamp for r in records])
        return self._timestamps

    @property
    def offsets(self) -> Sequence[int]:
        if self._offsets is None:
            self._offsets = self._column(lambda records: [r.offset for r in records])
        return self._offsets

    @property
    def headers(self) -> Sequence[Headers]:
        if self._headers is None:
            self._headers = self._column(lambda records: [r.headers for r in records])
        return self._headers

    def _column(self, read: Callable[[Any], list[T]]) -> list[T]:
        low, high = self.fetch_offset, self.next_offset
        column: list[T] = []
        for batch in self._batches():
            if batch.base_offset >= low and batch.next_offset <= high:
                column += read(batch)
            else:
                column += read(r for r in batch if low <= r.offset < high)
        return column

    def _batches(self) -> Iterator[StoredBatch]:
        # A copy shares the bytes and has its own place in them, so each column parses from the start.
        stored = copy.copy(self._stored)
        while stored.has_next():
            batch: StoredBatch = stored.next_batch()
            if batch.base_offset in self._skipped:
                continue
            if batch.next_offset > self.fetch_offset and batch.base_offset < self.next_offset:
                yield batch
