"""Input of the engine layer: the bytes that fetches of a source topic would bring, made once and kept in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from headrace.agents.config import FETCH_BYTES_MAX
from headrace.agents.partitioner import DefaultPartitioner
from headrace.agents.records import FetchedBatch
from headrace.app.bench.workloads import records, timestamp_ms

SOURCE = "bench-source"
"""Name of the source topic in the engine layer."""
BATCH_BYTES = 1_000_000
BATCH_RECORDS = 10_000
"""What a producer puts together at most before compression (librdkafka's own limits)."""
MAGIC, LZ4 = 2, 3


class Fetch(msgspec.Struct, frozen=True, array_like=True):
    """One fetch of a partition: its offsets, and where its bytes lie in the file of the partition."""

    first: int
    next: int
    begin: int
    end: int


class Inputs:
    """Generated source records by kind, count and partitions, under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, kind: str, count: int, partitions: int) -> Path:
        """The directory with these records; they are made when first asked for."""
        path = self._directory / f"{kind}-{count}-{partitions}"
        if not path.exists():
            path.mkdir(parents=True)
            _write(path, kind, count, partitions)
        return path


class Partition:
    """The fetches of one partition, their bytes in memory."""

    def __init__(self, directory: Path, number: int) -> None:
        self.number = number
        self._data = (directory / f"{number}.records").read_bytes()
        self._fetches = msgspec.json.decode((directory / f"{number}.json").read_bytes(), type=list[Fetch])

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._data)

    def batches(self, records_max: int | None = None) -> Iterator[FetchedBatch]:
        """The fetches as the transport hands them on, checksums tested; the first records only where so many do."""
        for fetch in self._fetches:
            if records_max is not None and fetch.first >= records_max:
                return
            data = self._data[fetch.begin : fetch.end]
            stored = MemoryRecords(data)
            while stored.has_next():
                assert stored.next_batch().validate_crc()
            batch = FetchedBatch(SOURCE, self.number, fetch.first, fetch.next, MemoryRecords(data))
            yield batch if records_max is None else batch.ending_at(records_max)


def in_turn(partitions: Sequence[Partition], records_max: int | None = None) -> Iterator[FetchedBatch]:
    """One batch of each partition after the other, until all have ended."""
    feeds = [partition.batches(records_max) for partition in partitions]
    while feeds:
        for feed in list(feeds):
            batch = next(feed, None)
            if batch is None:
                feeds.remove(feed)
            else:
                yield batch


class _Writer:
    """Appends records to the file of one partition, batch by batch as a producer would."""

    def __init__(self, directory: Path, number: int) -> None:
        self._path = directory / f"{number}.records"
        self._index = directory / f"{number}.json"
        self._file = self._path.open("wb")
        self._written = 0
        self._next = 0
        self._fetches: list[Fetch] = []
        self._begin()

    def _begin(self) -> None:
        self._builder = DefaultRecordBatchBuilder(MAGIC, LZ4, False, -1, -1, -1, BATCH_BYTES)
        self._count = 0

    def append(self, timestamp: int, key: bytes, value: bytes) -> None:
        full = self._count == BATCH_RECORDS
        if full or self._builder.append(self._count, timestamp, key, value, []) is None:
            self._end()
            self._builder.append(self._count, timestamp, key, value, [])
        self._count += 1

    def _end(self) -> None:
        if self._count == 0:
            return
        data = bytearray(self._builder.build())
        data[0:8] = self._next.to_bytes(8, "big")
        self._file.write(data)
        begin, self._written = self._written, self._written + len(data)
        first, self._next = self._next, self._next + self._count
        last = self._fetches[-1] if self._fetches else None
        if last is not None and self._written - last.begin <= FETCH_BYTES_MAX:
            self._fetches[-1] = Fetch(last.first, self._next, last.begin, self._written)
        else:
            self._fetches.append(Fetch(first, self._next, begin, self._written))
        self._begin()

    def close(self) -> None:
        self._end()
        self._file.close()
        self._index.write_bytes(msgspec.json.encode(self._fetches))


def _write(directory: Path, kind: str, count: int, partitions: int) -> None:
    writers = [_Writer(directory, number) for number in range(partitions)]
    partitioner = DefaultPartitioner(partitions)
    writer_of: dict[bytes, _Writer] = {}
    for number, (key, value) in enumerate(records(kind, count)):
        writer = writer_of.get(key)
        if writer is None:
            writer = writer_of[key] = writers[partitioner.partition(key)]
        writer.append(timestamp_ms(number), key, value)
    for writer in writers:
        writer.close()
