"""Records as a fetch returned them: compressed until they are processed, then parsed some at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from math import ceil
from typing import Any, Protocol

from headrace.sql.runtime.records import Headers

PART_RECORDS = 1_000
"""Records that are processed together: few enough for the processor's caches, which is worth a third of all time."""


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


@dataclass(slots=True)
class ParsedBatch:
    """Some records of one fetch (a `RecordBatch`); a column is made of them when first asked for."""

    topic: str
    partition: int
    fetch_offset: int
    next_offset: int
    _records: Sequence[StoredRecord]
    _values: list[bytes | None] | None = field(default=None, init=False)
    _offsets: list[int] | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def first_timestamp(self) -> int | None:
        """That of the first record, in ms; None where there is none."""
        return self._records[0].timestamp if self._records else None

    def some_headers(self, count: int) -> Iterator[Headers]:
        """Those of the first record, and of others at equal distances: `count` at most."""
        step = max(ceil(len(self._records) / count), 1)
        return (record.headers for record in self._records[::step])

    @property
    def values(self) -> Sequence[bytes | None]:
        if self._values is None:
            self._values = [record.value for record in self._records]
        return self._values

    @property
    def keys(self) -> Sequence[bytes | None]:
        return [record.key for record in self._records]

    @property
    def timestamps(self) -> Sequence[int]:
        return [record.timestamp for record in self._records]

    @property
    def offsets(self) -> Sequence[int]:
        if self._offsets is None:
            self._offsets = [record.offset for record in self._records]
        return self._offsets

    @property
    def headers(self) -> Sequence[Headers]:
        return [record.headers for record in self._records]


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """The records of one partition out of one fetch, not parsed yet.

    It may hold no record at all, where the fetch met nothing but control records or the holes of compaction:
    `next_offset` tells how far it went.
    """

    topic: str
    partition: int
    fetch_offset: int
    next_offset: int
    _stored: StoredBatches
    """Must not have been parsed yet."""
    _skipped: frozenset[int] = frozenset()
    """Base offsets of aborted and control batches."""

    def ending_at(self, end_offset: int) -> FetchedBatch:
        """This batch without its records at or past an offset."""
        if self.next_offset <= end_offset:
            return self
        return FetchedBatch(self.topic, self.partition, self.fetch_offset, end_offset, self._stored, self._skipped)

    def parts(self) -> Iterator[ParsedBatch]:
        """Its records in order, some at a time; one part at least, and the last answers for all offsets that follow."""
        records = self._records()
        begin = self.fetch_offset
        while True:
            part = list(islice(records, PART_RECORDS))
            if len(part) < PART_RECORDS:
                break
            end = part[-1].offset + 1
            yield ParsedBatch(self.topic, self.partition, begin, end, part)
            begin = end
        if begin < self.next_offset:
            yield ParsedBatch(self.topic, self.partition, begin, self.next_offset, part)

    def entries(self) -> list[tuple[int, bytes | None, bytes | None]]:
        """Offset, key and value of all its records, as a changelog is read."""
        return [(record.offset, record.key, record.value) for record in self._records()]

    def _records(self) -> Iterator[StoredRecord]:
        return chain.from_iterable(map(self._seen, self._batches()))

    def _seen(self, batch: StoredBatch) -> Iterator[StoredRecord]:
        """Records of a batch that lie between the offsets of this one."""
        low, high = self.fetch_offset, self.next_offset
        if batch.base_offset >= low and batch.next_offset <= high:
            return iter(batch)
        return (record for record in batch if low <= record.offset < high)

    def _batches(self) -> Iterator[StoredBatch]:
        # A copy shares the bytes and has its own place in them, so that they can be parsed again.
        stored = copy.copy(self._stored)
        while stored.has_next():
            batch: StoredBatch = stored.next_batch()
            if batch.base_offset in self._skipped:
                continue
            if batch.next_offset > self.fetch_offset and batch.base_offset < self.next_offset:
                yield batch
